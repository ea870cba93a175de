"""Leaderboards made by hand, for the tests of what shows them."""

from __future__ import annotations

from collections.abc import Sequence

from arena.domain import ModelName, Winner
from arena.leaderboard.report import EVERYTHING, LeaderboardReport, Selection, make_report
from arena.stats.bias.base import CheckResult
from arena.stats.filters import MAIN_RULES, Rules
from arena.stats.vote_table import Contestant
from tests.stats.arenas import VoteRow, row, table_of

PHI = Contestant("phi", "phi-v1")
GEM = Contestant("gem", "gem-v1")
QWEN = Contestant("qwen", "qwen-v1")
SMOL = Contestant("smol", "smol-v1")
NAMES = {
    "phi": ModelName("Phi", local=True),
    "gem": ModelName("Gem"),
    "qwen": ModelName("Qwen", local=True),
    "smol": ModelName("Smol", local=True),
}
DAY = 86_400.0


def votes(  # noqa: PLR0917 - counts, in the order of the leaderboard
    a: Contestant, b: Contestant, wins_a: int, wins_b: int, ties: int = 0, bad: int = 0,
    **changes: object,
) -> list[VoteRow]:  # fmt: skip
    """Votes of one pair; the sides change from vote to vote, every voter votes once."""
    cast = [Winner.MODEL_A] * wins_a + [Winner.MODEL_B] * wins_b
    cast += [Winner.TIE] * ties + [Winner.BOTH_BAD] * bad
    other = {Winner.MODEL_A: Winner.MODEL_B, Winner.MODEL_B: Winner.MODEL_A}
    rows = []
    for number, winner in enumerate(cast):
        values = {"voter": f"v{number}", "cast_at": 100.0 + number, **changes}
        if number % 2:
            rows.append(row(other.get(winner, winner), a=b, b=a, **values))
        else:
            rows.append(row(winner, a=a, b=b, **values))
    return rows


def report(
    rows: Sequence[VoteRow], rules: Rules = MAIN_RULES, selection: Selection = EVERYTHING
) -> LeaderboardReport:
    """What the leaderboard says of these votes."""
    return make_report(table_of(rows), NAMES, rules=rules, selection=selection)


def five_hundred() -> list[VoteRow]:
    """Three contestants, clearly apart: Gem, then Phi, then Smol."""
    return [
        *votes(PHI, GEM, 40, 110, 6, 4),
        *votes(PHI, SMOL, 120, 30, 8, 2),
        *votes(GEM, SMOL, 150, 20, 5, 5),
    ]


def check(made: LeaderboardReport, name: str) -> CheckResult:
    """One of the report's checks."""
    return next(found for found in made.checks if found.name == name)
