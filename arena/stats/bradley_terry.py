"""The Bradley-Terry model: fitting many tables at once, and its covariance.

Contestant i beats j with probability 1/(1 + exp(t_j - t_i)); a tie is half a win for each
(R. A. Bradley and M. E. Terry (1952), Biometrika 39, 324-345). Strengths t are natural log-odds
whose mean over the contestants is 0.

A table of wins has shape (m, m): row i, column j is how often i beat j, half wins and the prior's
included. Functions take stacks of tables, shape (..., m, m).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from arena.stats.vote_table import Codes, Floats

_MOST_STEPS: Final = 200
# Newton's step is cut to this many log-odds, so that a start far away does not overshoot.
_LONGEST_STEP: Final = 1.5
# Below this length a full step always makes the table more probable: no difference moves by more
# than 0.5, over which the curvature grows by exp(0.5) at most, which is less than 2.
_SURE_STEP: Final = 0.25
_CONVERGED: Final = 1e-10


def wins_from(pairs: Codes, first: Floats, second: Floats, size: int) -> Floats:
    """Tables of wins from wins by pair.

    Args:
        pairs: shape (k, 2), codes below size; no pair comes twice.
        first: shape (..., k), wins of the first of each pair, half wins included.
        second: shape (..., k), wins of the second.
        size: m.

    Returns:
        Shape (..., m, m).
    """
    table = np.zeros((*first.shape[:-1], size, size))
    table[..., pairs[:, 0], pairs[:, 1]] = first
    table[..., pairs[:, 1], pairs[:, 0]] = second
    return table


def differences(strengths: Floats) -> Floats:
    """By how much the row is stronger than the column: shape (..., m) to (..., m, m)."""
    return np.asarray(strengths[..., :, None] - strengths[..., None, :])


def probabilities(difference: Floats) -> Floats:
    """How often the stronger by that difference wins, 1/(1 + exp(-difference)); of any shape."""
    from scipy.special import expit

    return np.asarray(expit(difference))


def fit(wins: Floats, start: Floats | None = None) -> Floats:
    """The strengths that make the tables most probable, by Newton's method with step halving.

    Every table must be connected by pairs that both sides won at least in part (the prior sees to
    that), else there is no finite answer.

    Args:
        wins: shape (r, m, m).
        start: shape (m,), strengths to begin from; zeros if None.

    Returns:
        Shape (r, m), each row with mean 0.

    Raises:
        ArithmeticError: no convergence; the tables are not connected.
    """
    at = np.zeros(wins.shape[:-1]) if start is None else np.tile(start, (len(wins), 1))
    moving = np.arange(len(wins))
    for _ in range(_MOST_STEPS):
        if not len(moving):
            return at
        step = _newton_step(wins[moving], at[moving])
        length = np.abs(step).max(axis=1)
        far = length > _SURE_STEP
        if far.any():
            step[far] *= _shortening(wins[moving[far]], at[moving[far]], step[far])[:, None]
        at[moving] += step
        moving = moving[length > _CONVERGED]
    raise ArithmeticError(f"{len(moving)} of {len(wins)} tables of wins have no finite strengths")


def _shortening(wins: Floats, at: Floats, step: Floats) -> Floats:
    """By how much steps are shortened so that no table becomes less probable; shape (r,)."""
    before = _log_likelihood(wins, at)
    least = before - 1e-9 * (1.0 + np.abs(before))
    fraction = np.ones(len(wins))
    for _ in range(40):
        worse = _log_likelihood(wins, at + fraction[:, None] * step) < least
        if not worse.any():
            break
        fraction[worse] /= 2.0
    return fraction


def _log_likelihood(wins: Floats, strengths: Floats) -> Floats:
    return np.asarray(-(wins * np.logaddexp(0.0, -differences(strengths))).sum(axis=(-2, -1)))


def _newton_step(wins: Floats, at: Floats) -> Floats:
    votes = wins + wins.swapaxes(-2, -1)
    expected = probabilities(differences(at))
    unexpected = expected.swapaxes(-2, -1)
    # Wins against expected losses, pair by pair: the difference of the sums, which says the same,
    # would lose a quarter of a win beside a million.
    surprise = wins * unexpected
    slope = (surprise - surprise.swapaxes(-2, -1)).sum(axis=-1)
    information = _made_regular(laplacian(votes * expected * unexpected))
    step: Floats = np.linalg.solve(information, slope[..., None])[..., 0]
    step -= step.mean(axis=-1, keepdims=True)
    longest = np.abs(step).max(axis=-1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300)))


def laplacian(weights: Floats) -> Floats:
    """The information matrix of pairs that have these weights; shape (..., m, m)."""
    matrix = -weights
    places = np.arange(weights.shape[-1])
    matrix[..., places, places] = weights.sum(axis=-1) - weights[..., places, places]
    return np.asarray(matrix)


def _made_regular(information: Floats) -> Floats:
    """The same and a matrix of equal numbers, which answers with mean 0 do not see.

    Strengths are known up to a constant, so the information alone has no inverse. Scaled, so that
    neither part drowns the other.
    """
    size = information.shape[-1]
    scale = np.trace(information, axis1=-2, axis2=-1) / size
    return np.asarray(information + (scale / size)[..., None, None])


def covariance(wins: Floats, ties: Floats, strengths: Floats) -> Floats:
    """The covariance of fitted strengths whose mean is 0; shape (m, m).

    The sandwich A⁻¹·M·A⁻¹ (P. J. Huber (1967); H. White (1982), Econometrica 50, 1-25). A is the
    information, n·p·(1 - p) by pair. M is the variance of the outcomes: one that is 1, 1/2 or 0
    and is a tie in t of n votes has n·p·(1 - p) - t/4. Without that, ties would widen the
    intervals instead of narrowing them.

    Args:
        wins: shape (m, m), with half wins and the prior's.
        ties: shape (m, m) symmetric, votes that were counted as half wins, without the prior's.
        strengths: shape (m,), of `fit`.
    """
    votes = wins + wins.T
    expected = probabilities(differences(strengths))
    binomial = votes * expected * expected.T
    # What makes the bread regular is a matrix of equal numbers, which the meat's sums of 0 remove.
    bread = np.linalg.inv(_made_regular(laplacian(binomial)))
    meat = laplacian(np.maximum(binomial - ties / 4.0, 0.0))
    return np.asarray(bread @ meat @ bread)
