"""How often the statistics are right: simulated arenas whose truth is known.

Figures of two contestants are sums over all outcomes and have no noise; the others have a standard
error of about sqrt(0.05 * 0.95 / arenas), which is 0.7 points at 1,000 arenas (less where one arena
gives several intervals).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from arena.stats.bias.base import CheckVerdict
from arena.stats.bias.drift import drift
from arena.stats.bias.length import length_bias
from arena.stats.bias.position import position_bias
from arena.stats.cells import shrink
from arena.stats.intervals import (
    Estimate,
    Verdict,
    decisive_votes_needed,
    two_models,
    wilson,
)
from arena.stats.ranking import CENTRE, POINTS, components_of, rank
from arena.stats.vote_table import VoteTable
from bench.bootstrap import percentiles, resampled
from tests.stats.arenas import NAMES, UNBALANCED, Faults, draw_outcomes, draw_votes

RATES = np.linspace(0.1, 0.9, 801)
FIVE = np.array([0.9, 0.4, 0.0, -0.5, -0.8])
FAR = np.linspace(-2.5, 2.5, 5)
FIVE_POINTS = float(np.log(0.55 / 0.45))


def two() -> Iterator[str]:
    """Exact coverage, false alarms and power of two contestants."""
    yield "\nTwo contestants, true rates 0.1 to 0.9, exact: mean and least coverage of 95%"
    yield "| votes | Wilson | Clopper-Pearson | called different though equal |\n|---|---|---|---|"
    for votes in (3, 5, 8, 12, 20, 30, 50, 100, 200, 500):
        wins = np.arange(votes + 1)
        chances = stats.binom.pmf(wins[:, None], votes, RATES)
        cells_ = [_exact(chances, [interval(int(k), votes) for k in wins])
                  for interval in (wilson, _clopper_pearson)]  # fmt: skip
        decided = [
            two_models(int(k), votes - int(k)).verdict in (Verdict.FIRST, Verdict.SECOND)
            for k in wins
        ]
        alarms = float(stats.binom.pmf(wins, votes, 0.5)[decided].sum())
        yield f"| {votes} | {cells_[0]} | {cells_[1]} | {alarms:.3f} |"
    yield "\nPower after as many decisive votes as were said to be needed for 80%, exact"
    for rate in (0.51, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0):
        votes = decisive_votes_needed(rate)
        wins = np.arange(votes + 1)
        found = 2 * stats.binom.cdf(np.minimum(wins, votes - wins), votes, 0.5) <= 0.05
        power = float(stats.binom.pmf(wins, votes, rate)[found].sum())
        yield f"  rate {rate:.2f}: {votes:,} votes, power {power:.3f}"


def _clopper_pearson(wins: int, votes: int) -> Estimate:
    """The exact interval, which never covers less than it says, by SciPy."""
    found = stats.binomtest(wins, votes).proportion_ci(method="exact")
    return Estimate(wins / votes, found.low, found.high)


def _exact(chances: np.ndarray, found: list[Estimate]) -> str:
    low, high = (np.array([getattr(f, end) for f in found])[:, None] for end in ("low", "high"))
    covered = (chances * ((low <= RATES) & (high >= RATES))).sum(axis=0)
    return f"{covered.mean():.3f}, {covered.min():.3f}"


def ratings(arenas: int) -> Iterator[str]:
    """Coverage of the intervals of five, with both methods."""
    yield (
        "\nFive contestants, pairs met 1 to 10 times as often: coverage of 95% (mean over all,"
        " least of one contestant), share marked as approximate, coverage of those not marked"
    )
    yield "| strengths | ties | votes | method | all | least | marked | not marked |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, truth in (("near", FIVE - FIVE.mean()), ("far", FAR)):
        for ties in (0.0, 0.3):
            for votes in (20, 30, 50, 100, 200, 500, 2000, 5000):
                for method, number in (("sandwich", arenas), ("bootstrap", max(arenas // 5, 20))):
                    row = _ratings(truth, ties, votes, method, number)
                    yield f"| {name} | {ties} | {votes} | {method} | {row} |"


def _ratings(truth: np.ndarray, ties: float, votes: int, method: str, arenas: int) -> str:
    rng = np.random.default_rng(votes)
    held: list[list[bool]] = []
    marked: list[list[bool]] = []
    while len(held) < arenas:
        drawn = draw_outcomes(truth, votes, rng, ties=ties, weights=UNBALANCED)
        found = rank(drawn)
        if len(found.ratings) < len(truth) or not found.comparable:
            continue
        by_name = sorted(found.ratings, key=lambda rating: rating.contestant)
        marked.append([r.approximate for r in by_name])
        if method == "sandwich":
            true = [CENTRE + POINTS * truth[NAMES.index(r.contestant)] for r in by_name]
            held.append([r.rating.holds(t) for r, t in zip(by_name, true, strict=True)])
        else:
            low, high = percentiles(resampled(components_of(drawn)[0], 400))
            held.append(((low <= truth) & (truth <= high)).tolist())
    right, rough = np.array(held), np.array(marked)
    sure = f"{right[~rough].mean():.3f}" if (~rough).sum() > arenas / 10 else "-"
    least = right.mean(axis=0).min()
    return f"{right.mean():.3f} | {least:.3f} | {rough.mean():.2f} | {sure}"


def faults(arenas: int) -> Iterator[str]:
    """Power and false alarms of the checks."""
    checks: tuple[tuple[str, Callable[[VoteTable], CheckVerdict], np.ndarray, Faults], ...] = (
        ("position, 5 points", lambda b: position_bias(b).verdict, FIVE, Faults(left=FIVE_POINTS)),
        ("length, 0.3 a doubling", lambda b: length_bias(b).verdict, FIVE, Faults(length=0.3)),
        ("drift, 0.8 in all", lambda b: drift(b, NAMES[:2]).verdict, FIVE[:2] / 2,
         Faults(drift=0.8)),
    )  # fmt: skip
    yield "\nChecks: how often a planted fault is seen, and how often one that is not there"
    yield "| fault | decisive votes | seen | false alarms |\n|---|---|---|---|"
    for name, check, truth, fault in checks:
        for votes in (100, 500, 2000):
            rng = np.random.default_rng(votes)
            shares = []
            for planted in (fault, Faults()):
                drawn = (draw_votes(truth, votes, rng, faults=planted) for _ in range(arenas))
                shares.append(sum(check(table) is CheckVerdict.SEEN for table in drawn) / arenas)
            yield f"| {name} | {votes} | {shares[0]:.3f} | {shares[1]:.3f} |"


def shrinking(arenas: int) -> Iterator[str]:
    """Coverage and width of shrunk rates."""
    yield "\nCells: coverage of the shrunk 95%, and its width against each cell's own interval"
    yield "| votes of the cells | spread of the truth | coverage | width |\n|---|---|---|---|"
    for sizes in ([5, 5, 10, 10, 15, 20, 30, 40], [12, 12, 12], [50, 100, 200, 400]):
        for spread in (0.0, 0.05, 0.1, 0.15, 0.2):
            rng = np.random.default_rng(len(sizes))
            held, width, own = 0, 0.0, 0.0
            for _ in range(arenas):
                truth = np.clip(rng.normal(0.6, spread, len(sizes)), 0.02, 0.98)
                wins = rng.binomial(sizes, truth).tolist()
                found = shrink(list(zip(wins, sizes, strict=True)))
                held += sum(f.holds(float(t)) for f, t in zip(found, truth, strict=True))
                width += sum(f.high - f.low for f in found)
                alone = [wilson(k, n) for k, n in zip(wins, sizes, strict=True)]
                own += sum(f.high - f.low for f in alone)
            yield f"| {sizes} | {spread} | {held / arenas / len(sizes):.3f} | {width / own:.2f} |"


def run(arenas: int) -> str:
    """All tables; minutes at 1,000 arenas."""
    parts = (two(), ratings(arenas), faults(arenas), shrinking(max(arenas // 4, 20)))
    return "\n".join(line for part in parts for line in part)
