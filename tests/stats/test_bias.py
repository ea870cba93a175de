"""What else may have moved the votes: planted faults are found, absent ones are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.domain import Winner
from arena.stats.bias.base import CheckResult, CheckVerdict
from arena.stats.bias.drift import drift
from arena.stats.bias.guesses import guesses
from arena.stats.bias.length import length_bias
from arena.stats.bias.logistic import fit_logistic
from arena.stats.bias.position import position_bias
from arena.stats.bias.run import run_checks
from arena.stats.bias.voters import voter_concentration
from arena.stats.intervals import two_models
from arena.stats.vote_table import VoteFlag, VoteTable
from tests.stats.arenas import ANY_TIME, NAMES, A, B, C, Faults, VoteRow, draw_votes, row, table_of

TWO = np.array([0.5, -0.5])
FIVE = np.array([0.8, 0.2, 0.0, -0.3, -0.7])
# A left side that wins 55% of equals.
FIVE_POINTS = float(np.log(0.55 / 0.45))
PAIR = (A, B)


def seen_in(
    check: Callable[[VoteTable], CheckResult], arenas: int, votes: int, faults: Faults, seed: int
) -> float:
    """In how many simulated arenas the check sees something."""
    rng = np.random.default_rng(seed)
    drawn = (draw_votes(FIVE, votes, rng, faults=faults) for _ in range(arenas))
    return sum(check(table).verdict is CheckVerdict.SEEN for table in drawn) / arenas


@pytest.mark.parametrize(
    ("check", "faults"),
    [
        (position_bias, Faults(left=FIVE_POINTS)),
        (length_bias, Faults(length=0.3)),
    ],
)
def test_planted_faults_are_found_and_absent_ones_are_not(
    check: Callable[[VoteTable], CheckResult], faults: Faults
) -> None:
    """Five points for the left, or 0.3 log-odds a doubling, at 2,000 decisive votes.

    By the bench's figures of 400 arenas the power is 98% and 100%, the false alarms 5%.
    """
    assert seen_in(check, 60, 2000, faults, seed=1) >= 0.9
    assert seen_in(check, 100, 2000, Faults(), seed=2) <= 0.1


def test_drift_is_found_where_it_is() -> None:
    """A gain of 0.8 log-odds from the first vote to the last is seen; no gain is not."""
    rng = np.random.default_rng(3)

    def share(faults: Faults, arenas: int) -> float:
        found = [drift(draw_votes(TWO, 2000, rng, faults=faults), PAIR) for _ in range(arenas)]
        return sum(f.verdict is CheckVerdict.SEEN for f in found) / arenas

    assert share(Faults(drift=0.8), 60) >= 0.9
    assert share(Faults(), 100) <= 0.1


@pytest.mark.parametrize("votes", [40, 200])
def test_intervals_of_position_hold_the_truth(votes: int) -> None:
    """The interval holds a planted 55% in 93% of arenas at least, at few votes too."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        found = position_bias(draw_votes(TWO, votes, rng, faults=Faults(left=FIVE_POINTS)))
        assert found.between_equals is not None
        held += found.between_equals.holds(0.55)
    assert held / 300 >= 0.93


def test_position_by_hand() -> None:
    """One pair: A left wins 30 of 40, A right wins 10 of 20.

    The left's squared odds between equals are (30/10)·(10/10) = 3, so sqrt(3)/(1 + sqrt(3)) =
    0.6340. With one table the variance of ln 3 is 1/30 + 1/10 + 1/10 + 1/10 = 1/3.
    """
    rows = [row(Winner.MODEL_A)] * 30 + [row(Winner.MODEL_B)] * 10
    rows += [row(Winner.MODEL_B, a=B, b=A)] * 10 + [row(Winner.MODEL_A, a=B, b=A)] * 10
    found = position_bias(table_of([*rows, row(Winner.TIE), row(a=C, b=C)]))
    assert found.n == 60
    assert found.left_wins.value == pytest.approx(40 / 60)
    assert found.between_equals is not None
    odds = found.between_equals
    assert odds.value == pytest.approx(3**0.5 / (1 + 3**0.5))
    assert np.log(odds.high / (1 - odds.high)) == pytest.approx(
        np.log(3) / 2 + 1.959964 * (1 / 3) ** 0.5 / 2, rel=1e-6
    )
    assert found.verdict is CheckVerdict.NONE_SEEN


