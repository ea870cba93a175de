"""Looks from time to time whether the share of votes that count has collapsed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Final

from arena.errors.base import ArenaError
from arena.leaderboard.cache import LeaderboardCache
from arena.stats.alarm import ShareAlarm
from arena.stats.filters import Rules

log = logging.getLogger(__name__)

FIRST_LOOK_S: Final = 60.0
"""After the start, which reads and computes enough."""
LOOK_EVERY_S: Final = 3600.0


class VoteWatch:
    """Keeps the newest alarm for the owner, and logs one each day.

    Args:
        cache: where the report comes from.
        rules: of the main ranking here.
        sleep: waits between two looks.
        now: the wall clock, UTC.

    Attributes:
        alarm: what the last look found.
    """

    def __init__(
        self,
        cache: LeaderboardCache,
        rules: Rules,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.alarm: ShareAlarm | None = None
        self._cache = cache
        self._rules = rules
        self._sleep = sleep
        self._now = now
        self._logged: date | None = None

    async def run(self) -> None:
        """Look again and again, until it is cancelled."""
        await self._sleep(FIRST_LOOK_S)
        while True:
            await self._look()
            await self._sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        try:
            self.alarm = (await self._cache.report(self._rules)).alarm
        except ArenaError as error:  # the next look may succeed
            log.warning("the votes could not be looked at: %s %s", error.sentence, error.detail)
            return
        today = self._now().date()
        if self.alarm is not None and self._logged != today:
            self._logged = today
            log.warning("%s", self.alarm.sentence)
