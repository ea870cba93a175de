"""Calls that no page makes: every listener, with made-up data, forged events and addresses."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from arena.domain import Winner
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.store_tools import pairs_of
from tests.ui.served import served
from tests.ui.visitors import API, PageVisitor, client, config_of

JUNK: tuple[Any, ...] = (None, "junk\x00", -1, {"path": "/etc/passwd"})
HEADERS = {"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "https", "Forwarded": "for=8.8.8.8"}


async def status(http: httpx.AsyncClient, page: PageVisitor, one: Any, body: Any) -> int:
    """How the server answers that call, waited for to its end."""
    try:
        await page.post(one, body)
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


async def test_no_forged_call_ends_in_a_fault_or_touches_another_battle(store: VoteStore) -> None:
    """Every listener is called with junk and another battle's id; its owner can still vote."""
    arena = arena_of(
        store, *(ScriptedModel(name, ANSWER) for name in ("one", "two")),
        limits=Limits(battles_per_minute=1000),
    )  # fmt: skip
    async with served(arena) as shown, client(shown.address) as http, asyncio.timeout(500):
        config = await config_of(http)
        victim = PageVisitor(http, config)
        await victim.open()
        await victim.fire("send", "click", {"prompt": "Why?"})
        (before,) = await pairs_of(store)
        theirs = before[0].id

        statuses: dict[str, int] = {}
        # Of the others, which are scripts of the page alone, the server has nothing to run.
        for one in (one for one in config["dependencies"] if one["backend_fn"]):
            for junk in (*JUNK, theirs, {"battle": theirs, "visitor": before[0].voter}):
                forger = PageVisitor(http, config)
                forger.http.headers.update(HEADERS)
                body = forger.body(one, {}, {"kind": "reason", "value": theirs, "battle": theirs})
                body["data"] = [junk] * len(one["inputs"])
                found = await status(http, forger, one, body)
                statuses[f"{one['id']} {one['api_name']} {str(junk)[:20]}"] = found
        assert {call: code for call, code in statuses.items() if code >= 500} == {}

        for data in ([None] * 99, []):  # too many values, and too few
            call = {"fn_index": 0, "data": data, "session_hash": "made-up"}
            for path in ("queue/join", "run/predict"):
                code = (await http.post(f"{API}/{path}", json=call)).status_code
                assert code < 500, (path, call)

        assert [pair for pair in await pairs_of(store) if pair[0].id == theirs] == [before]
        await victim.fire("vote-b", "click")
        vote = await store.get_vote(theirs)
        assert vote is not None
        assert vote.winner is Winner.MODEL_B
        assert (await http.get("/health")).status_code == 200


async def test_a_forged_address_does_not_escape_the_caps(store: VoteStore) -> None:
    """`X-Forwarded-For` of a visitor counts for nothing: all prompts are of one address."""
    arena = arena_of(
        store, *(ScriptedModel(name, ANSWER) for name in ("one", "two")),
        limits=Limits(battles_per_minute=1, visitors_per_address=2),
    )  # fmt: skip
    async with served(arena) as shown, client(shown.address) as http, asyncio.timeout(300):
        config = await config_of(http)
        for number in range(4):
            http.headers["X-Forwarded-For"] = f"8.8.8.{number}"
            await PageVisitor(http, config).fire("send", "click", {"prompt": "Why?"})
    assert len(await pairs_of(store)) == 2
