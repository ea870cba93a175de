"""Who wins at what: category by language, without reading patterns into noise.

Many small cells always hold some that look decided. Three things stand against that: a cell with
few votes is hidden, rates are drawn toward those of the other cells as far as the cells resemble
each other, and a cell is called decided only if it stands up to all cells being looked at at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from arena.domain import Category
from arena.stats.intervals import CONFIDENCE, Estimate, TwoModels, Verdict, two_models
from arena.stats.outcomes import outcome_codes
from arena.stats.vote_table import (
    CATEGORIES,
    LANGUAGES,
    Bools,
    Contestant,
    Floats,
    Ints,
    VoteTable,
)

# Decisive votes below which a cell is hidden: below six no outcome is decided at 95%.
FEWEST: Final = 6
# How alike cells are, s: between them the standard deviation is 1/sqrt(s + 1) of the largest that
# there can be, on an even grid from 0.05 to 0.9.
_STRENGTHS: Final = 1.0 / (0.05 * np.arange(1, 19)) ** 2 - 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """The votes of one pair on one kind of prompt.

    Attributes:
        category, language: None where cells are not split by it.
        result: of this cell's votes alone; its verdict does not know of the other cells.
        shrunk: win rate of the first among decisive votes, drawn toward the other cells, with a
            credible interval; None in a hidden cell.
        adjusted_p: exact p of the cell, corrected for the number of shown cells; 1 if hidden.
        verdict: by `adjusted_p`.
        shown: enough decisive votes.
    """

    first: Contestant
    second: Contestant
    category: Category | None
    language: str | None
    result: TwoModels
    shrunk: Estimate | None
    adjusted_p: float
    verdict: Verdict
    shown: bool


@dataclass(frozen=True, slots=True)
class Cells:
    """All cells that have votes, by pair, category and language.

    Attributes:
        compared: how many are shown, so how many comparisons the correction is for (Holm's).
        fewest: decisive votes below which a cell is hidden.
    """

    cells: tuple[Cell, ...]
    compared: int
    fewest: int
    confidence: float


def cells(
    ballots: VoteTable,
    mask: Bools | None = None,
    *,
    pairs: Sequence[tuple[Contestant, Contestant]] | None = None,
    by_category: bool = True,
    by_language: bool = True,
    fewest: int = FEWEST,
    confidence: float = CONFIDENCE,
) -> Cells:
    """Splits the votes by pair, category and language.

    Args:
        ballots: n votes.
        mask: shape (n,), which of them count; all if None.
        pairs: whom to compare, seen from the first; all that met if None. No pair twice.
        by_category: whether categories are told apart.
        by_language: whether languages are told apart.
        fewest: decisive votes below which a cell is hidden.
        confidence: of all intervals and verdicts.

    Raises:
        ValueError: the confidence is out of its range.
        KeyError: a pair names somebody who is not in the ballots.
    """
    table = _added_up(ballots, mask, by_category=by_category, by_language=by_language)
    place = {who: code for code, who in enumerate(ballots.contestants)}
    chosen = _met(table, ballots.contestants) if pairs is None else tuple(pairs)
    found: list[Cell] = []
    for first, second in chosen:
        i, j = place[first], place[second]
        counts = table[min(i, j), max(i, j)]
        if i > j:
            counts = counts[..., [1, 0, 2, 3]]
        found.extend(
            _cells_of(
                first, second, counts, fewest=fewest, confidence=confidence,
                by_category=by_category, by_language=by_language,
            )
        )  # fmt: skip
    return _judged(found, fewest, confidence)


def _added_up(
    ballots: VoteTable, mask: Bools | None, *, by_category: bool, by_language: bool
) -> Ints:
    """Counts of shape (m, m, categories, languages, 4); one category or language if not split."""
    counted = ballots.a != ballots.b
    if mask is not None:
        counted = counted & mask
    first, second, outcome = outcome_codes(ballots)
    size = len(ballots.contestants)
    shape = (
        size,
        size,
        len(CATEGORIES) if by_category else 1,
        len(LANGUAGES) if by_language else 1,
        4,
    )
    category = ballots.category if by_category else np.zeros_like(ballots.category)
    language = ballots.language if by_language else np.zeros_like(ballots.language)
    flat = np.ravel_multi_index((first, second, category, language, outcome), shape)
    return np.bincount(flat[counted], minlength=math.prod(shape)).reshape(shape)


def _met(
    table: Ints, contestants: tuple[Contestant, ...]
) -> tuple[tuple[Contestant, Contestant], ...]:
    met = np.argwhere(table.sum(axis=(2, 3, 4)) > 0).tolist()
    return tuple((contestants[i], contestants[j]) for i, j in met)


def _cells_of(
    first: Contestant,
    second: Contestant,
    counts: Ints,
    *,
    by_category: bool,
    by_language: bool,
    fewest: int,
    confidence: float,
) -> list[Cell]:
    """The cells of one pair that have votes, not yet judged."""
    places = np.argwhere(counts.sum(axis=2) > 0).tolist()
    results = [
        two_models(*counts[category, language].tolist(), confidence=confidence)
        for category, language in places
    ]
    shrunk = shrink([(r.wins_first, r.decisive) for r in results], confidence)
    return [
        Cell(
            first=first,
            second=second,
            category=CATEGORIES[category] if by_category else None,
            language=LANGUAGES[language] if by_language else None,
            result=result,
            shrunk=estimate if result.decisive >= fewest else None,
            adjusted_p=1.0,
            verdict=Verdict.NOT_SEPARATED if result.decisive else Verdict.NO_VOTES,
            shown=result.decisive >= fewest,
        )
        for (category, language), result, estimate in zip(places, results, shrunk, strict=True)
    ]


def shrink(
    counts: Sequence[tuple[int, int]], confidence: float = CONFIDENCE
) -> tuple[Estimate, ...]:
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
        confidence: of the equal-tailed credible interval.
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
    tail = (1.0 - confidence) / 2.0
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


def _judged(found: Sequence[Cell], fewest: int, confidence: float) -> Cells:
    """With p-values for all shown cells at once."""
    shown = [index for index, cell in enumerate(found) if cell.shown]
    adjusted = holm([found[index].result.p_value for index in shown])
    by_index = dict(zip(shown, adjusted, strict=True))
    judged = []
    for index, cell in enumerate(found):
        p_value = by_index.get(index, 1.0)
        verdict = cell.verdict
        if p_value <= 1.0 - confidence:
            ahead = cell.result.wins_first > cell.result.wins_second
            verdict = Verdict.FIRST if ahead else Verdict.SECOND
        judged.append(
            Cell(
                cell.first, cell.second, cell.category, cell.language, cell.result, cell.shrunk,
                p_value, verdict, cell.shown,
            )
        )  # fmt: skip
    return Cells(tuple(judged), len(shown), fewest, confidence)


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
