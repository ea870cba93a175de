"""What else than the better answer may have moved the votes.

Five checks, each with a number, its interval, how many votes it stands on, and a verdict. Those of
position, length, drift and guesses are tests: each raises a false alarm in about 5% of arenas
without that fault. The one of the voters is none: it says whether this result, on these votes,
hangs on one person. `seen` is a reason to look, not a proof; `none_seen` means that it was not seen
in that many votes, not that it is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from arena.stats.intervals import (
    CONFIDENCE,
    Estimate,
    TwoModels,
    difference,
    normal_quantile,
    score_interval,
    two_models,
    wilson,
)
from arena.stats.logistic import fit_logistic
from arena.stats.outcomes import (
    FIRST_WINS,
    SECOND_WINS,
    Pair,
    decisive_votes,
    votes_of_pair,
)
from arena.stats.vote_table import Bools, Floats, Ints, VoteFlag, VoteTable

# Decisive votes below which a check says nothing.
FEWEST_FOR_POSITION: Final = 30
FEWEST_FOR_LENGTH: Final = 50
FEWEST_FOR_VOTERS: Final = 10
FEWEST_A_HALF: Final = 20
FEWEST_GUESSES: Final = 20
# Only guesses are kept that named one of the two who played, so who knows nothing is right in half
# of them, however many contestants there were to choose from.
GUESS_CHANCE: Final = 0.5
# A voter with a smaller share of the votes is not called busy, whatever hangs on them.
BUSY_SHARE: Final = 0.1
# An answer more than 16 times as long as the other counts as 16 times: one is then a stub.
_LONGEST_LOG2: Final = 4.0


class Check(StrEnum):
    """What a check found."""

    NONE_SEEN = "none_seen"
    SEEN = "seen"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Whether the left side wins too often.

    Attributes:
        n: decisive votes.
        left_wins: share of them that the left won.
        between_equals: share that the left would win of equals, with who sat where taken out; None
            if nobody changed sides, since the side can then not be told from the strength.
    """

    verdict: Check
    n: int
    left_wins: Estimate
    between_equals: Estimate | None


@dataclass(frozen=True, slots=True)
class LengthBias:
    """Whether the longer answer wins, beyond who wrote it.

    A longer answer may also be the better one: this is an association, not a fault of the voters.

    Attributes:
        n: decisive votes whose two lengths are known.
        longer_wins: share of the longer answer's wins where the lengths differ.
        twice_as_long: share that the longer of two answers would win of equals, if it has twice
            the characters of the other; None with too few votes.
    """

    verdict: Check
    n: int
    longer_wins: Estimate
    twice_as_long: Estimate | None