def test_a_strong_model_on_the_left_is_no_bias() -> None:
    """The left wins 70% because the better model sat there; between equals it wins half."""
    rows = [row(Winner.MODEL_A)] * 80 + [row(Winner.MODEL_B)] * 20
    rows += [row(Winner.MODEL_B, a=B, b=A)] * 16 + [row(Winner.MODEL_A, a=B, b=A)] * 4
    found = position_bias(table_of(rows))
    assert found.left_wins.low > 0.6
    assert found.between_equals is not None
    assert found.between_equals.value == pytest.approx(0.5)
    assert found.verdict is CheckVerdict.NONE_SEEN


def test_a_left_that_always_wins_is_seen() -> None:
    """A table with an empty cell gives a finite share, by half a vote in each cell."""
    rows = [row(Winner.MODEL_A), row(Winner.MODEL_A, a=B, b=A)] * 30
    found = position_bias(table_of(rows))
    assert found.verdict is CheckVerdict.SEEN
    assert found.between_equals is not None
    assert 0.8 < found.between_equals.low < 1.0


def test_sides_that_never_changed_say_nothing() -> None:
    """With A always left, the side cannot be told from the strength: there is no verdict."""
    found = position_bias(table_of([row(Winner.MODEL_A)] * 100))
    assert (found.verdict, found.between_equals, found.n) == (CheckVerdict.TOO_FEW, None, 100)


def test_a_long_writer_that_is_better_is_no_effect_of_length() -> None:
    """Where the stronger write longer, nothing is left with strength taken out."""
    table = draw_votes(FIVE, 4000, np.random.default_rng(8))
    found = length_bias(table)
    assert found.longer_wins.low > 0.5
    assert found.verdict is CheckVerdict.NONE_SEEN


def test_the_effect_of_length_is_a_doublings() -> None:
    """0.7 log-odds a doubling: the longer of two equals, at twice the length, wins 66.8%."""
    rng = np.random.default_rng(9)
    found = length_bias(draw_votes(FIVE, 20_000, rng, faults=Faults(length=0.7)))
    assert found.twice_as_long is not None
    assert found.twice_as_long.value == pytest.approx(0.668, abs=0.02)
    assert found.twice_as_long.holds(1 / (1 + np.exp(-0.7)))


def test_unknown_and_equal_lengths() -> None:
    """An empty or unknown length has no ratio, and equal ones have no longer answer."""
    rows = [row(chars_a=100.0, chars_b=50.0), row(Winner.MODEL_B, chars_a=100.0, chars_b=50.0)] * 30
    odd = [row(chars_a=0.0, chars_b=9.0), row(chars_b=9.0), row(chars_a=9.0, chars_b=9.0)]
    found = length_bias(table_of([*rows, *odd]))
    assert found.n == 61
    assert found.longer_wins.value == pytest.approx(0.5)
    same = length_bias(table_of([row(chars_a=9.0, chars_b=9.0)] * 80))
    assert (same.verdict, same.twice_as_long) == (CheckVerdict.TOO_FEW, None)


def test_one_voter_is_the_whole_result() -> None:
    """Twelve wins by one person are one opinion: the interval is as wide as one vote's."""
    found = voter_concentration(table_of([row()] * 12), PAIR)
    assert found.verdict is CheckVerdict.SEEN
    assert (found.voters, found.effective_voters, found.top_share) == (1, 1.0, 1.0)
    assert (found.lowest, found.highest) == (None, None)
    assert found.rate.low < 0.25


def test_a_result_that_hangs_on_one_voter_by_hand() -> None:
    """30 wins of one person beside 10:10 of twenty others: 40:10 with them, even without.

    Shares are 30/50 and twenty times 1/50: 1/(0.36 + 20·0.0004) = 2.717 effective voters.
    """
    rows = [row(voter="busy")] * 30
    for number in range(10):
        rows += [row(voter=f"x{number}"), row(Winner.MODEL_B, voter=f"y{number}")]
    found = voter_concentration(table_of(rows), PAIR)
    assert found.verdict is CheckVerdict.SEEN
    assert (found.n, found.voters, found.top_share) == (50, 21, 0.6)
    assert found.effective_voters == pytest.approx(1 / (0.36 + 20 * 0.0004))
    assert (found.lowest, found.highest) == pytest.approx((0.5, 40 / 49))
    assert found.rate.holds(0.5)
    assert not two_models(40, 10).rate.holds(0.5)


