"""The time in which a vote can be taken back, on a real store, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.pending import RETRY_SECONDS, PendingVotes
from arena.battle.session import BattleSession
from arena.domain import Battle, Side, Winner
from arena.errors.battle import (
    AlreadyVoted,
    BattleLocked,
    NothingToUndo,
    NotYourBattle,
    UndoTooLate,
    VoteTooEarly,
)
from arena.errors.models import Overloaded
from arena.errors.store import StoreError
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, play, side_of
from tests.clock import Clock
from tests.scripted import ScriptedModel
from tests.store_tools import until
from tests.vote_samples import NOON, battle
from tests.vote_samples import vote as cast_on

SECONDS = 5.0


def arena_with(store: VoteStore, clock: Clock, *models: ScriptedModel) -> Arena:
    """An arena whose votes can be taken back, by that clock."""
    found = models or (ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    registry = Registry([Entry(model.slug, model) for model in found])
    arena = Arena(registry, store, Limits(battles_per_minute=1000), now=clock.now)
    arena.pending = PendingVotes(store, SECONDS, clock.now, clock.sleep)
    return arena


async def played(arena: Arena, **changes: object) -> BattleSession:
    """A battle with both answers."""
    session = await arena.begin(replace(REQUEST, **changes))
    await play(arena, session)
    return session


async def is_final(store: VoteStore, session: BattleSession) -> bool:
    """Whether readers see its vote."""
    return await store.get_vote(session.battle.id) is not None


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_vote_is_final_at_its_deadline_and_not_before(
    store: VoteStore, clock: Clock
) -> None:
    """The store has the vote at once; it is final, and unlocks the names, five seconds later."""
    arena = arena_with(store, clock)
    session = await played(arena)
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    assert session.pending is not None
    assert session.snapshot().undo_s == SECONDS
    assert not session.revealed
    assert not session.snapshot().votable
    clock.advance(SECONDS - 0.001)
    assert not await session.pending.wait(0)
    assert not await is_final(store, session)
    clock.advance(0.001)
    assert await session.pending.wait(30)
    assert session.pending.final
    assert session.revealed
    assert session.snapshot().undo_s is None
    vote = await store.get_vote(session.battle.id)
    assert vote is not None
    assert vote.cast_at == NOON, "the moment of the vote, not of its end"
    with pytest.raises(UndoTooLate):
        await arena.undo(session.battle.id, VISITOR)
    await arena.aclose()


async def test_nothing_runs_while_no_vote_is_pending(store: VoteStore, clock: Clock) -> None:
    """Neither at the start nor after the last vote does a task wait for anything."""
    arena = arena_with(store, clock)
    await arena.pending.start()
    session = await played(arena)
    assert clock.sleepers == {}
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    await until(lambda: len(clock.sleepers) == 1)
    await arena.undo(session.battle.id, VISITOR)
    await until(lambda: clock.sleepers == {})
    await arena.aclose()


async def test_a_pending_vote_locks_the_battle_until_it_is_taken_back(
    store: VoteStore, clock: Clock
) -> None:
    """No other vote, prompt or retry while it is pending; after the undo all of them."""
    bad = ScriptedModel("bad", ["half", Overloaded()], ["whole"], ["more"])
    arena = arena_with(store, clock, bad, ScriptedModel("good", ["fine"]))
    session = await played(arena)
    side = side_of(session, "bad")
    await arena.retry(session, side, VISITOR)
    await play(arena, session)
    battle_id = session.battle.id
    await arena.vote(battle_id, Winner.MODEL_A, VISITOR)
    with pytest.raises(AlreadyVoted):
        await arena.vote(battle_id, Winner.MODEL_B, VISITOR)
    with pytest.raises(BattleLocked):
        await arena.follow_up(session, "And?", VISITOR)
    with pytest.raises(BattleLocked):
        await arena.retry(session, side, VISITOR)
    await arena.undo(battle_id, VISITOR)
    assert session.snapshot().votable
    assert session.snapshot().undo_s is None
    await arena.follow_up(session, "And?", VISITOR)
    with pytest.raises(VoteTooEarly):
        await arena.vote(battle_id, Winner.MODEL_B, VISITOR)
    await play(arena, session)
    await arena.vote(battle_id, Winner.MODEL_B, VISITOR)
    await arena.aclose()
    vote = await store.get_vote(battle_id)
    assert vote is not None
    assert vote.winner is Winner.MODEL_B


async def test_undo_is_refused_with_its_reason(store: VoteStore, clock: Clock) -> None:
    """Without a vote, by another visitor, twice and too late: each a typed error."""
    arena = arena_with(store, clock)
    session = await played(arena)
    battle_id = session.battle.id
    with pytest.raises(NothingToUndo):
        await arena.undo(battle_id, VISITOR)
    await arena.vote(battle_id, Winner.TIE, VISITOR)
    with pytest.raises(NotYourBattle):
        await arena.undo(battle_id, Visitor("w" * 64))
    assert session.locked
    await arena.undo(battle_id, VISITOR)
    with pytest.raises(NothingToUndo):
        await arena.undo(battle_id, VISITOR)
    await arena.vote(battle_id, Winner.TIE, VISITOR)
    clock.time += timedelta(seconds=SECONDS)  # nobody is woken: the task is late
    with pytest.raises(UndoTooLate):
        await arena.undo(battle_id, VISITOR)
    assert session.locked
    await arena.aclose()


async def test_the_end_of_a_page_makes_its_votes_final(store: VoteStore, clock: Clock) -> None:
    """A closed tab and the next battle of a page end the time, for that page's votes alone."""
    arena = arena_with(store, clock)
    mine, other = await played(arena), await played(arena, session_hash="another")
    for session in (mine, other):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    following = await played(arena)
    await arena.pages.close("tab", keep=following.battle.id)
    assert await is_final(store, mine)
    assert mine.pending is not None
    assert mine.pending.final
    assert not await is_final(store, other)
    await arena.vote(following.battle.id, Winner.TIE, VISITOR)
    await arena.pages.close("tab")
    assert await is_final(store, following)
    assert list(await store.pending_votes()) == [other.battle.id]
    await arena.aclose()
    assert await is_final(store, other), "the end of the process is the end of its pages"
    assert clock.sleepers == {}


