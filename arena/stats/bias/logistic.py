"""Logistic regression on many rows, by blocks, so that a million votes need little memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from arena.stats.vote_table import Bools, Floats

# Standard deviation of the prior of every coefficient, in log-odds: A. Gelman et al. (2008),
# Annals of Applied Statistics 2, 1360-1383, use this scale, so that a separated sample stays
# finite. Against some tens of votes it weighs next to nothing.
_PRIOR_SD: Final = 2.5
_BLOCK: Final = 65_536
_MOST_STEPS: Final = 100
_CONVERGED: Final = 1e-9

Design = Callable[[int, int], Floats]


def fit_logistic(design: Design, outcome: Bools, columns: int) -> tuple[Floats, Floats]:
    """The most probable coefficients by Newton's method, with a weak normal prior around 0.

    Args:
        design: gives the rows from one index up to another, shape (rows, columns).
        outcome: shape (n,).
        columns: p.

    Returns:
        The coefficients, shape (p,), in log-odds, and their covariance, shape (p, p).

    Raises:
        ArithmeticError: no convergence.
    """
    at = np.zeros(columns)
    score, slope, information = _at(design, outcome, at)
    for _ in range(_MOST_STEPS):
        step = np.linalg.solve(information, slope)
        if np.abs(step).max() <= _CONVERGED:
            return at, np.asarray(np.linalg.inv(information), dtype=np.float64)
        for _ in range(40):
            found = _at(design, outcome, at + step)
            if found[0] >= score - 1e-9 * (1.0 + abs(score)):
                break
            step = step / 2.0
        at = at + step
        score, slope, information = found
    raise ArithmeticError("the logistic regression did not converge")


def _at(design: Design, outcome: Bools, at: Floats) -> tuple[float, Floats, Floats]:
    """Log-likelihood with the prior, its slope, and the information, at these coefficients."""
    precision = 1.0 / _PRIOR_SD**2
    score = -precision * float(at @ at) / 2.0
    slope = -precision * at
    information = precision * np.eye(len(at))
    for begin in range(0, len(outcome), _BLOCK):
        end = min(begin + _BLOCK, len(outcome))
        rows, won = design(begin, end), outcome[begin:end]
        log_odds = rows @ at
        score -= float(np.logaddexp(0.0, np.where(won, -log_odds, log_odds)).sum())
        with np.errstate(over="ignore"):
            expected = 1.0 / (1.0 + np.exp(-log_odds))
        slope = slope + rows.T @ (won - expected)
        information = information + (rows.T * (expected * (1.0 - expected))) @ rows
    return score, slope, information
