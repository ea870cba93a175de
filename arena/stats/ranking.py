"""Ratings of three and more contestants, with what is known of their uncertainty.

The model is Bradley-Terry's, fitted to the counts of votes, never updated vote by vote: the order
of the votes, the sides and the names change nothing. The scale is Elo's: 400 points are odds of
ten to one.

**Prior.** A contestant that never lost has an infinite rating in the plain model. Here each pair
that met gets pseudo-votes, half of them won by each side: m - 1 in all for m contestants, spread
evenly over the pairs. For two contestants that is Jeffreys' prior, half a win for each; for more
it is what D. Firth's correction (1993, Biometrika 80, 27-38) gives when the pairs are balanced.
It does not grow with the votes, so it is soon forgotten. Pairs that never met get none: the prior
must not connect what no vote connects.

**Intervals.** By default from the sandwich covariance (`bradley_terry.covariance`) on the scale of
log-odds. In simulated arenas of five contestants within 1.7 log-odds of each other, with pairs met
1 to 10 times as often, they hold the truth in 94 to 99% of cases from 20 votes on; the percentile
bootstrap holds it in 87 to 93% at 20 to 50 votes (`python -m bench coverage` prints the figures).
Where the strongest beats the weakest 99 times of 100, they have 89 to 94% below 100 votes. So a
rating is marked as approximate where its contestant has fewer than FEW wins or losses. Votes are
taken as independent: see `bias.voter_concentration`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from arena.stats.bradley_terry import (
    covariance,
    fit,
    probabilities,
    reachable,
    resampled,
    wins_from,
)
from arena.stats.intervals import CONFIDENCE, Estimate, normal_quantile
from arena.stats.outcomes import BOTH_BAD, TIES, Outcomes
from arena.stats.vote_table import Codes, Contestant, Floats, Ints

CENTRE: Final = 1000.0
POINTS: Final = 400.0 / math.log(10.0)
RESAMPLES: Final = 1000
SEED: Final = 20_261_124
# Wins or losses, ties half, below which a rating's interval is called approximate, and votes of a
# component below which all of the bootstrap's are: on 12 wins of 12 it gives no width at all.
FEW: Final = 5.0
FEW_TO_RESAMPLE: Final = 500


class BothBad(StrEnum):
    """What a vote for `both bad` is: half a win for each, as LMArena counts it, or no vote."""

    HALF = "half"
    OUT = "out"


class Method(StrEnum):
    """Where intervals come from."""

    SANDWICH = "sandwich"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Rating:
    """One contestant's place.

    Attributes:
        rating: in points of the Elo scale, with its interval.
        best_rank, worst_rank: ranks that cannot be ruled out, from 1: nobody above the first and
            below the last has an interval that overlaps this one's. Ranks are among those of the
            same component.
        wins, losses: ties (and both-bad, where they count) as half.
        component: index into `Ranking.components`; ratings of different ones cannot be compared.
        held_by_prior: the votes alone would give no finite rating, e.g. after wins only.
        approximate: fewer than FEW wins or losses, or fewer than FEW_TO_RESAMPLE votes to
            bootstrap from, so the interval may hold the truth less often than it says.
    """

    contestant: Contestant
    rating: Estimate
    best_rank: int
    worst_rank: int
    wins: float
    losses: float
    component: int
    held_by_prior: bool
    approximate: bool

    @property
    def votes(self) -> float:
        """Votes that this contestant took part in and that count here."""
        return self.wins + self.losses


@dataclass(frozen=True, slots=True)
class Ranking:
    """All ratings, best first within each component, the component with most votes first.

    Attributes:
        win_rates: m by m in the order of `ratings`: how often the row is expected to beat the
            column, ties as half; None between components.
        components: groups that votes connect. More than one means that ratings of different
            groups say nothing about each other.
        anchor: whose rating is 1000; None if 1000 is the mean of each component. The anchor moves
            the scale as a whole: intervals stay those of the distance to the mean, so that the
            anchor has one too.
        prior_votes: pseudo-votes in all.
    """

    ratings: tuple[Rating, ...]
    win_rates: tuple[tuple[Estimate | None, ...], ...]
    components: tuple[tuple[Contestant, ...], ...]
    votes: int
    prior_votes: float
    anchor: Contestant | None
    both_bad: BothBad
    method: Method
    confidence: float

    @property
    def comparable(self) -> bool:
        """Whether all ratings stand on one scale."""
        return len(self.components) <= 1

    @property
    def approximate(self) -> bool:
        """Whether any interval may hold less than it says."""
        return any(rating.approximate for rating in self.ratings)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The votes of one component.

    Attributes:
        codes: shape (m,), its contestants in the outcomes' codes.
        pairs: shape (k, 2), in this component's own codes.
        counts: shape (k, 3), wins of the first, of the second, half wins of each.
        prior: shape (k,), pseudo-wins of each side.
    """

    codes: Codes
    pairs: Codes
    counts: Ints
    prior: Floats

    @property
    def votes(self) -> int:
        return int(self.counts.sum())

    def wins(self, *, with_prior: bool = True) -> Floats:
        """Table of wins, shape (m, m), half wins included."""
        half = self.counts[:, 2] / 2.0 + (self.prior if with_prior else 0.0)
        return wins_from(
            self.pairs, self.counts[:, 0] + half, self.counts[:, 1] + half, len(self.codes)
        )

    def ties(self) -> Floats:
        """Votes that were counted as half wins, shape (m, m), symmetric."""
        halves = self.counts[:, 2].astype(np.float64)
        return wins_from(self.pairs, halves, halves, len(self.codes))


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """The strengths of one component, in points around 0, and the ends of all intervals."""

    table: _Table
    points: Floats
    low: Floats
    high: Floats
    rate_low: Floats
    rate_high: Floats


