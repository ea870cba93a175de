"""Ratings: worked examples, what must not change them, and how often their intervals are right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Winner
from arena.stats.bradley_terry import covariance, fit
from arena.stats.outcomes import Outcomes, add_up
from arena.stats.ranking import POINTS, Ranking, Rating, components_of, rank
from arena.stats.vote_table import Contestant
from bench.bootstrap import percentiles, resampled
from tests.stats.arenas import (
    ANY_TIME,
    NAMES,
    UNBALANCED,
    A,
    B,
    C,
    draw_outcomes,
    met,
    outcomes_of,
    row,
    table_of,
)

D, E = NAMES[3:5]
TRUTH = np.array([0.9, 0.4, 0.0, -0.5, -0.8])

VOTES = st.lists(
    st.tuples(st.permutations(range(5)).map(lambda p: p[:2]), st.sampled_from(Winner)),
    min_size=1,
    max_size=40,
)


def of(ranking: Ranking, who: Contestant) -> Rating:
    return next(rating for rating in ranking.ratings if rating.contestant == who)


def points(ranking: Ranking, who: Contestant) -> float:
    value = of(ranking, who).rating.value
    assert value is not None
    return value


def outcomes_from(
    votes: Sequence[tuple[Sequence[int], Winner]], names: Sequence[Contestant]
) -> Outcomes:
    rows = [row(winner, a=names[i], b=names[j]) for (i, j), winner in votes]
    return add_up(table_of(rows))


def test_two_by_hand() -> None:
    """8 to 3 with one tie: half wins 8.5 to 3.5, and the prior's 0.5 each: odds 9/4.

    The difference is 400·log10(9/4) = 140.87 points, so 1070.44 and 929.56. Its variance: 13 votes
    at p = 9/13 have 13·(9/13)·(4/13) = 36/13; the tie takes off 1/4; (36/13 - 1/4)/(36/13)² is
    0.32851, so ±1.95996·0.57316·173.718/2 = ±97.57 for each.
    """
    found = rank(outcomes_of([met(A, B, 8, 3, 1)]))
    assert [rating.contestant for rating in found.ratings] == [A, B]
    assert points(found, A) == pytest.approx(1000 + 200 * math.log10(9 / 4))
    assert points(found, B) == pytest.approx(1000 - 200 * math.log10(9 / 4))
    half = 1.959964 * math.sqrt((36 / 13 - 1 / 4) / (36 / 13) ** 2) * POINTS / 2
    assert of(found, A).rating.high - points(found, A) == pytest.approx(half, rel=1e-5)
    rate = found.win_rates[0][1]
    assert rate is not None
    assert rate.value == pytest.approx(9 / 13)
    apart = 1.959964 * math.sqrt((36 / 13 - 1 / 4) / (36 / 13) ** 2)
    ends = [1 / (1 + 4 / 9 * math.exp(sign * apart)) for sign in (1, -1)]
    assert [rate.low, rate.high] == pytest.approx(ends, abs=1e-6)
    assert found.comparable


def test_three_in_a_chain_by_hand() -> None:
    """A-B 7.5 to 2.5 and B-C 6 to 2 with the prior's: a chain has no pair to contradict another.

    The prior has 2 votes, one a pair: 8/3 and 6.5/2.5. So A - B = 400·log10(8/3) and
    B - C = 400·log10(2.6), whatever the third pair would have said.
    """
    found = rank(outcomes_of([met(A, B, 7, 2, 1), met(B, C, 6, 2)]))
    assert points(found, A) - points(found, B) == pytest.approx(400 * math.log10(8 / 3))
    assert points(found, B) - points(found, C) == pytest.approx(400 * math.log10(6.5 / 2.5))
    odds = (8 / 3) * 2.6
    chance = found.win_rates[0][2]
    assert chance is not None
    assert chance.value == pytest.approx(odds / (1 + odds))


def test_twelve_to_nothing_is_finite_and_wide() -> None:
    """The prior makes the odds 12.5 to 0.5: finite, with a wide interval, and marked."""
    found = rank(outcomes_of([met(A, B, 12, 0)]))
    assert points(found, A) - points(found, B) == pytest.approx(400 * math.log10(25))
    rate = found.win_rates[0][1]
    assert rate is not None
    assert rate.low < 0.8
    assert 0.99 < rate.high < 1.0
    assert all(rating.held_by_prior and rating.approximate for rating in found.ratings)
    assert found.approximate
    turned = rank(outcomes_of([met(A, B, 0, 12)]))
    assert points(turned, B) == pytest.approx(points(found, A))


def test_only_ties_are_equals_with_some_width() -> None:
    """Ties alone give equal ratings whose intervals have a width."""
    found = rank(outcomes_of([met(A, B, 0, 0, ties=12), met(B, C, 0, 0, ties=9)]))
    assert [points(found, who) for who in (A, B, C)] == pytest.approx([1000.0] * 3)
    assert all(r.rating.high - r.rating.low > 20 for r in found.ratings)
    assert {(r.best_rank, r.worst_rank) for r in found.ratings} == {(1, 3)}


def test_both_bad_is_half_a_win_for_each() -> None:
    """12 both-bads beside 9 to 3 are 15 to 9, and the prior's half: odds 15.5 to 9.5."""
    found = rank(outcomes_of([met(A, B, 9, 3, 0, 12)]))
    assert points(found, A) - points(found, B) == pytest.approx(400 * math.log10(15.5 / 9.5))


