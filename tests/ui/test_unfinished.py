"""A battle that is left without a vote comes back by one click, and is still blind."""

from __future__ import annotations

from typing import Any

import pytest

from arena.domain import Mode, Winner
from arena.errors.store import StoreError
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.ui.pages import REQUEST, OpenPage


def opened(store: VoteStore) -> OpenPage:
    """A page of two models that say the same, since nothing else may tell them apart."""
    page = OpenPage(arena_of(store, *(ScriptedModel(name, ANSWER) for name in ("xylo", "yuzu"))))
    page.state.visitor = "ab" * 16
    return page


def offered(page: OpenPage, update: dict[Any, Any]) -> str:
    """The button's words; empty while it is hidden."""
    button = update[page.tab.unfinished.button]
    return button["value"] if button["visible"] is True else ""


async def leave(page: OpenPage, mode: Mode = Mode.BLIND) -> dict[Any, Any]:
    """The visitor goes on to an empty page in that mode."""
    return await page.tab.on_new(page.state, mode.value, REQUEST)


async def test_what_is_left_is_counted_and_comes_back(store: VoteStore) -> None:
    """After "new battle" and after a change of mode; with its vote it waits no more."""
    page = opened(store)
    await page.read(page.send("Why?"))
    assert offered(page, await leave(page)) == "1 battle waits for your vote"
    await page.read(page.send("How?"))
    assert offered(page, await leave(page, Mode.OPEN)) == "2 battles wait for your vote"
    sent = await page.page.on_unfinished(page.state, REQUEST)
    models = page.tab.models.values()
    assert all(sent[box]["value"] is None for box in models)
    pool = {*models, page.tab.feedback.box}  # what could play, in one order for all
    shown = repr([value for part, value in sent.items() if part not in pool])
    assert "How?" in shown
    assert "Because." in shown
    for hidden in ("xylo", "Xylo", "yuzu", "Yuzu", page.session.battle.id):
        assert hidden not in shown
    assert sent[page.tab.votes[Winner.TIE]]["interactive"]
    assert sent[page.tab.mode]["value"] == Mode.BLIND.value
    await page.read(page.tab.vote_handler(Winner.TIE)(page.state, REQUEST))
    assert offered(page, await leave(page)) == "1 battle waits for your vote"
    await page.page.on_unfinished(page.state, REQUEST)
    await page.read(page.tab.vote_handler(Winner.TIE)(page.state, REQUEST))
    assert offered(page, await leave(page)) == ""
    await page.arena.aclose()


async def test_a_click_that_comes_too_late_says_nothing_wrong(store: VoteStore) -> None:
    """Another page has voted meanwhile: the button goes, the page stays."""
    page = opened(store)
    await page.read(page.send("Why?"))
    battle = page.session.battle
    await leave(page)
    visitor = await page.arena.admission.visitor(page.state.identity(), "")
    await page.arena.vote(battle.id, Winner.TIE, visitor)
    sent = await page.page.on_unfinished(page.state, REQUEST)
    assert offered(page, sent) == ""
    assert page.state.battle_id is None
    await page.arena.aclose()


async def test_a_store_that_is_away_holds_nobody_up(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next battle is there; a click says that the store is not."""

    async def away(*_: object) -> list[str]:
        raise StoreError

    page = opened(store)
    await page.read(page.send("Why?"))
    await leave(page)
    monkeypatch.setattr(store, "unfinished_battles", away)
    assert offered(page, await leave(page)) == "1 battle waits for your vote", "as last counted"
    sent = await page.page.on_unfinished(page.state, REQUEST)
    assert sent[page.tab.notice]
    await page.arena.aclose()
