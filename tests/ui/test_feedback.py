"""The voter's extra words: what the page offers, and what a click stores."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.request import BattleRequest
from arena.battle.session import BattleSession
from arena.domain import GenerationParams, Grade, Mode, Reason, Winner
from arena.errors.battle import NotYourBattle, VoteTooEarly
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from arena.ui.feedback import FeedbackPart, changed
from arena.ui.feedback_view import Feedback, feedback_html, guess_html
from arena.ui.page_state import PageState
from tests.scripted import ScriptedModel

VISITOR = Visitor("v" * 64)


def part_of(store: VoteStore) -> FeedbackPart:
    """The part, on an arena of two scripted models."""
    models = [ScriptedModel(name, [name]) for name in "xy"]
    registry = Registry([Entry(model.slug, model) for model in models])
    return FeedbackPart(Arena(registry, store, Limits(), rng=random.Random(7)))


async def played(part: FeedbackPart, state: PageState, mode: Mode = Mode.BLIND) -> BattleSession:
    """A finished battle of that state."""
    battle_request = BattleRequest(
        "Why?", mode, GenerationParams(), VISITOR, "tab", model_a="x", model_b="y"
    )
    session = await part.arena.begin(battle_request)
    async for _ in part.arena.snapshots(session):
        pass
    state.battle_id = session.battle.id
    return session


async def vote(part: FeedbackPart, state: PageState) -> None:
    """As the vote button does it."""
    await part.arena.vote(state.battle_id or "", Winner.TIE, VISITOR, state.feedback.guess)
    state.vote = Winner.TIE


async def test_each_click_is_stored_with_the_vote(store: VoteStore) -> None:
    """Each click after the vote is in the store, reasons in a fixed order."""
    part, state = part_of(store), PageState()
    await played(part, state)
    await part.click(state, VISITOR, "guess", "Y")
    await vote(part, state)
    for kind, value in (
        ("reason", "correct"), ("reason", "too_long"), ("reason", "clear"), ("reason", "correct"),
        ("grade_a", "good"), ("grade_b", "bad"), ("grade_b", "ok"), ("comment", "  nice  "),
    ):  # fmt: skip
        await part.click(state, VISITOR, kind, value)
    kept = await store.get_vote(state.battle_id or "")
    assert kept is not None
    assert kept.guess == "y"
    assert kept.reasons == (Reason.CLEAR, Reason.TOO_LONG)
    assert (kept.grade_a, kept.grade_b, kept.comment) == (Grade.GOOD, Grade.OK, "nice")
    assert kept.winner is Winner.TIE


async def test_a_guess_can_be_taken_back_and_is_none_by_default(store: VoteStore) -> None:
    """A second click takes a guess back."""
    part, state = part_of(store), PageState()
    await played(part, state)
    await part.click(state, VISITOR, "guess", "X")
    await part.click(state, VISITOR, "guess", "X")
    await vote(part, state)
    kept = await store.get_vote(state.battle_id or "")
    assert kept is not None
    assert kept.guess is None


async def test_what_comes_at_the_wrong_time_is_refused(store: VoteStore) -> None:
    """Reasons need a vote, a guess must come before it, and both must be the voter's own."""
    part, state = part_of(store), PageState()
    with pytest.raises(VoteTooEarly):
        await part.click(state, VISITOR, "reason", "correct")
    await played(part, state)
    with pytest.raises(VoteTooEarly):
        await part.click(state, VISITOR, "reason", "correct")
    assert state.feedback == Feedback()
    await vote(part, state)
    with pytest.raises(ValueError, match="guess"):
        await part.click(state, VISITOR, "guess", "X")
    with pytest.raises(NotYourBattle):
        await part.click(state, Visitor("w" * 64), "reason", "correct")


@pytest.mark.parametrize(
    ("kind", "value"),
    [("reason", "pretty"), ("grade_a", "great"), ("what", "x"), ("guess", "nobody")],
)
async def test_a_forged_click_is_refused(store: VoteStore, kind: str, value: str) -> None:
    """A kind or value that the page does not offer is refused."""
    part, state = part_of(store), PageState()
    await played(part, state)
    if kind != "guess":
        await vote(part, state)
    with pytest.raises(ValueError, match=r".+"):
        await part.click(state, VISITOR, kind, value)
    assert state.feedback == Feedback()


async def test_the_guess_tells_nothing_about_the_sides(store: VoteStore) -> None:
    """The offered guesses are the same with the sides swapped, and hold no ids."""
    part, state = part_of(store), PageState()
    state.language = "en"
    seen = set()
    for _ in range(6):
        session = await played(part, state)
        seen.add(part.shown(session.snapshot(), state))
    assert len(seen) == 1
    offered = seen.pop()
    assert 'data-value="X"' in offered
    assert 'data-value="x"' not in offered, "an id tells the engine behind a label"


async def test_open_and_single_battles_have_no_guess(store: VoteStore) -> None:
    """Where names are shown there is no guess."""
    part, state = part_of(store), PageState()
    session = await played(part, state, Mode.OPEN)
    assert part.shown(session.snapshot(), state) == ""
    assert part.shown(None, state) == ""


def test_texts_of_others_are_escaped() -> None:
    """A comment and a label are text, never markup."""
    evil = '<img src=x onerror="alert(1)">'
    assert "<img" not in feedback_html(Feedback(comment=evil), "en")
    assert "<img" not in guess_html([(evil, evil)], Feedback(), "ja")


def test_a_comment_has_an_end() -> None:
    """A comment is cut at its limit and can be emptied."""
    assert len(changed(Feedback(), "comment", "x" * 5000).comment) == 1000
    assert changed(replace(Feedback(), comment="a"), "comment", " ").comment == ""
