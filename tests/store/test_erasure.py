"""Texts that are erased: gone from the store for good, while the vote counts as before."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from arena.domain import Answer, Battle, Exchange, Exclusion, Flag, Grade
from arena.errors.battle import BattleErased
from arena.store import features
from arena.store.changes import CopyState, RecordKind
from arena.store.erasure import BATCH, without_texts
from arena.store.features import features_of
from arena.store.move import copy_database
from arena.store.queries import ImportedRows
from arena.store.store import VoteStore
from tests.store_tools import Outside, excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, spec, vote

OTHER = "b" * 64
SECRET = "himitsu"
LATER = NOON + timedelta(days=3)


def telling(**changes: object) -> Battle:
    """A battle whose every text has the secret, and whose answers name a model."""
    failed = answer(f"{SECRET} half", reason="error", error_code="network")
    talk = (Exchange(f"{SECRET}?", answer(f"{SECRET}. I am Phi"), (failed,)),)
    told: dict[str, object] = {
        "spec_a": spec("phi", label="Phi"),
        "conversation_a": talk,
        "conversation_b": (Exchange(f"{SECRET}?", answer(f"{SECRET}, {SECRET}")),),
        "system_prompt": f"{SECRET}!",
        "answered_at": NOON - timedelta(seconds=20),
        "flags": frozenset({Flag.SYSTEM_PROMPT}),
    }
    return battle(**(told | changes))


async def told(store: VoteStore, **changes: object) -> Battle:
    """Such a battle with its vote, which has a comment."""
    made = telling(**changes)
    await store.add_battle(made)
    await store.cast_vote(vote(made, "tie", comment=f"{SECRET} comment", grade_a=Grade.GOOD))
    return made


def texts_of(found: Battle) -> str:
    """All that visitors and models wrote."""
    talks = (*found.conversation_a, *found.conversation_b)
    answers = [one for turn in talks for one in (turn.answer, *turn.failed) if one is not None]
    return "".join(
        [found.system_prompt or "", *(t.prompt for t in talks), *(a.text for a in answers)]
    )


def numbers_of(answer: Answer | None) -> object:
    return answer and replace(answer, text="")


async def columns(store: VoteStore) -> dict[str, list[object]]:
    """The table of votes as the statistics read it."""
    table = await store.vote_table()
    found = {name: getattr(table, name) for name in table.__dataclass_fields__}
    return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in found.items()}


async def test_the_texts_go_and_the_numbers_stay(store: VoteStore, outside: Outside) -> None:
    """Of the battle, the vote and the owner's decision only the texts of people and models go."""
    made = await told(store)
    other = await told(store, voter=OTHER)
    await store.add_exclusion(Exclusion(made.id, "a reason", NOON))
    before = await columns(store)
    assert await store.erase([made.id, "f" * 32]) == 1
    (bare, cast), (kept, _) = sorted(await pairs_of(store), key=lambda p: p[0].id != made.id)
    assert kept == other
    assert texts_of(bare) == ""
    assert cast == vote(made, "tie", grade_a=Grade.GOOD)
    assert bare == replace(
        made,
        system_prompt=None,
        conversation_a=bare.conversation_a,
        conversation_b=bare.conversation_b,
        erased=bare.erased,
    )
    for now, then in zip(
        (*bare.conversation_a, *bare.conversation_b),
        (*made.conversation_a, *made.conversation_b),
        strict=True,
    ):
        assert now.answer == numbers_of(then.answer)
        assert list(now.failed) == [numbers_of(one) for one in then.failed]
    assert (await excluded_in(store))[made.id].why == "a reason"
    assert bare.erased is not None
    assert bare.erased.at == NOON
    assert await columns(store) == before
    everything = str(outside.tables("battles", "votes", "features", "exclusions", "meta"))
    assert everything.count(SECRET) == len(texts_of(other).split(SECRET)) - 1 + 1


written = st.sampled_from(["", " ", "I am Phi", "答え", "答え ", "ＰＨＩ?", "Gemini"])
talks = st.lists(
    st.builds(
        Exchange,
        written,
        st.none() | st.builds(answer, written),
        st.lists(st.builds(answer, written), max_size=1).map(tuple),
    ),
    max_size=2,
).map(tuple)


@given(
    made=st.builds(
        battle,
        conversation_a=talks,
        conversation_b=talks,
        system_prompt=st.none() | written,
        answered_at=st.sampled_from([None, NOON - timedelta(seconds=9)]),
        flags=st.frozensets(st.sampled_from(Flag)),
        source=st.sampled_from(["", "file"]),
    )
)
def test_features_are_the_same_without_the_texts(made: Battle) -> None:
    """Whatever is computed of a battle is computed again from what is left of it."""
    bare = without_texts(made, LATER)
    assert texts_of(bare) == ""
    assert features_of(bare, NOON) == features_of(made, NOON)


