"""Did the result of a pair change over time?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from arena.stats.bias.base import CheckVerdict, PairCheckResult, verdict_on
from arena.stats.intervals import Estimate, difference, wilson
from arena.stats.outcomes import FIRST_WINS, SECOND_WINS, Pair, votes_of_pair
from arena.stats.vote_table import VoteTable

FEWEST_A_HALF: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(PairCheckResult):
    """Whether the result of a pair changed over time; the mix of prompts may have, too.

    Attributes:
        n: decisive votes of the pair.
        boundary: seconds since the epoch; votes before it are the first half. None with too few.
        before, after: the first's win rate in each half.
        change: after minus before, with Newcombe's interval.
    """

    name: ClassVar = "drift"
    needed: ClassVar = FEWEST_A_HALF

    boundary: float | None
    before: Estimate
    after: Estimate
    change: Estimate


def drift(votes: VoteTable, pair: Pair | None) -> Drift:
    """Did the result of a pair change from the first half of its decisive votes to the second?

    Raises:
        ValueError: a contestant of the pair is not in the table.
    """
    rows, outcome = votes_of_pair(votes, pair)
    decided = outcome <= SECOND_WINS
    won, cast_at = outcome[decided] == FIRST_WINS, votes.cast_at[rows[decided]]
    n = len(won)
    boundary = float(np.partition(cast_at, n // 2)[n // 2]) if n else 0.0
    # Votes of one moment go into one half: their order says nothing.
    early = cast_at < boundary
    wins, trials = int(won[early].sum()), int(early.sum())
    later_wins, later_trials = int(won.sum()) - wins, n - trials
    change = difference(wins, trials, later_wins, later_trials)
    verdict = verdict_on(change, 0.0, enough=min(trials, later_trials) >= FEWEST_A_HALF)
    return Drift(
        verdict=verdict,
        n=n,
        pair=pair,
        boundary=None if verdict is CheckVerdict.TOO_FEW else boundary,
        before=wilson(wins, trials),
        after=wilson(later_wins, later_trials),
        change=change,
    )
