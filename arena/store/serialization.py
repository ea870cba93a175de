"""Records to plain data and back, without loss: the one form in which they are kept. Pure.

Pydantic reads the types of `arena.domain`, so a field that is added there is kept here without a
change. Unknown names and values are errors. A field that an older record lacks takes the default
which the domain declares for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

from arena.domain import Battle, Conversation, Exclusion, Side, Vote, clean

T = TypeVar("T")

Plain = dict[str, Any]

# Fields of a battle that are a column of the same name.
_SAME: Final = tuple(f.name for f in fields(Battle) if f.name != "preset")
_PARAMS: Final = ("temperature", "top_p", "max_new_tokens", "seed")


class RecordError(ValueError):
    """A record is not one of ours: an unknown name or value, or the wrong type."""


def utc_moment(value: object, assumed: tzinfo | None = None) -> datetime:
    """A moment in UTC.

    Args:
        value: a datetime, or ISO 8601 text.
        assumed: the time zone of a value that names none; without it, such a value is an error.

    Raises:
        RecordError: it is no moment, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            zone = moment.tzinfo or assumed
            if zone is not None:
                return moment.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise RecordError(f"not an ISO 8601 moment with a time zone: {str(value)[:80]!r}")


def _utc_text(moment: datetime) -> str:
    # What has no zone gets none, so that reading it back fails.
    return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()


_SERIALIZED_BY: Final = core_schema.plain_serializer_function_ser_schema
# A whole number stays one where the domain says float, so that the stored text stays the same.
_NUMBER: Final = core_schema.union_schema(
    [
        core_schema.int_schema(strict=True),
        core_schema.float_schema(strict=True, allow_inf_nan=False),
    ],
    custom_error_type="number",
    custom_error_message="Input should be a finite number",
)
_MOMENT: Final = core_schema.no_info_plain_validator_function(
    utc_moment, serialization=_SERIALIZED_BY(_utc_text)
)
_REPLACED: Final[Mapping[str, Any]] = {"float": _NUMBER, "datetime": _MOMENT}
_AMENDED: Final[Mapping[str, Any]] = {
    "str": {"strict": True, "serialization": _SERIALIZED_BY(clean)},
    "int": {"strict": True},
    "bool": {"strict": True},
    "frozenset": {"serialization": _SERIALIZED_BY(sorted)},
    "dataclass-args": {"extra_behavior": "forbid"},
    "union": {
        "custom_error_type": "union",
        "custom_error_message": "Input should have one of the field's types",
    },
}


def _strict(schema: Any) -> Any:  # noqa: ANN401 - any part of pydantic's schema
    """Pydantic's schema with scalars strict and containers read from JSON's lists and objects."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type", "")
    if kind in _REPLACED:
        return _REPLACED[kind]
    return {name: _strict(part) for name, part in schema.items()} | _AMENDED.get(kind, {})


class Serializer(Generic[T]):
    """One of the domain's types to data that JSON can hold, and back."""

    def __init__(self, kind: type[T]) -> None:
        schema = _strict(TypeAdapter(kind).core_schema)
        self._name = kind.__name__.lower()
        self._serializer = SchemaSerializer(schema)
        self._validator = SchemaValidator(schema)

    def encode(self, value: T) -> Plain:
        """The value as data that JSON can hold.

        Raises:
            RecordError: it holds what could not be read back, e.g. a NaN or an unknown winner.
        """
        return self.stored_form(value)[0]

    def stored_form(self, value: T) -> tuple[Plain, T]:
        """The data of `encode`, and the value as it will be read back, its texts cleaned.

        Raises:
            RecordError: as `encode`.
        """
        try:
            # What has a wrong type is found when it is read back, with its place.
            record: Plain = self._serializer.to_python(value, mode="json", warnings=False)
        except ValueError as error:
            raise self._problem(error) from error
        return record, self.decode(record)

    def decode(self, record: Mapping[Any, Any]) -> T:
        """The value of `encode`; moments may be datetimes.

        Raises:
            RecordError: names the place in the record that is wrong.
        """
        try:
            value: T = self._validator.validate_python(dict(record))
        except ValueError as error:
            raise self._problem(error) from error
        return value

    def _problem(self, error: ValueError) -> RecordError:
        if not isinstance(error, ValidationError):
            return RecordError(f"{self._name}: {error}")
        problems = []
        for found in error.errors(include_url=False):
            parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
            given = "" if found["type"] == "missing" else f", not {str(found['input'])[:80]!r}"
            problems.append(f"{self._name}{''.join(parts)}: {found['msg']}{given}")
        return RecordError("; ".join(problems))


BATTLE: Final = Serializer(Battle)
VOTE: Final = Serializer(Vote)
EXCLUSION: Final = Serializer(Exclusion)


def battle_row(battle: Battle) -> Plain:
    """The columns of a battle, but `updated_at`.

    Raises:
        RecordError: it can't be encoded.
    """
    record = BATTLE.encode(battle)
    row: Plain = {name: record[name] for name in _SAME}
    preset = record["preset"]
    row["preset_id"] = preset["id"] if preset else None
    row["preset_edited"] = bool(preset and preset["edited"])
    row |= {"created_at": battle.created_at, "answered_at": battle.answered_at}
    row |= {name: record["params"][name] for name in _PARAMS}
    for side in Side:
        spec = record[f"spec_{side}"]
        row[f"model_{side}"] = spec["id"] if spec else None
        row[f"base_{side}"] = (spec["variant_of"] or spec["id"]) if spec else None
        served, finish = _last_answer(battle.conversation(side))
        row[f"served_model_{side}"] = served
        row[f"finish_{side}"] = finish
    return row


def _last_answer(conversation: Conversation) -> tuple[str | None, str | None]:
    """What served the last answer and how that ended; None while there is no answer."""
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
    record = {name: row[name] for name in _SAME}
    return BATTLE.decode(record | {"preset": None if row["preset_id"] is None else preset})


def vote_row(vote: Vote) -> Plain:
    """The columns of a vote.

    Raises:
        RecordError: it can't be encoded.
    """
    return VOTE.encode(vote) | {"cast_at": vote.cast_at}


def exclusion_row(exclusion: Exclusion) -> Plain:
    """The columns of a decision.

    Raises:
        RecordError: it can't be encoded.
    """
    return EXCLUSION.encode(exclusion) | {"decided_at": exclusion.decided_at}
