"""Battles and votes to plain data and back, without loss. Pure.

The walk follows the types of `arena.domain`, so a field that is added there is kept here without
a change. Unknown names and values are errors. A field that an older record lacks takes the
default which the domain declares for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from arena.domain import Battle, Conversation, Side, Vote

Plain = dict[str, Any]

# Fields of a battle that are a column of the same name.
SAME = (
    "id",
    "mode",
    "language",
    "ui_language",
    "category",
    "voter",
    "system_prompt",
    "params",
    "flags",
    "provenance",
    "spec_a",
    "spec_b",
    "conversation_a",
    "conversation_b",
    "source",
)


class RecordError(ValueError):
    """A record is not one of ours: an unknown name or value, or the wrong type."""


def encode_battle(battle: Battle) -> Plain:
    """A battle as data that JSON can hold.

    Raises:
        RecordError: it holds what could not be read back, e.g. a NaN or an unknown winner.
    """
    record = _plain_record(battle)
    decode_battle(record)  # what can't be read must not be written
    return record


def decode_battle(record: Mapping[str, object]) -> Battle:
    """The battle of `encode_battle`.

    Raises:
        RecordError: names the place in the record that is wrong.
    """
    battle = _build(Battle, record, "battle")
    assert isinstance(battle, Battle)  # noqa: S101 - for the type checker
    return battle


def encode_vote(vote: Vote) -> Plain:
    """A vote as data that JSON can hold.

    Raises:
        RecordError: as `encode_battle`.
    """
    record = _plain_record(vote)
    decode_vote(record)
    return record


def decode_vote(record: Mapping[str, object]) -> Vote:
    """The vote of `encode_vote`.

    Raises:
        RecordError: names the place in the record that is wrong.
    """
    vote = _build(Vote, record, "vote")
    assert isinstance(vote, Vote)  # noqa: S101 - for the type checker
    return vote


def battle_row(battle: Battle) -> Plain:
    """The columns of a battle, but `updated_at`.

    Raises:
        RecordError: as `encode_battle`.
    """
    record = encode_battle(battle)
    row: Plain = {name: record[name] for name in SAME}
    preset = record["preset"]
    row["preset_id"] = preset["id"] if preset else None
    row["preset_edited"] = bool(preset and preset["edited"])
    row["created_at"] = battle.created_at
    row["answered_at"] = battle.answered_at
    row |= {name: record["params"][name] for name in _PARAMS}
    for side in Side:
        spec = record[f"spec_{side}"]
        row[f"model_{side}"] = spec["id"] if spec else None
        row[f"base_{side}"] = (spec["variant_of"] or spec["id"]) if spec else None
        served, finish = _last_answer(battle.conversation(side))
        row[f"served_model_{side}"] = served
        row[f"finish_{side}"] = finish
    return row


_PARAMS = ("temperature", "top_p", "max_new_tokens", "seed")


def _last_answer(conversation: Conversation) -> tuple[str | None, str | None]:
    """What answered last and how that ended; None while there is no answer."""
    answer = conversation[-1].answer if conversation else None
    if answer is None:
        return None, None
    return clean(answer.finished.served_model), answer.finished.reason.value


def battle_from_row(row: Mapping[Any, Any]) -> Battle:
    """The battle of a row of `battles`.

    Raises:
        RecordError: names the place in the record that is wrong.
    """
    preset = {"id": row["preset_id"], "edited": row["preset_edited"]}
    answered = row["answered_at"]
    return decode_battle(
        {
            **{name: row[name] for name in SAME},
            "preset": None if row["preset_id"] is None else preset,
            "created_at": row["created_at"].isoformat(),
            "answered_at": None if answered is None else answered.isoformat(),
        }
    )


def vote_row(vote: Vote) -> Plain:
    """The columns of a vote.

    Raises:
        RecordError: as `encode_vote`.
    """
    return {**encode_vote(vote), "cast_at": vote.cast_at}


def vote_from_row(row: Mapping[Any, Any]) -> Vote:
    """The vote of a row of `votes`.

    Raises:
        RecordError: names the place in the record that is wrong.
    """
    return decode_vote({**row, "cast_at": row["cast_at"].isoformat()})


def clean(text: str) -> str:
    """The text with what no database can hold replaced by U+FFFD.

    That is NUL, which Postgres refuses, and lone surrogates, which no UTF-8 file can hold either.
    """
    text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _plain_record(value: Battle | Vote) -> Plain:
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: object) -> object:
    """One value as JSON's types."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{value} is not a number that can be kept")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RecordError(f"{value} has no time zone")
        return value.astimezone(UTC).isoformat()
    return _plain_many(value)