def rank(
    outcomes: Outcomes,
    *,
    anchor: Contestant | None = None,
    both_bad: BothBad = BothBad.HALF,
    method: Method = Method.SANDWICH,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Ranking:
    """Rates all contestants that have votes.

    Args:
        outcomes: votes by pair.
        anchor: who is put at 1000; the mean if None, or if it has no votes (`Ranking.anchor` is
            None then).
        both_bad: what such a vote is.
        method: where intervals come from.
        confidence: of all intervals, 0 to 1.
        resamples: how many the bootstrap draws.
        seed: of the bootstrap's draws; the same seed gives the same intervals.

    Raises:
        ValueError: the confidence is out of its range, or fewer than 100 resamples.
    """
    normal_quantile(confidence)  # for its check
    if resamples < 100:
        raise ValueError(f"no interval can be read off {resamples} resamples")
    fitted = [
        _fit(table, method, confidence, resamples, np.random.default_rng(seed))
        for table in _components(outcomes, both_bad)
    ]
    ratings: list[Rating] = []
    used_anchor: Contestant | None = None
    for number, part in enumerate(fitted):
        names = [outcomes.contestants[code] for code in part.table.codes.tolist()]
        shift = 0.0
        if anchor in names:
            used_anchor = anchor
            shift = float(part.points[names.index(anchor)])
        ratings.extend(_ratings(part, names, number, CENTRE - shift, method))
    return Ranking(
        ratings=tuple(ratings),
        win_rates=_win_rates(fitted),
        components=tuple(
            tuple(rating.contestant for rating in ratings if rating.component == number)
            for number in range(len(fitted))
        ),
        votes=sum(part.table.votes for part in fitted),
        prior_votes=sum(2.0 * float(part.table.prior.sum()) for part in fitted),
        anchor=used_anchor,
        both_bad=both_bad,
        method=method,
        confidence=confidence,
    )


def _components(outcomes: Outcomes, both_bad: BothBad) -> list[_Table]:
    """One table a group that votes connect; most votes first, then by name."""
    half = outcomes.counts[:, TIES].copy()
    if both_bad is BothBad.HALF:
        half += outcomes.counts[:, BOTH_BAD]
    counts = np.stack([outcomes.counts[:, 0], outcomes.counts[:, 1], half], axis=1)
    met = counts.sum(axis=1) > 0
    pairs, counts = outcomes.pairs[met], counts[met]
    links = np.zeros((len(outcomes.contestants),) * 2, np.bool_)
    links[pairs[:, 0], pairs[:, 1]] = links[pairs[:, 1], pairs[:, 0]] = True
    groups = {tuple(np.flatnonzero(row).tolist()) for row in reachable(links)}
    tables = []
    for group in sorted(groups):
        if len(group) > 1:
            inside = np.isin(pairs[:, 0], group)
            codes = np.array(group, np.int32)
            own = np.searchsorted(codes, pairs[inside]).astype(np.int32)
            prior = np.full(len(own), (len(group) - 1) / len(own) / 2.0)
            tables.append(_Table(codes, own, counts[inside], prior))
    return sorted(tables, key=lambda table: -table.votes)


def _fit(
    table: _Table,
    method: Method,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> _Fitted:
    strengths = fit(table.wins()[None])[0]
    difference = strengths[:, None] - strengths[None, :]
    if method is Method.SANDWICH:
        z = normal_quantile(confidence)
        spread = covariance(table.wins(), table.ties(), strengths)
        variance = np.maximum(np.diag(spread), 0.0)
        half = z * np.sqrt(variance)
        apart = z * np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2.0 * spread, 0.0))
        low, high = strengths - half, strengths + half
        rate_low, rate_high = difference - apart, difference + apart
    else:
        drawn = resampled(
            table.counts,
            table.pairs,
            prior=table.prior,
            start=strengths,
            resamples=resamples,
            rng=rng,
        )
        ends = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        low, high = np.quantile(drawn, ends, axis=0)
        rate_low, rate_high = np.stack(
            [np.quantile(drawn[:, [i]] - drawn, ends, axis=0) for i in range(len(strengths))],
            axis=1,
        )
    return _Fitted(table, POINTS * strengths, POINTS * low, POINTS * high, rate_low, rate_high)


