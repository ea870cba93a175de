"""Votes added up by pair of contestants: all that ratings and comparisons need.

Who sat on which side and which vote came first is gone here, so nothing that is computed from it
can depend on either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from arena.domain import Winner
from arena.stats.vote_table import WINNERS, Bools, Codes, Contestant, Ints, VoteTable

Pair = tuple[Contestant, Contestant]

# Columns of every array of counts.
FIRST_WINS: Final = 0
SECOND_WINS: Final = 1
TIES: Final = 2
BOTH_BAD: Final = 3

# Outcome of a vote by its winner's code, when `a` is the first of the pair, and when it is not.
_STRAIGHT: Final = {Winner.MODEL_A: 0, Winner.MODEL_B: 1, Winner.TIE: 2, Winner.BOTH_BAD: 3}
_CROSSED: Final = {Winner.MODEL_A: 1, Winner.MODEL_B: 0, Winner.TIE: 2, Winner.BOTH_BAD: 3}
_OUTCOME: Final = np.array([[table[w] for w in WINNERS] for table in (_STRAIGHT, _CROSSED)])


@dataclass(frozen=True, slots=True)
class PairOutcomes:
    """The votes between two contestants, whichever sides they had."""

    first: Contestant
    second: Contestant
    wins_first: int = 0
    wins_second: int = 0
    ties: int = 0
    both_bad: int = 0

    @property
    def decisive(self) -> int:
        """Votes for one of the two."""
        return self.wins_first + self.wins_second

    @property
    def votes(self) -> int:
        """Votes of any kind."""
        return self.decisive + self.ties + self.both_bad

    @property
    def swapped(self) -> PairOutcomes:
        """The same votes seen from the second."""
        return PairOutcomes(
            self.second, self.first, self.wins_second, self.wins_first, self.ties, self.both_bad
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The votes of an arena by pair.

    Attributes:
        contestants: those who have votes, in order; m of them.
        pairs: shape (k, 2), the pairs that have votes, as codes into contestants; the first of a
            pair is the smaller code, and pairs are in order.
        counts: shape (k, 4), how many votes each pair has: wins of the first, of the second, ties,
            both bad.
    """

    contestants: tuple[Contestant, ...]
    pairs: Codes
    counts: Ints

    @property
    def votes(self) -> int:
        """Votes of any kind."""
        return int(self.counts.sum())

    def listed(self) -> tuple[PairOutcomes, ...]:
        """Every pair that has votes, in order."""
        return tuple(
            PairOutcomes(self.contestants[i], self.contestants[j], *counts)
            for (i, j), counts in zip(self.pairs.tolist(), self.counts.tolist(), strict=True)
        )

    def pair(self, first: Contestant, second: Contestant) -> PairOutcomes:
        """The votes between two, seen from the first; zeros if they never met."""
        for found in self.listed():
            if (found.first, found.second) == (first, second):
                return found
            if (found.first, found.second) == (second, first):
                return found.swapped
        return PairOutcomes(first, second)

    def busiest(self) -> PairOutcomes | None:
        """The pair with the most votes, the first such in order; None without votes."""
        found = self.listed()
        return max(found, key=lambda pair: pair.votes) if found else None


def outcome_codes(ballots: VoteTable) -> tuple[Codes, Codes, Codes]:
    """Per vote the smaller and the larger code of its contestants, and who of them won.

    Returns:
        Three arrays of shape (n,); the last has FIRST_WINS to BOTH_BAD.
    """
    crossed = ballots.a > ballots.b
    first = np.minimum(ballots.a, ballots.b)
    second = np.maximum(ballots.a, ballots.b)
    return first, second, _OUTCOME[crossed.astype(np.int8), ballots.winner].astype(np.int32)


def add_up(ballots: VoteTable, mask: Bools | None = None) -> Outcomes:
    """Adds up votes by pair.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None. A vote between a contestant and itself
            never does.
    """
    counted = ballots.a != ballots.b
    if mask is not None:
        counted = counted & mask
    size = len(ballots.contestants)
    first, second, outcome = outcome_codes(ballots)
    cells = (first.astype(np.int64) * size + second) * 4 + outcome
    table = np.bincount(cells[counted], minlength=size * size * 4).reshape(size * size, 4)
    return _without_empty(ballots.contestants, table.astype(np.int64))


