"""Does the left side win too often, whichever model sits there?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from arena.stats.bias.base import CheckResult, share_of, verdict_on
from arena.stats.intervals import Estimate, Z, wilson
from arena.stats.outcomes import FIRST_WINS, SECOND_WINS, outcome_codes
from arena.stats.vote_table import Floats, VoteTable

FEWEST: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBias(CheckResult):
    """Whether the left side wins too often.

    Attributes:
        n: decisive votes.
        left_wins: share of them that the left won.
        between_equals: share that the left would win of equals, with the strengths taken out; None
            if no contestant changed sides, since the side can then not be told from the strength.
    """

    name: ClassVar = "position"
    needed: ClassVar = FEWEST
    pictured: ClassVar = "between_equals"

    left_wins: Estimate
    between_equals: Estimate | None

    @property
    def sentence(self) -> str:
        """That no contestant changed sides is no matter of how many votes there are."""
        return "no_sides" if self.between_equals is None and self.n >= FEWEST else self.verdict


def position_bias(votes: VoteTable) -> PositionBias:
    """Does the left side win too often, whichever model sits there?

    Every pair is a table of side by winner; the common odds ratio of Mantel and Haenszel over all
    pairs is the square of the left's odds between equals (N. Mantel and W. Haenszel (1959), JNCI
    22, 719-748; variance of J. Robins, N. Breslow and S. Greenland (1986), Biometrics 42, 311-323).
    A left that wins 55% of equals is found in 98% of arenas with 2,000 decisive votes, and in 49%
    with 500.
    """
    first, second, outcome = outcome_codes(votes)
    rows = np.flatnonzero((outcome <= SECOND_WINS) & (first != second))
    first_won = outcome[rows] == FIRST_WINS
    first_left = votes.a[rows] == first[rows]
    n, size = len(rows), len(votes.contestants)
    pair = first[rows].astype(np.int64) * size + second[rows]
    cell = pair * 4 + 2 * first_left + first_won
    tables = np.bincount(cell, minlength=4 * size * size).reshape(-1, 4).astype(np.float64)
    between_equals = _mantel_haenszel(tables[tables.sum(axis=1) > 0])
    return PositionBias(
        verdict=verdict_on(between_equals, 0.5, enough=n >= FEWEST),
        n=n,
        left_wins=wilson(int((first_won == first_left).sum()), n),
        between_equals=between_equals,
    )


def _mantel_haenszel(tables: Floats) -> Estimate | None:
    """The left's share between equals; None if no pair changed sides.

    Args:
        tables: shape (k, 4), by pair: the first on the right and lost, and won, on the left and
            lost, and won.
    """
    right, left = tables[:, 0] + tables[:, 1], tables[:, 2] + tables[:, 3]
    tables = tables[(right > 0) & (left > 0)]
    if not len(tables):
        return None
    right_lost, right_won, left_lost, left_won = tables.T
    total = tables.sum(axis=1)
    # `with_left` are pairs of votes in which both times the left won.
    with_left, against = left_won * right_lost / total, left_lost * right_won / total
    if not (with_left.sum() and against.sum()):
        # Haldane's half keeps a left that always wins finite.
        return _mantel_haenszel(tables + 0.5)
    agree, differ = (left_won + right_lost) / total, (left_lost + right_won) / total
    r, s = with_left.sum(), against.sum()
    variance = (
        (agree * with_left).sum() / (2 * r * r)
        + (agree * against + differ * with_left).sum() / (2 * r * s)
        + (differ * against).sum() / (2 * s * s)
    )
    # The odds ratio is the square of the left's odds, so both are halved.
    return share_of(math.log(r / s) / 2.0, Z * math.sqrt(float(variance)) / 2.0)
