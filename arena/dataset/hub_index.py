"""What the files of the copy hold, by battle: where each record's best line stands.

Only places are kept in memory, so a copy of any size can be read on a small machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from arena.dataset.hub_lines import Change, decode_line, fullness
from arena.domain import Battle, Exclusion, Vote
from arena.store.serialization import RecordError

_log = logging.getLogger(__name__)
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the copy.

    Attributes:
        name: for the log.
        size: bytes to read; what was added after that is left out.
    """

    path: Path
    name: str
    size: int


class Place(NamedTuple):
    """Where a line stands. The greatest place of a record is the one that counts."""

    fullness: int
    at: datetime
    source: int
    offset: int
    length: int


@dataclass(slots=True)
class Index:
    """The best line of every battle and vote, and all decisions.

    Attributes:
        exclusions: by battle and moment; there are few, so they are kept whole.
        cut: last lines of files that end in their middle: a process was killed while it wrote.
        broken: other lines that can't be read.
    """

    sources: Sequence[Source]
    battles: dict[str, Place] = field(default_factory=dict)
    votes: dict[str, Place] = field(default_factory=dict)
    exclusions: dict[tuple[str, datetime], Exclusion] = field(default_factory=dict)
    cut: int = 0
    broken: int = 0

    @classmethod
    def build(cls, sources: Sequence[Source]) -> Index:
        """Reads all files. Blocks.

        A line that can't be read is counted and logged, without its text; the rest is read.

        Raises:
            OSError: a file can't be read.
        """
        index = cls(sources)
        for number, source in enumerate(sources):
            for line_number, (offset, line) in enumerate(_lines(source), start=1):
                if not line.strip():
                    continue
                try:
                    change, at = decode_line(line)
                except RecordError as error:
                    index._unreadable(source, line_number, line, error)
                else:
                    index._take(change, Place(0, at, number, offset, len(line)))
        return index

    def load(self, places: Iterable[Place]) -> list[Change]:
        """The records at those places, in no order that counts. Blocks.

        Raises:
            OSError: a file can't be read any more.
            RecordError: a file was changed meanwhile.
        """
        found: list[Change] = []
        by_source: dict[int, list[Place]] = {}
        for place in places:
            by_source.setdefault(place.source, []).append(place)
        for number, here in by_source.items():
            with self.sources[number].path.open("rb") as stream:
                for place in sorted(here, key=lambda p: p.offset):
                    stream.seek(place.offset)
                    found.append(decode_line(stream.read(place.length))[0])
        return found

    def _take(self, change: Change, place: Place) -> None:
        if isinstance(change, Battle):
            _keep_best(self.battles, change.id, place._replace(fullness=fullness(change)))
        elif isinstance(change, Vote):
            _keep_best(self.votes, change.battle_id, place)
        else:
            self.exclusions[change.battle_id, change.decided_at] = change

    def _unreadable(self, source: Source, number: int, line: bytes, error: RecordError) -> None:
        if line.endswith(b"\n"):
            self.broken += 1
            _log.error("line %d of %s can't be read: %s", number, source.name, _reason(error))
        else:
            self.cut += 1
            _log.warning("the last line of %s, %d, is cut off", source.name, number)


def _lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines with their offsets, as far as the source's size."""
    offset = 0
    with source.path.open("rb") as stream:
        for line in stream:
            yield offset, line[: source.size - offset]
            offset += len(line)
            if offset >= source.size:
                return


def _keep_best(places: dict[K, Place], key: K, place: Place) -> None:
    known = places.get(key)
    if known is None or place > known:
        places[key] = place


def _reason(error: RecordError) -> str:
    """The error without what stands in the line: visitors wrote that."""
    return str(error).split(", not ", 1)[0][:200]
