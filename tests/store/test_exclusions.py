"""What the owner excludes does not count, can be taken back, and is never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from arena.domain import Exclusion
from arena.errors.battle import UnknownBattle
from arena.errors.store import StoreError
from arena.stats.vote_table import VoteFlag
from arena.store.store import VoteStore
from tests.store_tools import Outside, decisions_in, excluded_in, tally
from tests.vote_samples import NOON, battle, vote

LATER = NOON + timedelta(minutes=1)


async def voted(store: VoteStore, *winners: str, signed_in: bool = False) -> list[str]:
    """Battles of phi (a) against gem (b) with these votes; their ids."""
    ids = []
    for winner in winners:
        made = battle("phi", "gem")
        await store.add_battle(made)
        await store.cast_vote(vote(made, winner, signed_in=signed_in))
        ids.append(made.id)
    return ids


def phi_and_gem(**counts: int) -> dict[str, int]:
    return {f"phi gem {winner}": number for winner, number in counts.items()}


async def test_excluded_votes_leave_the_tally_and_come_back(store: VoteStore) -> None:
    """An excluded vote does not count and is kept; a lifted decision lets it count again."""
    first, *_ = await voted(store, "model_a", "model_a", "tie")
    everything = phi_and_gem(model_a=2, tie=1)
    assert await tally(store) == everything
    out = Exclusion(first, "スクリプト", NOON)
    await store.add_exclusion(out)
    assert await tally(store) == phi_and_gem(model_a=1, tie=1)
    assert await excluded_in(store) == {first: out}
    assert await store.get_vote(first) is not None
    await store.add_exclusion(Exclusion(first, "not a script", LATER, lifted=True))
    assert await tally(store) == everything
    assert await excluded_in(store) == {}
    again = Exclusion(first, "it was", LATER + timedelta(minutes=1))
    await store.add_exclusion(again)
    assert await excluded_in(store) == {first: again}


async def test_latest_decision_counts_whenever_it_arrives(
    store: VoteStore, outside: Outside
) -> None:
    """Of several decisions the one decided last counts, in whatever order they are stored."""
    (one,) = await voted(store, "model_a")
    in_japan = datetime.fromisoformat("2025-06-01T21:02:00+09:00")  # 12:02 UTC
    new, old = Exclusion(one, "new", in_japan, lifted=True), Exclusion(one, "old", NOON)
    await store.add_exclusion(new)
    await store.add_exclusion(old)
    assert await excluded_in(store) == {}
    assert await tally(store) == phi_and_gem(model_a=1)
    # Both are kept, for the copy and for whoever asks why.
    assert await decisions_in(store) == [old, new]
    assert outside.rows("SELECT why FROM exclusions ORDER BY decided_at") == [("old",), ("new",)]


async def test_decision_needs_its_battle_and_its_own_moment(store: VoteStore) -> None:
    """An unknown battle, a second decision of one moment and a moment without zone are errors."""
    with pytest.raises(UnknownBattle):
        await store.add_exclusion(Exclusion("f" * 32, "x", NOON))
    (one,) = await voted(store, "model_a")
    first = Exclusion(one, "x", NOON)
    await store.add_exclusion(first)
    with pytest.raises(StoreError):
        await store.add_exclusion(replace(first, lifted=True))
    assert await excluded_in(store) == {one: first}
    with pytest.raises(StoreError):
        await store.add_exclusion(Exclusion(one, "x", datetime(2025, 1, 1)))  # noqa: DTZ001


async def test_signed_in_votes_can_be_counted_alone(store: VoteStore) -> None:
    """The table of votes says which voters had signed in, and which votes are excluded."""
    await voted(store, "model_a")
    known = await voted(store, "model_b", "model_b", signed_in=True)
    await store.add_exclusion(Exclusion(known[0], "x", NOON))
    assert await tally(store) == phi_and_gem(model_a=1, model_b=1)
    table = await store.vote_table()
    counted = table.signed_in & ~table.has(VoteFlag.EXCLUDED)
    assert counted.sum() == 1
    found = await store.get_vote(known[1])
    assert found is not None
    assert found.signed_in


async def test_annotation_keeps_who_signed_in(store: VoteStore) -> None:
    """An annotation leaves `signed_in` as it is."""
    (one,) = await voted(store, "model_a", signed_in=True)
    noted = await store.annotate_vote(one, battle().voter, comment="x")
    assert noted.signed_in
    assert noted == await store.get_vote(one)
