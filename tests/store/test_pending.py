"""A vote that can still be taken back: on disk at once, and seen by nobody until it is final."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from arena.domain import Battle, Exchange, Grade, Vote
from arena.errors.battle import (
    AlreadyVoted,
    BattleLocked,
    NothingToUndo,
    NotYourBattle,
    UndoTooLate,
    UnknownBattle,
)
from arena.store.changes import CopyState, key_of
from arena.store.queries import Counts
from arena.store.store import VoteStore
from tests.store_tools import Outside, Worker, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, vote

OTHER = "b" * 64
UNTIL = NOON + timedelta(seconds=5)


async def added(store: VoteStore) -> Battle:
    """A battle that can be voted on."""
    made = battle()
    await store.add_battle(made)
    return made


async def seen(store: VoteStore, made: Battle) -> object:
    """All that any reader of the store can see of a battle's vote."""
    voted = [one async for batch in store.iter_records(voted_only=True) for one in batch]
    keys = await store.record_keys()
    return (
        await store.get_vote(made.id),
        await pairs_of(store),
        voted,
        keys,
        await store.records([*keys, key_of(vote(made))]),
        await store.counts(),
        await store.votes_version(),
        list((await store.vote_table()).cast_at),
    )


async def test_nobody_sees_it_before_it_is_final(store: VoteStore, outside: Outside) -> None:
    """It is on disk, yet all readers and the copy see the battle without a vote; then they do."""
    changes = store.track_changes(CopyState)
    made = await added(store)
    before = await seen(store, made)
    cast = vote(made, "tie", cast_at=NOON)
    assert await store.cast_vote(cast, UNTIL) == made
    assert outside.rows("SELECT battle_id, winner FROM votes") == [(made.id, "tie")]
    assert await seen(store, made) == before
    assert list(changes.pending()) == [key_of(made)]
    assert await store.finalise_votes(UNTIL - timedelta(microseconds=1)) == []
    assert await seen(store, made) == before
    assert await store.finalise_votes(UNTIL) == [made.id]
    assert await store.get_vote(made.id) == cast, "the moment of the vote stays that of the click"
    assert await pairs_of(store) == [(made, cast)]
    assert await store.counts() == Counts(1, 1)
    assert (await store.votes_version()).votes == 1
    assert list((await store.vote_table()).cast_at) == [NOON.timestamp()]
    assert list(changes.pending()) == await store.record_keys() == [key_of(made), key_of(cast)]
    assert await store.finalise_votes(UNTIL) == []


async def test_it_can_be_taken_back_and_cast_anew(store: VoteStore) -> None:
    """After an undo the battle goes on and takes another vote, as if there had been none."""
    made = await added(store)
    await store.cast_vote(vote(made, "model_a"), UNTIL)
    with pytest.raises(AlreadyVoted):
        await store.cast_vote(vote(made, "model_b"), UNTIL)
    with pytest.raises(BattleLocked):
        await store.update_battle(made)
    await store.undo_vote(made.id, VOTER, NOON)
    assert await store.pending_votes() == {}
    longer = replace(made, conversation_a=(*made.conversation_a, Exchange("続き", answer("次"))))
    await store.update_battle(longer)
    await store.cast_vote(vote(made, "model_b"))
    assert await store.get_vote(made.id) == vote(made, "model_b")


async def test_undo_is_refused_with_its_reason(store: VoteStore) -> None:
    """Unknown, another's, without a vote, twice, too late and final each have their error."""
    made, late, final = [await added(store) for _ in range(3)]
    with pytest.raises(UnknownBattle):
        await store.undo_vote("f" * 32, VOTER, NOON)
    with pytest.raises(NothingToUndo):
        await store.undo_vote(made.id, VOTER, NOON)
    for one in (made, late):
        await store.cast_vote(vote(one), UNTIL)
    await store.cast_vote(vote(final))
    with pytest.raises(NotYourBattle):
        await store.undo_vote(made.id, OTHER, NOON)
    for one in (late, final):
        with pytest.raises(UndoTooLate):
            await store.undo_vote(one.id, VOTER, UNTIL)
    await store.undo_vote(made.id, VOTER, NOON)
    with pytest.raises(NothingToUndo):
        await store.undo_vote(made.id, VOTER, NOON)
    assert await store.finalise_votes(UNTIL) == [late.id]


async def test_words_may_be_added_while_it_is_pending(store: VoteStore) -> None:
    """Words that are added before it is final are there when it is."""
    made = await added(store)
    await store.cast_vote(vote(made), UNTIL)
    noted = await store.annotate_vote(made.id, VOTER, comment="良い", grade_a=Grade.GOOD)
    assert await store.get_vote(made.id) is None
    assert await store.pending_votes() == {made.id: UNTIL}
    await store.finalise_votes(UNTIL)
    assert await store.get_vote(made.id) == noted


