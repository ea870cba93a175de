"""A row of a file as a battle with its vote. Pure; what is unknown is an error, never a guess."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from arena.dataset.columns import COLUMNS, ColumnKind, ExportShape
from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Exclusion,
    Finished,
    FinishReason,
    GenerationParams,
    Mode,
    ModelSpec,
    Role,
    Vote,
    Winner,
)
from arena.store.serialization import BATTLE, VOTE, RecordError, utc_moment
from arena.store.store import BattleRecords

LANGUAGES: Final = ("ja", "en", "other")
_ID: Final = re.compile(r"[0-9a-f]{32}")
# Columns that the first exports did not have.
_LATER: Final[Mapping[str, Any]] = {
    "excluded_at": None,
    "grade_a": None,
    "grade_b": None,
    "source": "",
    "answered_at": None,
}


def shape_of(row: Mapping[str, Any]) -> ExportShape | None:
    """Which shape a row is of; None for one that can't be imported."""
    if "turns_a" in row:
        return ExportShape.ARENA
    return ExportShape.LMARENA if "evaluation_session_id" in row else None


def read_row(shape: ExportShape, row: Mapping[str, Any], source: str) -> BattleRecords:
    """What the row says; the same row gives the same battle and voter, wherever it is read.

    Args:
        shape: one that `shape_of` gives.
        row: by column; moments as text or aware, columns of kind json as text or as data.
        source: where rows come from that do not say it themselves.

    Raises:
        RecordError: says what is wrong with it.
    """
    try:
        found = (_arena if shape is ExportShape.ARENA else _lmarena)(
            _columns_of(shape, row), source
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise RecordError(f"not a row of {shape.value}: {type(error).__name__} {error}") from error
    _check(found)
    return found


def imported_voter(source: str, voter: str) -> str:
    """An imported voter: the same for the same source and hash, and no voter of this arena."""
    return hashlib.sha256(f"{source}:{voter}".encode()).hexdigest()


def imported_id(source: str, given: str) -> str:
    """The id of a battle of elsewhere: its own where that is 32 hexadecimal digits or a UUID."""
    try:
        return UUID(given).hex
    except ValueError:
        return hashlib.sha256(f"{source}:{given}".encode()).hexdigest()[:32]


def _columns_of(shape: ExportShape, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with all columns of the shape.

    Raises:
        RecordError: one is missing or unknown.
    """
    columns = {column.name: column.kind for column in COLUMNS[shape]}
    later = _LATER if shape is ExportShape.ARENA else {}
    unknown = sorted(set(row) - columns.keys())
    missing = sorted(columns.keys() - set(row) - later.keys())
    if unknown or missing:
        raise RecordError(f"columns unknown: {unknown}, missing: {missing}")
    return {name: _value(kind, row.get(name, later.get(name))) for name, kind in columns.items()}


def _value(kind: ColumnKind, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, datetime):
        return utc_moment(value, UTC).isoformat()
    if kind is ColumnKind.JSON and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"not JSON: {value[:80]!r}") from error
    return value


def _check(found: BattleRecords) -> None:
    """What the types do not say.

    Raises:
        RecordError: the statistics could not use it.
    """
    battle, vote, _ = found
    if not _ID.fullmatch(battle.id):
        raise RecordError(f"id must be 32 hexadecimal digits, not {battle.id[:80]!r}")
    if battle.language not in LANGUAGES:
        raise RecordError(f"language must be ja, en or other, not {battle.language[:80]!r}")
    ids = [battle.spec(side).id for side in battle.sides]
    if not all(ids):
        raise RecordError("a contestant has no id")
    if vote is None:
        return
    turns = {len(battle.conversation_a), len(battle.conversation_b)}
    if battle.spec_b is None or not battle.votable or len(turns) > 1:
        raise RecordError("there is a vote, but not two usable answers to every prompt")
    if vote.guess is not None and vote.guess not in ids:
        raise RecordError(f"guess must be one of {ids}, not {vote.guess[:80]!r}")


def _arena(row: Mapping[str, Any], source: str) -> BattleRecords:
    source = row["source"] or source
    same = ("mode", "language", "ui_language", "preset", "params", "spec_a", "spec_b")
    more = ("system_prompt", "flags", "provenance", "answered_at")
    voter = imported_voter(source, _text(row["voter"], "voter"))
    battle = BATTLE.decode(
        {
            **{name: row[name] for name in (*same, *more)},
            "id": row["id"],
            "category": row["category_tag"],
            "created_at": row["timestamp"],
            "voter": voter,
            "source": source,
            "conversation_a": _exchanges(row["conversation_a"], row["turns_a"]),
            "conversation_b": _exchanges(row["conversation_b"], row["turns_b"]),
        }
    )
    names = [battle.spec_a.id, None if battle.spec_b is None else battle.spec_b.id]
    if [row["model_a"], row["model_b"]] != names:
        raise RecordError("model_a and model_b are not those of spec_a and spec_b")
    return battle, _arena_vote(row, battle), _arena_exclusion(row, battle)


def _arena_vote(row: Mapping[str, Any], battle: Battle) -> Vote | None:
    said = ("reasons", "comment", "guess", "signed_in", "grade_a", "grade_b")
    if row["winner"] is None:
        if any(row[name] is not None for name in ("voted_at", *said)):
            raise RecordError("there is no winner, but something that only a vote has")
        return None
    return VOTE.decode(
        {
            **{name: row[name] for name in said},
            "battle_id": battle.id,
            "winner": row["winner"],
            "voter": battle.voter,
            "cast_at": row["voted_at"],
            "source": battle.source,
        }
    )


def _arena_exclusion(row: Mapping[str, Any], battle: Battle) -> Exclusion | None:
    if row["excluded"] is None:
        return None
    why = _text(row["excluded"], "excluded")
    # The first exports did not say when; the battle's own moment is before any later decision.
    moment = (
        battle.created_at if row["excluded_at"] is None else utc_moment(row["excluded_at"], UTC)
    )
    return Exclusion(battle.id, why, moment)


def _exchanges(messages: Sequence[Mapping[str, Any]], turns: Sequence[Any]) -> list[dict[str, Any]]:
    """The record of a conversation from its messages and from how its turns went."""
    left = [_message(message, _text(message["content"], "content")) for message in messages]
    record: list[dict[str, Any]] = []
    for turn in turns:
        if turn.keys() != {"finished", "cost_usd", "failed"}:
            raise RecordError(f"a turn has the fields {sorted(turn)}")
        prompt, answer = _taken(left, Role.USER), None
        if turn["finished"] is not None:
            answer = {
                "text": _taken(left, Role.ASSISTANT),
                "finished": turn["finished"],
                "cost_usd": turn["cost_usd"],
            }
        record.append({"prompt": prompt, "answer": answer, "failed": turn["failed"]})
    if left:
        raise RecordError(f"{len(left)} messages more than turns")
    return record


def _message(message: Mapping[str, Any], text: str) -> tuple[Role, str]:
    role = message["role"]
    if role not in (Role.USER, Role.ASSISTANT):
        raise RecordError(f"role must be user or assistant, not {str(role)[:80]!r}")
    return Role(role), text


def _taken(left: list[tuple[Role, str]], role: Role) -> str:
    """The next message's text.

    Raises:
        RecordError: there is none, or it is of another role.
    """
    if not left or left[0][0] is not role:
        raise RecordError(f"a message of the {role.value} is missing")
    return left.pop(0)[1]


def _lmarena(row: Mapping[str, Any], source: str) -> BattleRecords:
    given, session = (_text(row[name], name, some=True) for name in ("id", "evaluation_session_id"))
    moment = utc_moment(row["timestamp"], UTC)
    talks = {side: _talk(row[f"conversation_{side}"]) for side in ("a", "b")}
    if [turn.prompt for turn in talks["a"]] != [turn.prompt for turn in talks["b"]]:
        raise RecordError("the two conversations have different prompts")
    language = _text(row["language"], "language")
    battle = Battle(
        id=imported_id(source, given),
        mode=Mode.BLIND,
        language=language if language in LANGUAGES else "other",
        ui_language=language if language in ("ja", "en") else "en",
        category=_category(row),
        preset=None,
        params=GenerationParams(),
        spec_a=_spec(row["model_a"], "model_a"),
        spec_b=_spec(row["model_b"], "model_b"),
        created_at=moment,
        voter=imported_voter(source, session),
        conversation_a=talks["a"],
        conversation_b=talks["b"],
        source=source,
    )
    if row["winner"] not in tuple(Winner):
        raise RecordError(f"winner must be {' or '.join(Winner)}, not {str(row['winner'])[:80]!r}")
    vote = Vote(battle.id, Winner(row["winner"]), battle.voter, moment, source=source)
    return battle, vote, None


def _spec(name: Any, where: str) -> ModelSpec:  # noqa: ANN401
    """A contestant of whom only the name is known."""
    known = _text(name, where, some=True)
    return ModelSpec(id=known, label=known, provider="imported", source=known)


def _category(row: Mapping[str, Any]) -> Category:
    if row["is_code"]:
        return Category.CODING
    math = (row["category_tag"] or {}).get("math_v0.1") or {}
    return Category.MATH if math.get("math") else Category.FREE


def _talk(messages: Sequence[Mapping[str, Any]]) -> tuple[Exchange, ...]:
    left = [_message(message, _joined(message["content"])) for message in messages]
    turns = []
    while left:
        prompt, text = _taken(left, Role.USER), _taken(left, Role.ASSISTANT)
        turns.append(Exchange(prompt, Answer(text, Finished(FinishReason.STOP))))
    return tuple(turns)


def _joined(content: Any) -> str:  # noqa: ANN401
    """The text of a content, which is a string or a list of parts.

    Raises:
        RecordError: a part is no text; without its picture a prompt is another one.
    """
    if isinstance(content, str):
        return content
    for part in content:
        if part["type"] != "text":
            raise RecordError(f"a part is {str(part['type'])[:80]!r}; only text can be imported")
    return "\n".join(_text(part["text"], "text") for part in content)


def _text(value: Any, where: str, *, some: bool = False) -> str:  # noqa: ANN401
    if not isinstance(value, str) or (some and not value):
        raise RecordError(f"{where} must be text, not {str(value)[:80]!r}")
    return value
