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
from arena.stats.outcomes import add_up, votes_of_pair
from tests.stats.arenas import ANY_TIME, NAMES, A, B, C, VoteRow, row, table_of

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
    found = add_up(table_of(rows))
    assert found.by_pair() == [((A, B), [2, 2, 1, 1]), ((A, C), [0, 1, 0, 0])]
    assert found.by_contestant() == {A: [2, 3, 1, 1], B: [2, 2, 1, 1], C: [1, 0, 0, 0]}


def test_only_those_with_votes_are_there() -> None:
    """Contestants and pairs without votes are left out."""
    table = table_of([row(), row(a=C, b=B), row(a=C, b=A)])
    found = add_up(table.take(np.array([False, True, False])))
    assert found.contestants == (B, C)
    assert found.by_pair() == [((B, C), [0, 1, 0, 0])]
    empty = add_up(table.take(np.zeros(3, np.bool_)))
    assert (empty.contestants, empty.by_pair()) == ((), [])
    assert add_up(table_of([])).by_pair() == []


@ANY_TIME
@given(VOTES, st.randoms(use_true_random=False), st.lists(st.booleans(), min_size=40, max_size=40))
def test_neither_order_nor_sides_matter(
    votes: list[tuple[list[int], Winner]], rng: random.Random, swap: list[bool]
) -> None:
    """Shuffled votes and swapped sides give the same counts."""
    other_side = {Winner.MODEL_A: Winner.MODEL_B, Winner.MODEL_B: Winner.MODEL_A}
    changed = [
        ((pair[1], pair[0]), other_side.get(winner, winner)) if swapped else (pair, winner)
        for (pair, winner), swapped in zip(votes, swap, strict=False)
    ]
    rng.shuffle(changed)
    one = add_up(table_of(rows_of(votes)))
    other = add_up(table_of(rows_of(changed)))
    assert one.by_pair() == other.by_pair()
    counted = Counter(
        (min(i, j), max(i, j), winner if i < j else other_side.get(winner, winner))
        for (i, j), winner in votes
    )
    for pair, counts in one.by_pair():
        i, j = map(NAMES.index, pair)
        assert counts == [counted[i, j, winner] for winner in Winner]


def test_the_votes_of_a_pair_seen_from_its_first() -> None:
    """Outcomes are those of the pair's first, whichever code is smaller."""
    rows = [row(a=C, b=A), row(Winner.MODEL_A), row(Winner.BOTH_BAD, a=B, b=A)]
    table = table_of(rows)
    places, outcome = votes_of_pair(table, (B, A))
    assert (places.tolist(), outcome.tolist()) == ([1, 2], [1, 3])
    nothing = votes_of_pair(table, None)
    assert (len(nothing[0]), len(nothing[1])) == (0, 0)
    with pytest.raises(ValueError, match="not in tuple"):
        votes_of_pair(table, (A, NAMES[5]))
