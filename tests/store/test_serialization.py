"""Records keep everything, and only what is ours is read back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from arena.domain import Battle, Exchange, GenerationParams, Vote
from arena.store.serialization import (
    SAME,
    RecordError,
    battle_from_row,
    battle_row,
    clean,
    decode_battle,
    decode_vote,
    encode_battle,
    encode_vote,
    vote_from_row,
    vote_row,
)
from tests.vote_samples import NOON, answer, battle, battles, vote, votes

# Two busy cores: how long an example takes says nothing.
light = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@light
@given(battles)
def test_battle_survives_json(drawn: Battle) -> None:
    """A field, a failed attempt or a rare character that JSON loses could not be run again."""
    assert decode_battle(json.loads(json.dumps(encode_battle(drawn)))) == drawn


@light
@given(votes)
def test_vote_survives_json(drawn: Vote) -> None:
    """A vote that changes on its way to disk is a forged vote."""
    assert decode_vote(json.loads(json.dumps(encode_vote(drawn)))) == drawn


@light
@given(battles)
def test_battle_survives_its_columns(drawn: Battle) -> None:
    """The columns are the record: one that is not read back loses its field."""
    assert battle_from_row(battle_row(drawn)) == drawn


@light
@given(votes)
def test_vote_survives_its_columns(drawn: Vote) -> None:
    """As for battles."""
    assert vote_from_row(vote_row(drawn)) == drawn


def test_every_field_of_a_battle_has_its_column() -> None:
    """A field that is added to Battle would pass the codec and be dropped by the table."""
    assert {f.name for f in fields(Battle)} == {*SAME, "preset", "created_at", "answered_at"}


@pytest.mark.parametrize(
    ("dirty", "kept"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("a\udc00", "a\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("a\x00b\ud800\x00", "a\ufffdb\ufffd\ufffd"),
        ("a\u2028が", "a\u2028が"),
    ],
)
def test_what_no_database_holds_is_replaced(dirty: str, kept: str) -> None:
    """Half a character from a broken stream, or a NUL, made the whole battle impossible to save."""
    assert clean(dirty) == kept
    turn = Exchange(dirty, answer(text=dirty, served=dirty))
    row = battle_row(battle(conversation_a=(turn,), system_prompt=dirty))
    assert json.dumps(row, ensure_ascii=False, default=str).encode()
    assert battle_from_row(row).conversation_a[0].prompt == kept
    assert row["served_model_a"] == row["system_prompt"] == kept


def _broken(path: str, value: object) -> dict[str, Any]:
    record: Any = encode_battle(battle())
    *parents, last = path.split(".")
    inner = record
    for name in parents:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mode", "public"),
        ("category", None),
        ("flags", ["no_such_flag"]),
        ("params.temperature", "0.7"),
        ("params.temperature", 3.0),
        ("params.max_new_tokens", True),
        ("params.seed", 1.0),
        ("spec_a.colour", "red"),
        ("spec_a", None),
        ("spec_b", []),
        ("preset", "sums"),
        ("created_at", "2025-06-01T12:00:00"),
        ("created_at", "yesterday"),
        ("conversation_a", {}),
        ("conversation_a.0.answer.finished.reason", "unknown"),
        ("conversation_a.0.answer.text", None),
        ("provenance", {"a": "abc"}),
        ("sides", 2),
    ],
)
def test_unknown_is_an_error(path: str, value: object) -> None:
    """A value that nobody knows was read as a default, and the statistics counted it."""
    with pytest.raises(RecordError, match=r"battle|temperature"):
        decode_battle(_broken(path, value))


def test_missing_is_an_error_unless_the_domain_has_a_default() -> None:
    """A record without its voter was read; and one from before a new optional field was not."""
    record = encode_battle(battle())
    del record["conversation_a"][0]["failed"]
    assert decode_battle(record).conversation_a[0].failed == ()
    del record["voter"]
    with pytest.raises(RecordError, match="missing \\['voter'\\]"):
        decode_battle(record)


def test_what_cannot_be_read_back_is_not_written() -> None:
    """A NaN, a naive moment or a forged winner was stored, and every later read failed."""
    talk = (Exchange("p", replace(answer(), cost_usd=float("nan"))),)
    nested = replace(answer().finished, sent={"stop": ["x"]})
    for wrong in (
        battle(conversation_a=talk),
        battle(conversation_a=(Exchange("p", replace(answer(), finished=nested)),)),
        battle(created_at=datetime(2025, 1, 1)),  # noqa: DTZ001 - the fault
        battle(mode="public"),
    ):
        with pytest.raises(RecordError):
            encode_battle(wrong)
    with pytest.raises(RecordError, match="winner"):
        encode_vote(replace(vote(battle()), winner="model_c"))


def test_filter_columns_say_what_the_record_says() -> None:
    """The leaderboard filters by columns: a swapped side or an early attempt would mislead it."""
    failed = answer(text="", reason="error", error_code="network")
    last = Exchange("2", answer(served="v9", reason="length"), failed=(failed,))
    full = battle(
        "phi",
        "phi-steps",
        spec_b=replace(battle().spec_a, id="phi-steps", variant_of="phi"),
        conversation_a=(Exchange("1", answer(served="v8")), last),
        conversation_b=(Exchange("1", failed), Exchange("2")),
        params=GenerationParams(temperature=0.1, top_p=0.5, max_new_tokens=9, seed=3),
    )
    row = battle_row(full)
    assert (row["model_a"], row["base_a"]) == ("phi", "phi")
    assert (row["model_b"], row["base_b"]) == ("phi-steps", "phi")
    assert (row["served_model_a"], row["finish_a"]) == ("v9", "length")
    assert (row["served_model_b"], row["finish_b"]) == (None, None)
    assert (row["preset_id"], row["preset_edited"]) == ("sums", True)
    assert row["created_at"] == NOON
    numbers = ("temperature", "top_p", "max_new_tokens", "seed")
    assert tuple(row[name] for name in numbers) == (0.1, 0.5, 9, 3)
    alone = battle_row(battle("phi", None, preset=None))
    assert (alone["model_b"], alone["base_b"], alone["spec_b"]) == (None, None, None)
    assert (alone["preset_id"], alone["preset_edited"]) == (None, False)
