"""A battle that outlives its page: the grace time, who takes it up, what the store gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Limits, Visitor
from arena.battle.resume import handle_of
from arena.battle.session import BattleSession
from arena.domain import FinishReason, Side, Winner
from arena.errors.battle import NoContestants, UnknownBattle
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of, play, until
from tests.scripted import ScriptedModel
from tests.virtual_time import run

OTHER = Visitor("w" * 64)
GRACE = 60.0


def live(store: VoteStore, *models: ScriptedModel, limits: Limits | None = None) -> Arena:
    """An arena with a grace time."""
    return arena_of(store, *models, limits=limits, grace=GRACE)


def writers(gate: asyncio.Event) -> list[ScriptedModel]:
    """Two models that stop in the middle until the gate opens."""
    return [ScriptedModel(name, ["Be", gate, "cause."]) for name in "xy"]


def in_virtual_time(folder: Path, work: Any) -> None:
    """The work with a store of its own; its hour takes no time."""

    async def whole() -> None:
        store = VoteStore.open(f"sqlite:///{folder / 'arena.db'}")
        try:
            await work(store)
        finally:
            await store.aclose()

    run(whole())


async def written(arena: Arena) -> BattleSession:
    """A battle whose answers are complete."""
    session = await arena.begin(REQUEST)
    await play(arena, session)
    return session


def test_a_battle_without_a_page_runs_on_for_the_grace_time(tmp_path: Path) -> None:
    """Just before its end it still writes; after it both models rest and the slot is free."""

    async def work(store: VoteStore) -> None:
        models = writers(asyncio.Event())
        arena = live(store, *models, limits=Limits(battles=1))
        session = await arena.begin(REQUEST)
        await until(session, "Be", Side.A)
        await arena.pages.leave("tab")
        await asyncio.sleep(GRACE - 1)
        assert session.running
        assert arena.admission.queue.running == 1
        await asyncio.sleep(2)
        assert not session.running
        assert [model.running for model in models] == [0, 0]
        assert arena.admission.queue.running == 0
        assert arena.find_session(session.battle.id) is None
        taken = await arena.pages.take_up(VISITOR.voter, "new")
        assert taken is not None
        assert taken.session.battle.id == session.battle.id
        sides = taken.session.snapshot().sides.values()
        assert {(side.text, str(side.phase)) for side in sides} == {("Be", "stopped")}
        await arena.aclose()

    in_virtual_time(tmp_path, work)


def test_a_page_that_takes_it_up_in_time_lets_it_finish(tmp_path: Path) -> None:
    """The same battle, still written; the old page's time does not end it, nor does its leaving."""

    async def work(store: VoteStore) -> None:
        gate = asyncio.Event()
        arena = live(store, *writers(gate))
        session = await arena.begin(REQUEST)
        await until(session, "Be", Side.A)
        await arena.pages.leave("tab")
        await asyncio.sleep(GRACE - 1)
        taken = await arena.pages.take_up(VISITOR.voter, "new")
        assert taken is not None
        assert taken.session is session
        await arena.pages.leave("tab")
        await asyncio.sleep(10 * GRACE)
        assert session.running
        gate.set()
        last = (await play(arena, session))[-1]
        assert last.votable
        assert {side.text for side in last.sides.values()} == {"Because."}
        await arena.aclose()

    in_virtual_time(tmp_path, work)


async def test_two_readers_of_one_battle_both_see_its_end(store: VoteStore) -> None:
    """The page that is gone may still read: it takes no change away from the new one."""
    gate = asyncio.Event()
    arena = live(store, *writers(gate))
    session = await arena.begin(REQUEST)
    readers = [asyncio.create_task(play(arena, session)) for _ in range(2)]
    await until(session, "Be", Side.A)
    gate.set()
    async with asyncio.timeout(30):
        found = await asyncio.gather(*readers)
    assert [snapshots[-1].running for snapshots in found] == [False, False]
    await arena.aclose()


@pytest.mark.parametrize("grace", [0.0, GRACE])
async def test_stop_and_next_need_no_grace(store: VoteStore, grace: float) -> None:
    """What the visitor ends is ended at once; without a grace time leaving is such an end."""
    models = writers(asyncio.Event())
    arena = arena_of(store, *models, grace=grace)
    session = await arena.begin(REQUEST)
    await until(session, "Be", Side.A)
    await (arena.pages.close("tab") if grace else arena.pages.leave("tab"))
    assert [model.running for model in models] == [0, 0]
    assert arena.find_session(session.battle.id) is None
    await arena.aclose()


async def test_a_page_that_is_gone_begins_nothing(store: VoteStore) -> None:
    """Its prompt waited in the queue: no model is asked when its turn comes."""
    models = writers(asyncio.Event())
    arena = live(store, *models)
    await arena.pages.leave("tab")
    with pytest.raises(UnknownBattle):
        await arena.begin(REQUEST)
    assert [model.asked for model in models] == [[], []]


