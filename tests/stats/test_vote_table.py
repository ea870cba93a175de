"""Votes as columns: what is unknown is refused, and both ways in give the same."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Category, Flag, Mode, Winner
from arena.errors.store import BadVote
from arena.stats.vote_table import (
    CATEGORIES,
    LANGUAGES,
    MODES,
    WINNERS,
    Contestant,
    VoteFlag,
    VoteTable,
)
from tests.stats.arenas import ANY_TIME, NAMES, A, B, C, VoteRow, columns_of, row, table_of

ROWS = st.lists(
    st.builds(
        lambda sides, winner, mode, language, category, voter, prompt, moment, flags, chars: row(
            winner,
            a=NAMES[sides[0]],
            b=NAMES[sides[1]],
            mode=mode,
            language=language,
            category=category,
            voter=f"voter-{voter}",
            prompt=prompt,
            cast_at=float(moment),
            flags=VoteFlag(flags),
            chars_a=chars,
        ),
        st.permutations(range(4)),
        st.sampled_from(Winner),
        st.sampled_from(Mode),
        st.sampled_from(LANGUAGES),
        st.sampled_from(Category),
        st.integers(0, 12),
        st.sampled_from(["", "one", "two"]),
        st.integers(0, 3),
        st.sampled_from([0, int(VoteFlag.TRUNCATED), int(VoteFlag.LEAK_A | VoteFlag.RETRIED)]),
        st.sampled_from([float("nan"), 0.0, 120.0]),
    ),
    max_size=30,
)


def test_rows_become_columns() -> None:
    """Each field lands in the column of its name."""
    first = row(
        Winner.TIE, a=B, b=A, mode=Mode.OPEN, language="ja", category=Category.CODING, voter="w",
        cast_at=5.5, signed_in=True, prompt="p", flags=VoteFlag.LEAK_A | VoteFlag.IMPORTED,
        read_seconds=1.0, chars_a=2.0, chars_b=3.0, tokens_a=4.0, tokens_b=5.0, ttft_a=6.0,
        ttft_b=7.0, total_a=8.0, total_b=9.0, cost_a=10.0, cost_b=11.0,
    )  # fmt: skip
    table = table_of([first, row()])
    assert table.contestants == (A, B)
    assert [who for code in (table.a, table.b) for who in code.tolist()] == [1, 0, 0, 1]
    assert WINNERS[table.winner[0]] is Winner.TIE
    assert MODES[table.mode[0]] is Mode.OPEN
    assert LANGUAGES[table.language[0]] == "ja"
    assert CATEGORIES[table.category[0]] is Category.CODING
    assert table.voters == ("v", "w")
    assert table.voter.tolist() == [1, 0]
    assert table.signed_in.tolist() == [True, False]
    assert table.prompt.tolist() == [0, -1]
    assert table.has(VoteFlag.LEAK_A | VoteFlag.LEAK_B).tolist() == [True, False]
    assert not table.has(VoteFlag.TRUNCATED).any()
    measures = [
        "read_seconds", "chars_a", "chars_b", "tokens_a", "tokens_b", "ttft_a", "ttft_b",
        "total_a", "total_b", "cost_a", "cost_b",
    ]  # fmt: skip
    assert [getattr(table, name)[0] for name in measures] == [float(n) for n in range(1, 12)]
    assert all(np.isnan(getattr(table, name)[1]) for name in measures)
    assert table.cast_at.tolist() == [5.5, 0.0]


def test_no_votes_are_a_table_too() -> None:
    """No votes make an empty table."""
    table = table_of([])
    assert (len(table), table.contestants, table.voters) == (0, (), ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("winner", "draw"),
        ("winner", None),
        ("winner", 0),
        ("mode", "both"),
        ("language", "de"),
        ("category", "poetry"),
        ("signed_in", "yes"),
        ("signed_in", None),
        ("voter", ""),
        ("voter", None),
        ("a", None),
        ("a", "model-a"),
        ("a", Contestant("", "v1")),
        ("b", ("model-a", None)),
        ("flags", 1 << 30),
        ("flags", -1),
        ("flags", 1.5),
        ("flags", "truncated"),
        ("cast_at", float("nan")),
        ("cast_at", float("inf")),
        ("cast_at", -1.0),
        ("cast_at", "noon"),
        ("chars_a", -1.0),
        ("read_seconds", float("inf")),
        ("ttft_b", "fast"),
    ],
)
def test_what_is_unknown_is_an_error_with_its_place(field: str, value: object) -> None:
    """An unknown value is an error that names row, column and value."""
    good = row()
    columns: dict[str, Any] = columns_of([good] * 3)
    columns[field] = [getattr(good, field), value, value]
    with pytest.raises(BadVote) as caught:
        VoteTable.from_columns(columns)
    assert (caught.value.values["row"], caught.value.values["field"]) == (2, field)
    assert field in caught.value.sentence
    assert repr(value) in caught.value.sentence


def test_columns_must_fit_together() -> None:
    """Columns of different lengths, missing ones and unknown ones are errors."""
    columns: dict[str, Any] = columns_of([row()])
    with pytest.raises(ValueError, match="lengths"):
        VoteTable.from_columns(columns | {"voter": ["v", "v"]})
    with pytest.raises(ValueError, match="unknown: \\['mood'\\]"):
        VoteTable.from_columns(columns | {"mood": ["good"]})
    del columns["winner"]
    with pytest.raises(ValueError, match="missing: \\['winner'\\]"):
        VoteTable.from_columns(columns)


def test_nothing_can_be_written_to() -> None:
    """No array can be written to, and none is shared with what was given."""
    given_times = np.array([1.0])
    columns: dict[str, Any] = columns_of([row()])
    table = VoteTable.from_columns(columns | {"cast_at": given_times})
    for field in fields(VoteTable):
        array = getattr(table, field.name)
        if isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    given_times[0] = 9.0
    assert table.cast_at[0] == 1.0


def test_every_flag_of_a_battle_is_one_of_a_vote() -> None:
    """Each flag of a battle is a bit of its own."""
    flags = VoteFlag.of(Flag)
    assert flags.bit_count() == len(Flag)
    assert VoteFlag.of([Flag.TRUNCATED]) is VoteFlag.TRUNCATED
    assert VoteFlag.of([]) == VoteFlag(0)
    bits = [int(mark) for mark in VoteFlag]
    assert len(set(bits)) == len(bits) == sum(bits).bit_count()


@ANY_TIME
@given(ROWS, st.randoms(use_true_random=False))
def test_order_gives_the_same_codes(rows: list[VoteRow], rng: random.Random) -> None:
    """Codes follow the order of the names, not that of the rows."""
    shuffled = rows[:]
    rng.shuffle(shuffled)
    one, other = table_of(rows), table_of(shuffled)
    assert (one.contestants, one.voters) == (other.contestants, other.voters)
    assert sorted(zip(one.a, one.b, one.winner, one.voter, one.flags, strict=True)) == sorted(
        zip(other.a, other.b, other.winner, other.voter, other.flags, strict=True)
    )


@ANY_TIME
@given(ROWS)
def test_columns_of_plain_values_are_the_same(rows: list[VoteRow]) -> None:
    """Tuples, strings and None give the same table as our types."""
    columns: dict[str, Any] = columns_of(rows)
    columns["a"] = [(r.a.id, r.a.served_model) for r in rows]
    columns["winner"] = [r.winner.value for r in rows]
    columns["mode"] = [r.mode.value for r in rows]
    columns["flags"] = [int(r.flags) for r in rows]
    columns["prompt"] = [r.prompt or None for r in rows]
    columns["chars_a"] = [None if r.chars_a != r.chars_a else r.chars_a for r in rows]
    plain, typed = VoteTable.from_columns(columns), table_of(rows)
    for field in fields(VoteTable):
        one, other = getattr(plain, field.name), getattr(typed, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


def test_taking_some_keeps_their_codes() -> None:
    """A part of the table keeps the codes of the whole."""
    table = table_of([row(), row(a=B, b=C), replace(row(), voter="z")])
    part = table.take(np.array([False, True, True]))
    assert part.contestants == table.contestants
    assert part.a.tolist() == [1, 0]
    assert part.voters[part.voter[1]] == "z"
    assert table.take(np.array([2, 0])).voter.tolist() == [1, 0]