def outcomes_of(pairs: Iterable[PairOutcomes]) -> Outcomes:
    """The same from counts that somebody else added up; a pair may come more than once.

    Raises:
        ValueError: a negative count, or a contestant against itself.
    """
    listed = list(pairs)
    contestants = tuple(sorted({who for pair in listed for who in (pair.first, pair.second)}))
    place = {who: code for code, who in enumerate(contestants)}
    size = len(contestants)
    table = np.zeros((size * size, 4), np.int64)
    for pair in listed:
        counts = (pair.wins_first, pair.wins_second, pair.ties, pair.both_bad)
        if min(counts) < 0 or pair.first == pair.second:
            raise ValueError(f"not votes between two: {pair}")
        right = pair if pair.first < pair.second else pair.swapped
        row = place[right.first] * size + place[right.second]
        table[row] += (right.wins_first, right.wins_second, right.ties, right.both_bad)
    return _without_empty(contestants, table)


def _without_empty(contestants: tuple[Contestant, ...], table: npt.NDArray[np.int64]) -> Outcomes:
    """Only pairs and contestants that have votes, with new codes."""
    size = len(contestants)
    rows = np.flatnonzero(table.sum(axis=1))
    pairs = np.stack([rows // size, rows % size], axis=1) if size else np.zeros((0, 2), np.int64)
    kept, codes = np.unique(pairs, return_inverse=True)
    own: Codes = codes.reshape(pairs.shape).astype(np.int32)
    counts = table[rows]
    for array in (own, counts):
        array.setflags(write=False)
    return Outcomes(tuple(contestants[code] for code in kept.tolist()), own, counts)


@dataclass(frozen=True, slots=True, eq=False)
class DecisiveVotes:
    """Decisive votes between different contestants.

    Attributes:
        rows: their indices into the ballots.
        first, second: codes of the pair, the smaller first.
        first_won, first_left, left_won: what happened.
    """

    rows: Ints
    first: Ints
    second: Ints
    first_won: Bools
    first_left: Bools
    left_won: Bools


def decisive_votes(ballots: VoteTable, mask: Bools | None) -> DecisiveVotes:
    """Who won each decisive vote that counts, and on which side; `mask` has shape (n,)."""
    first, second, outcome = outcome_codes(ballots)
    counted = ((outcome == FIRST_WINS) | (outcome == SECOND_WINS)) & (first != second)
    if mask is not None:
        counted &= mask
    rows = np.flatnonzero(counted)
    first_won = outcome[rows] == FIRST_WINS
    first_left = ballots.a[rows] == first[rows]
    return DecisiveVotes(
        rows,
        first[rows].astype(np.int64),
        second[rows].astype(np.int64),
        first_won,
        first_left,
        first_won == first_left,
    )


def votes_of_pair(
    ballots: VoteTable, mask: Bools | None, pair: Pair | None
) -> tuple[Pair | None, Ints, Ints]:
    """The votes of one pair.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        pair: whom; the two with the most votes if None.

    Returns:
        The pair (None if there is none), the rows of its votes, and their outcomes from
        FIRST_WINS to BOTH_BAD, seen from its first.

    Raises:
        ValueError: the pair names somebody who is not in the ballots.
    """
    if pair is None:
        busiest = add_up(ballots, mask).busiest()
        if busiest is None:
            return None, np.zeros(0, np.int64), np.zeros(0, np.int64)
        pair = (busiest.first, busiest.second)
    i, j = (ballots.contestants.index(who) for who in pair)
    first, second, outcome = outcome_codes(ballots)
    counted = (first == min(i, j)) & (second == max(i, j))
    if mask is not None:
        counted &= mask
    rows = np.flatnonzero(counted)
    seen = outcome[rows].astype(np.int64)
    return pair, rows, seen if i < j else np.array([1, 0, 2, 3])[seen]
