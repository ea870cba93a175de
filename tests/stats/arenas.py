"""Arenas whose truth is known: votes drawn from given strengths and given faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from hypothesis import settings

from arena.domain import Category, Mode, Winner
from arena.stats.outcomes import Outcomes
from arena.stats.vote_table import (
    CATEGORIES,
    LANGUAGES,
    WINNERS,
    Contestant,
    Floats,
    VoteFlag,
    VoteTable,
)

NAN = float("nan")
NO_FLAGS = VoteFlag(0)
ANY_TIME = settings(deadline=None)
NAMES = tuple(Contestant(f"model-{letter}", "v1") for letter in "abcdefghij")
A, B, C = NAMES[:3]
# How often each pair of five meets: one pair in ten times as many battles as another.
UNBALANCED = (10, 1, 1, 5, 8, 2, 1, 6, 1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRow:
    """One vote, a field a column of `VoteTable`."""

    a: Contestant
    b: Contestant
    winner: Winner
    mode: Mode
    language: str
    category: Category
    voter: str
    cast_at: float
    signed_in: bool = False
    prompt: str = ""
    flags: VoteFlag = NO_FLAGS
    read_seconds: float = NAN
    chars_a: float = NAN
    chars_b: float = NAN
    tokens_a: float = NAN
    tokens_b: float = NAN
    ttft_a: float = NAN
    ttft_b: float = NAN
    total_a: float = NAN
    total_b: float = NAN
    cost_a: float = NAN
    cost_b: float = NAN


def columns_of(rows: Sequence[VoteRow]) -> dict[str, list[object]]:
    """The votes as columns."""
    return {f.name: [getattr(row, f.name) for row in rows] for f in fields(VoteRow)}


def table_of(rows: Sequence[VoteRow]) -> VoteTable:
    """The votes as a table."""
    return VoteTable.from_columns(columns_of(rows))


PairVotes = tuple[Contestant, Contestant, tuple[int, int, int, int]]


def met(  # noqa: PLR0917 - counts, in the order of the leaderboard
    first: Contestant, second: Contestant, wins_first: int, wins_second: int, ties: int = 0,
    both_bad: int = 0,
) -> PairVotes:  # fmt: skip
    """The votes of a pair, its smaller name first."""
    if first > second:
        return second, first, (wins_second, wins_first, ties, both_bad)
    return first, second, (wins_first, wins_second, ties, both_bad)


def outcomes_of(pairs: Iterable[PairVotes]) -> Outcomes:
    """Counts as an arena's outcomes; no pair comes twice."""
    listed = sorted(pairs)
    who = sorted({name for first, second, _ in listed for name in (first, second)})
    codes = [(who.index(first), who.index(second)) for first, second, _ in listed]
    counts = [votes for _, _, votes in listed]
    return Outcomes(
        tuple(who),
        np.array(codes, np.int32).reshape(-1, 2),
        np.array(counts, np.int64).reshape(-1, 4),
    )


def row(
    winner: Winner = Winner.MODEL_A, *, a: Contestant = A, b: Contestant = B, **changes: object
) -> VoteRow:
    """A vote that counts, unless the changes say otherwise."""
    values: dict[str, object] = {
        "mode": Mode.BLIND,
        "language": "en",
        "category": Category.MATH,
        "voter": "v",
        "cast_at": 0.0,
    }
    return VoteRow(a=a, b=b, winner=winner, **(values | changes))  # type: ignore[arg-type]


def expected_score(strengths: Floats) -> dict[tuple[int, int], float]:
    """How often the first of each pair is to win, ties as half."""
    return {
        (i, j): float(1.0 / (1.0 + np.exp(strengths[j] - strengths[i])))
        for i, j in combinations(range(len(strengths)), 2)
    }


def draw_outcomes(
    strengths: Floats,
    votes: int,
    rng: np.random.Generator,
    *,
    ties: float = 0.2,
    weights: Sequence[float] | None = None,
) -> Outcomes:
    """Counts of an arena in which Bradley-Terry holds exactly.

    Args:
        strengths: shape (m,), natural log-odds.
        votes: how many are cast.
        rng: draws them.
        ties: share of ties, less where one side nearly always wins.
        weights: how often each pair meets, in the order of `itertools.combinations`.
    """
    scores = expected_score(strengths)
    meet = np.array(weights if weights is not None else [1.0] * len(scores), dtype=np.float64)
    cells = []
    for score, often in zip(scores.values(), meet / meet.sum(), strict=True):
        tie = min(ties, 1.8 * min(score, 1.0 - score))
        cells += [often * (score - tie / 2), often * (1 - score - tie / 2), often * tie]
    drawn = rng.multinomial(votes, cells).reshape(-1, 3).tolist()
    return outcomes_of(
        met(NAMES[i], NAMES[j], *counts)
        for (i, j), counts in zip(scores, drawn, strict=True)
        if sum(counts)
    )


@dataclass(frozen=True, slots=True)
class Faults:
    """What else than strength moves the votes of `draw_votes`.

    Attributes:
        left: log-odds that the left side has on top.
        length: log-odds per doubling of the length.
        drift: log-odds that the first contestant has gained at the end.
        stuffed: votes of one more voter, all for the first contestant.
    """

    left: float = 0.0
    length: float = 0.0
    drift: float = 0.0
    stuffed: int = 0


def draw_votes(
    strengths: Floats,
    votes: int,
    rng: np.random.Generator,
    *,
    faults: Faults = Faults(),
    ties: float = 0.0,
    voters: int = 200,
) -> VoteTable:
    """Votes of pairs at random, sides at random, with these faults.

    The stronger a contestant, the longer it writes: what looks like an effect of length is then
    one of strength, unless strength is taken out.
    """
    size = len(strengths)
    a = rng.integers(0, size, votes)
    b = (a + rng.integers(1, size, votes)) % size
    long_a, long_b = (np.exp(rng.normal(6.0, 0.5, votes) + strengths[side]) for side in (a, b))
    moment = np.arange(votes) / max(votes - 1, 1)
    gained = faults.drift * moment * ((a == 0).astype(float) - (b == 0))
    log_odds = strengths[a] - strengths[b] + faults.left + gained
    log_odds += faults.length * np.log2(long_a / long_b)
    winner = np.where(rng.random(votes) < 1.0 / (1.0 + np.exp(-log_odds)), 0, 1)
    winner = np.where(rng.random(votes) < ties, 2, winner)
    voter = rng.integers(0, voters, votes)
    if faults.stuffed:
        voter[: faults.stuffed], winner[: faults.stuffed] = voters, 0
        a[: faults.stuffed], b[: faults.stuffed] = 0, 1
    return VoteTable.from_columns(
        columns_of([row()] * votes)
        | {
            "a": [NAMES[code] for code in a.tolist()],
            "b": [NAMES[code] for code in b.tolist()],
            "winner": [WINNERS[code] for code in winner.tolist()],
            "language": [LANGUAGES[code] for code in rng.integers(0, 2, votes).tolist()],
            "category": [CATEGORIES[code] for code in rng.integers(0, 6, votes).tolist()],
            "voter": [f"{code:04}" for code in voter.tolist()],
            "cast_at": (1e9 + 1e6 * moment).tolist(),
            "chars_a": np.ceil(long_a).tolist(),
            "chars_b": np.ceil(long_b).tolist(),
        }
    )