async def test_newer_code_counts_an_erased_vote_as_before(
    store: VoteStore, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the features are computed anew: after an update, a move, or without their row."""
    made = await told(store)
    before = await columns(store)
    await store.erase([made.id])
    monkeypatch.setattr(features, "VERSION", features.VERSION + 1)
    assert await columns(store) == before
    outside.rows("DELETE FROM features")
    assert await columns(store) == before


async def test_a_moved_store_keeps_the_mark(store: VoteStore, url: str, new_url: object) -> None:
    """A move carries it, and the vote counts there as here."""
    made = await told(store)
    before = await columns(store)
    await store.erase([made.id])
    target = new_url(empty=True)  # type: ignore[operator]
    await copy_database(url, target)
    moved = VoteStore.open(target)
    assert await pairs_of(moved) == await pairs_of(store)
    assert await columns(moved) == before
    await moved.aclose()


async def test_nothing_brings_the_texts_back(store: VoteStore) -> None:
    """Neither a restore from an old copy, nor an import of an old export, nor a page still open."""
    voted, alone = await told(store), telling(source="file")
    await store.add_battle(alone)
    old_votes = [vote(one, comment=SECRET, source=one.source) for one in (voted, alone)]
    await store.erase([voted.id, alone.id])
    before = await pairs_of(store)
    turn = Exchange(SECRET, answer(SECRET))
    longer = [replace(one, conversation_a=(*one.conversation_a, turn)) for one in (voted, alone)]
    await store.restore(longer, old_votes[:1], [])
    rows = [ImportedRows.of(one, cast, None) for one, cast in zip(longer, old_votes, strict=True)]
    await store.add_imported(lambda: iter([rows]))
    for one in (voted, alone):
        for write in (
            store.update_battle(one),
            store.annotate_vote(one.id, VOTER, comment=SECRET),
            store.cast_vote(vote(one, comment=SECRET)),
            store.undo_vote(one.id, VOTER, NOON),
        ):
            with pytest.raises(BattleErased):
                await write
    assert await pairs_of(store) == before


async def test_a_pending_vote_becomes_final_without_its_comment(store: VoteStore) -> None:
    """The vote counts, although its battle was erased in its five seconds."""
    made = telling()
    await store.add_battle(made)
    await store.cast_vote(vote(made, comment=SECRET), LATER)
    assert await store.erase([made.id]) == 1
    assert await store.finalise_votes(LATER) == [made.id]
    assert await store.get_vote(made.id) == vote(made)


async def test_what_there_is_to_erase(store: VoteStore) -> None:
    """By a battle's id or a voter's hash, before and after."""
    mine = [await told(store), telling(created_at=NOON + timedelta(hours=1))]
    await store.add_battle(mine[1])
    theirs = await told(store, voter=OTHER)
    found = await store.erasable(VOTER)
    assert (found.ids, found.votes, found.comments, found.erased) == (
        tuple(one.id for one in mine), 1, 1, 0,
    )  # fmt: skip
    assert (await store.erasable(theirs.id)).ids == (theirs.id,)
    await store.erase([mine[0].id])
    found = await store.erasable(VOTER)
    assert (found.ids, found.votes, found.erased) == ((mine[1].id,), 0, 1)
    assert (await store.erasable("f" * 32)).ids == ()


async def test_others_battles_are_not_read(store: VoteStore, database: str) -> None:
    """An index finds a visitor's own: a look takes no longer with more visitors."""
    if database != "sqlite":
        return
    asked: list[tuple[str, Any]] = []
    engine = store.database._engine
    event.listen(
        engine, "before_cursor_execute",
        lambda _c, _cursor, text, values, *_: asked.append((text, values)),
    )  # fmt: skip
    await store.erasable(VOTER)
    ((text, values),) = [one for one in asked if "battles" in one[0]]
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
    assert any("ix_battles_voter" in str(row) for row in plan), plan
    assert not any("SCAN" in str(row) for row in plan), plan


async def test_each_change_is_copied_once(store: VoteStore) -> None:
    """The copy hears of the battle and of the comment; doing it again changes nothing."""
    made, plain = await told(store), battle()
    await store.add_battle(plain)
    changes = store.track_changes(CopyState)
    assert await store.erase([made.id, plain.id]) == 2
    assert {(key.kind, key.battle_id) for key in changes.pending()} == {
        (RecordKind.BATTLE, made.id), (RecordKind.BATTLE, plain.id), (RecordKind.VOTE, made.id),
    }  # fmt: skip
    after, waiting = await pairs_of(store), changes.pending()
    assert await store.erase([made.id, plain.id]) == 0
    assert (await pairs_of(store), changes.pending()) == (after, waiting)


async def test_older_battles_are_erased_some_at_a_time(store: VoteStore) -> None:
    """All that began before the moment, however many, and no other."""
    old = [telling(created_at=NOON - timedelta(days=1, minutes=n)) for n in range(BATCH + 3)]
    new = telling()
    for one in (*old, new):
        await store.add_battle(one)
    assert await store.erase_before(NOON) == len(old)
    left = [found for found, _ in await pairs_of(store) if found.erased is None]
    assert left == [new]
    assert await store.erase_before(NOON) == 0


def filled(number: int) -> str:
    """A text with its own mark, of any length around and beyond a page of the file."""
    return f"mark{number:05d}-" * (1 + 37 * number % 900)


def marks_in(file: Path) -> set[int]:
    """The numbers of the texts of which something is in the file."""
    return {int(found) for found in re.findall(rb"mark(\d{5})", file.read_bytes())}


async def test_no_byte_of_the_texts_is_left_in_the_file(store: VoteStore, file: Path) -> None:
    """Among battles that grew as their answers came."""
    made = [battle(conversation_a=(Exchange(filled(n)),), conversation_b=()) for n in range(60)]
    for one in made:
        await store.add_battle(one)
    for one in made[::-1] + made[::2]:
        prompt = one.conversation_a[0].prompt
        talk = (Exchange(prompt, answer(prompt)),)
        await store.update_battle(replace(one, conversation_a=talk, conversation_b=talk))
    everyone = set(range(60))
    assert await asyncio.to_thread(marks_in, file) == everyone
    await store.erase([one.id for one in made[::3]])
    assert await store.vacuum()
    assert await asyncio.to_thread(marks_in, file) == everyone - set(range(0, 60, 3))
