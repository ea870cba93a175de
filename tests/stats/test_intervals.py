"""Rates, tests and the summary of two contestants: coverage is summed exactly, nothing is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from arena.stats.intervals import (
    Verdict,
    binomial_p,
    decisive_votes_needed,
    difference,
    p_any_time,
    score_interval,
    two_models,
    wilson,
)
from arena.stats.vote_table import Floats
from tests.stats.arenas import ANY_TIME

RATES = np.linspace(0.1, 0.9, 161)
COUNTS = st.integers(0, 400)


def coverage(trials: int, rates: Floats = RATES) -> Floats:
    """How often the interval of the summary holds each true rate: a sum over all outcomes."""
    wins = np.arange(trials + 1)
    found = [two_models(int(k), trials - int(k)).rate for k in wins]
    low, high = np.array([f.low for f in found]), np.array([f.high for f in found])
    held = (low[:, None] <= rates) & (rates <= high[:, None])
    return np.asarray((stats.binom.pmf(wins[:, None], trials, rates) * held).sum(axis=0))


@pytest.mark.parametrize("trials", [8, 12, 20, 50, 100, 500])
def test_wilson_holds_what_it_promises(trials: int) -> None:
    """Coverage of rates from 0.1 to 0.9 is 93 to 97% on average, and never below 91%."""
    covered = coverage(trials)
    assert 0.93 <= covered.mean() <= 0.97
    assert covered.min() >= 0.91


def test_wilson_by_hand() -> None:
    """0 of 12 is (0, z²/(12 + z²)) with z = 1.96: 3.8415/15.8415 = 0.2425. Others: no width."""
    none = wilson(0, 12)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.24249, abs=1e-5)
    every = wilson(12, 12)
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(1 - 0.24249, abs=1e-5)
    # 7 of 12: middle (0.58333 + 0.16006)/1.32012 = 0.56313, half width 0.24361.
    seven = wilson(7, 12)
    assert (seven.low, seven.high) == pytest.approx((0.31951, 0.80674), abs=1e-5)


@pytest.mark.parametrize("trials", [1, 2, 3, 7, 49, 1000, 999_999])
def test_nothing_won_is_nothing_to_the_last_bit(trials: int) -> None:
    """The interval of no wins starts at 0 exactly, and that of wins only ends at 1."""
    assert wilson(0, trials).low == 0.0
    assert wilson(trials, trials).high == 1.0


def test_nothing_is_known_without_trials() -> None:
    """Without trials there is no value, and the interval is the widest."""
    for found in (wilson(0, 0), score_interval(None, 0.0)):
        assert (found.value, found.low, found.high) == (None, 0.0, 1.0)
    nothing = difference(0, 0, 3, 5)
    assert (nothing.value, nothing.low, nothing.high) == (None, -1.0, 1.0)


@ANY_TIME
@given(COUNTS, COUNTS)
def test_wilson_is_scipys_and_mirrors(wins: int, losses: int) -> None:
    """The interval is SciPy's, and 3 of 12 for one is 9 of 12 for the other."""
    one, other = wilson(wins, wins + losses), wilson(losses, wins + losses)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert one.low < one.high
    if wins + losses:
        peer = stats.binomtest(wins, wins + losses).proportion_ci(method="wilson")
        assert (one.low, one.high) == pytest.approx((peer.low, peer.high), abs=1e-9)
        assert one.value is not None
        assert one.holds(one.value)


def test_difference_by_hand() -> None:
    """Newcombe (1998), Table II, row (a): 56/70 - 48/80 is 0.2 with 0.0524 to 0.3339."""
    found = difference(48, 80, 56, 70)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize("votes", [1, 2, 5, 12, 13, 999, 1000, 100_000, 1_000_000])
