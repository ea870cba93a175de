"""An export that visitors may ask for, where the owner allows it.

It is what `python -m arena export --mask` writes, with its card, in one zip file. What may lead to
a person is always masked, and voters have another hash in each file. Battles without a vote are
not in it: their voters must not learn who plays on which side.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arena.concurrency import thread_to_end
from arena.dataset.export import ExportReport, ExportShape, FileFormat, card_path, export
from arena.errors.store import ExportBusy, ExportOff, ExportTooLarge
from arena.store.store import VoteStore

# The same file is handed out again within this time.
FRESH_S: Final = 60.0
# How long a visitor waits for another one's export.
WAIT_S: Final = 60.0
# Battles with a vote; more of them are for the command, beside the page.
MOST_BATTLES: Final = 200_000


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A zip file with the rows and their card.

    Attributes:
        path: in a folder of its own; it is there for at least a minute.
        report: what is in it.
    """

    path: Path
    report: ExportReport


class PublicExports:
    """Makes one file at a time; the others wait for it, and for a minute get the same one.

    Args:
        store: where the votes are.
        on: whether the owner allows it.
        folder: where files are made, each in a folder of its own; the system's if None.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: VoteStore,
        *,
        on: bool,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on = on
        self._store = store
        self._folder = folder
        self._clock = clock
        self._turn = asyncio.Lock()
        self._made: dict[tuple[ExportShape, FileFormat], tuple[float, PublicFile]] = {}

    async def make(self, shape: ExportShape, file_format: FileFormat) -> PublicFile:
        """The file of that shape and format as of now, or of at most a minute ago.

        Raises:
            ExportOff: the owner does not allow it.
            ExportBusy: others' exports take too long.
            ExportTooLarge: there are too many battles for this way.
            PackageMissing, StoreError: as `export`.
        """
        if not self.on:
            raise ExportOff
        try:
            await asyncio.wait_for(self._turn.acquire(), WAIT_S)
        except TimeoutError:
            raise ExportBusy from None
        try:
            await self._forget()
            key = (shape, file_format)
            if key not in self._made:
                self._made[key] = self._clock(), await self._written(shape, file_format)
            return self._made[key][1]
        finally:
            self._turn.release()

    async def aclose(self) -> None:
        """Removes every file."""
        async with self._turn:
            await self._forget(everything=True)

    async def _forget(self, *, everything: bool = False) -> None:
        """Removes the files that are too old to be handed out again."""
        now = self._clock()
        for key, (made_at, file) in list(self._made.items()):
            if everything or now - made_at >= FRESH_S:
                del self._made[key]
                await thread_to_end(shutil.rmtree, file.path.parent, ignore_errors=True)

    async def _written(self, shape: ExportShape, file_format: FileFormat) -> PublicFile:
        battles = (await self._store.counts()).votes  # those in the file: each has one
        if battles > MOST_BATTLES:
            raise ExportTooLarge(battles=f"{battles:,}", most=f"{MOST_BATTLES:,}")
        folder = Path(
            await thread_to_end(tempfile.mkdtemp, prefix="arena-export-", dir=self._folder)
        )
        try:
            rows = folder / f"arena-votes-{shape}.{file_format}"
            report = await export(
                self._store, rows, shape=shape, file_format=file_format, mask=True, voted_only=True,
            )  # fmt: skip
            packed = await thread_to_end(_packed, rows)
        except BaseException:
            await thread_to_end(shutil.rmtree, folder, ignore_errors=True)
            raise
        return PublicFile(packed, report)


def _packed(rows: Path) -> Path:
    """The rows and their card, as a folder that the Hub takes as a dataset, in one file."""
    target = rows.with_name(f"{rows.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(rows, rows.name)
        made.write(card_path(rows), "README.md")
    rows.unlink()
    card_path(rows).unlink()
    return target
