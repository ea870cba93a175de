"""What a browser may see before the vote."""

from __future__ import annotations

from arena.blind import SideFacts, even_chars, guess_choices, valid_guess, visible_side
from arena.domain import Mode, Side
from arena.errors.models import Overloaded
from tests.vote_samples import answer, battle, spec

FACTS = SideFacts(answer(), Overloaded("the provider's own words"), "1234", 0.5, 2.0)


def test_a_hidden_side_tells_nothing_but_the_id_of_its_error() -> None:
    """Before a blind vote a side has no contestant, numbers or error; with the vote it has all."""
    for side in Side:
        hidden = visible_side(battle(), side, FACTS, voted=False)
        assert hidden == (None, SideFacts(error_id="1234"))
    named = visible_side(battle("phi"), Side.A, FACTS, voted=True)
    assert named[0] == spec("phi")
    assert (named[1].error, named[1].error_id) == (FACTS.error, "")
    opened = battle(mode=Mode.OPEN)
    assert visible_side(opened, Side.B, FACTS, voted=False)[0] == opened.spec_b


def test_even_pace_stops_at_the_slower_side() -> None:
    """Texts grow by the clock, and never past one that is still being written."""
    assert even_chars(0.5, [200, 12]) == 12
    assert even_chars(0.5, [200]) == even_chars(0.5, []) == 30


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
