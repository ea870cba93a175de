"""The dice on the page gives a visitor every example once before it repeats one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from arena.domain import Mode, PresetUse
from arena.errors.store import StoreError
from arena.store.store import VoteStore
from arena.ui.presets_view import DICE_ID
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.ui.pages import PRESETS, REQUEST, OpenPage
from tests.vote_samples import battle, vote

ENGLISH = [preset for preset in PRESETS if preset.language == "en"]


def opened(store: VoteStore) -> OpenPage:
    """A page of a visitor with an id."""
    page = OpenPage(arena_of(store, *(ScriptedModel(name, ANSWER) for name in ("xylo", "yuzu"))))
    page.state.visitor = "ab" * 16
    return page


async def click(page: OpenPage, preset: str) -> dict[Any, Any]:
    """One click on the dice or on an example."""
    event: Any = SimpleNamespace(preset=preset)
    return await page.tab.on_preset(page.state, event, REQUEST)


async def thrown(page: OpenPage) -> str:
    """The example that the dice gives."""
    await click(page, DICE_ID)
    assert page.state.preset is not None
    return page.state.preset.id


async def judge(page: OpenPage, store: VoteStore, preset: str) -> None:
    """The page's visitor votes on a battle about that example."""
    visitor = await page.arena.admission.visitor(page.state.identity(), "")
    made = battle(preset=PresetUse(preset), voter=visitor.voter)
    await store.add_battle(made)
    await store.cast_vote(vote(made))


async def test_every_example_comes_once(store: VoteStore) -> None:
    """What was clicked or thrown on the page does not come again before all others."""
    page = opened(store)
    await click(page, ENGLISH[0].id)
    found = [await thrown(page) for _ in ENGLISH[1:]]
    assert sorted([ENGLISH[0].id, *found]) == sorted(preset.id for preset in ENGLISH)
    assert await thrown(page) == ENGLISH[0].id, "the longest ago"


async def test_what_was_judged_stays_away_after_a_reload(store: VoteStore) -> None:
    """A new page of the same visitor has only the others left; another visitor has all."""
    page = opened(store)
    for preset in ENGLISH[:-1]:
        await judge(page, store, preset.id)
    page.reload()
    page.state.visitor = "ab" * 16
    assert await thrown(page) == ENGLISH[-1].id


async def test_a_store_that_is_away_is_said(store: VoteStore, monkeypatch: Any) -> None:
    """The prompt box stays as it is."""

    async def away(*_: object) -> list[str]:
        raise StoreError

    page = opened(store)
    monkeypatch.setattr(store, "judged_presets", away)
    update = await click(page, DICE_ID)
    assert page.state.preset is None
    assert page.tab.prompt not in update
    assert update[page.tab.notice]


async def test_a_wrong_seed_is_said_to_be_one(store: VoteStore) -> None:
    """The sentence names the seed, and nothing is sent."""
    page = opened(store)
    send = page.tab.on_send(
        page.state, "Why?", Mode.BLIND.value, True, None, None, 0.7, 1.0, 64, "12x", "", REQUEST,
    )  # fmt: skip
    ((_, sent),) = await page.read(send)
    assert "The seed must be a whole number" in sent["notice"]
    assert page.state.battle_id is None
