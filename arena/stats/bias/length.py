"""Does the longer answer win, beyond its writer's strength?"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from arena.domain import Winner
from arena.stats.bias.base import CheckResult, CheckVerdict, share_of, verdict_on
from arena.stats.bias.logistic import fit_logistic
from arena.stats.intervals import Estimate, Z, wilson
from arena.stats.outcomes import SECOND_WINS, outcome_codes
from arena.stats.vote_table import WINNERS, Floats, VoteTable

_log = logging.getLogger(__name__)

FEWEST: Final = 50
# An answer more than 16 times as long as the other counts as 16 times: one is then a stub.
LONGEST_LOG2: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBias(CheckResult):
    """Whether the longer answer wins, beyond its writer's strength.

    A longer answer may also be the better one: this is an association, not a fault of the voters.

    Attributes:
        n: decisive votes whose two lengths are known.
        longer_wins: share of the longer answer's wins where the lengths differ.
        twice_as_long: share that the longer of two answers would win of equals, if it has twice
            the characters of the other; None with too few votes, or where the regression failed.
    """

    name: ClassVar = "length"
    needed: ClassVar = FEWEST
    pictured: ClassVar = "twice_as_long"

    longer_wins: Estimate
    twice_as_long: Estimate | None


def length_bias(votes: VoteTable) -> LengthBias:
    """Does the longer answer win, beyond its writer's strength?

    Logistic regression of `left wins` on the binary logarithm of the ratio of lengths, the side,
    and every contestant's strength, as in the style control of W.-L. Chiang et al. (2024),
    Chatbot Arena (arXiv 2403.04132) and its follow-ups. Characters are compared, since two models'
    tokens are not the same unit.
    """
    first, second, outcome = outcome_codes(votes)
    known = (votes.chars_a > 0) & (votes.chars_b > 0)
    rows = np.flatnonzero((outcome <= SECOND_WINS) & (first != second) & known)
    left_won = votes.winner[rows] == WINNERS.index(Winner.MODEL_A)
    ratio = np.log2(votes.chars_a[rows] / votes.chars_b[rows]).clip(-LONGEST_LOG2, LONGEST_LOG2)
    differ = ratio != 0
    n = len(rows)
    longer_wins = wilson(int((left_won == (ratio > 0))[differ].sum()), int(differ.sum()))
    twice: Estimate | None = None
    verdict = CheckVerdict.TOO_FEW
    if n >= FEWEST and differ.any():
        a, b, size = votes.a[rows], votes.b[rows], len(votes.contestants)

        def design(begin: int, end: int) -> Floats:
            block = np.zeros((end - begin, size + 2))
            index = np.arange(end - begin)
            block[index, a[begin:end]] = 1.0
            block[index, b[begin:end]] = -1.0
            block[:, size] = 1.0
            block[:, size + 1] = ratio[begin:end]
            return block

        try:
            coefficients, covariance = fit_logistic(design, left_won, size + 2)
        except ArithmeticError:
            _log.warning("the check of lengths did not converge", exc_info=True)
            verdict = CheckVerdict.FAILED
        else:
            half = Z * math.sqrt(float(covariance[-1, -1]))
            twice = share_of(float(coefficients[-1]), half)
            verdict = verdict_on(twice, 0.5, enough=True)
    return LengthBias(verdict=verdict, n=n, longer_wins=longer_wins, twice_as_long=twice)
