"""Whether the share of votes that count has collapsed: a fault, and not a worse day.

A filter or a flag that goes wrong drops honest votes in silence: an arena elsewhere lost them for
three months. The share of the last day, week and four weeks is compared with the four weeks before
each. Votes of one day are not independent (one person casts many), so the number that counts
follows a beta-binomial distribution, whose spread is that of the days before, and never less than
`LEAST_SPREAD`. An alarm needs both: a chance below `CHANCE`, and a share that has fallen to
`COLLAPSED` of what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from arena.stats.filters import Decision, FilterReason
from arena.stats.vote_table import Floats, Ints, VoteTable

WINDOWS: Final = (1, 7, 28)
"""Days that are looked at, up to the day of the newest vote."""
DAYS_BEFORE: Final = 28
LEAST_BEFORE: Final = 10
"""Votes in the days before; with fewer nothing is known of them."""
CHANCE: Final = 0.0005
COLLAPSED: Final = 2 / 3
LEAST_SPREAD: Final = 0.05
"""Correlation of two votes of one day; the days before may be too few to show it."""
MOST_SPREAD: Final = 0.5
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class ShareAlarm:
    """The share of votes that count has collapsed.

    Attributes:
        day: of the newest vote, UTC.
        days: how many days, up to that one, are compared with those before.
        cast, counted: votes of these days.
        cast_before, counted_before: votes of the days before.
        reason: why most of the others did not count.
        p_value: the chance of so few, if nothing had changed.
    """

    day: date
    days: int
    cast: int
    counted: int
    cast_before: int
    counted_before: int
    reason: FilterReason
    p_value: float

    @property
    def share(self) -> float:
        """Of the votes of these days, those that count; 0 to 1."""
        return self.counted / self.cast

    @property
    def share_before(self) -> float:
        """The same of the days before."""
        return self.counted_before / self.cast_before

    @property
    def sentence(self) -> str:
        """For logs and the terminal, in English."""
        return (
            f"Only {self.share:.0%} of the {self.cast} votes of the last {self.days} days up to "
            f"{self.day} count, of those before {self.share_before:.0%}. Most are left out as: "
            f"{self.reason}"
        )


def share_alarm(votes: VoteTable, decision: Decision) -> ShareAlarm | None:
    """The most certain alarm about the newest votes; None if there is none.

    Args:
        votes: n of them.
        decision: which of them count.
    """
    if not len(votes):
        return None
    day = np.floor(votes.cast_at / _DAY_S).astype(np.int64)
    newest = int(day.max())
    found = [_in_window(votes, decision, day, newest, days) for days in WINDOWS]
    alarms = [alarm for alarm in found if alarm is not None]
    return min(alarms, key=lambda alarm: alarm.p_value, default=None)


def _in_window(
    votes: VoteTable, decision: Decision, day: Ints, newest: int, days: int
) -> ShareAlarm | None:
    recent = day > newest - days
    before = ~recent & (day > newest - days - DAYS_BEFORE)
    cast_before, counted_before = int(before.sum()), int((before & decision.mask).sum())
    cast, counted = int(recent.sum()), int((recent & decision.mask).sum())
    if cast_before < LEAST_BEFORE or counted * cast_before > COLLAPSED * counted_before * cast:
        return None
    number = (day[before] - (newest - days - DAYS_BEFORE) - 1).astype(np.int64)
    cast_by_day = np.bincount(number, minlength=DAYS_BEFORE).astype(np.float64)
    counted_by_day = np.bincount(number[decision.mask[before]], minlength=DAYS_BEFORE)
    p_value = chance_of_so_few(counted, cast, counted_by_day.astype(np.float64), cast_by_day)
    left_out = decision.charged[recent & ~decision.mask]
    if p_value >= CHANCE or not len(left_out):
        return None
    return ShareAlarm(
        day=date(1970, 1, 1) + timedelta(days=newest),
        days=days,
        cast=cast,
        counted=counted,
        cast_before=cast_before,
        counted_before=counted_before,
        reason=tuple(FilterReason)[int(np.bincount(left_out).argmax())],
        p_value=p_value,
    )


def chance_of_so_few(counted: int, cast: int, counted_before: Floats, cast_before: Floats) -> float:
    """The chance that so few of the votes count, if they are like those of the days before.

    Args:
        counted: of the votes of the days that are looked at.
        cast: all of these.
        counted_before: by day, of the votes before; shape (days,).
        cast_before: all of these by day, 0 where there were none.
    """
    total = cast_before.sum()
    share = (counted_before.sum() + 0.5) / (total + 1)
    used = cast_before > 0
    expected = cast_before[used] * share
    off = ((counted_before[used] - expected) ** 2 / (expected * (1 - share))).sum()
    more = off / max(used.sum() - 1, 1) - 1
    spread = more / max(total / used.sum() - 1, 1)
    # As certain as so many votes, and no more certain than votes that hang together can be.
    size = min(1 / float(np.clip(spread, LEAST_SPREAD, MOST_SPREAD)) - 1, total)
    return _beta_binomial_cdf(counted, cast, share * size, (1 - share) * size)


def _beta_binomial_cdf(most: int, number: int, a: float, b: float) -> float:
    """The chance of at most so many of a number, whose share is drawn from Beta(a, b)."""
    from scipy.special import betaln

    k = np.arange(most + 1)
    choose = -np.log1p(number) - betaln(number - k + 1, k + 1)
    return float(np.exp(choose + betaln(k + a, number - k + b) - betaln(a, b)).sum())
