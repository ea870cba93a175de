"""Win rates by category and language, without reading patterns into noise.

Many small cells always hold some that look decided. Three things stand against that: a cell with
few votes is hidden, rates are drawn toward those of the other cells as far as the cells resemble
each other, and a cell is called decided only if it stands up to all cells being looked at at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from arena.domain import Category
from arena.stats.intervals import CONFIDENCE, Estimate, TwoModels, Verdict, two_models, verdict_at
from arena.stats.outcomes import Pair, votes_of_pair
from arena.stats.vote_table import CATEGORIES, LANGUAGES, Floats, VoteTable

# Decisive votes below which a cell is hidden: below six no outcome is decided at 95%.
FEWEST: Final = 6
# How alike cells are, s: between them the standard deviation is 1/sqrt(s + 1) of the largest that
# there can be, on an even grid from 0.05 to 0.9.
_STRENGTHS: Final = 1.0 / (0.05 * np.arange(1, 19)) ** 2 - 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """The votes of one pair on one kind of prompt.

    Attributes:
        result: of this cell's votes alone; its verdict does not know of the other cells.
        shrunk: win rate of the first among decisive votes, drawn toward the other cells, with a
            credible interval; None in a hidden cell.
        adjusted_p: exact p of the cell, corrected for the number of shown cells; 1 if hidden.
        verdict: by `adjusted_p`.
    """

    category: Category
    language: str
    result: TwoModels
    shrunk: Estimate | None
    adjusted_p: float
    verdict: Verdict

    @property
    def shown(self) -> bool:
        """Whether there are enough decisive votes."""
        return self.result.decisive >= FEWEST


def cells_of(votes: VoteTable, pair: Pair | None) -> tuple[Cell, ...]:
    """All cells of a pair that have votes, by category and language; none of no pair.

    Args:
        votes: those that count.
        pair: the two to compare, seen from the first.

    Raises:
        ValueError: a contestant of the pair is not in the table.
    """
    rows, outcome = votes_of_pair(votes, pair)
    shape = (len(CATEGORIES), len(LANGUAGES), 4)
    flat = np.ravel_multi_index((votes.category[rows], votes.language[rows], outcome), shape)
    counts = np.bincount(flat, minlength=math.prod(shape)).reshape(shape)
    places = np.argwhere(counts.sum(axis=2) > 0).tolist()
    results = [two_models(*counts[category, language].tolist()) for category, language in places]
    shrunk = shrink([(result.wins_first, result.decisive) for result in results])
    found = [
        Cell(
            category=CATEGORIES[category],
            language=LANGUAGES[language],
            result=result,
            shrunk=estimate if result.decisive >= FEWEST else None,
            adjusted_p=1.0,
            verdict=Verdict.NOT_SEPARATED if result.decisive else Verdict.NO_VOTES,
        )
        for (category, language), result, estimate in zip(places, results, shrunk, strict=True)
    ]
    shown = [place for place, cell in enumerate(found) if cell.shown]
    for place, p in zip(shown, holm([found[n].result.p_value for n in shown]), strict=True):
        result = found[place].result
        verdict = verdict_at(p, result.wins_first, result.wins_second)
        found[place] = replace(found[place], adjusted_p=p, verdict=verdict)
    return tuple(found)


def shrink(counts: Sequence[tuple[int, int]]) -> tuple[Estimate, ...]:
    """Rates of cells, each drawn toward the rate of the others: beta-binomial, empirical Bayes.

    A cell with k of n gets the prior Beta(w·m, w·(1 - m)); m is the rate of the other cells
    together. Its worth w in votes depends on s, by which the variance between cells is
    m·(1 - m)/(s + 1), and on how well m is known: 1/w = (1 + q)/s + 1/(N + 1), where the others
    have N votes and q is the sum of their squared shares of these. So cells that look alike never
    become surer than their sum. Nothing is staked on one s: with the standard deviation between
    cells equally likely on a grid beforehand (A. Gelman (2006), Bayesian Analysis 1, 515-534),
    each s counts as far as it makes all cells probable, and the interval is that of the Beta with
    the mixture's mean and variance (G. Casella (1985), The American Statistician 39, 83-87, tells
    the idea; C. N. Morris (1983), JASA 78, 47-55, why one s alone makes too narrow intervals).

    Args:
        counts: (wins, decisive votes) of each cell.

    Returns:
        One estimate a cell, with its equal-tailed credible interval.
    """
    from scipy.special import betaincinv

    if not counts:
        return ()
    wins, votes = np.array(counts, dtype=np.float64).T
    weights = _weights(wins, votes)
    others = votes.sum() - votes
    mean = (wins.sum() - wins + 0.5) / (others + 1.0)
    shares = np.where(others > 0, (votes @ votes - votes**2) / np.maximum(others, 1.0) ** 2, 1.0)
    # From here on a row a strength, a column a cell.
    worth = 1.0 / ((1.0 + shares) / _STRENGTHS[:, None] + 1.0 / (others + 1.0))
    a, size = worth * mean + wins, worth + votes
    value = weights @ (a / size)
    variance = weights @ (a * (a + 1.0) / (size * (size + 1.0))) - value**2
    size = value * (1.0 - value) / variance - 1.0
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = (betaincinv(size * value, size * (1.0 - value), p) for p in (tail, 1.0 - tail))
    return tuple(map(Estimate, value.tolist(), low.tolist(), high.tolist()))


def _weights(wins: Floats, votes: Floats) -> Floats:
    """How far each strength of _STRENGTHS makes all cells probable; adds up to 1."""
    from scipy.special import betaln

    mean = (wins.sum() + 0.5) / (votes.sum() + 1.0)
    a, b = _STRENGTHS[:, None] * mean, _STRENGTHS[:, None] * (1.0 - mean)
    logs = (betaln(a + wins, b + votes - wins) - betaln(a, b)).sum(axis=1)
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected for their number: at 0.05, one false alarm in 20 such sets, not cells.

    S. Holm (1979), Scandinavian Journal of Statistics 6, 65-70; holds whatever the dependence.
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return tuple(adjusted)