def _plain_many(value: object) -> object:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, frozenset | set):
        return sorted((_plain(inner) for inner in value), key=str)
    return value


# The place of a value in its record: the place around it, and its name there. Put into words only
# when something is wrong there, since every field of every record has one.
_Where = tuple[Any, str]
_Reader = Callable[[object, _Where], object]


def _build(kind: Any, value: object, where: str) -> object:  # noqa: ANN401 - any annotation
    """The value as `kind`, which is an annotation of `arena.domain`."""
    return _reader(kind)(value, (None, where))


@cache
def _reader(kind: Any) -> _Reader:  # noqa: ANN401
    """What builds values of that annotation; made once, since a store holds many records."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _union_reader(inner)
    if origin in (tuple, frozenset):
        return _list_reader(origin, _reader(inner[0]))
    if origin is Mapping:
        return _mapping_reader(_reader(inner[1]))
    if is_dataclass(kind):
        return _record_reader(kind)
    if kind is datetime:
        return _moment
    return _scalar_reader(kind)


def _union_reader(kinds: tuple[Any, ...]) -> _Reader:
    readers = [_reader(kind) for kind in kinds if kind is not NoneType]
    may_be_none = NoneType in kinds

    def read(value: object, where: _Where) -> object:
        if value is None and may_be_none:
            return None
        problems: list[str] = []
        for reader in readers:
            try:
                return reader(value, where)
            except RecordError as error:
                problems.append(str(error))
        raise RecordError("; or ".join(problems))

    return read


def _list_reader(made: Callable[[Iterable[object]], object], reader: _Reader) -> _Reader:
    def read(value: object, where: _Where) -> object:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return made(reader(item, (where, f"[{n}]")) for n, item in enumerate(value))

    return read


def _mapping_reader(reader: _Reader) -> _Reader:
    def read(value: object, where: _Where) -> object:
        record = _mapping(value, where)
        return {key: reader(item, (where, f".{key}")) for key, item in record.items()}

    return read


def _record_reader(kind: Any) -> _Reader:  # noqa: ANN401
    hints = get_type_hints(kind)
    readers = {f.name: (_reader(hints[f.name]), f".{f.name}") for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}

    def read(value: object, where: _Where) -> object:
        record = _mapping(value, where)
        unknown, missing = record.keys() - readers.keys(), needed - record.keys()
        if unknown or missing:
            raise RecordError(
                f"{_place(where)}: unknown {sorted(unknown)}, missing {sorted(missing)}"
            )
        values = {}
        for name, item in record.items():
            reader, part = readers[name]
            values[name] = reader(item, (where, part))
        try:
            return kind(**values)
        except ValueError as error:
            raise RecordError(f"{_place(where)}: {error}") from error

    return read


def _scalar_reader(kind: Any) -> _Reader:  # noqa: ANN401
    if issubclass(kind, StrEnum):
        members = {member.value: member for member in kind}

        def chosen(value: object, where: _Where) -> object:
            if not isinstance(value, str) or value not in members:
                raise _wrong(where, " or ".join(kind), value)
            return members[value]

        return chosen
    # A bool is an int to Python, and an int is a float to people: keep the first two apart.
    allowed: tuple[type, ...] = (int, float) if kind is float else (kind,)

    def plain(value: object, where: _Where) -> object:
        if type(value) not in allowed:
            raise _wrong(where, kind.__name__, value)
        return value

    return plain


def _moment(value: object, where: _Where) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong(where, "an ISO 8601 moment with a time zone", value)
    return moment


def _mapping(value: object, where: _Where) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    return value


def _place(where: _Where) -> str:
    around, name = where
    return name if around is None else f"{_place(around)}{name}"


def _wrong(where: _Where, wanted: str, value: object) -> RecordError:
    return RecordError(f"{_place(where)} must be {wanted}, not {str(value)[:80]!r}")
