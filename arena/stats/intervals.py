"""Rates with their uncertainty, and all that can be said of two contestants.

With tens of votes the usual `rate ± 2 standard errors` is wrong: on 0 of 12 it has no width. The
intervals here keep their promise at such numbers; tests sum the binomial probabilities to show it.
Every vote is taken as independent of the others: votes of one busy voter are not, which
`bias/voters.py` looks at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
# How often the votes that are said to be needed find a difference of the present size.
POWER: Final = 0.80
# How many standard deviations a two-sided interval reaches.
Z: Final = NormalDist().inv_cdf((1.0 + CONFIDENCE) / 2.0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the interval that it is given with.

    Attributes:
        value: None where there is nothing to estimate it from; the interval is then the widest.
        low, high: ends of the interval, both included.
    """

    value: float | None
    low: float
    high: float

    def holds(self, number: float) -> bool:
        """Whether the interval holds that number."""
        return self.low <= number <= self.high


def _checked(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")


def wilson(successes: int, trials: int) -> Estimate:
    """A share with Wilson's score interval; [0, 1] without trials.

    E. B. Wilson (1927), JASA 22, 209-212; recommended for small numbers by Brown, Cai and DasGupta
    (2001), Statistical Science 16, 101-133. With the true share between 0.1 and 0.9 its 95%
    interval holds it in 95.5% of all samples of 12 on average, and never in less than 91%.

    Raises:
        ValueError: more successes than trials, or negative numbers.
    """
    _checked(successes, trials)
    return score_interval(successes / trials if trials else None, trials)


def score_interval(share: float | None, trials: float) -> Estimate:
    """Wilson's interval of a share whose worth in trials need not be a whole number.

    Args:
        share: 0 to 1; None without trials.
        trials: how many independent trials the share is worth.
    """
    if share is None or trials <= 0:
        return Estimate(share, 0.0, 1.0)
    shrink = 1.0 + Z * Z / trials
    middle = (share + Z * Z / (2 * trials)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    # At the ends the formula is exactly 0 and 1; rounding must not hide that.
    low = 0.0 if share == 0.0 else max(0.0, middle - half)
    high = 1.0 if share == 1.0 else min(1.0, middle + half)
    return Estimate(share, low, high)


def difference(successes: int, trials: int, others: int, other_trials: int) -> Estimate:
    """How much larger the second share is than the first, with Newcombe's score interval.

    R. G. Newcombe (1998), Statistics in Medicine 17, 873-890, method 10: the distances to the
    ends of both Wilson intervals, added by Pythagoras. -1 to 1.

    Raises:
        ValueError: more successes than trials, or negative numbers.
    """
    first = wilson(successes, trials)
    second = wilson(others, other_trials)
    if first.value is None or second.value is None:
        return Estimate(None, -1.0, 1.0)
    change = second.value - first.value
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(change, max(-1.0, change - below), min(1.0, change + above))


def binomial_p(wins: int, decisive: int) -> float:
    """How often equals would differ this much: the exact two-sided test against one half.

    Twice the smaller tail of Binomial(decisive, 1/2), at most 1 (the sign test). The tail
    P(X <= k) is the regularised incomplete beta function I_{1/2}(decisive - k, k + 1). It holds for
    a number of votes that was fixed before; to look after every vote, use `p_any_time`.

    Raises:
        ValueError: more wins than votes, or negative numbers.
    """
    from scipy.special import betainc

    _checked(wins, decisive)
    fewer = min(wins, decisive - wins)
    if 2 * fewer == decisive:
        return 1.0
    return min(1.0, 2.0 * float(betainc(decisive - fewer, fewer + 1, 0.5)))


def p_any_time(wins: int, decisive: int) -> float:
    """A p-value that stays valid for people who look after every vote and stop when they like.

    One over the likelihood ratio of `every rate is equally likely` to `one half` (H. Robbins
    (1970), Annals of Mathematical Statistics 41, 1397-1409): by Ville's inequality it ever falls
    below x with a probability of at most x between equals. It is larger than `binomial_p`.

    Raises:
        ValueError: more wins than votes, or negative numbers.
    """
    from scipy.special import betaln

    _checked(wins, decisive)
    log_ratio = float(betaln(wins + 1, decisive - wins + 1)) + decisive * math.log(2.0)
    return math.exp(-log_ratio) if log_ratio > 0 else 1.0


def decisive_votes_needed(rate: float) -> int:
    """How many decisive votes find that win rate to be different from one half, in POWER of cases.

    With z for the two-sided confidence, y for the power, d = |rate - 1/2|:
    m = ((z/2 + y·sqrt(rate·(1 - rate))) / d)², then, since the test is exact,
    n = m/4 · (1 + sqrt(1 + 2/(m·d)))² (J. L. Fleiss, B. Levin and M. C. Paik (2003), Statistical
    Methods for Rates and Proportions, 3rd ed., chapter 2).

    Args:
        rate: share of the decisive votes that one of the two wins in the long run, 0 to 1.

    Raises:
        ValueError: the rate is one half, which no number of votes can tell from one half.
    """
    distance = abs(rate - 0.5)
    if not 0.0 < distance <= 0.5:
        raise ValueError(f"no number of votes separates a rate of {rate} from one half")
    y = NormalDist().inv_cdf(POWER)
    plain = ((Z / 2.0 + y * math.sqrt(rate * (1.0 - rate))) / distance) ** 2
    return math.ceil(plain / 4.0 * (1.0 + math.sqrt(1.0 + 2.0 / (plain * distance))) ** 2)


class Verdict(StrEnum):
    """What the decisive votes between two say."""

    FIRST = "first"
    SECOND = "second"
    NOT_SEPARATED = "not_separated"
    NO_VOTES = "no_votes"


@dataclass(frozen=True, slots=True)
class TwoModels:
    """All numbers that a sentence about two contestants needs.

    The verdict goes by the exact test. At a handful of votes that is a little stricter than the
    interval: 5 wins of 5 leave 0.5 outside the interval, but happen between equals in 6% of cases.

    Attributes:
        rate: share of the decisive votes that the first won, with Wilson's interval.
        tie_rate, both_bad_rate: shares of all votes, with Wilson's interval.
        p_value: of `binomial_p`; 1 without decisive votes.
        p_any_time: the same for people who look after every vote.
        more_votes: votes of any kind, at the present share of ties and both-bad, that would on top
            of these separate the two if the estimate is the truth. None where it cannot be said: no
            decisive votes yet, or exactly as many for each. Zero when they are separated.
    """

    wins_first: int
    wins_second: int
    ties: int
    both_bad: int
    rate: Estimate
    tie_rate: Estimate
    both_bad_rate: Estimate
    p_value: float
    p_any_time: float
    verdict: Verdict
    more_votes: int | None

    @property
    def decisive(self) -> int:
        """Votes for one of the two."""
        return self.wins_first + self.wins_second

    @property
    def votes(self) -> int:
        """Votes of any kind."""
        return self.decisive + self.ties + self.both_bad


def two_models(wins_first: int, wins_second: int, ties: int = 0, both_bad: int = 0) -> TwoModels:
    """What votes between two contestants say.

    Ties and both-bad say nothing about who is better and are given apart: with them as half wins,
    twelve both-bads would look like twelve votes for `equally good`.

    Raises:
        ValueError: a negative number of votes.
    """
    if min(wins_first, wins_second, ties, both_bad) < 0:
        raise ValueError("there are no negative numbers of votes")
    decisive = wins_first + wins_second
    votes = decisive + ties + both_bad
    p_value = binomial_p(wins_first, decisive)
    verdict = Verdict.NO_VOTES if decisive == 0 else verdict_at(p_value, wins_first, wins_second)
    return TwoModels(
        wins_first=wins_first,
        wins_second=wins_second,
        ties=ties,
        both_bad=both_bad,
        rate=wilson(wins_first, decisive),
        tie_rate=wilson(ties, votes),
        both_bad_rate=wilson(both_bad, votes),
        p_value=p_value,
        p_any_time=p_any_time(wins_first, decisive),
        verdict=verdict,
        more_votes=_more_votes(wins_first, decisive, votes, verdict),
    )


def verdict_at(p_value: float, wins_first: int, wins_second: int) -> Verdict:
    """Which of the two is ahead, if the p-value is small enough for CONFIDENCE."""
    if p_value > 1.0 - CONFIDENCE:
        return Verdict.NOT_SEPARATED
    return Verdict.FIRST if wins_first > wins_second else Verdict.SECOND


def _more_votes(wins: int, decisive: int, votes: int, verdict: Verdict) -> int | None:
    if verdict in (Verdict.FIRST, Verdict.SECOND):
        return 0
    if 2 * wins == decisive:
        return None
    # Not separated means that at least one more is needed, whatever rounding says.
    missing = max(1, decisive_votes_needed(wins / decisive) - decisive)
    return math.ceil(missing * votes / decisive)
