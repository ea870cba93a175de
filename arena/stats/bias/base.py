"""What every check of the votes has; JSON, page and terminal show all checks by these alone.

Those of position, length, drift and guesses are tests: each raises a false alarm in about 5% of
arenas without that fault. `seen` is a reason to look, not a proof; `none_seen` means that it was
not seen in that many votes, not that it is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from arena.stats.intervals import Estimate
from arena.stats.outcomes import Pair

Figure = Estimate | float | None


class CheckVerdict(StrEnum):
    """What a check found."""

    NONE_SEEN = "none_seen"
    SEEN = "seen"
    TOO_FEW = "too_few"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found. Its class is the check's entry: the fields it adds are its figures.

    Attributes:
        name: the check's key in JSON, and that of its texts: `board.check.NAME`.
        counted: what n counts: its key in JSON, and its noun in the texts: `board.n.COUNTED`.
        needed: the n below which the check says nothing.
        pictured: the figure that the picture of the checks shows, a share that is one half without
            the fault; empty if there is none.
        n: the number of votes it is based on.
    """

    name: ClassVar[str]
    counted: ClassVar[str] = "decisive"
    needed: ClassVar[int]
    pictured: ClassVar[str] = ""

    verdict: CheckVerdict
    n: int

    @property
    def sentence(self) -> str:
        """Which text says it: `board.check.NAME.SENTENCE`, or `board.check.SENTENCE` of all."""
        return self.verdict

    def figures(self) -> dict[str, Figure]:
        """The check's own numbers by name, in order: its keys in JSON and in its texts."""
        shared = ("verdict", "n", "pair")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCheckResult(CheckResult):
    """What a check of one pair found; without a pair there are no votes."""

    pair: Pair | None


def verdict_on(estimate: Estimate | None, no_effect: float, *, enough: bool) -> CheckVerdict:
    """Whether the interval rules out that there is no effect."""
    if not enough or estimate is None:
        return CheckVerdict.TOO_FEW
    return CheckVerdict.NONE_SEEN if estimate.holds(no_effect) else CheckVerdict.SEEN


def share_of(log_odds: float, half: float) -> Estimate:
    """Log-odds with the half width of their interval, as a share: 1/(1 + exp(-log-odds))."""
    from scipy.special import expit

    return Estimate(*expit([log_odds, log_odds - half, log_odds + half]).tolist())
