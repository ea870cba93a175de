"""Votes added up by pair."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Winner
from arena.stats.outcomes import (
    PairOutcomes,
    add_up,
    decisive_votes,
    outcomes_of,
    votes_of_pair,
)
from arena.stats.vote_table import VoteRow, VoteTable
from tests.stats.arenas import ANY_TIME, NAMES, A, B, C, row

VOTES = st.lists(
    st.tuples(st.permutations(range(4)).map(lambda p: p[:2]), st.sampled_from(Winner)), max_size=40
)


def rows_of(votes: Sequence[tuple[Sequence[int], Winner]]) -> list[VoteRow]:
    return [row(winner, a=NAMES[i], b=NAMES[j]) for (i, j), winner in votes]


def test_votes_by_hand() -> None:
    """Whoever sits left, a win of B over A is a win of B."""
    rows = [
        row(Winner.MODEL_A), row(Winner.MODEL_B), row(Winner.MODEL_A, a=B, b=A),
        row(Winner.MODEL_B, a=B, b=A), row(Winner.TIE), row(Winner.BOTH_BAD, a=B, b=A),
        row(Winner.MODEL_A, a=C, b=A), row(Winner.MODEL_A, a=A, b=A),
    ]  # fmt: skip
    found = add_up(VoteTable.from_rows(rows))
    assert found.listed() == (PairOutcomes(A, B, 2, 2, 1, 1), PairOutcomes(A, C, 0, 1, 0, 0))
    assert found.votes == 7
    assert found.pair(C, A) == PairOutcomes(C, A, 1, 0, 0, 0)
    assert found.pair(B, C) == PairOutcomes(B, C)
    assert found.busiest() == PairOutcomes(A, B, 2, 2, 1, 1)
    assert (found.listed()[0].decisive, found.listed()[0].votes) == (4, 6)


def test_only_those_with_votes_are_there() -> None:
    """A contestant whose votes were all taken out would be rated from nothing."""
    ballots = VoteTable.from_rows([row(), row(a=C, b=B), row(a=C, b=A)])
    found = add_up(ballots, np.array([False, True, False]))
    assert found.contestants == (B, C)
    assert found.listed() == (PairOutcomes(B, C, 0, 1),)
    empty = add_up(ballots, np.zeros(3, np.bool_))
    assert (empty.contestants, empty.listed(), empty.busiest(), empty.votes) == ((), (), None, 0)
    assert add_up(VoteTable.from_rows([])).listed() == ()


@ANY_TIME
@given(VOTES, st.randoms(use_true_random=False), st.lists(st.booleans(), min_size=40, max_size=40))
def test_neither_order_nor_sides_matter(
    votes: list[tuple[list[int], Winner]], rng: random.Random, swap: list[bool]
) -> None:
    """Everything else is computed from these counts, so what holds here holds for all of it."""
    other_side = {Winner.MODEL_A: Winner.MODEL_B, Winner.MODEL_B: Winner.MODEL_A}
    changed = [
        ((pair[1], pair[0]), other_side.get(winner, winner)) if swapped else (pair, winner)
        for (pair, winner), swapped in zip(votes, swap, strict=False)
    ]
    rng.shuffle(changed)
    one = add_up(VoteTable.from_rows(rows_of(votes)))
    other = add_up(VoteTable.from_rows(rows_of(changed)))
    assert one.listed() == other.listed()
    counted = Counter(
        (min(i, j), max(i, j), winner if i < j else other_side.get(winner, winner))
        for (i, j), winner in votes
    )
    for pair in one.listed():
        i, j = NAMES.index(pair.first), NAMES.index(pair.second)
        numbers = [counted[i, j, winner] for winner in Winner]
        assert [pair.wins_first, pair.wins_second, pair.ties, pair.both_bad] == numbers


@ANY_TIME
@given(VOTES)
def test_counts_from_elsewhere_are_the_same(votes: list[tuple[list[int], Winner]]) -> None:
    """A store that adds up by itself must get the same ratings."""
    found = add_up(VoteTable.from_rows(rows_of(votes)))
    again = outcomes_of([pair.swapped for pair in found.listed()])
    assert again.listed() == found.listed()
    doubled = outcomes_of([*found.listed(), *found.listed()])
    assert doubled.votes == 2 * found.votes


def test_counts_that_are_none_are_refused() -> None:
    """A negative count, or somebody against themselves, is a fault of whoever counted."""
    for bad in (PairOutcomes(A, B, -1), PairOutcomes(A, A, 1)):
        with pytest.raises(ValueError, match="not votes"):
            outcomes_of([bad])


def test_decisive_votes_know_their_sides() -> None:
    """Position is checked on these: a side mixed up turns a bias around."""
    rows = [row(Winner.TIE), row(Winner.MODEL_A), row(Winner.MODEL_A, a=B, b=A), row(a=A, b=A)]
    found = decisive_votes(VoteTable.from_rows(rows), None)
    assert found.rows.tolist() == [1, 2]
    assert found.first_won.tolist() == [True, False]
    assert found.first_left.tolist() == [True, False]
    assert found.left_won.tolist() == [True, True]


def test_the_votes_of_a_pair_seen_from_its_first() -> None:
    """Outcomes seen from the wrong one give the right number for the wrong model."""
    rows = [row(a=C, b=A), row(Winner.MODEL_A), row(Winner.BOTH_BAD, a=B, b=A)]
    ballots = VoteTable.from_rows(rows)
    assert votes_of_pair(ballots, None, None)[0] == (A, B)
    pair, places, outcome = votes_of_pair(ballots, None, (B, A))
    assert (pair, places.tolist(), outcome.tolist()) == ((B, A), [1, 2], [1, 3])
    nobody = votes_of_pair(ballots, np.zeros(3, np.bool_), None)
    assert (nobody[0], len(nobody[1]), len(nobody[2])) == (None, 0, 0)
