"""The table of votes says what the record says, by the newest code, and all of one moment."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Battle, Exchange, Exclusion, Flag, Mode, Winner
from arena.errors.store import BadVote, StoreError
from arena.stats import leaks
from arena.stats.vote_table import WINNERS, Contestant, VoteFlag, VoteTable
from arena.store import features
from arena.store.features import features_of, flags_of, prompt_code
from arena.store.store import VoteStore
from tests.store_tools import Outside
from tests.vote_samples import NOON, answer, battle, spec, vote

KEPT = "SELECT battle_id, marks, version, patterns FROM features ORDER BY battle_id"


async def voted(store: VoteStore, made: Battle, winner: str = "model_a", **changes: Any) -> Battle:
    """Adds a battle with its vote."""
    await store.add_battle(made)
    return await store.cast_vote(vote(made, winner, **changes))


def talk(*texts: str, prompt: str = "1+1は？") -> tuple[Exchange, ...]:
    """A conversation in which the model says these."""
    return tuple(Exchange(prompt, answer(text)) for text in texts)


async def test_the_table_says_what_the_record_says(store: VoteStore) -> None:
    """Each column holds the right side's value, over all turns."""
    a = (Exchange("一つ", answer("12345")), Exchange("二つ", answer("123")))
    b = (Exchange("一つ", answer("1")), Exchange("二つ", answer("2", thinking_tokens=9)))
    made = battle(
        conversation_a=a,
        conversation_b=tuple(
            replace(t, answer=replace(t.answer, cost_usd=0.5)) for t in b if t.answer
        ),
        served_b="v1",
        answered_at=NOON + timedelta(seconds=10),
        flags=frozenset({Flag.TRUNCATED}),
        language="en",
    )
    moment = NOON + timedelta(seconds=22.5)
    await voted(store, made, "both_bad", cast_at=moment, signed_in=True)
    found = await store.vote_table()
    assert len(found) == 1
    assert found.contestants == (Contestant("gemini", "v1"), Contestant("phi", "v1"))
    assert (found.a[0], found.b[0]) == (1, 0)
    assert WINNERS[found.winner[0]] is Winner.BOTH_BAD
    assert found.voters == (made.voter,)
    assert found.cast_at[0] == moment.timestamp()
    assert found.signed_in[0]
    assert VoteFlag(int(found.flags[0])) == VoteFlag.TRUNCATED
    assert found.read_seconds[0] == 12.5
    assert (found.chars_a[0], found.chars_b[0]) == (8, 2)
    assert (found.tokens_a[0], found.tokens_b[0]) == (14, 14)
    assert (found.ttft_a[0], found.total_a[0]) == (0.25, 3.0)
    assert (found.cost_a[0], found.cost_b[0]) == (0.0, 1.0)


async def test_what_is_unknown_is_nan(store: VoteStore) -> None:
    """An unknown number is NaN, not 0."""
    quiet = replace(answer(), cost_usd=None)
    quiet = replace(quiet, finished=replace(quiet.finished, completion_tokens=None, ttft_s=None))
    await voted(store, battle(conversation_a=(Exchange("p", quiet), Exchange("q", answer()))))
    early = battle(answered_at=NOON + timedelta(hours=1), created_at=NOON + timedelta(minutes=1))
    await voted(store, early, cast_at=NOON + timedelta(minutes=2))
    found = await store.vote_table()
    unknown = (found.tokens_a[0], found.ttft_a[0], found.cost_a[0], *found.read_seconds)
    assert all(math.isnan(value) for value in unknown)
    assert found.tokens_b[0] == 7


async def test_only_votes_and_all_of_them_are_in_the_table(store: VoteStore) -> None:
    """Battles without a vote are left out; excluded ones are there, with their flag."""
    made = [battle(created_at=NOON + timedelta(minutes=n)) for n in range(4)]
    for n, one in enumerate(made[:3]):
        await voted(store, one, cast_at=NOON + timedelta(hours=3 - n))
    await store.add_battle(made[3])
    await store.add_battle(battle("phi", None))
    await voted(store, battle(mode=Mode.OPEN, source="elsewhere"), cast_at=NOON)
    await store.add_exclusion(Exclusion(made[1].id, "same person", NOON))
    found = await store.vote_table()
    assert len(found) == 4
    assert list(found.cast_at) == sorted(found.cast_at)
    assert list(found.has(VoteFlag.EXCLUDED)) == [False, False, True, False]
    assert list(found.has(VoteFlag.IMPORTED)) == [True, False, False, False]
    await store.add_exclusion(Exclusion(made[1].id, "", NOON + timedelta(seconds=1), lifted=True))
    assert not (await store.vote_table()).has(VoteFlag.EXCLUDED).any()


