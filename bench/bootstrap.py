"""The percentile bootstrap of ratings: what the intervals that are shown are compared to."""

from __future__ import annotations

from typing import Final

import numpy as np

from arena.stats.bradley_terry import fit, wins_from
from arena.stats.ranking import Component
from arena.stats.vote_table import Floats

RESAMPLES: Final = 1000
SEED: Final = 20_261_124
# Numbers held at once while resamples are fitted: 16 MB an array.
_CHUNK: Final = 2_000_000


def resampled(component: Component, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Strengths of bootstrap resamples, drawn from the counts of outcomes by pair.

    A resample of n votes is one multinomial draw over the cells (pair, outcome) with their shares,
    so its cost does not grow with n.

    Returns:
        Shape (resamples, m), each row with mean 0.
    """
    rng = np.random.default_rng(seed)
    start = fit(component.wins()[None])[0]
    size, votes = len(start), component.votes
    shares = component.counts.ravel() / votes
    chunk = max(1, _CHUNK // (size * size))
    rows = []
    for begin in range(0, resamples, chunk):
        number = min(chunk, resamples - begin)
        drawn = rng.multinomial(votes, shares, size=number).reshape(number, -1, 3)
        first = drawn[..., 0] + drawn[..., 2] / 2.0 + component.prior
        second = drawn[..., 1] + drawn[..., 2] / 2.0 + component.prior
        rows.append(fit(wins_from(component.pairs, first, second, size), start))
    return np.concatenate(rows)


def percentiles(drawn: Floats, confidence: float = 0.95) -> Floats:
    """The ends of the percentile intervals of each strength; shape (2, m)."""
    ends = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    return np.asarray(np.quantile(drawn, ends, axis=0))
