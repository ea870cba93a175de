"""Slots, the queue before them, and how often a visitor may ask."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.admission import ConcurrencyQueue, Slot
from arena.battle.arena import Arena
from arena.battle.limits import UNKNOWN, Visitor
from arena.battle.session import BattleSession
from arena.domain import (
    Side,
    Winner,
)
from arena.errors.battle import (
    ArenaBusy,
    EmptyPrompt,
    OneAtATime,
    RateExceeded,
    TooManyTokens,
)
from arena.errors.models import BudgetSpent, Overloaded
from arena.models.base import ModelStatus, Unavailable
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of, play, side_of
from tests.scripted import ScriptedModel


def test_first_come_first_served() -> None:
    """A released slot goes to the first of the queue."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    first, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    assert [slot.queue_position for slot in (first, second, third)] == [0, 1, 2]
    first.release()
    assert [slot.queue_position for slot in (second, third)] == [0, 1]


def test_who_gives_up_lets_the_others_move() -> None:
    """A released position moves those behind it; releasing twice changes nothing."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    _, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    second.release()
    assert third.queue_position == 1
    second.release()
    assert (queue.running, queue.waiting) == (1, 1)


def test_a_full_line_sends_away_with_its_numbers() -> None:
    """A full queue refuses, and the error has the numbers."""
    queue = ConcurrencyQueue(limit=1, max_waiting=1)
    queue.acquire()
    queue.acquire()
    with pytest.raises(ArenaBusy, match="1 battles are running, and 1 visitors wait"):
        queue.acquire()


def test_nobody_jumps_the_line() -> None:
    """A newcomer comes after those who wait, also when a slot was just released."""
    queue = ConcurrencyQueue(limit=2, max_waiting=2)
    slots = [queue.acquire() for _ in range(3)]
    slots[0].release()
    assert queue.acquire().queue_position == 1
    assert slots[2].queue_position == 0


async def test_whoever_waits_hears_of_each_move() -> None:
    """Everyone who waits is woken at each move."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    first, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    waits = [asyncio.create_task(queue.moved.wait()) for _ in (second, third)]
    await asyncio.sleep(0)
    first.release()
    await asyncio.wait_for(asyncio.gather(*waits), 20)
    again = asyncio.create_task(queue.moved.wait())
    await asyncio.sleep(0)
    second.release()
    await asyncio.wait_for(again, 20)
    assert third.queue_position == 0


@given(st.lists(st.integers(0, 9), max_size=60))
def test_places_are_never_more_than_there_are(steps: list[int]) -> None:
    """After any sequence: never more slots than the limit, none lost, positions without gaps."""
    queue = ConcurrencyQueue(limit=2, max_waiting=3)
    held: list[Slot] = []
    for step in steps:
        if step < 6:
            try:
                held.append(queue.acquire())
            except ArenaBusy:
                assert (queue.running, queue.waiting) == (2, 3)
        elif held:
            held.pop(step % len(held)).release()
        assert queue.running <= 2
        assert queue.running + queue.waiting == len(held)
        assert queue.waiting == 0 or queue.running == 2
        assert sorted(slot.queue_position for slot in held if slot.queue_position) == list(
            range(1, queue.waiting + 1)
        )


# --- in an arena ----------------------------------------------------------------------------


async def test_cap_on_battles_and_bad_prompts_cost_nothing(store: VoteStore) -> None:
    """A refused request reaches no model and leaves no row."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", [never]), ScriptedModel("y", [never])
    arena = arena_of(store, x, y, limits=Limits(battles=1))
    with pytest.raises(EmptyPrompt):
        await arena.begin(replace(REQUEST, text=" \n"))
    session = await arena.begin(REQUEST)
    with pytest.raises(ArenaBusy):
        await arena.begin(REQUEST)
    assert (await store.counts()).battles == 1
    await arena.stop(session)
    again = await arena.begin(REQUEST)
    await arena.stop(again)


async def test_a_visitor_is_told_when_to_come_back(store: VoteStore) -> None:
    """A visitor over the rate is refused with the limit; other visitors are not."""
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles_per_minute=2, battles_per_day=3))
    for _ in range(2):
        await play(arena, await arena.begin(REQUEST))
    with pytest.raises(RateExceeded) as refusal:
        await arena.begin(REQUEST)
    assert refusal.value.values["limit"] == 2
    assert (await store.counts()).battles == 2
    assert arena.admission.queue.running == 0
    await play(arena, await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64))))


async def test_follow_ups_and_retries_count_too(store: VoteStore) -> None:
    """Follow-ups and retries count like battles; a refused one changes nothing."""
    x, y = ScriptedModel("x", ANSWER, [Overloaded()], ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(battles_per_minute=3))
    session = await arena.begin(REQUEST)
    await play(arena, session)
    await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    failed = side_of(session, "x")
    await arena.retry(session, failed, VISITOR)
    await play(arena, session)
    with pytest.raises(RateExceeded):
        await arena.follow_up(session, "And now?", VISITOR)
    assert not session.running
    assert session.battle.votable
    assert arena.admission.queue.running == 0


async def test_new_browsers_of_one_address_share_its_cap(store: VoteStore) -> None:
    """New browser ids at one address share the address's allowance."""
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles_per_minute=1, visitors_per_address=2))
    for letter in "ab":
        visitor = Visitor(letter * 64, address="f" * 64)
        await play(arena, await arena.begin(replace(REQUEST, visitor=visitor)))
    with pytest.raises(RateExceeded):
        await arena.begin(replace(REQUEST, visitor=Visitor("c" * 64, address="f" * 64)))
    await play(
        arena, await arena.begin(replace(REQUEST, visitor=Visitor("c" * 64, address="e" * 64)))
    )


