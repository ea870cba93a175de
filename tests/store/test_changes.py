"""The changes name every record that is on disk and not copied, and no other."""

from __future__ import annotations

import asyncio

import pytest

from arena.domain import Exchange, Exclusion
from arena.errors.battle import AlreadyVoted, BattleLocked, NotYourBattle, UnknownBattle
from arena.errors.store import StoreError
from arena.store.changes import Changes, CopyState, RecordKey, RecordKind, key_of
from arena.store.store import VoteStore
from tests.store_tools import Outside
from tests.vote_samples import NOON, VOTER, battle, vote


@pytest.fixture
def changes(store: VoteStore) -> Changes:
    """What changes in it."""
    return store.track_changes(CopyState)


async def test_every_write_is_named_and_can_be_read_by_its_key(
    store: VoteStore, changes: Changes
) -> None:
    """A battle, a vote, words added to it, and each decision; a record counts once."""
    poor = battle(conversation_a=(), conversation_b=())
    made = battle(id=poor.id)
    await store.add_battle(poor)
    await store.update_battle(made)
    assert list(changes.pending()) == [RecordKey(RecordKind.BATTLE, made.id)]
    await store.cast_vote(vote(made, guess="phi"))
    noted = await store.annotate_vote(made.id, VOTER, comment="良い")
    out = Exclusion(made.id, "x", NOON)
    await store.add_exclusion(out)
    keys = list(changes.pending())
    assert keys == [key_of(made), key_of(noted), key_of(out)]
    assert await store.records(keys) == [made, noted, out]
    assert await store.record_keys() == keys
    other = [RecordKey(RecordKind.EXCLUSION, made.id), RecordKey(RecordKind.VOTE, "f" * 32)]
    assert await store.records(other) == []


async def test_a_record_that_changes_while_it_is_copied_waits_again(changes: Changes) -> None:
    """`forget` leaves what was written after `pending`."""
    first, second = key_of(battle()), key_of(battle())
    changes.add([first, second])
    taken = changes.pending()
    changes.add([second])
    changes.forget(taken)
    assert list(changes.pending()) == [second]
    assert len(changes) == 1


async def test_what_failed_or_was_restored_is_no_change(store: VoteStore, changes: Changes) -> None:
    """The copy holds what the store took, and what comes from it does not go back."""
    made = battle()
    await store.add_battle(made)
    await store.cast_vote(vote(made))
    changes.forget(changes.pending())
    for failing, error in (
        (store.add_battle(made), StoreError),
        (store.update_battle(made), BattleLocked),
        (store.update_battle(battle()), UnknownBattle),
        (store.cast_vote(vote(made, "tie")), AlreadyVoted),
        (store.annotate_vote(made.id, "b" * 64, comment="x"), NotYourBattle),
        (store.add_exclusion(Exclusion("f" * 32, "x", NOON)), UnknownBattle),
    ):
        with pytest.raises(error):
            await failing
    await store.restore([battle()], [], [])
    assert len(changes) == 0


async def test_a_cancelled_write_is_a_change(
    store: VoteStore, changes: Changes, outside: Outside
) -> None:
    """A tab that closes in the middle of a write leaves the record on disk."""
    made = battle(conversation_a=(Exchange("p"),))
    with outside.holding():
        writing = asyncio.create_task(store.add_battle(made))
        await asyncio.sleep(0)  # it has begun
        writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    assert await store.get_battle(made.id) == made
    assert list(changes.pending()) == [key_of(made)]


async def test_a_record_that_cannot_be_read_keeps_no_other(
    store: VoteStore, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by its id, without its text, and left out."""
    broken, whole = battle(voter="c" * 64, system_prompt="private words"), battle()
    for made in (broken, whole):
        await store.add_battle(made)
        await store.cast_vote(vote(made, voter=made.voter))
    outside.rows(f"UPDATE battles SET mode = 'private words' WHERE id = '{broken.id}'")  # noqa: S608
    outside.rows(f"UPDATE votes SET reasons = '[7]' WHERE battle_id = '{broken.id}'")  # noqa: S608
    assert await store.records(await store.record_keys()) == [whole, vote(whole)]
    assert caplog.text.count(broken.id) == 2
    assert "private words" not in caplog.text


async def test_without_a_copy_nothing_is_kept(store: VoteStore) -> None:
    """A store is not told of a copy, and says that there is none."""
    assert store.copy_state() == CopyState()
    await store.add_battle(battle())


async def test_closed_store_says_so(url: str) -> None:
    """A write that comes after the shutdown is an error of the store."""
    opened = VoteStore.open(url)
    await opened.aclose()
    with pytest.raises(StoreError):
        await opened.add_battle(battle())
