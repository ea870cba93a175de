"""Erases the texts of battles that are older than the owner wants to keep them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from arena.errors.base import ArenaError
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 24 * 3600.0


class Retention:
    """Sweeps the store at the start and then once a day.

    Args:
        store: its clock says how old a battle is.
        days: how long texts are kept after their battle began; None keeps them for ever.
        sleep: waits between two sweeps.
    """

    def __init__(
        self,
        store: VoteStore,
        days: int | None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._days = days
        self._sleep = sleep

    async def run(self) -> None:
        """Sweep again and again, until it is cancelled; returns at once without a limit."""
        while self._days is not None:
            try:
                erased = await self._store.erase_before(
                    self._store.clock() - timedelta(days=self._days)
                )
            except ArenaError as error:  # the next sweep may succeed
                log.warning("old texts were not erased: %s %s", error.sentence, error.detail)
            else:
                log.info("texts of %d battles of before %d days are erased", erased, self._days)
            await self._sleep(SWEEP_EVERY_S)