async def test_what_another_open_page_shows_stays_there(store: VoteStore) -> None:
    """A new tab starts empty, whether the other one's battle runs or not."""
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    assert await arena.pages.take_up(VISITOR.voter, "new tab") is None
    await play(arena, session)
    assert await arena.pages.take_up(VISITOR.voter, "new tab") is None
    assert session.session_hash == "tab"
    await arena.aclose()


async def test_a_reload_has_its_own_battle_back(store: VoteStore) -> None:
    """Also before the server has seen the old page go; the other tab keeps its battle."""
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    tabs = ("one", "two")
    first, second = [await arena.begin(replace(REQUEST, session_hash=tab)) for tab in tabs]
    for session in (first, second):
        await play(arena, session)
    taken = await arena.pages.take_up(VISITOR.voter, "one again", handle_of(first.battle.id))
    assert taken is not None
    assert taken.session is first
    await arena.pages.leave("one")
    assert (first.session_hash, second.session_hash) == ("one again", "two")
    await arena.aclose()


async def test_no_other_visitor_takes_it_up(store: VoteStore) -> None:
    """Neither an open battle nor a stored one, also with its handle."""
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await written(arena)
    handle = handle_of(session.battle.id)
    for _ in range(2):
        await arena.pages.leave("tab")
        for shown in (None, "", handle, session.battle.id):
            assert await arena.pages.take_up(OTHER.voter, "thief", shown) is None
        await arena.aclose()
        arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    await arena.aclose()


async def test_a_restart_gives_the_newest_battle_back_to_be_voted_on(store: VoteStore) -> None:
    """Another process shows it from the store: blind, votable, and it goes on."""
    models = [ScriptedModel(name, ANSWER, ["More."]) for name in "xy"]
    before = live(store, *models)
    session = await written(before)
    await before.aclose()
    arena = live(store, *(ScriptedModel(name, ["More."]) for name in "xy"))
    taken = await arena.pages.take_up(VISITOR.voter, "new")
    assert taken is not None
    again = taken.session
    assert (again.battle, taken.vote) == (session.battle, None)
    assert again.snapshot().votable
    await arena.follow_up(again, "And?", VISITOR)
    await play(arena, again)
    assert [one.answer.text for one in again.battle.conversation_a if one.answer] == [
        "Because.", "More.",
    ]  # fmt: skip
    await arena.vote(again.battle.id, Winner.MODEL_B, VISITOR)
    vote = await store.get_vote(again.battle.id)
    assert vote is not None
    assert vote.winner is Winner.MODEL_B
    await arena.aclose()


async def test_a_side_that_a_restart_cut_off_can_be_asked_again(store: VoteStore) -> None:
    """The answer that was stored stays, the other one counts as stopped."""
    never = asyncio.Event()
    before = live(store, ScriptedModel("x", ["lost", never]), ScriptedModel("y", ANSWER))
    session = await before.begin(REQUEST)
    lost = next(s for s in Side if session.battle.spec(s).id == "x")
    async with asyncio.timeout(30):
        while session.streams[lost.other].running:  # it rests when its answer is stored
            await session.changed.wait()
    arena = live(store, ScriptedModel("x", ["found"]), ScriptedModel("y", ANSWER))
    taken = await arena.pages.take_up(VISITOR.voter, "new")
    assert taken is not None
    assert taken.session.snapshot().retryable(lost)
    await arena.retry(taken.session, lost, VISITOR)
    last = (await play(arena, taken.session))[-1]
    assert {side: last.sides[side].text for side in Side} == {
        lost: "found", lost.other: "Because.",
    }  # fmt: skip
    await arena.aclose()
    await before.aclose()


async def test_without_its_contestant_it_can_still_be_voted_on(store: VoteStore) -> None:
    """A model that left the arena answers nothing more."""
    before = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    await written(before)
    await before.aclose()
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("z", ANSWER))
    taken = await arena.pages.take_up(VISITOR.voter, "new")
    assert taken is not None
    with pytest.raises(NoContestants):
        await arena.follow_up(taken.session, "And?", VISITOR)
    await arena.vote(taken.session.battle.id, Winner.TIE, VISITOR)
    await arena.aclose()


async def test_a_voted_battle_comes_back_to_its_own_page_alone(store: VoteStore) -> None:
    """With the vote; a new tab starts empty, and nothing older is dug out for it."""
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    older = await written(arena)
    await arena.pages.close("tab")
    voted = await written(arena)
    await arena.vote(voted.battle.id, Winner.TIE, VISITOR)
    handle = handle_of(voted.battle.id)
    for _ in range(2):  # from memory, and after a restart
        await arena.pages.leave("tab")
        assert await arena.pages.take_up(VISITOR.voter, "new") is None
        assert await arena.pages.take_up(VISITOR.voter, "empty", "") is None
        taken = await arena.pages.take_up(VISITOR.voter, "tab", handle)
        assert taken is not None
        assert taken.vote is not None
        assert (taken.session.battle.id, taken.vote.winner) == (voted.battle.id, Winner.TIE)
        assert taken.session.revealed
        await arena.aclose()
        arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    assert older.battle.id != voted.battle.id
    await arena.aclose()


