"""Votes added up by pair of contestants: all that ratings and comparisons need.

Sides and the order of the votes are gone here, so nothing that is computed from it
can depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from arena.domain import Winner
from arena.stats.vote_table import WINNERS, Codes, Contestant, Ints, VoteTable

Pair = tuple[Contestant, Contestant]

# Columns of every array of counts.
FIRST_WINS: Final = 0
SECOND_WINS: Final = 1
TIES: Final = 2
BOTH_BAD: Final = 3
# The same columns in their order as the second of a pair sees them.
_FROM_SECOND: Final = [SECOND_WINS, FIRST_WINS, TIES, BOTH_BAD]

# Outcome of a vote by its winner's code, when `a` is the first of the pair, and when it is not.
_STRAIGHT: Final = {Winner.MODEL_A: 0, Winner.MODEL_B: 1, Winner.TIE: 2, Winner.BOTH_BAD: 3}
_CROSSED: Final = {Winner.MODEL_A: 1, Winner.MODEL_B: 0, Winner.TIE: 2, Winner.BOTH_BAD: 3}
_OUTCOME: Final = np.array([[table[w] for w in WINNERS] for table in (_STRAIGHT, _CROSSED)])


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

    def by_pair(self) -> list[tuple[Pair, list[int]]]:
        """Every pair that has votes with its counts, in order."""
        pairs = [(self.contestants[i], self.contestants[j]) for i, j in self.pairs.tolist()]
        return list(zip(pairs, self.counts.tolist(), strict=True))

    def by_contestant(self) -> dict[Contestant, list[int]]:
        """Wins, losses, ties and both-bads of each contestant against all others."""
        found = np.zeros((len(self.contestants), 4), np.int64)
        np.add.at(found, self.pairs[:, 0], self.counts)
        np.add.at(found, self.pairs[:, 1], self.counts[:, _FROM_SECOND])
        return dict(zip(self.contestants, found.tolist(), strict=True))


def outcome_codes(votes: VoteTable) -> tuple[Codes, Codes, Codes]:
    """Per vote the smaller and the larger code of its contestants, and its outcome.

    Returns:
        Three arrays of shape (n,); the last has FIRST_WINS to BOTH_BAD.
    """
    crossed = votes.a > votes.b
    first = np.minimum(votes.a, votes.b)
    second = np.maximum(votes.a, votes.b)
    return first, second, _OUTCOME[crossed.astype(np.int8), votes.winner].astype(np.int32)


def add_up(votes: VoteTable) -> Outcomes:
    """Adds up votes by pair. A vote between a contestant and itself never counts."""
    size = len(votes.contestants)
    first, second, outcome = outcome_codes(votes)
    cells = ((first.astype(np.int64) * size + second) * 4 + outcome)[first != second]
    table = np.bincount(cells, minlength=size * size * 4).reshape(size * size, 4)
    # Only pairs and contestants that have votes, with new codes.
    met = np.flatnonzero(table.sum(axis=1))
    pairs = np.stack([met // max(size, 1), met % max(size, 1)], axis=1)
    kept, codes = np.unique(pairs, return_inverse=True)
    own: Codes = codes.reshape(pairs.shape).astype(np.int32)
    counts = table[met].astype(np.int64)
    for array in (own, counts):
        array.setflags(write=False)
    return Outcomes(tuple(votes.contestants[code] for code in kept.tolist()), own, counts)


def votes_of_pair(votes: VoteTable, pair: Pair | None) -> tuple[Ints, Ints]:
    """The votes of one pair; none of no pair.

    Returns:
        The rows of its votes, and their outcomes from FIRST_WINS to BOTH_BAD, seen from its first.

    Raises:
        ValueError: a contestant of the pair is not in the table.
    """
    if pair is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    i, j = (votes.contestants.index(who) for who in pair)
    first, second, outcome = outcome_codes(votes)
    rows = np.flatnonzero((first == min(i, j)) & (second == max(i, j)))
    seen = outcome[rows].astype(np.int64)
    return rows, seen if i < j else np.array(_FROM_SECOND)[seen]