def test_many_voters_of_one_mind_are_no_concentration() -> None:
    """Twenty voters of a vote each are twenty effective voters, and the interval is Wilson's."""
    rows = [row(voter=f"v{n}") for n in range(15)]
    rows += [row(Winner.MODEL_B, voter=f"w{n}") for n in range(5)]
    found = voter_concentration(table_of(rows), PAIR)
    assert found.verdict is CheckVerdict.NONE_SEEN
    assert found.effective_voters == pytest.approx(20.0)
    assert found.rate.low == pytest.approx(two_models(15, 5).rate.low, abs=0.03)
    # All of one mind: no difference between voters to see, yet not wider than their number.
    sure = voter_concentration(table_of([row(voter=f"v{n}") for n in range(12)]), PAIR)
    assert sure.rate.low == pytest.approx(two_models(12, 0).rate.low)


def test_a_small_voter_is_not_busy_even_if_a_close_result_turns() -> None:
    """Two votes of 25, without which 15:5 is 13:5 and no longer decided: no concentration."""
    rows = [row(voter="two")] * 2 + [row(voter=f"v{n}") for n in range(13)]
    rows += [row(Winner.MODEL_B, voter=f"w{n}") for n in range(5)]
    rows += [row(Winner.TIE, voter=f"t{n}") for n in range(5)]
    found = voter_concentration(table_of(rows), PAIR)
    assert found.top_share == pytest.approx(2 / 25)
    assert two_models(13, 5, ties=5).verdict is not two_models(15, 5, ties=5).verdict
    assert found.verdict is CheckVerdict.NONE_SEEN


def test_the_busiest_voter_has_the_most_votes() -> None:
    """The busiest voter is who cast most votes, however much another one moves the rate."""
    rows = [row(voter="busy"), row(Winner.MODEL_B, voter="busy")] * 10
    rows += [row(voter="other")] * 5
    found = voter_concentration(table_of(rows), PAIR)
    assert found.top_share == pytest.approx(20 / 25)
    assert found.highest == 1.0


def test_busy_voters_of_equal_mind_widen_the_interval() -> None:
    """Ten people with ten votes each, all of one kind a person, count as ten votes."""
    rows = [
        row(Winner.MODEL_A if number < 7 else Winner.MODEL_B, voter=f"v{number}")
        for number in range(10)
        for _ in range(10)
    ]
    found = voter_concentration(table_of(rows), PAIR)
    ten = two_models(7, 3).rate
    assert found.rate.low == pytest.approx(ten.low, abs=0.04)
    assert found.rate.high == pytest.approx(ten.high, abs=0.04)


def test_drift_by_hand() -> None:
    """30 of 40 before, 10 of 40 after: -0.5; votes of other pairs and ties do not count."""
    rows = [
        row(Winner.MODEL_A if number % 4 else Winner.MODEL_B, cast_at=float(number))
        for number in range(40)
    ]
    rows += [
        row(Winner.MODEL_B if number % 4 else Winner.MODEL_A, cast_at=100.0 + number)
        for number in range(40)
    ]
    others = [row(a=A, b=C, cast_at=50.0)] * 30 + [row(Winner.TIE, cast_at=50.0)]
    found = drift(table_of([*rows, *others]), PAIR)
    assert (found.pair, found.n, found.boundary) == ((A, B), 80, 100.0)
    assert (found.before.value, found.after.value, found.change.value) == (0.75, 0.25, -0.5)
    assert found.change.high < -0.25
    assert found.verdict is CheckVerdict.SEEN
    turned = drift(table_of(rows), pair=(B, A))
    assert turned.change.value == 0.5


def test_votes_of_one_moment_have_no_halves() -> None:
    """Votes without different times are in one half: too few for a verdict."""
    found = drift(table_of([row()] * 50 + [row(Winner.MODEL_B)] * 50), PAIR)
    assert found.verdict is CheckVerdict.TOO_FEW


@pytest.mark.parametrize("votes", [0, 1, 9])
def test_too_few_votes_say_nothing(votes: int) -> None:
    """Every check needs more than nine votes for a verdict."""
    table = table_of([row(chars_a=9.0, chars_b=8.0, flags=VoteFlag.GUESSED_RIGHT)] * votes)
    for found in run_checks(table, PAIR if votes else None):
        assert found.verdict is CheckVerdict.TOO_FEW
        assert found.n <= votes


