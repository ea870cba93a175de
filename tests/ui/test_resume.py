"""A page that opens: whose battle it has back, what of it is remembered, and what it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from arena.battle.limits import Limits
from arena.battle.resume import handle_of
from arena.battle.session import BattleSession
from arena.domain import Grade, Mode, Reason, Side, Winner
from arena.store.store import VoteStore
from arena.ui.page_state import PageState
from tests.battle.arenas import ANSWER, REQUEST, arena_of, play, until
from tests.scripted import ScriptedModel, Step
from tests.ui.pages import PRESETS, OpenPage

MINE, THEIRS = "a" * 32, "b" * 32


class Visits:
    """The handlers of one page, called as by the pages of several browsers."""

    def __init__(self, store: VoteStore, script: list[Step]) -> None:
        models = (ScriptedModel(name, script) for name in ("xylo", "yuzu"))
        limits = Limits(battles_per_minute=1000)
        self.arena = arena_of(store, *models, limits=limits, grace=60)
        self.opened = OpenPage(self.arena)
        self.page, self.tab = self.opened.page, self.opened.tab

    async def begin(self, **wanted: Any) -> BattleSession:
        """A battle of the visitor `MINE`, shown by the page `tab`."""
        visitor = await self.arena.admission.visitor(MINE, "")
        return await self.arena.begin(replace(REQUEST, visitor=visitor, **wanted))

    async def load(
        self, page: str, visitor: str = MINE, **client: object
    ) -> tuple[PageState, dict[str, Any]]:
        """A page opens; what is remembered of it, and what it is sent, by the components' names."""
        state = PageState()
        sent = {"visitor": visitor, "language": "en", "accepts": "en", **client}
        request = gr.Request(session_hash=page, client=None)
        updates = await self.page.on_load(state, sent, None, request)
        return state, {self.opened.name_of(part): value for part, value in updates.items()}


async def test_the_page_has_its_battle_back_and_it_streams_on(store: VoteStore) -> None:
    """First as it stands, then what changes, to its end; the id is nowhere in it."""
    gate = asyncio.Event()
    visits = Visits(store, ["Be", gate, "cause."])
    session = await visits.begin()
    await until(session, "Be", Side.A)
    await until(session, "Be", Side.B)
    state, page = await visits.load("new", shown=handle_of(session.battle.id))
    assert state.battle_id == session.battle.id
    assert "Be" in page["pane-a"]
    assert page["stop"]["interactive"]
    gate.set()
    later = [update async for update in visits.page.on_open(state)]
    assert "Because." in later[-1][visits.tab.panes[Side.A].answer]
    assert later[-1][visits.tab.votes[Winner.TIE]]["interactive"]
    assert all("value" not in update.get(visits.tab.prompt, {}) for update in later), (
        "a draft stays"
    )
    assert session.battle.id not in f"{page}{later}"
    await visits.arena.aclose()


@pytest.mark.parametrize("shown", [None, "", "handle", "id"])
async def test_nobody_else_has_it(store: VoteStore, shown: str | None) -> None:
    """Another browser that knows the handle, or even the id, gets an empty page."""
    visits = Visits(store, ANSWER)
    session = await visits.begin()
    await play(visits.arena, session)
    await visits.arena.pages.leave("tab")
    known = {"handle": handle_of(session.battle.id), "id": session.battle.id}
    client = {} if shown is None else {"shown": known.get(shown, shown)}
    for visitor in (THEIRS, "", session.battle.voter):
        state, _ = await visits.load("thief", visitor, **client)
        assert state.battle_id is None
    await visits.arena.aclose()


async def test_what_the_record_has_is_remembered(store: VoteStore) -> None:
    """Mode, models, settings, example, vote and what was added to it."""
    visits = Visits(store, ANSWER)
    preset = PRESETS[0]
    session = await visits.begin(
        text=preset.text, preset=preset, mode=Mode.OPEN, model_a="xylo", model_b="yuzu",
        system_prompt="Be brief.", params=replace(REQUEST.params, temperature=0.25),
    )  # fmt: skip
    await play(visits.arena, session)
    battle, visitor = session.battle, await visits.arena.admission.visitor(MINE, "")
    await visits.arena.vote(battle.id, Winner.MODEL_B, visitor)
    await store.annotate_vote(
        battle.id, visitor.voter, reasons=(Reason.CORRECT,), comment="Good.", grade_b=Grade.GOOD
    )
    state, page = await visits.load("new", shown=handle_of(battle.id))
    assert (state.vote, state.mode, state.played) == (Winner.MODEL_B, Mode.OPEN, preset)
    feedback = state.feedback
    assert (feedback.reasons, feedback.comment, feedback.grade_b) == (
        (Reason.CORRECT,), "Good.", Grade.GOOD,
    )  # fmt: skip
    assert page["mode"]["value"] == "open"
    assert (page["model-a"]["value"], page["model-b"]["value"]) == ("xylo", "yuzu")
    assert (page["temperature"], page["system-prompt"]) == (0.25, "Be brief.")
    assert "chosen" in page["vote-b"]["elem_classes"]
    await visits.arena.aclose()


async def test_a_draft_that_was_sent_is_no_draft(store: VoteStore) -> None:
    """The browser kept it since the cut came before the server's word; another text stays."""
    visits = Visits(store, ANSWER)
    session = await visits.begin(text="Why?")
    await play(visits.arena, session)
    handle = handle_of(session.battle.id)
    _, page = await visits.load("one", shown=handle, draft="Why? ")
    assert page["prompt"]["value"] == ""
    _, page = await visits.load("two", shown=handle, draft="And why that?")
    assert "value" not in page["prompt"]
    await visits.arena.aclose()


async def test_the_own_battle_comes_before_the_link_and_the_link_before_others(
    store: VoteStore,
) -> None:
    """The address of a link stays while its reader goes on to a battle of their own."""
    visits = Visits(store, ANSWER)
    linked = await visits.begin()
    await play(visits.arena, linked)
    visitor = await visits.arena.admission.visitor(MINE, "")
    await visits.arena.vote(linked.battle.id, Winner.TIE, visitor)
    await visits.arena.pages.close("tab")
    own = await visits.begin()
    await play(visits.arena, own)
    await visits.arena.pages.leave("tab")
    state, _ = await visits.load("new", battle=linked.battle.id)
    assert state.battle_id is None
    assert state.shared is not None
    state, _ = await visits.load("again", battle=linked.battle.id, shown=handle_of(own.battle.id))
    assert state.battle_id == own.battle.id
    await visits.arena.aclose()


async def test_a_page_that_the_server_has_seen_go_is_told_so(store: VoteStore) -> None:
    """It asks what is new, and opens anew; so does one from before a restart."""
    visits = Visits(store, ANSWER)
    request = gr.Request(session_hash="tab", client=None)
    state, _ = await visits.load("tab")

    async def told(asked: PageState) -> bool:
        updates = await visits.page.on_tick(asked, True, request)
        return 'data-gone="1"' in str(updates)

    assert not await told(state)
    assert await told(PageState()), "a new process knows no page"
    await visits.page.on_unload(request)
    assert await told(state)
    await visits.arena.aclose()
