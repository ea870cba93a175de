"""A clock of a test's own."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from tests.vote_samples import NOON


class Clock:
    """A clock that moves when it is told to, and wakes who sleeps by it."""

    def __init__(self) -> None:
        self.time = NOON
        self.sleepers: dict[asyncio.Event, datetime] = {}

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleepers[woken] = self.time + timedelta(seconds=seconds)
        try:
            await woken.wait()
        finally:
            del self.sleepers[woken]

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        for woken, at in self.sleepers.items():
            if at <= self.time:
                woken.set()