def test_every_check_has_a_name_of_its_own() -> None:
    """Names are the keys of JSON and texts, so no two checks share one."""
    found = run_checks(draw_votes(FIVE, 400, np.random.default_rng(1)), PAIR)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert all(check.needed > 0 and check.sentence for check in found)


SMALL = st.lists(
    st.builds(
        lambda sides, winner, voter, moment, chars: row(
            winner, a=NAMES[sides[0]], b=NAMES[sides[1]], voter=f"v{voter}",
            cast_at=float(moment), chars_a=chars, chars_b=100.0,
        ),
        st.permutations(range(3)),
        st.sampled_from(Winner),
        st.integers(0, 6),
        st.integers(0, 40),
        st.sampled_from([40.0, 100.0, 900.0]),
    ),
    min_size=30,
    max_size=60,
)  # fmt: skip


def mirrored(vote: VoteRow) -> VoteRow:
    """The same vote with the sides changed."""
    other = {Winner.MODEL_A: Winner.MODEL_B, Winner.MODEL_B: Winner.MODEL_A}
    return replace(
        vote, a=vote.b, b=vote.a, chars_a=vote.chars_b, chars_b=vote.chars_a,
        winner=other.get(vote.winner, vote.winner),
    )  # fmt: skip


@settings(ANY_TIME, max_examples=40)
@given(SMALL, st.randoms(use_true_random=False))
def test_order_changes_nothing_and_sides_only_the_position(
    rows: list[VoteRow], rng: random.Random
) -> None:
    """Shuffled votes give the same; mirrored sides mirror the position and nothing else."""
    shuffled = rows[:]
    rng.shuffle(shuffled)
    one, other = table_of(rows), table_of(shuffled)
    turned = table_of([mirrored(vote) for vote in rows])
    assert position_bias(one) == position_bias(other)
    pair = one.contestants[0], one.contestants[1]
    assert voter_concentration(one, pair) == voter_concentration(other, pair)
    assert voter_concentration(one, pair) == voter_concentration(turned, pair)
    assert drift(one, pair) == drift(other, pair) == drift(turned, pair)
    assert guesses(one) == guesses(other)
    straight, crossed = position_bias(one).between_equals, position_bias(turned).between_equals
    if straight is not None and crossed is not None and straight.value is not None:
        assert crossed.value == pytest.approx(1.0 - straight.value)
        assert crossed.low == pytest.approx(1.0 - straight.high)
    lengths = [length_bias(table).twice_as_long for table in (one, other, turned)]
    if lengths[0] is not None and lengths[1] is not None and lengths[2] is not None:
        assert lengths[0].value == pytest.approx(lengths[1].value, abs=1e-6)
        assert lengths[0].value == pytest.approx(lengths[2].value, abs=1e-6)


def test_the_regression_by_hand() -> None:
    """One column of ones and 30 of 40: ln 3, variance 1/30 + 1/10, but for the weak prior."""
    outcome = np.arange(40) < 30
    coefficients, covariance = fit_logistic(
        lambda begin, end: np.ones((end - begin, 1)), outcome, 1
    )
    assert coefficients[0] == pytest.approx(np.log(3), abs=0.03)
    assert covariance[0, 0] == pytest.approx(1 / 30 + 1 / 10, rel=0.05)


def test_a_separated_sample_stays_finite() -> None:
    """The prior keeps the effect finite where the longer answer always wins."""
    x = np.linspace(-3, 3, 100)
    coefficients, _ = fit_logistic(lambda begin, end: x[begin:end, None], x > 0, 1)
    assert 1.0 < coefficients[0] < 50.0


def test_blocks_are_one_sample() -> None:
    """More rows than a block holds give the same as all rows at once would."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    outcome = rng.random(100_000) < 1 / (1 + np.exp(-0.5 * x))
    coefficients, _ = fit_logistic(lambda begin, end: x[begin:end, None], outcome, 1)
    slope = float(coefficients[0])
    expected = 1 / (1 + np.exp(-slope * x))
    assert float(x @ (outcome - expected)) - slope / 2.5**2 == pytest.approx(0.0, abs=1e-4)
    assert slope == pytest.approx(0.5, abs=0.03)