async def test_only_the_named_vote_becomes_final_early(store: VoteStore) -> None:
    """A vote is made final early by the very moment it was cast with; one cast anew stays."""
    mine, theirs, anew = [await added(store) for _ in range(3)]
    for one in (mine, theirs, anew):
        await store.cast_vote(vote(one), UNTIL)
    await store.undo_vote(anew.id, VOTER, NOON)
    later = UNTIL + timedelta(seconds=1)
    await store.cast_vote(vote(anew, "tie"), later)
    assert await store.finalise_votes(NOON, {mine.id: UNTIL, anew.id: UNTIL}) == [mine.id]
    assert await store.pending_votes() == {theirs.id: UNTIL, anew.id: later}


async def test_restore_leaves_it_and_its_battle(store: VoteStore) -> None:
    """What a copy holds replaces neither a pending vote nor the battle that it is about."""
    made = await added(store)
    await store.cast_vote(vote(made, "tie"), UNTIL)
    richer = replace(made, conversation_a=(*made.conversation_a, Exchange("続き", answer("次"))))
    assert await store.restore([richer], [vote(made, "model_b")], []) == Counts(0, 0)
    assert await store.get_battle(made.id) == made
    await store.finalise_votes(UNTIL)
    assert await store.get_vote(made.id) == vote(made, "tie")


async def test_votes_and_undos_that_race_leave_one_state(
    store: VoteStore, url: str, outside: Outside
) -> None:
    """Whatever order they come in, what was acknowledged adds up to what is stored."""
    made = await added(store)
    second = VoteStore.open(url)

    async def cast(where: VoteStore, winner: str) -> str:
        await where.cast_vote(vote(made, winner), UNTIL)
        return "cast"

    async def undo(where: VoteStore) -> str:
        await where.undo_vote(made.id, VOTER, NOON)
        return "undone"

    racing = [
        act
        for n in range(8)
        for where in (store, second)
        for act in (cast(where, ("model_a", "tie")[n % 2]), undo(where))
    ]
    results = await asyncio.gather(*racing, return_exceptions=True)
    done = Counter(r if isinstance(r, str) else type(r).__name__ for r in results)
    assert done["cast"] >= 1
    assert set(done) <= {"cast", "undone", "AlreadyVoted", "NothingToUndo"}
    stored = outside.rows("SELECT winner FROM votes")
    assert len(stored) == done["cast"] - done["undone"]
    assert len(stored) <= 1
    await second.aclose()


async def test_an_undo_that_races_with_the_end_loses_or_wins_wholly(
    store: VoteStore, url: str
) -> None:
    """A vote is either taken back or final, never both and never neither."""
    made = [await added(store) for _ in range(8)]
    second = VoteStore.open(url)
    for one in made:
        await store.cast_vote(vote(one), UNTIL)
    known = {one.id: UNTIL for one in made}
    undone, *final = await asyncio.gather(
        asyncio.gather(
            *(store.undo_vote(one.id, VOTER, NOON) for one in made), return_exceptions=True
        ),
        *(where.finalise_votes(NOON, known) for where in (store, second, store, second)),
    )
    assert {type(result) for result in undone} <= {type(None), UndoTooLate}
    ended = Counter(battle_id for ids in final for battle_id in ids)
    taken_back = {one.id: 1 for one, result in zip(made, undone, strict=True) if result is None}
    assert ended + Counter(taken_back) == Counter(known.keys())
    assert (await store.counts()).votes == len(ended)
    await second.aclose()


async def test_kill_between_the_vote_and_its_deadline_loses_nothing(
    url: str, start: Callable[..., Worker]
) -> None:
    """After a kill every acknowledged vote is there, pending, and becomes final at a restart."""
    worker = start("pend", url)
    worker.line()
    worker.go()
    acknowledged = {worker.line() for _ in range(25)}
    acknowledged |= set(worker.kill())
    store = VoteStore.open(url, clock=lambda: NOON)
    waiting = await store.pending_votes()
    assert acknowledged <= waiting.keys()
    assert set(waiting.values()) == {UNTIL}
    assert (await store.counts()).votes == 0
    assert set(await store.finalise_votes(UNTIL)) == waiting.keys()
    found = [await store.get_vote(battle_id) for battle_id in acknowledged]
    assert all(isinstance(one, Vote) and one.cast_at == NOON for one in found)
    await store.aclose()