async def test_store_without_votes_has_an_empty_table(store: VoteStore) -> None:
    """A store without votes has a table without rows."""
    assert len(await store.vote_table()) == 0
    await store.add_battle(battle())
    assert len(await store.vote_table()) == 0


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({}, VoteFlag(0)),
        ({"conversation_a": talk(" 2\n"), "conversation_b": talk("2")}, VoteFlag.IDENTICAL),
        ({"conversation_a": talk("2", "3"), "conversation_b": talk("2", "4")}, VoteFlag(0)),
        ({"flags": frozenset(Flag)}, VoteFlag.of(Flag)),
        ({"conversation_a": talk("私はPhi-4-miniです。")}, VoteFlag.LEAK_A),
        ({"conversation_b": talk("I was trained by Google.")}, VoteFlag.LEAK_B),
        ({"system_prompt": "You are Gemini."}, VoteFlag.LEAK_PROMPT),
        (
            {
                "conversation_a": talk("2", prompt="Is Gemini good?"),
                "conversation_b": talk("3", prompt="Is Gemini good?"),
            },
            VoteFlag.LEAK_PROMPT,
        ),
        # The label of the registry, which no general pattern knows.
        (
            {"spec_a": spec("zed", label="Zedmodel"), "conversation_b": talk("Zedmodel")},
            VoteFlag.LEAK_B,
        ),
        # The name was known before the last prompt, or before the retry.
        ({"conversation_a": talk("I am Gemini.", "2")}, VoteFlag.LEAK_A | VoteFlag.LEAK_EDITED),
        ({"conversation_a": talk("2", "I am Gemini.")}, VoteFlag.LEAK_A),
        (
            {"conversation_b": (Exchange("p", answer("2"), (answer("I am Gemini."),)),)},
            VoteFlag.LEAK_B | VoteFlag.LEAK_EDITED,
        ),
        ({"source": "elsewhere", "flags": frozenset(Flag)}, VoteFlag.IMPORTED | VoteFlag.of(Flag)),
    ],
)
def test_names_are_found_where_the_visitor_saw_them(
    change: dict[str, Any], flags: VoteFlag
) -> None:
    """A model's name in a prompt, an answer or a failed attempt sets the flag of its place."""
    made = battle(**({"flags": frozenset()} | change))
    assert flags_of(made) == flags


@given(st.lists(st.text(max_size=8), max_size=3), st.lists(st.text(max_size=8), max_size=3))
def test_prompts_differ_by_more_than_their_look(left: list[str], right: list[str]) -> None:
    """Different prompts have different codes, each of which fits the column."""
    assert 0 <= prompt_code(left) < 2**63
    assert (prompt_code(left) == prompt_code(right)) or left != right
    assert prompt_code([*left, "x"]) != prompt_code(left)


def test_same_prompt_is_known_again() -> None:
    """Letter case, width and spaces do not change a prompt's code."""
    assert prompt_code(["What  is\nＡＢＣ?"]) == prompt_code([" what is abc? "])
    assert prompt_code(["a b"]) != prompt_code(["ab"])
    assert prompt_code(["a", "b"]) != prompt_code(["ab"]) != prompt_code(["a b"])


async def test_features_are_found_once(store: VoteStore, outside: Outside) -> None:
    """What is in the table is not computed again."""
    made = await voted(store, battle())
    await store.vote_table()
    assert outside.rows(KEPT) == [
        (made.id, int(VoteFlag.PRESET_EDITED), features.VERSION, leaks.VERSION)
    ]
    # What is kept is not computed again: a wrong value stays.
    outside.rows("UPDATE features SET marks = 0")
    assert (await store.vote_table()).flags[0] == 0


