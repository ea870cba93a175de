"""Can voters tell the models before they vote?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from arena.stats.bias.base import CheckResult, CheckVerdict, verdict_on
from arena.stats.intervals import Estimate, wilson
from arena.stats.vote_table import VoteFlag, VoteTable

FEWEST: Final = 20
# Only guesses that named one of the two models are kept, so a voter who knows nothing is right in
# half of them, however many contestants there were to choose from.
CHANCE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses(CheckResult):
    """Whether voters can tell the models before they vote: a blind vote may then not be blind.

    `seen` is where the interval does not hold what chance gives, on either side: voters who are
    wrong too often tell the two apart as well, and mistake one for the other.

    Attributes:
        n: votes with a guess. Those are no random voters: those with an idea say it sooner.
        right: share of them that was right, with Wilson's interval.
        chance: the share that blind picking gives.
    """

    name: ClassVar = "guesses"
    counted: ClassVar = "guesses"
    needed: ClassVar = FEWEST

    right: Estimate
    chance: float = CHANCE

    @property
    def sentence(self) -> str:
        """Without a guess there is no share to name, and a low share is another finding."""
        if self.right.value is None:
            return "none"
        below = self.verdict is CheckVerdict.SEEN and self.right.value < self.chance
        return "seen_below" if below else self.verdict


def guesses(votes: VoteTable) -> Guesses:
    """How often did voters know the model on the left?"""
    right = int(votes.has(VoteFlag.GUESSED_RIGHT).sum())
    n = right + int(votes.has(VoteFlag.GUESSED_WRONG).sum())
    estimate = wilson(right, n)
    return Guesses(verdict=verdict_on(estimate, CHANCE, enough=n >= FEWEST), n=n, right=estimate)
