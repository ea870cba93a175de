"""Votes that several tests of the statistics share."""

from __future__ import annotations

import numpy as np
import pytest

from arena.stats.vote_table import VoteTable
from tests.stats.arenas import NAMES


@pytest.fixture(scope="session")
def million() -> VoteTable:
    """A million votes among five, drawn the same every time."""
    rng = np.random.default_rng(0)
    votes = 1_000_000
    a = rng.integers(0, 5, votes)
    return VoteTable.from_columns(
        {
            "a": a,
            "b": (a + rng.integers(1, 5, votes)) % 5,
            "winner": rng.integers(0, 4, votes),
            "mode": np.zeros(votes, np.int32),
            "language": rng.integers(0, 3, votes),
            "category": rng.integers(0, 6, votes),
            "voter": rng.integers(0, 50_000, votes),
            "prompt": rng.integers(0, 300_000, votes),
            "cast_at": rng.random(votes) * 1e9,
        },
        contestants=NAMES[:5],
    )
