"""One life of a Space, for tests: `store` and its copy alone, or all of `app` without a browser.

Its settings come from the environment, as a Space's do. It answers each line of its input with one
line of JSON, and ends on SIGTERM as the app does, or on the line `leave` without any care.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arena.dataset.hub import HubDataset, make_hub_dataset
from arena.errors.battle import AlreadyVoted
from arena.settings import load_settings
from arena.store.store import VoteStore
from tests.store_tools import pairs_of, tally
from tests.vote_samples import battle, vote


class Careless(Exception):
    """The process ends as Python ends, without closing anything."""


@asynccontextmanager
async def alone() -> AsyncIterator[tuple[VoteStore, HubDataset]]:
    settings = load_settings()
    store = VoteStore.open(settings.database_url)
    hub = make_hub_dataset(settings, store)
    assert hub is not None
    await hub.start()
    try:
        yield store, hub
    except Careless:
        raise SystemExit(7) from None
    await hub.aclose()
    await store.aclose()


@asynccontextmanager
async def whole() -> AsyncIterator[tuple[VoteStore, HubDataset]]:
    import app

    assert app.parts.hub is not None
    async with app.parts.lifespan(None):
        yield app.parts.arena.store, app.parts.hub


async def answer(store: VoteStore, hub: HubDataset, command: str, argument: str) -> object:
    match command:
        case "settled":
            await hub.settled.wait()
        case "vote":
            names = argument.split(",")
            return [await new_vote(store, name) for name in names]
        case "again":
            found = await store.get_battle(argument)
            assert found is not None
            try:
                await store.cast_vote(vote(found, "both_bad"))
            except AlreadyVoted:
                return "refused"
        case "contents":
            return {
                "tally": await tally(store),
                "votes": sorted(b.id for b, v in await pairs_of(store) if v is not None),
                "battles": (await store.counts()).battles,
            }
        case "state":
            state = store.copy_state()
            return {"unpushed": state.unpushed, "failed": state.error is not None}
    return None


async def new_vote(store: VoteStore, battle_id: str) -> str:
    """The winner follows from the id, so that a test can count what it expects."""
    made = battle(id=battle_id)
    await store.add_battle(made)
    await store.cast_vote(vote(made, ("model_a", "model_b", "tie")[int(battle_id, 16) % 3]))
    return battle_id


async def main(part: str) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with whole() if part == "app" else alone() as (store, hub):
        say("ready")
        serving = asyncio.create_task(serve(store, hub, lines))
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        serving.cancel()


async def serve(store: VoteStore, hub: HubDataset, lines: asyncio.StreamReader) -> None:
    while line := (await lines.readline()).decode().strip():
        command, _, argument = line.partition(" ")
        if command == "leave":
            raise Careless
        say(await answer(store, hub, command, argument))


def say(word: Any) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
