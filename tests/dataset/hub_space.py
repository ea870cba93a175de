"""One process of the arena with its copy on a loopback Hub, for the tests of the copy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import close_session

from arena.dataset.hub import HubDataset
from arena.domain import Battle
from arena.errors.store import BackupFailed
from arena.store.changes import CopyState
from arena.store.store import VoteStore
from tests.dataset.hub_server import DATASET, TOKEN, Hub, running_hub
from tests.store_tools import decisions_in, pairs_of
from tests.vote_samples import battle, vote

NEVER = 1000.0
"""Minutes between two pushes, where a test says itself when to push."""
EMPTY_CARD = b"---\nlicense: mit\n---\nmine\n"
ROOT = Path(__file__).parents[2]


class Space:
    """One process of the arena: a store and its copy. Its disk is `folder`."""

    def __init__(self, hub: Hub, folder: Path, **options: Any) -> None:
        defaults: dict[str, Any] = {"endpoint": hub.url, "every_minutes": NEVER, "retry_s": 0.01}
        self.hub = hub
        self.store = VoteStore.open(f"sqlite:///{folder / 'arena.db'}")
        self.copy = HubDataset(self.store, DATASET, TOKEN, folder / "cache", **(defaults | options))

    @property
    def state(self) -> CopyState:
        return self.store.copy_state()

    async def settled(self) -> None:
        """Waits until store and copy hold the same."""
        async with asyncio.timeout(30):
            await self.copy.settled.wait()

    async def voted(self, number: int = 1, winner: str = "model_a") -> list[Battle]:
        """New battles, each with its vote."""
        made = [battle() for _ in range(number)]
        for each in made:
            await self.store.add_battle(each)
            await self.store.cast_vote(vote(each, winner))
        return made

    async def refused(self) -> BackupFailed:
        """Pushes, and what that raises."""
        with pytest.raises(BackupFailed) as caught:
            await self.copy.push()
        return caught.value

    async def until(self, true: Callable[[], object]) -> None:
        """Waits until it is true; looks after each request to the Hub."""
        await asyncio.to_thread(self.hub.until, true)

    async def contents(self) -> dict[str, object]:
        """All that the store holds and the copy must bring back."""
        return {
            "battles": {b.id: (b, v) for b, v in await pairs_of(self.store)},
            "decisions": await decisions_in(self.store),
        }

    async def aclose(self) -> None:
        await self.copy.aclose()
        await self.store.aclose()


@asynccontextmanager
async def space(
    hub: Hub, folder: Path, *, settle: bool = True, **options: Any
) -> AsyncIterator[Space]:
    """A process from its start to its end by SIGTERM."""
    made = Space(hub, folder, **options)
    try:
        await made.copy.start()
        if settle:
            await made.settled()
        yield made
    finally:
        await made.aclose()


def wait_for_threads() -> None:
    """No thread of one test talks to the Hub of the next one, over connections that both share."""
    for thread in threading.enumerate():
        if thread.name in ("hub-push", "hub-work"):
            thread.join(30)
            assert not thread.is_alive()
    close_session()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server
        wait_for_threads()


@pytest.fixture
async def one(hub: Hub, tmp_path: Path) -> AsyncIterator[Space]:
    """A process whose store is empty, as is the Hub."""
    async with space(hub, tmp_path / "one") as made:
        yield made


def files(hub: Hub) -> set[str]:
    """The names of the copy's files."""
    return {name for name in hub.files() if name.startswith("data/")}
