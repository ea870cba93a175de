"""The three functions of probability that the intervals are made of, by the standard library.

All are for single numbers: an arena shows tens of intervals, not millions.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The continued fraction needs about the square root of the larger parameter in steps, so this is
# reached past 10**8 votes only.
_MOST_STEPS = 100_000
_TINY = 1e-300


def normal_quantile(confidence: float) -> float:
    """How many standard deviations a two-sided interval reaches, e.g. 1.96 for 0.95.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def logistic(log_odds: float) -> float:
    """The probability that has those log-odds; never overflows."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def log_beta(a: float, b: float) -> float:
    """The logarithm of Euler's beta function; a and b are positive."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The probability that a Beta(a, b) variable is at most x: the regularised incomplete beta.

    By the continued fraction of DLMF 8.17.22 with Lentz's method (Press et al., Numerical
    Recipes, 3rd ed., section 6.4).

    Args:
        x: 0 to 1.
        a: positive.
        b: positive.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not (0.0 <= x <= 1.0 and a > 0.0 and b > 0.0):
        raise ValueError(f"no Beta({a}, {b}) probability at {x}")
    if x in (0.0, 1.0):
        return x
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(x, a, b) / a)
    return max(0.0, 1.0 - front * _fraction(1.0 - x, b, a) / b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, which converges below the mean."""
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_STEPS):
        before = value
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(value - before) <= 1e-15 * abs(value):
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge at {x}, {a}, {b}")


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x at which `beta_cdf` is that probability, to 1e-12, by bisection.

    Args:
        probability: 0 to 1.
        a: positive.
        b: positive.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"no quantile at probability {probability}")
    if probability in (0.0, 1.0):
        return probability
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2.0
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
