"""One line of the copy on the Hub: what changed, and when. Pure.

    {"kind": "battle" | "vote" | "exclusion", "at": "<UTC time>", "record": {...}}

A file is only ever added to, so several lines may speak of one battle: of those, the one with most
answers counts, and of several with as many, the latest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from arena.domain import Battle, Exclusion, Vote
from arena.store.serialization import (
    BATTLE,
    VOTE,
    Plain,
    RecordError,
    clean,
)

Change = Battle | Vote | Exclusion


class Kind(StrEnum):
    """What a line speaks of."""

    BATTLE = "battle"
    VOTE = "vote"
    EXCLUSION = "exclusion"


def key_of(change: Change) -> tuple[type, str]:
    """What several lines about one thing have in common."""
    return type(change), change.id if isinstance(change, Battle) else change.battle_id


def encode_line(change: Change, at: datetime) -> bytes:
    """The line, its end included; never more than one, whatever the texts hold.

    Raises:
        RecordError: it holds what could not be read back.
    """
    if isinstance(change, Battle):
        kind, record = Kind.BATTLE, BATTLE.encode(change)
    elif isinstance(change, Vote):
        kind, record = Kind.VOTE, VOTE.encode(change)
    else:
        kind, record = Kind.EXCLUSION, _encode_exclusion(change)
    line = {"kind": kind.value, "at": at.astimezone(UTC).isoformat(), "record": record}
    text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def decode_line(line: bytes) -> tuple[Change, datetime]:
    """What changed, and when that was noted.

    Raises:
        RecordError: it is not a line of ours, or only a part of one.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {type(error).__name__}") from error
    if not isinstance(found, dict) or found.keys() != {"kind", "at", "record"}:
        raise RecordError("not an object of kind, at and record")
    kind, record = found["kind"], found["record"]
    if not isinstance(record, dict):
        raise RecordError("record must be an object")
    at = _moment(found["at"], "at")
    if kind == Kind.BATTLE:
        return BATTLE.decode(record), at
    if kind == Kind.VOTE:
        return VOTE.decode(record), at
    if kind == Kind.EXCLUSION:
        return _decode_exclusion(record), at
    raise RecordError("unknown kind")


def fullness(battle: Battle) -> int:
    """How many answers the record holds, those that a retry replaced included."""
    both = (battle.conversation_a, battle.conversation_b)
    return sum((turn.answer is not None) + len(turn.failed) for talk in both for turn in talk)


def all_ended(battle: Battle) -> bool:
    """Whether no side has an answer to write any more, as far as the record tells."""
    talks = [battle.conversation(side) for side in battle.sides]
    return all(talk and talk[-1].answer is not None for talk in talks)


def _encode_exclusion(exclusion: Exclusion) -> Plain:
    if exclusion.decided_at.tzinfo is None:
        raise RecordError("decided_at has no time zone")
    return {
        "battle_id": exclusion.battle_id,
        "why": clean(exclusion.why),
        "decided_at": exclusion.decided_at.astimezone(UTC).isoformat(),
        "lifted": exclusion.lifted,
    }


def _decode_exclusion(record: Mapping[str, object]) -> Exclusion:
    battle_id, why, lifted = record.get("battle_id"), record.get("why"), record.get("lifted")
    if record.keys() != {"battle_id", "why", "decided_at", "lifted"}:
        raise RecordError(f"exclusion has the fields {sorted(record)}")
    if not isinstance(battle_id, str) or not isinstance(why, str) or not isinstance(lifted, bool):
        raise RecordError("a field of the exclusion has the wrong type")
    return Exclusion(battle_id, why, _moment(record["decided_at"], "decided_at"), lifted)


def _moment(value: object, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RecordError(f"{where} must be a moment with a time zone")
    return moment