@pytest.mark.parametrize("column", ["version", "patterns"])
async def test_what_older_code_found_is_found_again(
    store: VoteStore, outside: Outside, column: str
) -> None:
    """Rows of another version or of other leak patterns are computed again."""
    await voted(store, battle())
    await store.vote_table()
    outside.rows(f"UPDATE features SET marks = 0, {column} = 0")  # noqa: S608
    assert (await store.vote_table()).flags[0] == int(VoteFlag.PRESET_EDITED)
    assert outside.rows(KEPT)[0][1:] == (
        int(VoteFlag.PRESET_EDITED),
        features.VERSION,
        leaks.VERSION,
    )


async def test_lost_table_is_found_again(store: VoteStore, outside: Outside) -> None:
    """The table can be emptied: the same values come back."""
    for n in range(3):
        await voted(store, battle(answered_at=NOON), cast_at=NOON + timedelta(seconds=n))
    before = await store.vote_table()
    outside.rows("DELETE FROM features")
    after = await store.vote_table()
    assert same(before, after)


async def test_more_than_one_batch_is_found(store: VoteStore, outside: Outside) -> None:
    """All batches are filled, not the first one alone."""
    for n in range(features.BATCH + 3):
        await voted(store, battle(), cast_at=NOON + timedelta(seconds=n))
    await features.fill(store.database)
    assert len(outside.rows(KEPT)) == features.BATCH + 3


async def test_vote_that_comes_meanwhile_is_whole(store: VoteStore, outside: Outside) -> None:
    """A vote that is cast after the fill is in the table with all its values."""
    await voted(store, battle())
    await features.fill(store.database)
    late = await voted(store, battle(), cast_at=NOON + timedelta(hours=1))
    columns = await store.database.read(features.vote_columns)
    assert columns["chars_a"] == (2, 2)
    assert columns["flags"] == [int(VoteFlag.PRESET_EDITED)] * 2
    assert late.id not in {row[0] for row in outside.rows(KEPT)}


async def test_cancelled_fill_leaves_whole_batches(store: VoteStore, outside: Outside) -> None:
    """A cancelled fill ends after the batch in hand, which is kept whole."""
    for n in range(features.BATCH + 1):
        await voted(store, battle(), cast_at=NOON + timedelta(seconds=n))
    filling = asyncio.create_task(features.fill(store.database))
    await asyncio.sleep(0)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert len(outside.rows(KEPT)) in (0, features.BATCH)
    assert len(await store.vote_table()) == features.BATCH + 1


async def test_broken_record_is_an_error(store: VoteStore, outside: Outside) -> None:
    """A record that can't be read is an error."""
    await voted(store, battle())
    outside.rows("UPDATE battles SET ui_language = 'ja', mode = 'strange'")
    with pytest.raises(StoreError):
        await store.vote_table()


async def test_unknown_value_is_an_error(store: VoteStore) -> None:
    """A value that the statistics do not know is an error."""
    await voted(store, battle(language="fr"))
    with pytest.raises(BadVote):
        await store.vote_table()


def test_features_follow_the_sides() -> None:
    """With the sides swapped, all values of the sides are swapped."""
    made = battle(conversation_a=talk("long answer"), conversation_b=talk("no"))
    turned = replace(
        made,
        spec_a=made.spec(made.sides[1]),
        spec_b=made.spec_a,
        conversation_a=made.conversation_b,
        conversation_b=made.conversation_a,
    )
    one, other = features_of(made, NOON), features_of(turned, NOON)
    for name in ("chars", "tokens", "ttft", "total", "cost"):
        assert getattr(one, f"{name}_a") == getattr(other, f"{name}_b")
        assert getattr(one, f"{name}_b") == getattr(other, f"{name}_a")


def same(left: VoteTable, right: VoteTable) -> bool:
    """Whether two are the same, nan being nan."""
    names = [
        name for name in VoteTable.__dataclass_fields__ if name not in ("contestants", "voters")
    ]
    arrays = all(
        np.array_equal(
            getattr(left, n), getattr(right, n), equal_nan=getattr(left, n).dtype.kind == "f"
        )
        for n in names
    )
    return arrays and (left.contestants, left.voters) == (right.contestants, right.voters)
