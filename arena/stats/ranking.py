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

**Intervals** come from the sandwich covariance (`bradley_terry.covariance`) on the scale of
log-odds. In simulated arenas of five contestants within 1.7 log-odds of each other, with pairs met
1 to 10 times as often, they hold the truth in 94 to 99% of cases from 20 votes on; the percentile
bootstrap holds it in 87 to 93% at 20 to 50 votes (`python -m bench coverage` prints the figures).
Where the strongest beats the weakest 99 times of 100, they have 89 to 94% below 100 votes. So a
rating is marked as approximate where its contestant has fewer than FEW wins or losses. Votes are
taken as independent: see `bias/voters.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from arena.stats.bradley_terry import covariance, differences, fit, probabilities, wins_from
from arena.stats.intervals import Estimate, Z
from arena.stats.outcomes import BOTH_BAD, TIES, Outcomes
from arena.stats.vote_table import Codes, Contestant, Floats, Ints

# The mean of a component's ratings, and the points of one unit of log-odds.
CENTRE: Final = 1000.0
POINTS: Final = 400.0 / math.log(10.0)
# Wins or losses, ties half, below which a rating's interval is called approximate.
FEW: Final = 5.0


@dataclass(frozen=True, slots=True)
class Rating:
    """One contestant's place.

    Attributes:
        rating: in points of the Elo scale, with its interval.
        best_rank, worst_rank: ranks that cannot be ruled out, from 1: every contestant above the
            first or below the last has an interval that does not overlap this one's. Ranks are
            among those of the same component.
        component: index into `Ranking.components`; ratings of different ones cannot be compared.
        held_by_prior: the votes alone would give no finite rating, e.g. after wins only.
        approximate: fewer than FEW wins or losses, so the interval may hold the truth less often
            than it says.
    """

    contestant: Contestant
    rating: Estimate
    best_rank: int
    worst_rank: int
    component: int
    held_by_prior: bool
    approximate: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """All ratings, best first within each component, the component with most votes first.

    Attributes:
        ratings: their mean is 1000 in each component.
        win_rates: m by m in the order of `ratings`: how often the row is expected to beat the
            column, ties as half; None between components.
        components: groups that votes connect. More than one means that ratings of different
            groups say nothing about each other.
    """

    ratings: tuple[Rating, ...]
    win_rates: tuple[tuple[Estimate | None, ...], ...]
    components: tuple[tuple[Contestant, ...], ...]

    @property
    def comparable(self) -> bool:
        """Whether all ratings stand on one scale."""
        return len(self.components) <= 1

    @property
    def approximate(self) -> bool:
        """Whether any interval may hold less than it says."""
        return any(rating.approximate for rating in self.ratings)


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """The votes of one group of contestants that votes connect.

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
        """Votes of any kind."""
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
    """What one component's votes say, in log-odds.

    Attributes:
        strengths: shape (m,), mean 0.
        half: shape (m,), half widths of their intervals.
        half_apart: shape (m, m), half widths of the intervals of their differences.
    """

    component: Component
    strengths: Floats
    half: Floats
    half_apart: Floats

    @property
    def order(self) -> list[int]:
        """Own codes, best first; equals in the order of their names."""
        points = (POINTS * self.strengths).round(6).tolist()
        return sorted(range(len(points)), key=lambda i: (-points[i], i))


def rank(outcomes: Outcomes) -> Ranking:
    """Rates all contestants that have votes."""
    fitted = [_fitted(component) for component in components_of(outcomes)]
    ratings: list[Rating] = []
    for number, part in enumerate(fitted):
        names = [outcomes.contestants[code] for code in part.component.codes.tolist()]
        ratings.extend(_ratings(part, names, number))
    return Ranking(
        ratings=tuple(ratings),
        win_rates=_win_rates(fitted),
        components=tuple(
            tuple(rating.contestant for rating in ratings if rating.component == number)
            for number in range(len(fitted))
        ),
    )


def components_of(outcomes: Outcomes) -> list[Component]:
    """One component a group that votes connect; most votes first, then by name.

    A vote for `both bad` is half a win for each, like a tie, as LMArena counts it.
    """
    from scipy.sparse.csgraph import connected_components

    half = outcomes.counts[:, TIES] + outcomes.counts[:, BOTH_BAD]
    counts = np.stack([outcomes.counts[:, 0], outcomes.counts[:, 1], half], axis=1)
    pairs = outcomes.pairs
    links = np.zeros((len(outcomes.contestants),) * 2, np.bool_)
    links[pairs[:, 0], pairs[:, 1]] = True
    number, group_of = connected_components(links, directed=False)
    components = []
    for group in range(number):
        codes = np.flatnonzero(group_of == group).astype(np.int32)
        inside = np.isin(pairs[:, 0], codes)
        own = np.searchsorted(codes, pairs[inside]).astype(np.int32)
        prior = np.full(len(own), (len(codes) - 1) / len(own) / 2.0)
        components.append(Component(codes, own, counts[inside], prior))
    return sorted(components, key=lambda component: -component.votes)


def _fitted(component: Component) -> _Fitted:
    strengths = fit(component.wins()[None])[0]
    spread = covariance(component.wins(), component.ties(), strengths)
    variance = np.maximum(np.diag(spread), 0.0)
    apart = np.maximum(variance[:, None] + variance[None, :] - 2.0 * spread, 0.0)
    return _Fitted(component, strengths, Z * np.sqrt(variance), Z * np.sqrt(apart))


def _ratings(part: _Fitted, names: Sequence[Contestant], number: int) -> list[Rating]:
    from scipy.sparse.csgraph import connected_components

    points = CENTRE + POINTS * part.strengths
    low, high = points - POINTS * part.half, points + POINTS * part.half
    won = part.component.wins(with_prior=False)
    # Between two groups of which one never beat the other, only the prior holds the distance.
    held = connected_components(won > 0, connection="strong")[0] > 1
    found = []
    for i in part.order:
        wins, losses = float(won[i].sum()), float(won[:, i].sum())
        found.append(
            Rating(
                contestant=names[i],
                rating=Estimate(float(points[i]), float(low[i]), float(high[i])),
                best_rank=1 + int((low > high[i]).sum()),
                worst_rank=len(names) - int((high < low[i]).sum()),
                component=number,
                held_by_prior=held,
                approximate=min(wins, losses) < FEW,
            )
        )
    return found


def _win_rates(fitted: Sequence[_Fitted]) -> tuple[tuple[Estimate | None, ...], ...]:
    total = sum(len(part.strengths) for part in fitted)
    rows: list[tuple[Estimate | None, ...]] = []
    before = 0
    for part in fitted:
        order = part.order
        apart = differences(part.strengths)
        ends = (probabilities(apart + sign * part.half_apart) for sign in (0.0, -1.0, 1.0))
        rates = np.stack([end[np.ix_(order, order)] for end in ends], axis=-1)
        for line in rates.tolist():
            row: list[Estimate | None] = [None] * total
            row[before : before + len(order)] = [Estimate(*rate) for rate in line]
            rows.append(tuple(row))
        before += len(order)
    return tuple(rows)
