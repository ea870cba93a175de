"""“Delete my texts” over HTTP: two clicks, the visitor's own battles, and the page afterwards."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx

from arena.domain import Winner
from arena.settings import Limits
from arena.store.store import VoteStore
from arena.ui.arena_tab import ArenaTab
from arena.ui.page_state import PageState
from arena.ui.translator import Translator
from tests.battle.arenas import ANSWER, REQUEST, arena_of
from tests.environment import settings_from
from tests.scripted import ScriptedModel
from tests.store_tools import pairs_of
from tests.ui.served import served
from tests.ui.visitors import PageVisitor, client, config_of

# Stands in for Gradio's own, of which the handlers read this.
PAGE: Any = SimpleNamespace(client=None)
LIMITS = Limits(battles_per_minute=1000)


async def opened(http: httpx.AsyncClient, visitor: str | None = None) -> PageVisitor:
    """A page; of that visitor, if one is named."""
    page = PageVisitor(http, await config_of(http))
    page.visitor = visitor or page.visitor
    await page.open()
    return page


async def click(page: PageVisitor, element: str) -> str:
    """What the server says about it."""
    return json.dumps(await page.fire(element, "click"), ensure_ascii=False)


async def test_two_clicks_delete_and_the_vote_stays(store: VoteStore) -> None:
    """The first one counts; the second one deletes, and empties the page."""
    arena = arena_of(store, *(ScriptedModel(n, ANSWER) for n in ("one", "two")), limits=LIMITS)
    async with served(arena) as shown, client(shown.address) as http, asyncio.timeout(120):
        page = await opened(http)
        assert "no text of yours" in await click(page, "erase-ask")
        await page.fire("send", "click", {"prompt": "Why?"})
        await page.fire("vote-b", "click")
        asked = await click(page, "erase-ask")
        assert "1 battle " in asked
        assert "1 vote" in asked
        assert '"visible": true' in asked
        await click(page, "erase-keep")
        assert (await pairs_of(store))[0][0].erased is None
        await click(page, "erase-confirm")
        assert (await pairs_of(store))[0][0].erased is None, "it was not asked"
        await click(page, "erase-ask")
        done = await click(page, "erase-confirm")
        assert "texts of 1 battle are deleted" in done
        assert "Hub" not in done
        ((battle, vote),) = await pairs_of(store)
        assert battle.erased is not None
        assert vote is not None
        assert vote.winner is Winner.MODEL_B
        assert arena.find_session(battle.id) is None
        assert "no text of yours" in await click(page, "erase-ask")


async def test_nobody_deletes_anothers(store: VoteStore) -> None:
    """Neither by clicks nor by made-up values; and the other one's battle goes on."""
    arena = arena_of(store, *(ScriptedModel(n, ANSWER) for n in ("one", "two")), limits=LIMITS)
    async with served(arena) as shown, client(shown.address) as http, asyncio.timeout(120):
        victim = await opened(http)
        await victim.fire("send", "click", {"prompt": "Why?"})
        (before,) = await pairs_of(store)
        forger = await opened(http)
        for element in ("erase-ask", "erase-confirm"):
            listener = forger.listener(element, "click")
            for junk in (None, before[0].id, before[0].voter, {"erasable": [before[0].id]}):
                body: dict[str, Any] = forger.body(listener, {}, {"value": before[0].id})
                body["data"] = [junk] * len(listener["inputs"])
                await forger.post(listener, body)
        assert await pairs_of(store) == [before]
        await victim.fire("vote-a", "click")
        assert await store.get_vote(before[0].id) is not None


async def test_a_page_that_is_being_written_is_empty_afterwards(store: VoteStore) -> None:
    """The stream's last words do not come back on the page."""
    models = [ScriptedModel(name, ["secret", asyncio.Event()]) for name in ("one", "two")]
    arena = arena_of(store, *models)
    tab = ArenaTab(arena, [], settings_from({}), Translator("en"))
    with gr.Blocks():
        tab.build(gr.State())
        tab.connect()
    state = PageState()
    visitor = await arena.admission.visitor(state.identity(), "")
    session = await arena.begin(replace(REQUEST, visitor=visitor))
    state.battle_id = session.battle.id
    async with aclosing(tab.show_all(state, session, {})) as stream:
        page = await anext(stream)
        page |= await tab.erasure.on_ask(state, PAGE)
        page |= await tab.erasure.on_confirm(state, PAGE)
        rest = [update async for update in stream]
    assert rest == [{tab.notice: ""}]
    assert state.battle_id is None
    assert [page[pane.answer] for pane in tab.panes.values()] == ["", ""]
    assert page[tab.send]["interactive"]
    assert not page[tab.stop]["interactive"]
    assert (await pairs_of(store))[0][0].erased is not None