def test_groups_that_never_met_are_not_compared() -> None:
    """Each group has the mean 1000 and its own ranks; there is no win rate between them."""
    found = rank(outcomes_of([met(A, C, 20, 10), met(B, D, 3, 30), met(B, E, 5, 9)]))
    assert found.components == ((D, E, B), (A, C))
    assert not found.comparable
    assert {r.contestant: r.component for r in found.ratings} == {B: 0, D: 0, E: 0, A: 1, C: 1}
    for group in found.components:
        assert np.mean([points(found, who) for who in group]) == pytest.approx(1000.0)
    place = {rating.contestant: number for number, rating in enumerate(found.ratings)}
    assert found.win_rates[place[A]][place[B]] is None
    assert found.win_rates[place[C]][place[A]] is not None
    assert max(r.worst_rank for r in found.ratings if r.component == 1) <= 2
    alone = rank(outcomes_of([met(A, C, 20, 10)]))
    assert points(found, A) == pytest.approx(points(alone, A))


def test_no_votes_no_ratings() -> None:
    """No votes give an empty ranking."""
    found = rank(outcomes_of([]))
    assert (found.ratings, found.win_rates, found.components) == ((), (), ())
    assert found.comparable
    assert not found.approximate


def test_ranks_say_what_is_not_ruled_out() -> None:
    """Two that cannot be told apart share ranks 1 to 2; the third, far below, is 3 alone."""
    found = rank(
        outcomes_of(
            [
                met(A, B, 52, 48),
                met(A, C, 190, 10),
                met(B, C, 188, 12),
            ]
        )
    )
    ranks = {r.contestant: (r.best_rank, r.worst_rank) for r in found.ratings}
    assert ranks == {A: (1, 2), B: (1, 2), C: (3, 3)}
    assert not found.approximate


def test_a_long_chain_of_one_sided_pairs() -> None:
    """In a chain each link is its own odds, however far the fit has to go."""
    names = [Contestant(f"link-{number:02}", "") for number in range(20)]
    scores = [(10 ** (number % 6), 10 ** (5 * number % 7)) for number in range(19)]
    links = list(zip(names, names[1:], scores, strict=False))
    found = rank(outcomes_of(met(a, b, *score) for a, b, score in links))
    for one, other, (won, lost) in links:
        gap = points(found, one) - points(found, other)
        assert gap == pytest.approx(400 * math.log10((won + 0.5) / (lost + 0.5)), abs=1e-6)


@ANY_TIME
@given(VOTES, st.randoms(use_true_random=False), st.lists(st.booleans(), min_size=40, max_size=40))
def test_neither_order_nor_sides_change_anything(
    votes: list[tuple[list[int], Winner]], rng: object, swap: list[bool]
) -> None:
    """Shuffled votes and swapped sides give the same ranking to the bit."""
    other_side = {Winner.MODEL_A: Winner.MODEL_B, Winner.MODEL_B: Winner.MODEL_A}
    changed = [
        ((pair[1], pair[0]), other_side.get(winner, winner)) if swapped else (pair, winner)
        for (pair, winner), swapped in zip(votes, swap, strict=False)
    ]
    rng.shuffle(changed)  # type: ignore[attr-defined]
    assert rank(outcomes_from(votes, NAMES)) == rank(outcomes_from(changed, NAMES))


