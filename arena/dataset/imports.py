"""Votes of elsewhere, from a file: checked row by row, then stored in one transaction or not.

Doing it again changes nothing. What is stored already is never changed, but for a battle that the
same source gave before without its vote.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from arena.concurrency import run_to_end
from arena.dataset.columns import ExportShape
from arena.dataset.formats import need_pyarrow
from arena.dataset.import_rows import read_row, shape_of
from arena.errors.store import BadRow, NotImportable
from arena.store.queries import ImportedRows
from arena.store.serialization import RecordError
from arena.store.store import VoteStore

_BATCH: Final = 200
_SHOWN: Final = 20


@dataclass(slots=True)
class ImportReport:
    """What came of a file; its numbers grow while it is being read.

    Attributes:
        source: what its rows are marked with, but for those that have a source already.
        rows: how many there are, bad ones included.
        battles, votes: how many were not here before.
        known: rows whose battle was here, with nothing to add to it.
        bad: how many rows were left out; 0 unless asked for.
        notes: the first of the bad rows, each with its number and what is wrong.
    """

    file: str
    source: str
    rows: int = 0
    battles: int = 0
    votes: int = 0
    known: int = 0
    bad: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Some lines for people."""
        head = (
            f"{self.file}: {self.rows} rows; new: {self.battles} battles, {self.votes} votes, "
            f"marked {self.source}; known: {self.known}; left out: {self.bad}"
        )
        return "\n  ".join([head, *self.notes])


async def import_file(
    store: VoteStore,
    path: Path,
    *,
    source: str | None = None,
    skip_bad: bool = False,
) -> ImportReport:
    """Brings the battles and votes of an export, or of a set like LMArena's, into the store.

    All rows are checked before anything is written. The statistics tell imported votes from the
    arena's own. A task that is cancelled waits for the transaction in hand.

    Args:
        store: where to; a copy on the Hub hears of them at the arena's next start.
        path: JSON Lines, or Parquet (by the ending `.parquet`).
        source: what rows without a source are marked with; the file's name without its ending if
            None. The same file must be given the same source to be known again.
        skip_bad: leaves bad rows out instead of refusing the file.

    Raises:
        BadRow: names the first bad row, counted from 1; nothing was imported.
        NotImportable: the file can't be read, or is of another shape.
        PackageMissing: Parquet without pyarrow.
        StoreError: the store does not take it; nothing was imported.
    """
    source = path.stem if source is None else source
    if not source:
        raise NotImportable(file=str(path), problem="the source has no name")
    # Rows wait on the disk, ready to be stored: the transaction is short, the memory small.
    with tempfile.TemporaryFile() as spool:
        report = ImportReport(str(path), source)
        reading = _Reading(path, report, skip_bad=skip_bad)
        work = asyncio.to_thread(reading.into, spool)
        await run_to_end(work, on_cancel=reading.stopped.set)
        added, report.known = await store.add_imported(partial(_batches, spool))
    report.battles, report.votes = added.battles, added.votes
    return report


class _Reading:
    """A file while its rows are checked.

    Attributes:
        stopped: set from another thread, it makes `into` return at the next row.
    """

    def __init__(self, path: Path, report: ImportReport, *, skip_bad: bool) -> None:
        self.path = path
        self.report = report
        self.skip_bad = skip_bad
        self.stopped = threading.Event()
        self.shape: ExportShape | None = None
        self._seen: set[str] = set()

    def into(self, spool: IO[bytes]) -> None:
        """Writes the rows of the tables that all good rows become.

        Raises:
            BadRow, NotImportable, PackageMissing: as `import_file`.
        """
        batch: list[ImportedRows] = []
        with closing(_rows_of(self.path)) as rows:
            for number, row in rows:
                if self.stopped.is_set():
                    return
                self.report.rows += 1
                try:
                    batch.append(self._read(row))
                except RecordError as error:
                    self._refuse(number, error)
                if len(batch) == _BATCH:
                    pickle.dump(batch, spool)
                    batch = []
        for last in (batch, []) if batch else ([],):
            pickle.dump(last, spool)

    def _read(self, row: Mapping[str, Any] | RecordError) -> ImportedRows:
        if isinstance(row, RecordError):
            raise row
        shape = shape_of(row)
        if shape is None:
            names = ", ".join(sorted(map(str, row)))[:200]
            if self.shape is None:
                raise NotImportable(file=str(self.path), problem=f"it has the columns {names}")
            raise RecordError(f"it has the columns {names}")
        self.shape = self.shape or shape
        if shape is not self.shape:
            raise RecordError(f"a row of {shape.value} among rows of {self.shape.value}")
        battle, vote, exclusion = read_row(shape, row, self.report.source)
        if battle.id in self._seen:
            raise RecordError(f"the id {battle.id} is there twice")
        self._seen.add(battle.id)
        return ImportedRows.of(battle, vote, exclusion)

    def _refuse(self, number: int, error: RecordError) -> None:
        if not self.skip_bad:
            raise BadRow(file=str(self.path), row=number, problem=str(error)) from error
        self.report.bad += 1
        if len(self.report.notes) < _SHOWN:
            self.report.notes.append(f"row {number}: {error}")


def _rows_of(path: Path) -> Generator[tuple[int, Mapping[str, Any] | RecordError], None, None]:
    """The rows with their numbers from 1; what is no row comes as its error.

    Raises:
        NotImportable: the file can't be read.
        PackageMissing: Parquet without pyarrow.
    """
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _json_lines(path)
    except OSError as error:
        raise NotImportable(str(error), file=str(path), problem="it can't be read") from error


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | RecordError]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> Mapping[str, Any] | RecordError:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RecordError(f"not JSON: {type(error).__name__}")
    return found if isinstance(found, dict) else RecordError("not an object")


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | RecordError]]:
    need_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise NotImportable(str(error), file=str(path), problem="it is not Parquet") from error


def _batches(spool: IO[bytes]) -> Iterator[list[ImportedRows]]:
    """The batches in the spool, from its start. It has no name: only this process wrote it."""
    spool.seek(0)
    while batch := pickle.load(spool):  # noqa: S301
        yield batch
