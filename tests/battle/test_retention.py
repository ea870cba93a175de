"""Texts go after the days that the owner set, and not before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from arena.battle.retention import SWEEP_EVERY_S, Retention
from arena.store.store import VoteStore
from tests.store_tools import pairs_of
from tests.vote_samples import NOON, battle, vote


class Stop(Exception):
    """Ends sweeps that never end."""


async def swept(store: VoteStore, days: int | None, clock: list[timedelta]) -> list[int]:
    """How many battles had texts before the first sweep and after each of three, a day apart."""
    left: list[int] = []

    async def look() -> None:
        left.append(sum(found.erased is None for found, _ in await pairs_of(store)))

    async def sleep(seconds: float) -> None:
        await look()
        if len(left) > 3:
            raise Stop
        clock[0] += timedelta(seconds=seconds)

    await look()
    try:
        await Retention(store, days, sleep=sleep).run()
    except Stop:
        return left
    return left


@pytest.mark.parametrize(
    ("days", "expected"), [(None, [4]), (9, [4, 4, 4, 4]), (1, [4, 3, 2, 1]), (2, [4, 4, 3, 2])]
)
async def test_texts_are_erased_by_age(
    tmp_path: Path, days: int | None, expected: list[int]
) -> None:
    """Four battles, a day apart, the last one of now; the votes stay."""
    clock = [timedelta()]
    store = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}", clock=lambda: NOON + clock[0])
    for number, age in enumerate((25, 1, -23, -47)):  # the last two begin later
        made = battle(id=f"{number:032x}", created_at=NOON - timedelta(hours=age))
        await store.add_battle(made)
        await store.cast_vote(vote(made))
    assert timedelta(days=1).total_seconds() == SWEEP_EVERY_S
    assert await swept(store, days, clock) == expected
    assert (await store.counts()).votes == 4
    await store.aclose()
