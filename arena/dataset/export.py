"""Battles and votes as data for others: a file in one of four shapes, and its card."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, TextIO

from arena.concurrency import thread_to_end
from arena.dataset.card import ExportReport, card_text
from arena.dataset.columns import COLUMNS, ExportShape, FileFormat
from arena.dataset.formats import NewFile, need_pyarrow, rows_into
from arena.dataset.pii import Masker
from arena.dataset.shapes import ROWS, Case, LeftOut
from arena.domain import Battle, Exclusion, Vote
from arena.errors.store import ExportNeedsFile
from arena.store.database import store_errors
from arena.store.serialization import Plain
from arena.store.store import BattleRecords, VoteStore, voter_hash

__all__ = ["ExportReport", "ExportShape", "FileFormat", "card_path", "export"]

# Rows of one row group; a Parquet file of tiny groups is large and slow.
_GROUP: Final = 1000


def card_path(path: Path) -> Path:
    """Where the card of that file is."""
    return path.with_name(f"{path.name}.card.md")


async def export(
    store: VoteStore,
    target: Path | TextIO,
    *,
    file_format: FileFormat = FileFormat.JSONL,
    shape: ExportShape = ExportShape.ARENA,
    ties: bool = False,
    salt: str | None = None,
    mask: bool = False,
    voted_only: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ExportReport:
    """Writes the battles, oldest first, as of one moment, while votes may come in.

    Which battles there are, their votes and the owner's decisions are read at that moment; a
    battle without a vote may be given as it was a little later. Voters are hashed again: who
    reads the export can tell one visitor from another, but even with the store's salt can't find a
    given one.

    Args:
        store: where the battles are.
        target: a path, which holds the old file or the whole new one, never a part, and gets its
            card beside it; or a stream of text, which gets none.
        file_format: JSON Lines, CSV or Parquet.
        shape: see `arena.dataset.shapes`.
        ties: whether ties give rows of training data too.
        salt: of the voters' second hash; None draws one that is kept nowhere.
        mask: whether what may lead to a person is masked, see `arena.dataset.pii`.
        voted_only: whether battles without a vote are left out of rows, counts and card: for
            readers who must not learn before the vote who plays on which side.
        now: the moment that the card tells.

    Raises:
        ExportNeedsFile: Parquet into a stream of text.
        PackageMissing: Parquet without pyarrow.
        StoreError: the store can't be read, or the path can't be written.
    """
    if file_format is FileFormat.PARQUET:
        if not isinstance(target, Path):
            raise ExportNeedsFile(format=file_format.value)
        await thread_to_end(need_pyarrow)
    masker = Masker() if mask else None
    report = ExportReport(
        place=str(target) if isinstance(target, Path) else "-",
        card=card_path(target) if isinstance(target, Path) else None,
        shape=shape,
        file_format=file_format,
        ties=ties,
        made_at=now(),
        masked=None if masker is None else masker.counts,
    )
    run = _Run(report, secrets.token_hex(32) if salt is None else salt, masker, voted_only)
    if not isinstance(target, Path):
        await run.write(store, target)
        return report
    with store_errors(report.place):
        new = NewFile(target, card_path(target), binary=file_format is FileFormat.PARQUET)
        try:
            await run.write(store, await thread_to_end(new.open))
            await thread_to_end(new.keep, card_text(report))
        finally:
            await thread_to_end(new.close)
    return report


@dataclass(slots=True)
class _Run:
    """One export while it is being written."""

    report: ExportReport
    salt: str
    masker: Masker | None
    voted_only: bool
    _orders: Counter[str] = field(default_factory=Counter)

    async def write(self, store: VoteStore, stream: IO[Any]) -> None:
        """Reads, shapes and writes some battles at a time."""
        file_format = self.report.file_format
        size = _GROUP if file_format is FileFormat.PARQUET else 1
        waiting: list[Plain] = []
        rows = rows_into(stream, file_format, COLUMNS[self.report.shape])
        try:
            async for cases in store.iter_records(voted_only=self.voted_only):
                waiting += await thread_to_end(self._shaped, cases)
                if len(waiting) >= size:
                    await thread_to_end(rows.write, waiting)
                    waiting = []
            await thread_to_end(rows.write, waiting)
        finally:
            await thread_to_end(rows.finish)

    def _shaped(self, found: list[BattleRecords]) -> list[Plain]:
        return [row for one in found for row in self._rows_of(*one)]

    def _rows_of(
        self, battle: Battle, vote: Vote | None, exclusion: Exclusion | None
    ) -> list[Plain]:
        report = self.report
        report.battles += 1
        if battle.erased is not None:
            report.left_out[LeftOut.ERASED.value] += 1
            return []
        voter = voter_hash(self.salt, battle.voter)
        if self.masker is not None:
            battle = self.masker.battle(battle)
            vote = vote and self.masker.vote(vote)
            exclusion = exclusion and self.masker.exclusion(exclusion)
        order = self._orders[voter] + 1
        made = ROWS[report.shape](Case(battle, vote, exclusion, voter, order, report.ties))
        if isinstance(made, LeftOut):
            report.left_out[made.value] += 1
            return []
        self._orders[voter] = order
        report.rows += len(made)
        report.sources[battle.source] += len(made)
        report.languages[battle.language] += len(made)
        for spec in (battle.spec_a, battle.spec_b):
            if spec is not None:
                report.models[spec.id] = spec.licence or report.models.get(spec.id, "")
        return made
