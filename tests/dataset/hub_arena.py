"""A store and its copy on the loopback Hub, as one process of the arena would have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from arena.dataset.hub import HubBackup
from arena.domain import Battle
from arena.store.store import VoteStore
from tests.dataset.hub_server import DATASET, TOKEN, Hub
from tests.vote_samples import battle, vote

NEVER = 1000.0
"""Minutes between two pushes, where a test says itself when to push."""


class Space:
    """One process: its disk is `folder`."""

    def __init__(self, hub: Hub, folder: Path, **options: Any) -> None:
        defaults: dict[str, Any] = {"endpoint": hub.url, "every_minutes": NEVER, "retry_s": 0.01}
        self.hub = hub
        self.backup = HubBackup(DATASET, TOKEN, folder / "cache", **(defaults | options))
        self.store = VoteStore.open(f"sqlite:///{folder / 'arena.db'}", journal=self.backup)

    async def settled(self) -> None:
        """Waits until store and copy are together, and the pushes of the start are over."""
        async with asyncio.timeout(30):
            await self.backup.settled.wait()
            # The first tick is its thread's, whenever that comes to run.
            while not hasattr(self.backup._scheduler, "last_future"):  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.wrap_future(self.backup._remote.courier.submit(bool))

    async def voted(self, number: int = 1, winner: str = "model_a") -> list[Battle]:
        """New battles, each with its vote."""
        made = [battle() for _ in range(number)]
        for each in made:
            await self.store.add_battle(each)
            await self.store.cast_vote(vote(each, winner))
        return made

    async def pushed(self) -> BaseException | None:
        """Pushes now, as a tick would; what that raised."""
        scheduler = self.backup._scheduler
        assert scheduler is not None
        future = scheduler.trigger()
        return await asyncio.to_thread(future.exception, 60)

    async def until(self, true: Callable[[], object]) -> None:
        """Waits until it is true; looks after each request to the Hub."""
        await asyncio.to_thread(self.hub.until, true)

    async def failed(self) -> None:
        """Waits until the copy has an error, where no request to the Hub tells of it."""
        async with asyncio.timeout(30):
            while self.backup.state().error is None:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        await self.backup.aclose()
        await self.store.aclose()


@asynccontextmanager
async def space(
    hub: Hub, folder: Path, *, settle: bool = True, **options: Any
) -> AsyncIterator[Space]:
    """A process from its start to its end by SIGTERM."""
    made = Space(hub, folder, **options)
    try:
        await made.backup.start(made.store)
        if settle:
            await made.settled()
        yield made
    finally:
        await made.aclose()
