"""Votes that a program made up: good for looking at the board, never to be taken for people's."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.leaderboard.cache import LeaderboardCache
from arena.stats.filters import Rules
from arena.store.store import VoteStore
from bench.simulated_votes import write


async def test_they_are_marked_and_fill_only_a_new_file(tmp_path: Path) -> None:
    """Simulated votes are marked in every label, and written to new files only."""
    path = tmp_path / "made-up.db"
    await write(path, models=3, votes=20, seed=4)
    store = VoteStore.open(f"sqlite:///{path}")
    try:
        found = await LeaderboardCache(store).report(Rules())
    finally:
        await store.aclose()
    assert found.votes == 20
    assert found.simulated == found.counted > 0
    assert all(s.simulated and "(simulated)" in s.name.label for s in found.standings)
    with pytest.raises(FileExistsError):
        await write(path, models=2, votes=1, seed=1)