@dataclass(frozen=True, slots=True)
class VoterConcentration:
    """Whether the result of a pair hangs on one voter.

    Attributes:
        n: decisive votes of the pair.
        voters: how many people voted on it.
        effective_voters: 1 / sum of squared shares of votes (Simpson's index): as many equally
            busy people would be as concentrated.
        top_share: share of the busiest voter's votes, ties included.
        result: of all votes.
        without_top: of all but the busiest voter's; None without votes.
        lowest, highest: the first's win rate with one voter left out, over all voters; None if no
            decisive vote would be left.
        rate: the first's win rate, with an interval that takes the votes of one person as alike:
            Wilson's with the number of votes divided by the design effect, from the jackknife over
            voters (L. Kish (1965), Survey Sampling; B. Efron (1982), The Jackknife). Rough below
            ten voters.
    """

    verdict: Check
    n: int
    pair: Pair | None
    voters: int
    effective_voters: float
    top_share: float
    result: TwoModels
    without_top: TwoModels | None
    lowest: float | None
    highest: float | None
    rate: Estimate


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether the result of a pair changed over time; the mix of prompts may have, too.

    Attributes:
        n: decisive votes of the pair.
        boundary: seconds since the epoch; votes before it are the first half. None without votes.
        before, after: the first's win rate in each half.
        change: after minus before, with Newcombe's interval.
    """

    verdict: Check
    n: int
    pair: Pair | None
    boundary: float | None
    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True, slots=True)
class Guesses:
    """Whether voters can tell who is who before they vote: a blind vote may then not be blind.

    Attributes:
        verdict: `seen` where the interval does not hold what chance gives, on either side: who is
            wrong too often tells the two apart as well, and mistakes one for the other.
        n: votes with a guess. Those are no random voters: who has an idea says it sooner.
        right: share of them that was right, with Wilson's interval.
        chance: the share that blind picking gives.
    """

    verdict: Check
    n: int
    right: Estimate
    chance: float = GUESS_CHANCE


def guesses(
    ballots: VoteTable, mask: Bools | None = None, confidence: float = CONFIDENCE
) -> Guesses:
    """How often did voters know who was on the left?

    Args:
        ballots: n votes; the marks say what was guessed.
        mask: which of them count; all if None.
        confidence: of the interval.
    """
    chosen = ballots if mask is None else ballots.take(mask)
    right = int(chosen.has(VoteFlag.GUESSED_RIGHT).sum())
    n = right + int(chosen.has(VoteFlag.GUESSED_WRONG).sum())
    estimate = wilson(right, n, confidence)
    if n < FEWEST_GUESSES:
        return Guesses(Check.TOO_FEW, n, estimate)
    return Guesses(Check.NONE_SEEN if estimate.holds(GUESS_CHANCE) else Check.SEEN, n, estimate)


def position_bias(
    ballots: VoteTable, mask: Bools | None = None, confidence: float = CONFIDENCE
) -> PositionBias:
    """Does the left side win too often, whoever sits there?

    Every pair is a table of side by winner; the common odds ratio of Mantel and Haenszel over all
    pairs is the square of the left's odds between equals (N. Mantel and W. Haenszel (1959), JNCI
    22, 719-748; variance of J. Robins, N. Breslow and S. Greenland (1986), Biometrics 42, 311-323).
    A left that wins 55% of equals is found in 98% of arenas with 2,000 decisive votes, and in 49%
    with 500.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        confidence: of the intervals and the verdict.
    """
    votes = decisive_votes(ballots, mask)
    n = len(votes.rows)
    left_wins = wilson(int(votes.left_won.sum()), n, confidence)
    size = len(ballots.contestants)
    cell = (votes.first * size + votes.second) * 4 + 2 * votes.first_left + votes.first_won
    tables = np.bincount(cell, minlength=4 * size * size).reshape(-1, 4).astype(np.float64)
    between_equals = _mantel_haenszel(tables[tables.sum(axis=1) > 0], confidence)
    verdict = Check.TOO_FEW
    if n >= FEWEST_FOR_POSITION and between_equals is not None:
        verdict = Check.NONE_SEEN if between_equals.holds(0.5) else Check.SEEN
    return PositionBias(verdict, n, left_wins, between_equals)


def _mantel_haenszel(tables: Floats, confidence: float) -> Estimate | None:
    """The left's share between equals; None if no pair changed sides.

    Args:
        tables: shape (k, 4), by pair: the first on the right and lost, and won, on the left and
            lost, and won.
        confidence: of the interval.
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
        return _mantel_haenszel(tables + 0.5, confidence)
    agree, differ = (left_won + right_lost) / total, (left_lost + right_won) / total
    r, s = with_left.sum(), against.sum()
    variance = (
        (agree * with_left).sum() / (2 * r * r)
        + (agree * against + differ * with_left).sum() / (2 * r * s)
        + (differ * against).sum() / (2 * s * s)
    )
    log_odds = math.log(r / s) / 2.0
    half = normal_quantile(confidence) * math.sqrt(float(variance)) / 2.0
    return _share(log_odds, half)


def _share(log_odds: float, half: float) -> Estimate:
    """Log-odds ± half as a share, which is 1/(1 + exp(-log-odds))."""
    from scipy.special import expit

    value, low, high = expit([log_odds, log_odds - half, log_odds + half]).tolist()
    return Estimate(value, low, high)


def length_bias(
    ballots: VoteTable, mask: Bools | None = None, confidence: float = CONFIDENCE
) -> LengthBias:
    """Does the longer answer win, beyond who wrote it?

    Logistic regression of `left wins` on the binary logarithm of the ratio of lengths, the side,
    and every contestant's strength, as in the style control of W.-L. Chiang et al. (2024),
    Chatbot Arena (arXiv 2403.04132) and its follow-ups. Characters are compared, since two models'
    tokens are not the same unit.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        confidence: of the intervals and the verdict.

    Raises:
        ArithmeticError: the regression did not converge.
    """
    votes = decisive_votes(ballots, mask)
    chars_a, chars_b = ballots.chars_a[votes.rows], ballots.chars_b[votes.rows]
    known = (chars_a > 0) & (chars_b > 0)
    rows, left_won = votes.rows[known], votes.left_won[known]
    ratio = np.clip(np.log2(chars_a[known] / chars_b[known]), -_LONGEST_LOG2, _LONGEST_LOG2)
    differ = ratio != 0
    longer = int((left_won == (ratio > 0))[differ].sum())
    longer_wins = wilson(longer, int(differ.sum()), confidence)
    n = len(rows)
    if n < FEWEST_FOR_LENGTH or not differ.any():
        return LengthBias(Check.TOO_FEW, n, longer_wins, None)
    a, b = ballots.a[rows], ballots.b[rows]
    size = len(ballots.contestants)

    def design(begin: int, end: int) -> Floats:
        block = np.zeros((end - begin, size + 2))
        index = np.arange(end - begin)
        block[index, a[begin:end]] = 1.0
        block[index, b[begin:end]] = -1.0
        block[:, size] = 1.0
        block[:, size + 1] = ratio[begin:end]
        return block

    fitted = fit_logistic(design, left_won, size + 2)
    slope = float(fitted.coefficients[-1])
    half = normal_quantile(confidence) * math.sqrt(float(fitted.covariance[-1, -1]))
    twice = _share(slope, half)
    return LengthBias(Check.NONE_SEEN if twice.holds(0.5) else Check.SEEN, n, longer_wins, twice)


