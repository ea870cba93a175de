"""Does the result of a pair hang on one voter?

No test as the others are: it says whether this result, on these votes, depends on one person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from arena.stats.bias.base import CheckVerdict, PairCheckResult
from arena.stats.intervals import Estimate, TwoModels, score_interval, two_models
from arena.stats.outcomes import FIRST_WINS, SECOND_WINS, Pair, votes_of_pair
from arena.stats.vote_table import Floats, Ints, VoteTable

FEWEST: Final = 10
# A voter with a smaller share of the votes is not called busy, even if the result depends on it.
BUSY_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterConcentration(PairCheckResult):
    """Whether the result of a pair depends on one voter.

    Attributes:
        n: decisive votes of the pair.
        voters: how many people voted on it.
        effective_voters: 1 / sum of squared shares of votes (Simpson's index): as many equally
            busy people would be as concentrated.
        top_share: share of the busiest voter's votes, ties included.
        rate: the first's win rate, with an interval that takes the votes of one person as alike:
            Wilson's with the number of votes divided by the design effect, from the jackknife over
            voters (L. Kish (1965), Survey Sampling; B. Efron (1982), The Jackknife). Rough below
            ten voters.
        lowest, highest: the first's win rate with one voter left out, over all voters; None if no
            decisive vote would be left.
    """

    name: ClassVar = "voters"
    needed: ClassVar = FEWEST

    voters: int
    effective_voters: float
    top_share: float
    rate: Estimate
    lowest: float | None
    highest: float | None


def voter_concentration(votes: VoteTable, pair: Pair | None) -> VoterConcentration:
    """Does the result of a pair hang on one voter?

    It is seen if the verdict on the pair is another one without the busiest voter, and that voter
    cast at least a tenth of the votes. Of equally busy voters, that one is left out whose votes
    differ most from the rest.

    Raises:
        ValueError: a contestant of the pair is not in the table.
    """
    rows, outcome = votes_of_pair(votes, pair)
    result = _result(outcome)
    codes, voter = np.unique(votes.voter[rows], return_inverse=True)
    if not len(codes):
        return VoterConcentration(
            verdict=CheckVerdict.TOO_FEW, n=0, pair=pair, voters=0, effective_voters=0.0,
            top_share=0.0, rate=result.rate, lowest=None, highest=None,
        )  # fmt: skip
    cast = np.bincount(voter)
    wins = np.bincount(voter, weights=outcome == FIRST_WINS).astype(np.float64)
    decisive = np.bincount(voter, weights=outcome <= SECOND_WINS).astype(np.float64)
    left = result.decisive - decisive
    others = (result.wins_first - wins)[left > 0] / left[left > 0]
    shares = cast / cast.sum()
    top = _busiest(cast, wins, decisive)
    changed = len(codes) == 1 or _result(outcome[voter != top]).verdict is not result.verdict
    verdict = CheckVerdict.TOO_FEW
    if result.decisive >= FEWEST:
        hangs = changed and float(shares[top]) >= BUSY_SHARE
        verdict = CheckVerdict.SEEN if hangs else CheckVerdict.NONE_SEEN
    effective = 1.0 / float((shares * shares).sum())
    return VoterConcentration(
        verdict=verdict,
        n=result.decisive,
        pair=pair,
        voters=len(codes),
        effective_voters=effective,
        top_share=float(shares[top]),
        rate=_clustered(result, others, effective),
        lowest=float(others.min()) if len(others) else None,
        highest=float(others.max()) if len(others) else None,
    )


def _result(outcome: Ints) -> TwoModels:
    return two_models(*np.bincount(outcome, minlength=4).tolist())


def _busiest(cast: Ints, wins: Floats, decisive: Floats) -> int:
    """The voter with the most votes; of equals, the one farthest from the rate of all votes."""
    rate = wins.sum() / max(decisive.sum(), 1.0)
    pull = np.abs(wins - rate * decisive)
    # The code comes last: it depends on the names, and decides between equal votes only.
    return int(np.lexsort((-np.arange(len(cast)), wins, pull, cast))[-1])


def _clustered(result: TwoModels, others: Floats, effective_voters: float) -> Estimate:
    """The win rate with an interval for votes that come in bunches.

    Args:
        result: of all votes.
        others: the win rate without each voter in turn.
        effective_voters: what the votes are worth where voters cannot be told apart.
    """
    share, n, groups = result.rate.value, result.decisive, len(others)
    if share is None:
        return result.rate
    spread = 0.0
    if groups > 1:
        spread = (groups - 1) / groups * float(((others - others.mean()) ** 2).sum())
    if spread > 0.0 and 0.0 < share < 1.0:
        worth = min(float(n), share * (1.0 - share) / spread)
    else:
        # All voters agree, or there is one: how alike votes are cannot be seen.
        worth = min(float(n), effective_voters)
    return score_interval(share, worth)
