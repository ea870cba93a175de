"""The leaderboard's tab on a real store, without a browser: what filters may ask."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from arena.dataset.public import PublicExports
from arena.domain import Category, Flag, Mode
from arena.leaderboard.cache import LeaderboardCache
from arena.stats.filters import MAIN_RULES, Rules
from arena.store.store import VoteStore
from arena.ui.components import html
from arena.ui.leaderboard_tab import LeaderboardTab, pair_key
from arena.ui.page_state import PageState
from arena.ui.translator import Translator
from tests.vote_samples import battle, vote


async def filled(store: VoteStore) -> None:
    """Five votes: three in Japanese mathematics, one in English code, one in open mode."""
    for number, winner in enumerate(("model_a", "model_b", "tie")):
        fought = battle("phi", "gem", voter=f"{number:064x}")
        await store.add_battle(fought)
        await store.cast_vote(vote(fought, winner))
    cut = battle("phi", "smol", category=Category.CODING, language="en", voter="b" * 64,
                 flags=frozenset({Flag.TRUNCATED}))  # fmt: skip
    shown = battle("phi", "gem", mode=Mode.OPEN, voter="c" * 64)
    for fought in (cut, shown):
        await store.add_battle(fought)
        await store.cast_vote(vote(fought))


def made(store: VoteStore, **options: Any) -> LeaderboardTab:
    """The tab inside a page of its own."""
    exports = options.pop("exports", PublicExports(store, on=False))
    options = {"rules": MAIN_RULES, "with_accounts": False, **options}
    with gr.Blocks():
        tab = LeaderboardTab(LeaderboardCache(store), Translator("en"), exports, **options)
        tab.build(html("", js_on_load="0"), gr.State(PageState()))
    return tab


def english() -> PageState:
    """The state of an English page."""
    state = PageState()
    state.language = "en"
    return state


async def asked(tab: LeaderboardTab, *filters: object, by: object = None) -> dict[Any, Any]:
    """What the tab shows for these filters."""
    values = (*filters, *("", "", "", True, False)[len(filters) :])
    found: dict[Any, Any] = await tab.on_show(english(), gr.EventData(None, by), *values)
    return found


async def test_tab_shows_the_votes(store: VoteStore) -> None:
    """The sentence, the funnel and the pairs to choose from, of what is in the store."""
    await filled(store)
    tab = made(store)
    found = await asked(tab, by={"tab": "leaderboard"})
    assert "Phi" in found[tab.lead]
    assert "<b>5</b><span>all votes" in found[tab.table]
    assert "<b>4</b><span>counted" in found[tab.table]
    assert found[tab.pair]["visible"] is True
    assert [label for label, _ in found[tab.pair]["choices"]] == ["all", "Gem – Phi", "Phi – Smol"]
    assert set(found) == set(tab.outputs)


async def test_other_tabs_are_not_counted(store: VoteStore) -> None:
    """Votes are read for this tab only, and in a new language only once it was opened."""
    tab = made(store)
    found = await asked(tab, by={"tab": "models"})
    assert tab.lead not in found
    seen = english()
    assert tab.lead not in await tab.on_switched(seen, "", "", "", True, False)
    await tab.on_show(seen, gr.EventData(None, {"tab": "leaderboard"}), "", "", "", True, False)
    assert tab.lead in await tab.on_switched(seen, "", "", "", True, False)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (("", "", "", True, False), 5),
        (("math", "", "", True, False), 4),
        (("coding", "en", "", True, False), 1),
        (("coding", "ja", "", True, False), 0),
        # What no control of the page sends, a raw call may.
        (("astrology", "fr", "nobody", "maybe", None), 5),
        ((["math"], {}, 7, 1, 0), 5),
    ],
)
async def test_filters(store: VoteStore, filters: tuple[object, ...], count: int) -> None:
    """A filter narrows the votes; what is no filter narrows nothing and breaks nothing."""
    await filled(store)
    tab = made(store)
    found = await asked(tab, *filters)
    if count:
        assert f"<b>{count}</b><span>all votes" in found[tab.table]
    else:
        assert "No votes of this kind yet." in found[tab.lead]


async def test_cut_answers_and_accounts(store: VoteStore) -> None:
    """The two switches are rules: what they leave out stands in the funnel."""
    await filled(store)
    tab = made(store)
    found = await asked(tab, "", "", "", False, False)
    assert "an answer was cut off at its limit" in found[tab.table]
    found = await asked(tab, "", "", "", True, True)
    assert "the voter had not signed in" in found[tab.table]
    # The owner's rule holds whatever a browser sends.
    only = made(store, rules=Rules(not_signed_in=True))
    found = await asked(only, "", "", "", True, False)
    assert "the voter had not signed in" in found[only.table]


async def test_a_pair_is_shown_as_two(store: VoteStore) -> None:
    """A chosen pair gets the table of two, and stays chosen."""
    await filled(store)
    tab = made(store)
    report = await tab.cache.report(Rules())
    key = pair_key(report.met[0])
    found = await asked(tab, "", "", key, True, False)
    assert "Head to head" in found[tab.table]
    assert found[tab.pair]["value"] == key
    gone = await asked(tab, "", "", "somebody | else", True, False)
    assert gone[tab.pair]["value"] == ""


async def test_store_that_cannot_be_read_says_so(store: VoteStore) -> None:
    """The lead says what failed, and no old table stays."""
    tab = made(store)
    await store.aclose()
    found = await asked(tab)
    assert "could not be" in found[tab.lead] or "not be saved" in found[tab.lead]
    assert found[tab.table] == ""


async def test_votes_are_handed_out_as_a_file(store: VoteStore, tmp_path: Path) -> None:
    """The file has the chosen shape and format, or the default for a choice that is none."""
    await filled(store)
    tab = made(store, exports=PublicExports(store, on=True, folder=tmp_path))
    part = tab.export
    assert part is not None
    for shape, file_format, name in (
        ("dpo", "csv", "arena-votes-dpo.csv"),
        (["dpo"], {}, "arena-votes-arena.jsonl"),
        ("nonsense", "exe", "arena-votes-arena.jsonl"),
    ):
        found = await part.on_make(english(), shape, file_format)
        with zipfile.ZipFile(found[part.file]["value"]) as packed:
            assert packed.namelist() == [name, "README.md"]
            rows = packed.read(name).decode().splitlines()
    assert found[part.file]["visible"] is True
    assert "5 rows of 5 battles are ready." in found[part.note]
    assert len(rows) == 5
    assert {json.loads(row)["mode"] for row in rows} == {"blind", "open"}
    gone = part.on_choice()
    assert gone[part.file]["visible"] is False


async def test_votes_are_not_handed_out_unasked(store: VoteStore) -> None:
    """Without the owner's leave there is no part, and its handler refuses."""
    assert made(store).export is None
    tab = made(store, exports=PublicExports(store, on=True))
    assert tab.export is not None
    tab.export.exports.on = False
    found = await tab.export.on_make(english(), "arena", "jsonl")
    assert "does not offer its votes" in found[tab.export.note]
    assert found[tab.export.file]["visible"] is False