def _result(outcome: Ints, confidence: float) -> TwoModels:
    return two_models(*np.bincount(outcome, minlength=4).tolist(), confidence=confidence)


def voter_concentration(
    ballots: VoteTable,
    mask: Bools | None = None,
    pair: Pair | None = None,
    confidence: float = CONFIDENCE,
) -> VoterConcentration:
    """Does the result of a pair hang on one voter?

    It is seen if the verdict on the pair is another one without the busiest voter, and that voter
    cast at least a tenth of the votes. Of equally busy voters, that one is left out whose votes
    differ most from the rest.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        pair: whom to compare; the two with the most votes if None.
        confidence: of the interval and the verdicts.

    Raises:
        ValueError: the pair names somebody who is not in the ballots.
    """
    pair, rows, outcome = votes_of_pair(ballots, mask, pair)
    result = _result(outcome, confidence)
    codes, voter = np.unique(ballots.voter[rows], return_inverse=True)
    if not len(codes):
        return VoterConcentration(
            Check.TOO_FEW, 0, pair, 0, 0.0, 0.0, result, None, None, None, result.rate
        )
    cast = np.bincount(voter)
    wins = np.bincount(voter, weights=outcome == FIRST_WINS).astype(np.float64)
    decisive = np.bincount(voter, weights=outcome <= SECOND_WINS).astype(np.float64)
    left = result.decisive - decisive
    others = (result.wins_first - wins)[left > 0] / left[left > 0]
    shares = cast / cast.sum()
    top = _busiest(cast, wins, decisive)
    without = _result(outcome[voter != top], confidence) if len(codes) > 1 else None
    changed = without is None or without.verdict is not result.verdict
    verdict = Check.TOO_FEW
    if result.decisive >= FEWEST_FOR_VOTERS:
        hangs = changed and float(shares[top]) >= BUSY_SHARE
        verdict = Check.SEEN if hangs else Check.NONE_SEEN
    effective = 1.0 / float((shares * shares).sum())
    return VoterConcentration(
        verdict=verdict,
        n=result.decisive,
        pair=pair,
        voters=len(codes),
        effective_voters=effective,
        top_share=float(shares[top]),
        result=result,
        without_top=without,
        lowest=float(others.min()) if len(others) else None,
        highest=float(others.max()) if len(others) else None,
        rate=_clustered(result, others, effective, confidence),
    )


def _busiest(cast: Ints, wins: Floats, decisive: Floats) -> int:
    """The voter with the most votes; of equals, whose rate is farthest from all votes' rate."""
    rate = wins.sum() / max(decisive.sum(), 1.0)
    pull = np.abs(wins - rate * decisive)
    # The code comes last: it depends on the names, and decides between equal votes only.
    return int(np.lexsort((-np.arange(len(cast)), wins, pull, cast))[-1])


def _clustered(
    result: TwoModels, others: Floats, effective_voters: float, confidence: float
) -> Estimate:
    """The win rate with an interval for votes that come in bunches."""
    share, n, groups = result.rate.value, result.decisive, len(others)
    if share is None:
        return result.rate
    spread = 0.0
    if groups > 1:
        spread = (groups - 1) / groups * float(((others - others.mean()) ** 2).sum())
    if spread > 0.0 and 0.0 < share < 1.0:
        worth = min(float(n), share * (1.0 - share) / spread)
    else:
        # Everybody agrees, or there is one voter: how alike votes are cannot be seen.
        worth = min(float(n), effective_voters)
    return score_interval(share, worth, confidence)


def drift(
    ballots: VoteTable,
    mask: Bools | None = None,
    pair: Pair | None = None,
    confidence: float = CONFIDENCE,
) -> Drift:
    """Did the result of a pair change from the first half of its decisive votes to the second?

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        pair: whom to compare; the two with the most votes if None.
        confidence: of the intervals and the verdict.

    Raises:
        ValueError: the pair names somebody who is not in the ballots.
    """
    pair, rows, outcome = votes_of_pair(ballots, mask, pair)
    decided = outcome <= SECOND_WINS
    won, cast_at = outcome[decided] == FIRST_WINS, ballots.cast_at[rows[decided]]
    n = len(won)
    boundary = float(np.partition(cast_at, n // 2)[n // 2]) if n else None
    # Votes of one moment go into one half: their order says nothing.
    early = cast_at < (boundary or 0.0)
    wins, votes = int(won[early].sum()), int(early.sum())
    later_wins, later_votes = int(won.sum()) - wins, n - votes
    change = difference(wins, votes, later_wins, later_votes, confidence)
    verdict = Check.TOO_FEW
    if min(votes, later_votes) >= FEWEST_A_HALF:
        verdict = Check.NONE_SEEN if change.holds(0.0) else Check.SEEN
    return Drift(
        verdict,
        n,
        pair,
        boundary,
        wilson(wins, votes, confidence),
        wilson(later_wins, later_votes, confidence),
        change,
    )