def _order(part: _Fitted) -> list[int]:
    """Own codes of a component, best first; equals in the order of their names."""
    return sorted(range(len(part.points)), key=lambda i: (-round(float(part.points[i]), 6), i))


def _ratings(
    part: _Fitted, names: Sequence[Contestant], component: int, shift: float, method: Method
) -> list[Rating]:
    table = part.table
    too_few_to_resample = method is Method.BOOTSTRAP and table.votes < FEW_TO_RESAMPLE
    won = table.wins(with_prior=False)
    # Between two groups of which one never beat the other, only the prior holds the distance.
    held = not reachable(won > 0).all()
    found = []
    for i in _order(part):
        wins, losses = float(won[i].sum()), float(won[:, i].sum())
        found.append(
            Rating(
                contestant=names[i],
                rating=Estimate(
                    shift + float(part.points[i]),
                    shift + float(part.low[i]),
                    shift + float(part.high[i]),
                ),
                best_rank=1 + int((part.low > part.high[i]).sum()),
                worst_rank=len(names) - int((part.high < part.low[i]).sum()),
                wins=wins,
                losses=losses,
                component=component,
                held_by_prior=held,
                approximate=min(wins, losses) < FEW or too_few_to_resample,
            )
        )
    return found


def _win_rates(fitted: Sequence[_Fitted]) -> tuple[tuple[Estimate | None, ...], ...]:
    from scipy.special import expit

    total = sum(len(part.points) for part in fitted)
    rows: list[tuple[Estimate | None, ...]] = []
    before = 0
    for part in fitted:
        order = _order(part)
        rates = probabilities(part.points / POINTS)
        low, high = expit(part.rate_low), expit(part.rate_high)
        for i in order:
            row: list[Estimate | None] = [None] * total
            for column, j in enumerate(order, start=before):
                row[column] = Estimate(float(rates[i, j]), float(low[i, j]), float(high[i, j]))
            rows.append(tuple(row))
        before += len(order)
    return tuple(rows)
