"""What the page shows from the vote to its end, or to its undo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from arena.battle.arena import Arena
from arena.battle.pending import PendingVotes
from arena.battle.session import BattleSession
from arena.domain import Grade, Winner
from arena.models.registry import Entry, Registry
from arena.presets import Preset
from arena.settings import Limits
from arena.store.store import VoteStore
from arena.ui.arena_tab import ArenaTab
from arena.ui.feedback_view import Feedback
from arena.ui.page_state import PageState
from arena.ui.translator import Translator
from tests.battle.arenas import ANSWER, REQUEST, play
from tests.clock import Clock
from tests.environment import settings_from
from tests.scripted import ScriptedModel
from tests.store_tools import until

# Stands in for Gradio's own, of which the handlers read these two.
REQUEST_OF_PAGE: Any = SimpleNamespace(session_hash="tab", client=None)
SECONDS = 5.0


class Visit:
    """A page with a finished battle, whose handlers are called as Gradio calls them."""

    def __init__(self, store: VoteStore, presets: tuple[Preset, ...]) -> None:
        import gradio as gr

        self.clock = Clock()
        registry = Registry([Entry(n, ScriptedModel(n, ANSWER)) for n in ("xylo", "yuzu")])
        self.arena = Arena(registry, store, Limits(), now=self.clock.now)
        self.arena.pending = PendingVotes(store, SECONDS, self.clock.now, self.clock.sleep)
        self.tab = ArenaTab(self.arena, presets, settings_from({}), Translator("en"))
        with gr.Blocks():
            self.tab.build(gr.State())
        self.state = PageState()
        self.state.language = "en"
        self.page: dict[Any, Any] = {}

    async def play(self) -> BattleSession:
        visitor = await self.arena.admission.visitor(self.state.identity(), "")
        session = await self.arena.begin(replace(REQUEST, visitor=visitor))
        await play(self.arena, session)
        self.state.battle_id = session.battle.id
        return session

    def votes(self, winner: Winner) -> AsyncGenerator[dict[Any, Any], None]:
        updates: AsyncGenerator[dict[Any, Any], None] = self.tab.vote_handler(winner)(
            self.state, REQUEST_OF_PAGE
        )
        return updates

    async def show(self, updates: AsyncIterator[dict[Any, Any]]) -> None:
        async for update in updates:
            self.page |= update

    async def undo(self) -> None:
        self.page |= await self.tab.on_undo(self.state, REQUEST_OF_PAGE)

    @property
    def text(self) -> str:
        """All that the page shows."""
        return repr(list(self.page.values()))

    def enabled(self, component: Any) -> bool:
        return bool(self.page[component]["interactive"])


@pytest.fixture
async def visit(store: VoteStore, presets: tuple[Preset, ...]) -> AsyncIterator[Visit]:
    made = Visit(store, presets)
    yield made
    await made.arena.aclose()


async def test_names_show_when_the_vote_is_final(visit: Visit, store: VoteStore) -> None:
    """First that it is saved, and how to take it back; at the deadline the names."""
    session = await visit.play()
    updates = visit.votes(Winner.TIE)
    visit.page |= await anext(updates)
    assert list(await store.pending_votes()) == [session.battle.id], "it is said after the commit"
    assert "Saved: Tie. Names in 5 s." in visit.text
    assert "Xylo" not in visit.text
    assert visit.enabled(visit.tab.undo)
    assert not visit.enabled(visit.tab.votes[Winner.MODEL_A])
    rest = asyncio.create_task(visit.show(updates))
    await until(lambda: len(visit.clock.sleepers) == 1)
    visit.clock.advance(SECONDS)
    async with asyncio.timeout(30):
        await rest
    assert "Xylo" in visit.text
    assert "You voted for a tie" in visit.text
    assert not visit.enabled(visit.tab.undo)


async def test_undo_opens_the_votes_again(visit: Visit, store: VoteStore) -> None:
    """The page is as before the vote, the guess stays, the words of the vote are gone."""
    session = await visit.play()
    visit.state.feedback = Feedback(guess="xylo")
    updates = visit.votes(Winner.MODEL_A)
    visit.page |= await anext(updates)
    rest = asyncio.create_task(visit.show(updates))
    visit.state.feedback = Feedback(guess="xylo", grade_a=Grade.GOOD)
    await visit.undo()
    async with asyncio.timeout(30):
        await rest
    assert "Xylo" not in panes_of(visit)
    assert visit.state.vote is None
    assert visit.state.feedback == Feedback(guess="xylo")
    assert visit.enabled(visit.tab.votes[Winner.MODEL_B])
    assert not visit.enabled(visit.tab.undo)
    assert await store.pending_votes() == {}
    again = visit.votes(Winner.MODEL_B)
    visit.page |= await anext(again)
    await visit.arena.pages.close("tab")
    vote = await store.get_vote(session.battle.id)
    assert vote is not None
    assert vote.winner is Winner.MODEL_B
    assert vote.grade_a is None
    await again.aclose()


async def test_what_comes_too_late_or_twice_is_said(visit: Visit) -> None:
    """An undo without a vote and a second vote each get a sentence, and change nothing."""
    await visit.play()
    await visit.undo()
    assert "There is no vote to take back" in visit.text
    updates = visit.votes(Winner.MODEL_A)
    visit.page |= await anext(updates)
    await visit.show(visit.votes(Winner.MODEL_B))
    assert "has its vote already" in visit.text
    assert visit.state.vote is Winner.MODEL_A
    visit.clock.time = visit.clock.time.replace(hour=13)  # no task is woken
    await visit.undo()
    assert "final and can" in visit.text
    assert visit.state.vote is Winner.MODEL_A
    await updates.aclose()


async def test_the_next_battle_ends_the_wait_without_names(visit: Visit, store: VoteStore) -> None:
    """The next battle makes the vote final; who waited for its end writes nothing into it."""
    session = await visit.play()
    updates = visit.votes(Winner.TIE)
    visit.page |= await anext(updates)
    rest = asyncio.create_task(visit.show(updates))
    visit.page |= await visit.tab.on_new(visit.state, "blind", REQUEST_OF_PAGE)
    async with asyncio.timeout(30):
        await rest
    assert await store.get_vote(session.battle.id) is not None
    assert "Xylo" not in panes_of(visit)
    assert not visit.enabled(visit.tab.undo)


def panes_of(visit: Visit) -> str:
    """All that the panes show."""
    parts = [p for pane in visit.tab.panes.values() for p in (pane.head, pane.answer, pane.stats)]
    return repr([visit.page[part] for part in parts])