async def test_a_pending_vote_is_final_when_its_page_goes(store: VoteStore) -> None:
    """At once, not after the grace time; one that a killed process left, when it is taken up."""
    arena = arena_of(
        store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER), grace=GRACE, undo=600
    )
    session = await written(arena)
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    assert await store.get_vote(session.battle.id) is None
    await arena.pages.leave("tab")
    assert await store.get_vote(session.battle.id) is not None
    killed = await arena.begin(replace(REQUEST, session_hash="second"))
    await play(arena, killed)
    await arena.vote(killed.battle.id, Winner.MODEL_A, VISITOR)
    fresh = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    taken = await fresh.pages.take_up(VISITOR.voter, "new", handle_of(killed.battle.id))
    assert taken is not None
    assert taken.vote is not None
    assert taken.session.revealed
    await arena.aclose()
    await fresh.aclose()


async def test_an_old_battle_and_one_without_answers_are_not_shown(tmp_path: Path) -> None:
    """More than a day later, and where the restart came before the first answer."""
    clock = [datetime(2025, 6, 1, 12, tzinfo=UTC)]
    store = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}", clock=lambda: clock[0])
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    arena = arena_of(store, *models, grace=GRACE, now=lambda: clock[0])
    await written(arena)
    await arena.aclose()
    never = asyncio.Event()
    unanswered = arena_of(
        store, *(ScriptedModel(name, [never]) for name in "xy"), now=lambda: clock[0]
    )
    clock[0] += timedelta(hours=1)
    await unanswered.begin(replace(REQUEST, session_hash="other"))
    arena = arena_of(store, *models, grace=GRACE, now=lambda: clock[0])
    taken = await arena.pages.take_up(VISITOR.voter, "new")
    assert taken is not None
    assert taken.session.snapshot().votable
    await arena.aclose()
    clock[0] += timedelta(hours=24)
    arena = arena_of(store, *models, grace=GRACE, now=lambda: clock[0])
    assert await arena.pages.take_up(VISITOR.voter, "new") is None
    await arena.aclose()
    await unanswered.aclose()
    await store.aclose()


async def test_two_pages_that_want_it_at_once_share_one_battle(store: VoteStore) -> None:
    """A restart brings all tabs back at the same moment: one open battle, one record."""
    before = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await written(before)
    await before.aclose()
    arena = live(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    handle = handle_of(session.battle.id)
    wanted: list[Coroutine[Any, Any, Any]] = [
        arena.pages.take_up(VISITOR.voter, tab, handle) for tab in ("one", "two")
    ]
    first, second = await asyncio.gather(*wanted)
    assert first.session is second.session
    await arena.aclose()


async def test_stopping_at_the_end_of_the_grace_time_keeps_the_text(store: VoteStore) -> None:
    """What was written is stored as cancelled, as by Stop."""
    arena = arena_of(store, *writers(asyncio.Event()), grace=0.0)
    session = await arena.begin(REQUEST)
    await until(session, "Be", Side.A)
    await until(session, "Be", Side.B)
    await arena.pages.leave("tab")
    stored = await store.get_battle(session.battle.id)
    assert stored is not None
    for side in Side:
        answer = stored.conversation(side)[0].answer
        assert answer is not None
        assert (answer.text, answer.finished.reason) == ("Be", FinishReason.CANCELLED)


async def test_what_was_left_without_a_vote_waits(store: VoteStore) -> None:
    """Newest first, and each until it has its vote; what another page shows stays there."""
    arena = live(store, *(ScriptedModel(name, ANSWER) for name in "xy"))
    left = [await written(arena) for _ in range(3)]
    assert await arena.pages.unfinished(VISITOR.voter) == [], "the page shows them"
    await arena.pages.close("tab")
    ids = [session.battle.id for session in reversed(left)]
    assert await arena.pages.unfinished(VISITOR.voter) == ids
    assert await arena.pages.unfinished(OTHER.voter) == []
    assert await arena.pages.take_up_unfinished(OTHER.voter, "theirs") is None
    taken = await arena.pages.take_up_unfinished(VISITOR.voter, "one")
    assert taken is not None
    assert taken.session.battle.id == ids[0]
    assert taken.session.snapshot().votable
    again = await arena.pages.take_up_unfinished(VISITOR.voter, "two")
    assert again is not None
    assert again.session.battle.id == ids[1]
    await arena.vote(ids[0], Winner.TIE, VISITOR)
    await arena.pages.close("one")
    await arena.pages.close("two")
    assert await arena.pages.unfinished(VISITOR.voter) == ids[1:]
    await arena.aclose()


async def test_the_next_battle_takes_the_place_of_the_one_before(store: VoteStore) -> None:
    """A page shows one battle: what it showed is closed, and waits in its turn."""
    arena = live(store, *(ScriptedModel(name, ANSWER) for name in "xy"))
    first = await written(arena)
    await arena.pages.close("tab")
    second = await written(arena)
    taken = await arena.pages.take_up_unfinished(VISITOR.voter, "tab")
    assert taken is not None
    assert taken.session.battle.id == first.battle.id
    assert await arena.pages.unfinished(VISITOR.voter) == [second.battle.id]
    await arena.aclose()
