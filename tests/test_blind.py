"""What a browser may see before the vote."""

from __future__ import annotations

from itertools import product

import pytest

from arena.blind import (
    HOLD_S,
    Held,
    Phase,
    SideFacts,
    Trouble,
    guess_choices,
    shared_phase,
    trouble_of,
    valid_guess,
    visible_side,
)
from arena.domain import Mode, Side
from arena.errors.base import ArenaError
from arena.errors.models import Overloaded
from tests.vote_samples import answer, battle, spec

FACTS = SideFacts(answer(), Overloaded("the provider's own words"), 0.5, 2.0)


def test_a_hidden_side_tells_nothing() -> None:
    """Before a blind vote a side has no contestant, numbers or error; with the vote it has all."""
    for side in Side:
        hidden = visible_side(battle(), side, FACTS, voted=False)
        assert hidden == (None, SideFacts())
    named = visible_side(battle("phi"), Side.A, FACTS, voted=True)
    assert named[0] == spec("phi")
    assert named[1] == FACTS
    opened = battle(mode=Mode.OPEN)
    assert visible_side(opened, Side.B, FACTS, voted=False)[0] == opened.spec_b


def test_the_guess_offers_the_pool_in_an_order_that_says_nothing() -> None:
    """The choices are those of the whole pool by label, in whatever order they are drawn."""
    pool = [spec("phi"), spec("gemini"), spec("aya")]
    assert guess_choices(pool) == guess_choices(reversed(pool))
    assert [label for label, _ in guess_choices(pool)] == ["Aya", "Gemini", "Phi"]


def test_a_guess_at_a_third_contestant_is_left_out() -> None:
    """Only a guess at one of the two is kept; another one is no error, which would tell the two."""
    fought = battle("phi", "gemini")
    assert [valid_guess(fought, who) for who in ("phi", "gemini", "aya", None)] == [
        "phi", "gemini", None, None,
    ]  # fmt: skip


def test_both_sides_have_one_phase() -> None:
    """It is the same whichever side is in which phase, and never ends before both have."""
    for one, other in product(Phase, Phase):
        for written in (False, True):
            shared = shared_phase((one, other), written=written)
            assert shared is shared_phase((other, one), written=written)
            busy = {one, other} & {Phase.WAITING, Phase.WRITING}
            assert bool(busy) == (shared in {Phase.WAITING, Phase.WRITING})
    assert shared_phase([Phase.DONE, Phase.WAITING], written=False) is Phase.WAITING
    assert shared_phase([Phase.DONE, Phase.FAILED], written=True) is Phase.FAILED
    assert shared_phase([Phase.DONE, Phase.DONE], written=True) is Phase.DONE


def error_types(kind: type[ArenaError] = ArenaError) -> list[type[ArenaError]]:
    """That error and all below it."""
    return [kind, *(one for below in kind.__subclasses__() for one in error_types(below))]


@pytest.mark.parametrize("kind", error_types())
def test_every_error_is_a_trouble(kind: type[ArenaError]) -> None:
    """No error is without a sentence, and none opens the vote."""
    failed = answer("half", reason="error", error_code=kind.code)
    assert trouble_of(failed) in set(Trouble) - {Trouble.STOPPED}


def test_an_answer_that_can_be_judged_is_no_trouble() -> None:
    """Blocked, stopped, empty and missing answers are; others are not."""
    assert trouble_of(answer()) is trouble_of(answer(reason="length")) is None
    assert trouble_of(answer("part", reason="blocked")) is Trouble.DECLINED
    assert trouble_of(answer("part", reason="cancelled")) is trouble_of(None) is Trouble.STOPPED
    assert trouble_of(answer(" ")) is Trouble.EMPTY


def test_a_change_is_held_back_while_a_battle_that_may_have_made_it_is_hidden() -> None:
    """It shows when those battles have their votes, never sooner; later battles don't count."""
    status = Held("ready")
    assert status.see("ready", frozenset("ab"), 0.0) == "ready"
    assert status.see("down", frozenset("ab"), 1.0) == "ready"
    assert status.see("loading", frozenset("bc"), 2.0) == "ready"
    assert status.see("loading", frozenset("c"), 3.0) == "loading"
    # Back where it was: nothing was to be seen.
    assert status.see("down", frozenset("c"), 4.0) == "loading"
    assert status.see("loading", frozenset("c"), 5.0) == "loading"
    assert status.see("down", frozenset(), 6.0) == "down"


def test_a_page_that_never_votes_does_not_hold_a_change_for_ever() -> None:
    """After `HOLD_S` the change shows."""
    status = Held("ready")
    assert status.see("down", frozenset("a"), 10.0) == "ready"
    assert status.see("down", frozenset("a"), 9.9 + HOLD_S) == "ready"
    assert status.see("down", frozenset("a"), 10.0 + HOLD_S) == "down"