def test_the_exact_test_is_scipys(votes: int) -> None:
    """The p-value is SciPy's, from one vote to a million."""
    for wins in {0, votes // 3, votes * 499 // 1000, votes // 2, votes}:
        expected = stats.binomtest(wins, votes).pvalue
        assert binomial_p(wins, votes) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_the_exact_test_by_hand() -> None:
    """12 of 12 is 2/4096; 5 of 5 is 2/32, so five votes never decide; 6 of 12 is 1."""
    assert binomial_p(12, 12) == pytest.approx(2 / 4096)
    assert binomial_p(0, 5) == pytest.approx(2 / 32)
    assert binomial_p(6, 12) == 1.0
    assert binomial_p(0, 0) == 1.0


@pytest.mark.parametrize("votes", [6, 12, 50, 333])
def test_equals_are_called_different_in_five_per_cent_at_most(votes: int) -> None:
    """Summed over all outcomes between equals, a winner is named in 5% at most."""
    wins = np.arange(votes + 1)
    decided = [
        two_models(int(k), votes - int(k)).verdict in (Verdict.FIRST, Verdict.SECOND) for k in wins
    ]
    assert float(stats.binom.pmf(wins, votes, 0.5)[decided].sum()) <= 0.05


def test_looking_after_every_vote() -> None:
    """Whoever looks after each of 300 votes finds equals different in 32%, by one p-value.

    Exact, by walking through all counts; with `p_any_time` it stays below 5%.
    """
    for p_of, least, most in ((binomial_p, 0.25, 0.35), (p_any_time, 0.0, 0.05)):
        alive, caught = np.array([1.0]), 0.0
        for votes in range(1, 301):
            alive = np.convolve(alive, [0.5, 0.5])
            stop = np.array([p_of(k, votes) <= 0.05 for k in range(votes + 1)])
            caught += float(alive[stop].sum())
            alive = np.where(stop, 0.0, alive)
        assert least <= caught <= most


@pytest.mark.parametrize("rate", [0.51, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.95, 1.0])
def test_the_votes_needed_have_the_promised_power(rate: float) -> None:
    """After so many votes the test decides in 80% of cases; summed over all outcomes."""
    votes = decisive_votes_needed(rate)
    wins = np.arange(votes + 1)
    decided = 2 * stats.binom.cdf(np.minimum(wins, votes - wins), votes, 0.5) <= 0.05
    power = float(stats.binom.pmf(wins, votes, rate)[decided].sum())
    assert power >= 0.795
    if rate <= 0.7:
        assert power <= 0.84
    assert decisive_votes_needed(1.0 - rate) == votes


def test_the_votes_needed_by_hand() -> None:
    """Rate 0.6: m = ((1.95996/2 + 0.84162·0.48990)/0.1)² = 193.85; n = 48.46·2.0503² = 203.7.

    Rate 1: m = (0.97998/0.5)² = 3.8415, n = 0.96036·2.4287² = 5.66, and six wins of six are the
    first that decide.
    """
    assert decisive_votes_needed(0.6) == 204
    assert decisive_votes_needed(1.0) == 6
    with pytest.raises(ValueError, match="one half"):
        decisive_votes_needed(0.5)


def test_twelve_to_nothing() -> None:
    """Twelve wins of twelve have an interval with a width, and a verdict."""
    lost = two_models(0, 12)
    assert lost.verdict is Verdict.SECOND
    assert lost.p_value == pytest.approx(2 / 4096)
    assert lost.rate.high == pytest.approx(0.24249, abs=1e-5)
    assert lost.more_votes == 0
    won = two_models(12, 0)
    assert won.verdict is Verdict.FIRST
    assert won.rate.low == pytest.approx(1 - lost.rate.high)


def test_a_summary_by_hand() -> None:
    """7 to 5 with 2 ties and 1 both-bad: 12 of 15 votes are decisive, the rate is 7/12.

    d = 1/12, m = ((0.97998 + 0.84162·0.49301)/0.083333)² = 280.2; n = 292.07 up to 293; so 281 more
    decisive votes, which are 281·15/12 = 351.25 up to 352 votes.
    """
    found = two_models(7, 5, ties=2, both_bad=1)
    assert (found.decisive, found.votes) == (12, 15)
    assert found.rate.value == pytest.approx(7 / 12)
    assert found.tie_rate.value == pytest.approx(2 / 15)
    assert found.both_bad_rate.value == pytest.approx(1 / 15)
    assert found.p_value == pytest.approx(3172 / 4096)
    assert found.verdict is Verdict.NOT_SEPARATED
    assert found.more_votes == 352


def test_what_cannot_be_said_is_not_said() -> None:
    """No votes, ties alone, and an even score have no number of votes that would separate them."""
    nothing, ties, even = two_models(0, 0), two_models(0, 0, ties=12), two_models(6, 6, ties=3)
    assert [found.more_votes for found in (nothing, ties, even)] == [None, None, None]
    assert nothing.verdict is ties.verdict is Verdict.NO_VOTES
    assert even.verdict is Verdict.NOT_SEPARATED
    assert ties.rate.value is None
    assert ties.tie_rate.value == 1.0
    assert ties.tie_rate.low > 0.75


@ANY_TIME
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_second_sees_the_same(wins: int, losses: int, ties: int, bad: int) -> None:
    """With first and second swapped only the sides of the numbers change."""
    one, other = two_models(wins, losses, ties, bad), two_models(losses, wins, ties, bad)
    mirrored = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
    assert other.verdict is mirrored.get(one.verdict, one.verdict)
    assert (one.p_value, one.p_any_time) == pytest.approx((other.p_value, other.p_any_time))
    assert one.more_votes == other.more_votes
    assert (one.tie_rate, one.both_bad_rate) == (other.tie_rate, other.both_bad_rate)


@ANY_TIME
@given(st.integers(0, 150), st.integers(0, 150), st.integers(0, 50))
def test_more_votes_are_needed_exactly_where_nothing_is_decided(w: int, b: int, t: int) -> None:
    """More votes are needed where there is no verdict, except at an even score."""
    found = two_models(w, b, ties=t)
    if found.verdict in (Verdict.FIRST, Verdict.SECOND):
        assert found.more_votes == 0
        assert not found.rate.holds(0.5)
    elif found.more_votes is not None:
        assert found.more_votes >= 1
    else:
        assert w == b


def test_impossible_counts_are_refused() -> None:
    """Negative counts and more wins than votes are errors."""
    for bad in ((-1, 0, 0, 0), (0, 0, -1, 0), (3, 2, 0, -5)):
        with pytest.raises(ValueError, match="negative"):
            two_models(*bad)
    for function in (wilson, binomial_p, p_any_time):
        with pytest.raises(ValueError, match="not a share"):
            function(3, 2)


def test_the_any_time_p_by_hand() -> None:
    """12 of 12: 2^12·B(13, 1) = 4096/13 = 315.1, so p = 1/315.1 = 0.00317."""
    assert p_any_time(12, 12) == pytest.approx(13 / 4096)
    assert p_any_time(6, 12) == 1.0
    assert math.isfinite(p_any_time(1_000_000, 1_000_000))
