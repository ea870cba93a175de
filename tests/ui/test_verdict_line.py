"""Whether a vote counts is said in the line of the result, before it and after it."""

from __future__ import annotations

from typing import Any

import pytest

from arena.battle.own_record import OwnRecord
from arena.domain import Winner
from arena.stats.filters import FilterReason
from arena.stats.verdict import Verdict
from arena.store.store import VoteStore
from arena.store.visitors import Tally
from arena.ui.i18n import LANGUAGES
from arena.ui.verdict_words import counting_line, record_line
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.ui.pages import REQUEST, OpenPage


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_can_be_said(language: str) -> None:
    """At each of its times, and none twice the same for two reasons."""
    for certain, cast in ((True, True), (True, False), (False, False)):
        said = [counting_line(Verdict(reason, certain, cast), language) for reason in FilterReason]
        assert all(said)
        assert len(set(said)) == len(said)
        assert not any("{" in line for line in said)


def test_before_a_vote_that_counts_nothing_is_said() -> None:
    """The vote's own question stands alone."""
    assert counting_line(None, "en") == ""
    assert counting_line(Verdict(None), "en") == ""
    assert counting_line(Verdict(None, cast=True), "en") == "This vote counts."


def test_the_own_record_in_words() -> None:
    """Every number has its noun; what is 0 is said, but for "both bad"."""
    record = OwnRecord("Phi-4-mini", Tally(4, 2, 1))
    assert record_line(record, "en") == "Your 7 votes: 4 wins for Phi-4-mini, 2 losses, 1 tie."
    assert record_line(record, "ja") == "あなたの 7 票: Phi-4-mini 4 勝 2 敗 1 分。"
    record = OwnRecord("Phi", Tally(1, 1, 0, 3))
    assert record_line(record, "en") == "Your 5 votes: 1 win for Phi, 1 loss, 0 ties, 3 both bad."
    assert record_line(record, "ja") == "あなたの 5 票: Phi 1 勝 1 敗 0 分 どちらも悪い 3。"
    assert record_line(None, "ja") == ""


def last(sent: Any, part: str) -> str:
    """What that component was last told."""
    return str([update[part] for _, update in sent if part in update][-1])


async def test_the_page_says_it_before_and_after(store: VoteStore) -> None:
    """The second vote on one question will not count, and does not."""
    models = (ScriptedModel("xylo", ANSWER), ScriptedModel("yuzu", ["So."]))
    page = OpenPage(arena_of(store, *models))
    sent = await page.read(page.send("Why?"))
    assert last(sent, "reveal") == "Which is better? You can also ask a follow-up."
    voted = await page.read(page.tab.vote_handler(Winner.TIE)(page.state, REQUEST))
    assert "This vote" in last(voted, "reveal")
    page.state.forget_battle()
    sent = await page.read(page.send("Why?"))
    told = "Will not count: you have judged this question and pair before."
    assert last(sent, "reveal").endswith(f"<small>{told}</small>")
    voted = await page.read(page.tab.vote_handler(Winner.TIE)(page.state, REQUEST))
    told = "This vote does not count: you judged this question and pair before."
    assert told in last(voted, "reveal")
    await page.arena.aclose()