async def test_one_visitor_does_not_take_all_slots(store: VoteStore) -> None:
    """A visitor has a cap on running battles; others are not affected."""
    gate = asyncio.Event()
    models = [ScriptedModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(visitor_battles=1))
    session = await arena.begin(REQUEST)
    with pytest.raises(OneAtATime):
        await arena.begin(replace(REQUEST, session_hash="other tab"))
    other = await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64), session_hash="other"))
    gate.set()
    await asyncio.gather(play(arena, session), play(arena, other))
    await play(arena, await arena.begin(REQUEST))


class MeteredModel(ScriptedModel):
    """One whose caps the store counts: looking at them takes a while, and may close it."""

    news: ModelStatus | None = None

    async def refresh(self) -> None:
        await asyncio.sleep(0)
        self.state = self.news or self.state

    def expenses(self) -> None:
        return None


async def test_a_model_that_others_used_up_is_not_drawn(store: VoteStore) -> None:
    """Before the draw the models' caps are read, so one that is spent is not drawn."""
    cloud = MeteredModel("cloud", ANSWER)
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER), cloud)
    cloud.news = Unavailable(BudgetSpent(label="C", limit="1", until="00:00 UTC", variable="V"))
    for _ in range(10):
        session = await arena.begin(REQUEST)
        assert {session.battle.spec(side).id for side in Side} == {"x", "y"}
        await play(arena, session)


async def test_two_sends_at_the_same_moment_are_one_too_many(store: VoteStore) -> None:
    """Of requests at the same moment only as many begin as the cap allows."""
    gate = asyncio.Event()
    models = [MeteredModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(visitor_battles=1))
    results = await asyncio.gather(
        *(arena.begin(replace(REQUEST, session_hash=str(n))) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(r, BattleSession) for r in results) == 1
    assert sum(isinstance(r, OneAtATime) for r in results) == 4
    gate.set()
    await arena.aclose()
    assert arena.admission.queue.running == 0


async def test_the_queue_moves_when_a_battle_ends(store: VoteStore) -> None:
    """The end of a battle moves the queue, and the positions that are reported fall."""
    gate = asyncio.Event()
    x, y = ScriptedModel("x", [gate, "Late."], ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(battles=1, waiting=2))
    session = await arena.begin(REQUEST)
    slots = [arena.admission.queue.acquire() for _ in range(2)]
    with pytest.raises(ArenaBusy):
        arena.admission.queue.acquire()
    seen: list[int] = []

    async def wait() -> None:
        async for position in arena.admission.queue_positions(slots[1]):
            seen.append(position)  # noqa: PERF401 -- a cancelled wait keeps what it saw

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    gate.set()
    await play(arena, session)
    assert slots[0].queue_position == 0
    second = await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64)), slots[0])
    await play(arena, second)
    await asyncio.wait_for(waiting, 20)
    assert seen[0] == 2
    assert slots[1].queue_position == 0


async def test_a_slot_whose_turn_it_is_not_begins_nothing(store: VoteStore) -> None:
    """A slot that still waits begins nothing, and is released."""
    gate = asyncio.Event()
    models = [ScriptedModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles=1))
    session = await arena.begin(REQUEST)
    early = arena.admission.queue.acquire()
    with pytest.raises(ArenaBusy):
        await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64)), early)
    assert arena.admission.queue.waiting == 0
    gate.set()
    await play(arena, session)


async def test_a_tab_that_closes_releases_its_slot(store: VoteStore) -> None:
    """Closing a page releases the slots of its battles."""
    models = [ScriptedModel(name, ["A", asyncio.Event()]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles=1))
    await arena.begin(REQUEST)
    await arena.pages.close("tab")
    assert arena.admission.queue.running == 0
    assert [model.running for model in models] == [0, 0]


async def test_a_conversation_that_grows_too_long_is_refused(store: VoteStore) -> None:
    """The cap on tokens holds for the sum of all turns."""
    models = [ScriptedModel(name, ["偶" * 30]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(prompt_tokens=40))
    session = await arena.begin(replace(REQUEST, text="数" * 8))
    await play(arena, session)
    with pytest.raises(TooManyTokens):
        await arena.follow_up(session, "数" * 8, VISITOR)
    assert len(session.battle.conversation_a) == 1
    with pytest.raises(TooManyTokens):
        await arena.begin(replace(REQUEST, text="数" * 41))
    assert (await store.counts()).battles == 1


async def test_visitors_are_hashed_with_the_salt_that_is_set(store: VoteStore) -> None:
    """The same salt gives the same voter; without one the store's own is used."""
    limits = Limits()
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    registry = Registry([Entry(model.slug, model) for model in models])
    salted = Arena(registry, store, limits, salt="s" * 20)
    again = Arena(registry, store, limits, salt="s" * 20)
    kept = Arena(registry, store, limits)
    one, same = (
        await salted.admission.visitor("id", ""),
        await again.admission.visitor("id", "8.8.8.8"),
    )
    assert one.voter == same.voter
    assert one.address == UNKNOWN
    assert len(same.address) == 64
    assert (await kept.admission.visitor("id", "")).voter not in {one.voter, "id"}
    account = await salted.admission.visitor("account:7", "", signed_in=True)
    assert account.signed_in
    assert account.voter != one.voter


async def test_a_vote_says_whether_the_voter_had_signed_in(store: VoteStore) -> None:
    """A vote records whether its voter had signed in."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    for signed_in in (True, False):
        visitor = replace(VISITOR, signed_in=signed_in)
        session = await arena.begin(replace(REQUEST, visitor=visitor))
        await play(arena, session)
        await arena.vote(session.battle.id, Winner.MODEL_A, visitor)
        vote = await store.get_vote(session.battle.id)
        assert vote is not None
        assert vote.signed_in is signed_in
