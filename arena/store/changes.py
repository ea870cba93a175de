"""Which records were written since they were last copied, and how the copy stands."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from arena.domain import Battle, Exclusion, Vote
from arena.errors.store import StoreError

Record = Battle | Vote | Exclusion


class RecordKind(StrEnum):
    """The kinds of records, in the order in which they can be stored: the others need a battle."""

    BATTLE = "battle"
    VOTE = "vote"
    EXCLUSION = "exclusion"


class RecordKey(NamedTuple):
    """Names one record.

    Attributes:
        decided_at: of an exclusion, of which a battle may have several.
    """

    kind: RecordKind
    battle_id: str
    decided_at: datetime | None = None


def key_of(record: Record) -> RecordKey:
    """The key of that record."""
    if isinstance(record, Battle):
        return RecordKey(RecordKind.BATTLE, record.id)
    if isinstance(record, Vote):
        return RecordKey(RecordKind.VOTE, record.battle_id)
    return RecordKey(RecordKind.EXCLUSION, record.battle_id, record.decided_at)


@dataclass(frozen=True, slots=True)
class CopyState:
    """How the copy of the store stands.

    Attributes:
        place: where it is, for people; empty where there is none.
        unpushed: changes that are on this disk alone.
        pushed_at: seconds since the epoch of the last push that worked; None before it.
        error: why the last push or the restore failed; None when it worked.
        restoring: the store is being restored at the start.
        unreadable: lines of the copy that could not be read; the log says which.
    """

    place: str = ""
    unpushed: int = 0
    pushed_at: float | None = None
    error: StoreError | None = None
    restoring: bool = False
    unreadable: int = 0


class Changes:
    """The keys of records that were written and not copied yet. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[RecordKey, int] = {}
        self._last = 0

    def __len__(self) -> int:
        """How many records wait to be copied."""
        return len(self._versions)

    def add(self, keys: Iterable[RecordKey]) -> None:
        """Those records were written, once more where they wait already."""
        with self._lock:
            for key in keys:
                self._last += 1
                self._versions[key] = self._last

    def pending(self) -> dict[RecordKey, int]:
        """The keys that wait, oldest first, each with a number that every write changes."""
        with self._lock:
            return dict(self._versions)

    def forget(self, copied: Mapping[RecordKey, int]) -> None:
        """Those were copied; one that was written again since `pending` goes on waiting."""
        with self._lock:
            for key, version in copied.items():
                if self._versions.get(key) == version:
                    del self._versions[key]
