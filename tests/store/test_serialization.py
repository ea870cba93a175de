"""Records keep everything, and only records of the domain are read back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from arena.domain import Battle, Exchange, GenerationParams, Vote, clean
from arena.store import schema
from arena.store.serialization import (
    BATTLE,
    VOTE,
    RecordError,
    battle_from_row,
    battle_row,
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
    """A battle is the same after its way through JSON."""
    assert BATTLE.decode(json.loads(json.dumps(BATTLE.encode(drawn)))) == drawn


@light
@given(votes)
def test_vote_survives_json(drawn: Vote) -> None:
    """A vote is the same after its way through JSON."""
    assert VOTE.decode(json.loads(json.dumps(VOTE.encode(drawn)))) == drawn


@light
@given(battles)
def test_battle_survives_its_columns(drawn: Battle) -> None:
    """A battle is the same after its way through the columns of its table."""
    assert battle_from_row(battle_row(drawn)) == drawn


@light
@given(votes)
def test_vote_survives_its_columns(drawn: Vote) -> None:
    """A vote is the same after its way through the columns of its table."""
    assert VOTE.decode(vote_row(drawn)) == drawn


def test_every_field_of_a_battle_has_its_column() -> None:
    """Each field of `Battle` is kept by the table."""
    assert {f.name for f in fields(Battle)} - {"preset"} <= set(schema.battles.c.keys())


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
    """Half a character and NUL become U+FFFD, wherever they stand."""
    assert clean(dirty) == kept
    given = answer(text=dirty, served=dirty)
    finished = replace(given.finished, sent={dirty: dirty, "top_k": 1})
    turn = Exchange(dirty, replace(given, finished=finished))
    row = battle_row(battle(conversation_a=(turn,), system_prompt=dirty))
    assert json.dumps(row, ensure_ascii=False, default=str).encode()
    read = battle_from_row(row).conversation_a[0]
    assert (read.prompt, read.answer.finished.sent) == (kept, {kept: kept, "top_k": 1})
    assert row["served_model_a"] == row["system_prompt"] == kept


def test_whole_numbers_stay_whole() -> None:
    """A number is stored as it was given: 0 does not become 0.0, which would change exports."""
    record = BATTLE.encode(battle(params=GenerationParams(temperature=1)))
    again = BATTLE.encode(BATTLE.decode(record))
    assert json.dumps(again) == json.dumps(record)
    assert str(again["params"]["temperature"]) == "1"


def _broken(path: str, value: object) -> dict[str, Any]:
    record: Any = BATTLE.encode(battle())
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
        ("params.top_p", True),
        ("params.top_p", float("nan")),
        ("spec_a.colour", "red"),
        ("spec_a", None),
        ("spec_b", []),
        ("preset", "sums"),
        ("created_at", "2025-06-01T12:00:00"),
        ("created_at", "yesterday"),
        ("created_at", "1748779200"),
        ("created_at", 1748779200),
        ("conversation_a", {}),
        ("conversation_a.0.answer.finished.reason", "unknown"),
        ("conversation_a.0.answer.text", None),
        ("provenance", {"a": "abc"}),
        ("sides", 2),
    ],
)
def test_unknown_is_an_error(path: str, value: object) -> None:
    """An unknown name or value, or a wrong type, is refused with its place."""
    with pytest.raises(RecordError, match=rf"battle\.{path.split('.', maxsplit=1)[0]}"):
        BATTLE.decode(_broken(path, value))


def test_missing_is_an_error_unless_the_domain_has_a_default() -> None:
    """A missing field takes the default of the domain, or is an error."""
    record = BATTLE.encode(battle())
    del record["conversation_a"][0]["failed"]
    assert BATTLE.decode(record).conversation_a[0].failed == ()
    del record["voter"]
    with pytest.raises(RecordError, match=r"battle\.voter: Field required"):
        BATTLE.decode(record)


def test_what_cannot_be_read_back_is_not_written() -> None:
    """A NaN, a moment without a zone or an unknown value is not encoded."""
    talk = (Exchange("p", replace(answer(), cost_usd=float("nan"))),)
    nested = replace(answer().finished, sent={"stop": ["x"]})
    for wrong in (
        battle(conversation_a=talk),
        battle(conversation_a=(Exchange("p", replace(answer(), finished=nested)),)),
        battle(created_at=datetime(2025, 1, 1)),  # noqa: DTZ001 - the fault
        battle(mode="public"),
    ):
        with pytest.raises(RecordError):
            BATTLE.encode(wrong)
    with pytest.raises(RecordError, match="winner"):
        VOTE.encode(replace(vote(battle()), winner="model_c"))


def test_filter_columns_say_what_the_record_says() -> None:
    """The columns for filters are each side's last answer, model and base."""
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
