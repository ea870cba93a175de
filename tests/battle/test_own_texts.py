"""A visitor's own texts: found and removed by who they are, and nobody else's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from arena.battle.limits import Visitor
from arena.battle.own_texts import OwnTexts
from arena.domain import Battle, Winner
from arena.errors.battle import ErasureTooOften
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of, play, until
from tests.scripted import ScriptedModel
from tests.store_tools import pairs_of

OTHER = Visitor("e" * 64, "elsewhere")


async def stored(store: VoteStore, battle_id: str) -> Battle:
    found = await store.get_battle(battle_id)
    assert found is not None
    return found


async def test_only_the_visitors_own_go(store: VoteStore) -> None:
    """With another's ids in hand too; the vote keeps counting."""
    arena = arena_of(store, *(ScriptedModel(name, ANSWER) for name in "xy"))
    mine = await arena.begin(REQUEST)
    await play(arena, mine)
    await arena.vote(mine.battle.id, Winner.TIE, VISITOR)
    theirs = await arena.begin(replace(REQUEST, visitor=OTHER, session_hash="other"))
    await play(arena, theirs)
    own = OwnTexts(arena)
    before = await store.vote_table()
    found = await own.found(VISITOR)
    assert (found.ids, found.votes, found.erased) == ((mine.battle.id,), 1, 0)
    assert await own.erase(VISITOR, [mine.battle.id, theirs.battle.id]) == 1
    erased = await stored(store, mine.battle.id)
    assert erased.erased is not None
    assert "Why?" not in repr(erased)
    assert (await stored(store, theirs.battle.id)).conversation_a[0].prompt == "Why?"
    assert len(await store.vote_table()) == len(before) == 1
    assert arena.find_session(theirs.battle.id) is theirs, "and it stays open"
    assert (await own.found(VISITOR)).erased == 1
    await arena.vote(theirs.battle.id, Winner.TIE, OTHER)


async def test_what_the_visitor_was_not_told_of_stays(store: VoteStore) -> None:
    """A battle that began after the question."""
    arena = arena_of(store, *(ScriptedModel(name, ANSWER) for name in "xy"))
    await play(arena, await arena.begin(REQUEST))
    own = OwnTexts(arena)
    told = (await own.found(VISITOR)).ids
    later = await arena.begin(replace(REQUEST, text="And now?"))
    await play(arena, later)
    assert await own.erase(VISITOR, told) == 1
    assert (await own.found(VISITOR)).ids == (later.battle.id,)
    assert arena.find_session(later.battle.id) is later


async def test_an_open_battle_is_closed_first(store: VoteStore) -> None:
    """Stopped at its source, and nothing writes its texts again; the slot is free."""
    silent = asyncio.Event()
    models = [ScriptedModel(name, ["Be", silent, "cause."]) for name in "xy"]
    arena = arena_of(store, *models)
    session = await arena.begin(REQUEST)
    for side in session.battle.sides:
        await until(session, "Be", side)
    own, told = OwnTexts(arena), []
    ids = (await own.found(VISITOR)).ids
    assert await own.erase(VISITOR, ids, closing=told.extend) == 1
    assert told == [session.battle.id]
    assert not session.running
    assert arena.admission.queue.slots == []
    ((battle, vote),) = await pairs_of(store)
    assert vote is None
    assert battle.erased is not None
    assert "Be" not in repr(battle.conversation_a)


async def test_looks_and_removals_are_limited_apart_from_prompts(store: VoteStore) -> None:
    """Whoever has asked enough may still delete, but not look for ever; a network neither."""
    limits = Limits(battles_per_minute=2, visitors_per_address=2)
    arena = arena_of(store, *(ScriptedModel(name, ANSWER) for name in "xy"), limits=limits)
    for _ in range(2):
        await play(arena, await arena.begin(REQUEST))
    own = OwnTexts(arena)
    found = await own.found(VISITOR)
    assert await own.erase(VISITOR, found.ids) == 2
    with pytest.raises(ErasureTooOften, match="several times"):
        await own.found(VISITOR)
    many = [Visitor(letter * 64, VISITOR.address) for letter in "abc"]
    for one in many[:2]:
        await own.found(one)
    with pytest.raises(ErasureTooOften):
        await own.found(many[2])
    with pytest.raises(ErasureTooOften):
        await own.erase(many[2], [])