@ANY_TIME
@given(VOTES, st.permutations(range(5)))
def test_names_change_nothing_but_names(
    votes: list[tuple[list[int], Winner]], order: list[int]
) -> None:
    """Renamed contestants keep their ratings."""
    renamed = [NAMES[place] for place in order]
    one, other = rank(outcomes_from(votes, NAMES)), rank(outcomes_from(votes, renamed))
    new = {NAMES[place]: renamed[place] for place in range(5)}
    assert len(one.ratings) == len(other.ratings)
    assert {frozenset(map(new.__getitem__, group)) for group in one.components} == set(
        map(frozenset, other.components)
    )
    for rating in one.ratings:
        same = of(other, new[rating.contestant])
        pairs = zip(
            (rating.rating.value, rating.rating.low, rating.rating.high),
            (same.rating.value, same.rating.low, same.rating.high),
            strict=True,
        )
        assert all(a == pytest.approx(b, abs=1e-6) for a, b in pairs)
        assert rating.held_by_prior == same.held_by_prior


@ANY_TIME
@given(VOTES)
def test_every_rating_is_finite_and_within_its_interval(
    votes: list[tuple[list[int], Winner]],
) -> None:
    """Any votes give finite ratings inside their intervals, and win rates that mirror."""
    found = rank(outcomes_from(votes, NAMES))
    for rating in found.ratings:
        value, low, high = rating.rating.value, rating.rating.low, rating.rating.high
        assert value is not None
        assert -9000 < low < value < high < 11_000
        assert 1 <= rating.best_rank <= rating.worst_rank <= len(found.ratings)
    for i, line in enumerate(found.win_rates):
        for j, rate in enumerate(line):
            back = found.win_rates[j][i]
            assert (rate is None) == (back is None)
            if rate is not None and back is not None:
                assert rate.value is not None
                assert back.value == pytest.approx(1 - rate.value)
                assert back.low == pytest.approx(1 - rate.high)
                assert 0.0 < rate.low <= rate.value <= rate.high < 1.0


def covered(votes: int, ties: float, arenas: int, seed: int) -> tuple[float, float]:
    """How often the intervals of five hold the truth, and the share marked as approximate."""
    rng = np.random.default_rng(seed)
    truth = TRUTH - TRUTH.mean()
    held, marked, all_ratings = 0, 0, 0
    for _ in range(arenas):
        found = rank(draw_outcomes(truth, votes, rng, ties=ties, weights=UNBALANCED))
        if len(found.ratings) < 5 or not found.comparable:
            continue
        for rating in found.ratings:
            true = 1000 + POINTS * truth[NAMES.index(rating.contestant)]
            held += rating.rating.holds(true)
            marked += rating.approximate
            all_ratings += 1
    assert all_ratings > 4 * arenas
    return held / all_ratings, marked / all_ratings


@pytest.mark.parametrize("votes", [50, 100, 500, 2000])
@pytest.mark.parametrize("ties", [0.0, 0.3])
def test_intervals_hold_the_truth(votes: int, ties: float) -> None:
    """Five contestants, one pair met ten times as often as another: 93% at least, from 50 votes on.

    The percentile bootstrap has 89 to 93% at such numbers.
    """
    share, marked = covered(votes, ties, arenas=150, seed=votes)
    assert 0.93 <= share <= 0.995
    assert (marked > 0.1) == (votes == 50)


def test_the_bootstrap_agrees_where_there_are_votes() -> None:
    """5,000 votes: percentiles of resamples are as wide as the formula's intervals, within 10%."""
    votes = draw_outcomes(TRUTH, 5000, np.random.default_rng(5), weights=UNBALANCED)
    (component,) = components_of(votes)
    drawn = resampled(component)
    np.testing.assert_allclose(drawn.sum(axis=1), 0.0, atol=1e-9)
    strengths = fit(component.wins()[None])[0]
    spread = covariance(component.wins(), component.ties(), strengths)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(spread.diagonal()), rtol=0.1)
    np.testing.assert_allclose(drawn.mean(axis=0), strengths, atol=0.01)
    low, high = percentiles(drawn)
    found = rank(votes)
    for code, name in enumerate(votes.contestants):
        rating = of(found, name).rating
        width = rating.high - rating.low
        assert POINTS * (high[code] - low[code]) == pytest.approx(width, rel=0.1)


def test_every_resample_has_the_prior() -> None:
    """12 wins of 12: each resample is the same votes, so each is the shown 12.5 to 0.5."""
    (component,) = components_of(outcomes_of([met(A, B, 12, 0)]))
    shown = fit(np.array([[[0.0, 12.5], [0.5, 0.0]]]))[0]
    np.testing.assert_allclose(resampled(component, 5), np.tile(shown, (5, 1)), atol=1e-9)
