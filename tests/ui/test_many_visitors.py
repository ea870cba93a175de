"""Many visitors at once, counted and not timed: nobody waits for another one's answer."""

from __future__ import annotations

import asyncio

from arena.domain import Winner
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.store_tools import pairs_of, until
from tests.ui.served import served
from tests.ui.visitors import PageVisitor, client, config_of

LIMITS = Limits(battles_per_minute=1000)  # all of them come from one address
STREAMS = LIMITS.battles + LIMITS.waiting


async def test_a_vote_goes_through_while_every_stream_is_taken(store: VoteStore) -> None:
    """With all slots and all places of the queue in use, a visitor can vote and open a page."""
    gate = asyncio.Event()
    scripts = (ANSWER, [gate])
    models = [ScriptedModel(name, *scripts) for name in ("one", "two")]
    arena = arena_of(store, *models, limits=LIMITS)
    async with served(arena) as page, client(page.address) as http, asyncio.timeout(400):
        config = await config_of(http)
        voter, *others = [PageVisitor(http, config) for _ in range(1 + STREAMS)]
        await voter.open()
        await voter.fire("send", "click", {"prompt": "Why?"})

        async def stream(visitor: PageVisitor) -> str:
            said = await visitor.fire("send", "click", {"prompt": "How?"})
            return str(said[-1]["success"])

        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(stream(one)) for one in others]
            await until(lambda: len(arena.admission.queue.slots) == STREAMS, 200)
            await voter.fire("vote-a", "click")
            assert [vote.winner for _, vote in await pairs_of(store) if vote] == [Winner.MODEL_A]
            await PageVisitor(http, config).open()
            assert not any(one.done() for one in streams)
            assert arena.admission.queue.running == LIMITS.battles
            assert arena.admission.queue.waiting == LIMITS.waiting
            page.release(gate)
        assert {one.result() for one in streams} == {"True"}
