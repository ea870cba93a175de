"""The fit of ratings: against a published table, evalica, and itself."""

from __future__ import annotations

import evalica
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from arena.stats.bradley_terry import covariance, differences, fit, probabilities
from arena.stats.vote_table import Floats
from tests.stats.arenas import ANY_TIME

# A. Agresti, Categorical Data Analysis, 2nd ed., table 10.10: games won in the American League
# East of 1987 by the team of the row against that of the column. Milwaukee, Detroit, Toronto,
# New York, Boston, Cleveland, Baltimore.
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ],
    dtype=np.float64,
)


def by_evalica(wins: Floats) -> Floats:
    """Strengths with mean 0 from evalica, a row a pair of contestants in both directions."""
    rows = [
        (i, j, evalica.Winner.X, weight)
        for i, line in enumerate(wins.tolist())
        for j, weight in enumerate(line)
        if weight > 0
    ]
    xs, ys, winners, weights = (list(column) for column in zip(*rows, strict=True))
    result = evalica.bradley_terry(xs, ys, winners, weights=weights, tolerance=1e-12, limit=10**6)
    strengths = np.log(result.scores.sort_index().to_numpy())
    return np.asarray(strengths - strengths.mean())


def test_a_published_table() -> None:
    """H. Turner and D. Firth (2012), Journal of Statistical Software 48(9), fitted these games.

    1.5814 (0.3433), 1.4364 (0.3396), 1.2945 (0.3367), 1.2476 (0.3359), 1.1077 (0.3339),
    0.6839 (0.3319), and Baltimore 0.
    """
    strengths = fit(BASEBALL[None])[0]
    published = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0]
    assert (strengths - strengths[-1]).tolist() == pytest.approx(published, abs=5e-5)
    spread = covariance(BASEBALL, np.zeros_like(BASEBALL), strengths)
    variance = spread.diagonal() + spread[-1, -1] - 2 * spread[:, -1]
    errors = [0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319]
    assert np.sqrt(variance[:-1]).tolist() == pytest.approx(errors, abs=5e-5)
    np.testing.assert_allclose(strengths, by_evalica(BASEBALL), atol=1e-9)


def test_two_by_hand() -> None:
    """9 wins to 3 are odds of 3: strengths ±ln(3)/2, and each variance (1/9 + 1/3)/4."""
    wins = np.array([[0.0, 9.0], [3.0, 0.0]])
    strengths = fit(wins[None])[0]
    assert strengths.tolist() == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    spread = covariance(wins, np.zeros((2, 2)), strengths)
    assert spread.diagonal().tolist() == pytest.approx([(1 / 9 + 1 / 3) / 4] * 2)
    assert probabilities(differences(strengths))[0, 1] == pytest.approx(0.75)


def test_ties_narrow_by_hand() -> None:
    """8 ties, 3 wins, 1 win: p = 7/12, n·p·(1 - p) = 35/12, the outcomes' variance 35/12 - 2.

    The difference has the variance (35/12 - 2)/(35/12)² = 0.10776; without the ties 0.34286.
    """
    wins = np.array([[0.0, 7.0], [5.0, 0.0]])
    ties = np.array([[0.0, 8.0], [8.0, 0.0]])
    spread = covariance(wins, ties, fit(wins[None])[0])
    difference = spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]
    assert difference == pytest.approx((35 / 12 - 2) / (35 / 12) ** 2)


@ANY_TIME
@given(
    st.integers(2, 7).flatmap(
        lambda m: st.lists(
            st.floats(0.0, 1.0).map(lambda u: round(10 ** (6 * u) - 1, 3)),
            min_size=m * m,
            max_size=m * m,
        )
    )
)
def test_the_fit_is_evalicas(numbers: list[float]) -> None:
    """Counts up to a million, alone or in a stack, give the strengths that evalica gives."""
    size = round(len(numbers) ** 0.5)
    wins = np.array(numbers).reshape(size, size)
    np.fill_diagonal(wins, 0.0)
    met = (wins + wins.T) > 0
    assume(connected_components(met)[0] == 1)
    wins += 0.25 * met
    found = fit(np.stack([wins, 2 * wins]))
    np.testing.assert_allclose(found[0], by_evalica(wins), atol=1e-6)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    expected = ((wins + wins.T) * probabilities(differences(found[0]))).sum(axis=1)
    np.testing.assert_allclose(expected, wins.sum(axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("start", [0.0, 30.0, -30.0])
def test_a_far_start_arrives(start: float) -> None:
    """Newton's steps are shortened where the curve is flat, so any start gives the same."""
    wins = np.array([[0.0, 1e6, 0.0], [0.25, 0.0, 3.0], [0.0, 0.25, 0.0]])
    away = np.array([start, 0.0, -start])
    np.testing.assert_allclose(fit(wins[None], away)[0], fit(wins[None])[0], atol=1e-8)


def test_a_quarter_of_a_win_beside_a_million_is_not_lost() -> None:
    """Surprises are taken pair by pair, so the prior's quarter counts beside a million wins."""
    wins = np.zeros((3, 3))
    wins[2, :2], wins[:2, 2] = 999_999.25, 0.25
    found = fit(wins[None])[0]
    assert found[2] - found[0] == pytest.approx(np.log(999_999.25 / 0.25), abs=1e-9)


def test_tables_without_an_answer_are_refused() -> None:
    """An undefeated contestant without a prior is an error, not some large number."""
    with pytest.raises((ArithmeticError, np.linalg.LinAlgError)):
        fit(np.array([[[0.0, 5.0], [0.0, 0.0]]]))