async def vote_begun(
    arena: Arena, session: BattleSession, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Task[Battle]:
    """A vote that is being stored."""
    begun, works = asyncio.Event(), arena.store.cast_vote

    async def told(*arguments: Any) -> Battle:
        begun.set()
        return await works(*arguments)

    monkeypatch.setattr(arena.store, "cast_vote", told)
    voting = asyncio.create_task(arena.vote(session.battle.id, Winner.TIE, VISITOR))
    await begun.wait()
    return voting


async def test_a_page_that_closes_while_its_vote_is_stored_loses_nothing(
    store: VoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vote waits for no page: closing comes after it, and makes it final."""
    arena = arena_with(store, clock)
    session = await played(arena)
    voting = await vote_begun(arena, session, monkeypatch)
    await arena.pages.close("tab")
    await voting
    assert await is_final(store, session)
    await arena.aclose()


async def test_a_vote_whose_caller_is_gone_is_final_at_its_deadline(
    store: VoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that is cancelled while its vote is stored leaves nothing pending for ever."""
    arena = arena_with(store, clock)
    session = await played(arena)
    voting = await vote_begun(arena, session, monkeypatch)
    voting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await voting
    assert list(await store.pending_votes()) == [session.battle.id]
    await until(lambda: len(clock.sleepers) == 1)
    clock.advance(SECONDS)
    await until(lambda: is_final(store, session))


async def test_a_store_that_is_slower_than_the_deadline_loses_nothing(
    store: VoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote that is stored after its deadline is final then."""
    arena = arena_with(store, clock)
    session = await played(arena)
    gate, works = asyncio.Event(), store.cast_vote

    async def slow(*arguments: Any) -> Battle:
        await gate.wait()
        return await works(*arguments)

    monkeypatch.setattr(store, "cast_vote", slow)
    voting = asyncio.create_task(arena.vote(session.battle.id, Winner.TIE, VISITOR))
    await until(lambda: len(clock.sleepers) == 1)
    clock.advance(SECONDS)
    await until(lambda: clock.sleepers == {})
    gate.set()
    await voting
    await until(lambda: is_final(store, session))
    await arena.aclose()


async def test_a_restart_takes_up_what_was_left(store: VoteStore, clock: Clock) -> None:
    """Votes past their time are final at the start, the others when their time is up."""
    arena = arena_with(store, clock)
    sessions = [await played(arena) for _ in range(3)]
    for session in sessions:
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
        clock.time += timedelta(seconds=2)  # no task is woken: the process is as good as dead
    first, second, third = sessions
    later = Clock()
    later.time = clock.time
    again = arena_with(store, later)
    await again.pending.start()
    assert [await is_final(store, one) for one in sessions] == [True, False, False]
    for session, expected in ((second, 1), (third, 1)):
        await until(lambda number=expected: len(later.sleepers) == number)
        assert not await is_final(store, session)
        later.advance(2)
        await until(lambda one=session: is_final(store, one))
    await until(lambda: later.sleepers == {})
    await again.aclose()
    await arena.aclose()
    assert (await store.counts()).votes == 3
    assert first.pending is not None
    assert first.pending.final


async def test_two_processes_leave_each_others_votes_alone(store: VoteStore, clock: Clock) -> None:
    """A start, a deadline and the end of one process end no vote of another before its time."""
    one, two = arena_with(store, clock), arena_with(store, clock)
    theirs = await played(one)
    await one.vote(theirs.battle.id, Winner.TIE, VISITOR)
    await two.pending.start()
    mine = await played(two)
    await two.vote(mine.battle.id, Winner.TIE, VISITOR)
    await two.pages.close("tab")
    assert await is_final(store, mine)
    await two.aclose()
    assert not await is_final(store, theirs)
    await one.undo(theirs.battle.id, VISITOR)
    await one.aclose()


async def test_a_store_that_refuses_is_asked_again(
    store: VoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote stays pending, names hidden, until the store takes its end."""
    arena = arena_with(store, clock)
    session = await played(arena)
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    await until(lambda: len(clock.sleepers) == 1)
    works, asked = store.finalise_votes, asyncio.Event()

    async def full(*_args: object) -> list[str]:
        asked.set()
        raise StoreError(place="disk")

    monkeypatch.setattr(store, "finalise_votes", full)
    clock.advance(SECONDS)
    await asked.wait()
    await until(lambda: len(clock.sleepers) == 1)
    assert session.snapshot().undo_s == 0
    await arena.pending.start()
    monkeypatch.setattr(store, "finalise_votes", works)
    clock.advance(RETRY_SECONDS)
    assert session.pending is not None
    assert await session.pending.wait(30)
    assert session.pending.final
    assert await is_final(store, session)
    await arena.aclose()


async def test_a_vote_that_was_not_stored_is_no_vote(
    store: VoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of the store its time ends without a vote, and the names stay hidden."""

    async def refused(*_args: object) -> None:
        raise StoreError(place="disk")

    pending = PendingVotes(store, SECONDS, clock.now, clock.sleep)
    made = battle()
    await store.add_battle(made)
    monkeypatch.setattr(store, "cast_vote", refused)
    with pytest.raises(StoreError):
        await pending.cast(cast_on(made))
    (vote,) = pending.votes
    await until(lambda: len(clock.sleepers) == 1)
    clock.advance(SECONDS)
    assert await vote.wait(30)
    assert not vote.final
    await pending.aclose()


async def test_forged_and_racing_calls_leave_one_state(store: VoteStore, clock: Clock) -> None:
    """What was acknowledged, the store and the session agree, in whatever order calls came."""
    arena = arena_with(store, clock)
    session = await played(arena)
    battle_id = session.battle.id
    other = Visitor("w" * 64)

    async def vote(visitor: Visitor, winner: Winner) -> str:
        await arena.vote(battle_id, winner, visitor)
        return "cast"

    async def undo(visitor: Visitor) -> str:
        await arena.undo(battle_id, visitor)
        return "undone"

    for round_ in range(5):
        calls = []
        for n in range(4):
            calls += [
                vote(VISITOR, list(Winner)[n]), undo(VISITOR), vote(other, Winner.TIE),
                undo(other), vote(VISITOR, list(Winner)[-n]),
            ]  # fmt: skip
        results = await asyncio.gather(*calls, return_exceptions=True)
        done = [r if isinstance(r, str) else type(r).__name__ for r in results]
        assert set(done) <= {"cast", "undone", "AlreadyVoted", "NothingToUndo", "NotYourBattle"}
        assert done.count("NotYourBattle") == 8
        there = done.count("cast") - done.count("undone")
        assert there == len(await store.pending_votes())
        assert session.locked == bool(there), round_
        assert (session.pending is not None) == bool(there)
        assert session.snapshot().votable != bool(there)
        if there:
            await arena.undo(battle_id, VISITOR)
    assert session.battle.spec(Side.A).id in {"x", "y"}
    await arena.aclose()
    assert (await store.counts()).votes == 0


async def test_a_prompt_and_a_vote_at_once_leave_one_of_them(
    store: VoteStore, clock: Clock
) -> None:
    """Of a follow-up and a vote that race, the second is refused, and store and page agree."""
    arena = arena_with(store, clock)
    for order in (False, True):
        session = await played(arena)
        calls = [
            arena.vote(session.battle.id, Winner.TIE, VISITOR),
            arena.follow_up(session, "And?", VISITOR),
        ]
        results = await asyncio.gather(*(calls[::-1] if order else calls), return_exceptions=True)
        refused = [r for r in results if isinstance(r, Exception)]
        assert [type(r) for r in refused] in ([BattleLocked], [VoteTooEarly])
        if not session.locked:
            await play(arena, session)
        assert session.saved
        assert await store.get_battle(session.battle.id) == session.battle
    await arena.aclose()
