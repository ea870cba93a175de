"""The probability functions, against SciPy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from arena.stats.special import beta_cdf, beta_quantile, log_beta, logistic, normal_quantile
from tests.stats.arenas import ANY_TIME

POSITIVE = st.floats(-1.0, 6.0).map(lambda power: 10.0**power)


@ANY_TIME
@given(st.floats(-5.0, 5.0), POSITIVE, POSITIVE)
def test_beta_cdf_is_scipys(away: float, a: float, b: float) -> None:
    """A wrong tail is a wrong verdict: near the mean, where it matters, to a millionth of 1%."""
    spread = math.sqrt(a * b / (a + b) ** 2 / (a + b + 1.0))
    x = min(1.0, max(0.0, a / (a + b) + away * spread))
    assert beta_cdf(x, a, b) == pytest.approx(float(special.betainc(a, b, x)), abs=1e-8)


@ANY_TIME
@given(st.floats(0.001, 0.999), POSITIVE, POSITIVE)
def test_beta_quantile_is_scipys(probability: float, a: float, b: float) -> None:
    """The ends of exact intervals."""
    expected = float(special.betaincinv(a, b, probability))
    assert beta_quantile(probability, a, b) == pytest.approx(expected, abs=1e-6)


def test_the_ends_of_the_range() -> None:
    """A logarithm of zero would stop the leaderboard at its first one-sided pair."""
    assert (beta_cdf(0.0, 2.0, 3.0), beta_cdf(1.0, 2.0, 3.0)) == (0.0, 1.0)
    assert (beta_quantile(0.0, 2.0, 3.0), beta_quantile(1.0, 2.0, 3.0)) == (0.0, 1.0)
    assert (logistic(-1e6), logistic(0.0), logistic(1e6)) == (0.0, 0.5, 1.0)


def test_known_numbers() -> None:
    """Anchors that do not depend on another library."""
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert math.exp(log_beta(3.0, 4.0)) == pytest.approx(1.0 / 60.0)
    assert beta_cdf(0.3, 1.0, 1.0) == pytest.approx(0.3)
    assert normal_quantile(0.6) == pytest.approx(float(stats.norm.ppf(0.8)))


def test_impossible_arguments_are_refused() -> None:
    """A confidence of 95 instead of 0.95 would make every interval infinite."""
    for confidence in (0.0, 1.0, 95.0, -0.1):
        with pytest.raises(ValueError, match="confidence"):
            normal_quantile(confidence)
    for x, a, b in ((-0.1, 1.0, 1.0), (1.1, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, -1.0)):
        with pytest.raises(ValueError, match="no Beta"):
            beta_cdf(x, a, b)
    with pytest.raises(ValueError, match="quantile"):
        beta_quantile(1.5, 1.0, 1.0)
