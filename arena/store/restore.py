"""Records by key, in SQL: which there are, reading some, putting back what a copy holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from arena.domain import Battle, Exclusion, Vote
from arena.store.changes import Record, RecordKey, RecordKind, key_of
from arena.store.database import advisory_lock
from arena.store.queries import Counts, insert_missing
from arena.store.schema import battles, exclusions, final_votes, votes
from arena.store.serialization import (
    EXCLUSION,
    VOTE,
    Plain,
    RecordError,
    battle_from_row,
    battle_row,
    exclusion_row,
    vote_row,
)

_log = logging.getLogger(__name__)
_BATCH = 200
# The key of Postgres's advisory lock: a number that no other program is likely to use.
_LOCK = 0x6172656E_02


def record_keys(connection: Connection) -> list[RecordKey]:
    """The keys of all records."""
    decided = connection.execute(select(exclusions.c.battle_id, exclusions.c.decided_at))
    return [
        *(RecordKey(RecordKind.BATTLE, name) for name in connection.scalars(select(battles.c.id))),
        *(
            RecordKey(RecordKind.VOTE, n)
            for n in connection.scalars(select(final_votes.c.battle_id))
        ),
        *(RecordKey(RecordKind.EXCLUSION, name, moment) for name, moment in decided),
    ]


def read_records(connection: Connection, keys: Sequence[RecordKey]) -> list[Record]:
    """Those of the records that are there; one that can't be read is logged and left out."""
    found: list[Record] = []
    for kind, table, column, decode in (
        (RecordKind.BATTLE, battles, "id", battle_from_row),
        (RecordKind.VOTE, final_votes, "battle_id", VOTE.decode),
        (RecordKind.EXCLUSION, exclusions, "battle_id", EXCLUSION.decode),
    ):
        names = [key.battle_id for key in keys if key.kind is kind]
        for row in connection.execute(select(table).where(table.c[column].in_(names))).mappings():
            try:
                record: Record = decode(row)
            except RecordError:  # its text may hold what a visitor wrote
                _log.error("the %s %s can't be read", kind, row[column])
            else:
                found.append(record)
    wanted = set(keys)
    return [record for record in found if key_of(record) in wanted]


@dataclass(frozen=True, slots=True)
class Found:
    """What a copy holds, as rows. Made before the transaction, which holds the others up."""

    battles: dict[str, tuple[Battle, Plain]]
    votes: list[Plain]
    exclusions: list[Plain]


def found(given: Sequence[Battle], cast: Sequence[Vote], decisions: Sequence[Exclusion]) -> Found:
    """The rows of what is given.

    Raises:
        RecordError: one of them can't be stored.
    """
    # One order for all processes, so that two that restore never wait for each other in a ring.
    return Found(
        battles={b.id: (b, battle_row(b)) for b in sorted(given, key=lambda b: b.id)},
        votes=[vote_row(v) for v in sorted(cast, key=lambda v: v.battle_id)],
        exclusions=[
            exclusion_row(e) for e in sorted(decisions, key=lambda e: (e.battle_id, e.decided_at))
        ],
    )


def answers_in(battle: Battle) -> int:
    """How many answers of both sides have ended, those that a retry replaced included."""
    both = (battle.conversation_a, battle.conversation_b)
    return sum((turn.answer is not None) + len(turn.failed) for talk in both for turn in talk)


def restore(connection: Connection, what: Found, now: datetime) -> Counts:
    """Inserts what is missing; how much was inserted.

    A battle that is there is replaced only by a record with more answers, and only while it has no
    vote; one whose texts were erased stays. A vote or a decision without its battle is left out,
    and logged.
    """
    advisory_lock(connection, _LOCK)
    rows = [{**row, "updated_at": now} for _, row in what.battles.values()]
    added = insert_missing(connection, battles, rows, "id")
    _enrich(connection, {name: what.battles[name] for name in what.battles.keys() - added}, now)
    cast = _with_battle(connection, what.votes, "votes")
    decided = _with_battle(connection, what.exclusions, "exclusions")
    new_votes = insert_missing(connection, votes, cast, "battle_id")
    insert_missing(connection, exclusions, decided, "battle_id")
    return Counts(len(added), len(new_votes))


def _enrich(connection: Connection, given: dict[str, tuple[Battle, Plain]], now: datetime) -> None:
    """Replaces battles that have fewer answers here, and no vote."""
    for names in _batches(sorted(given)):
        chosen = select(battles).where(battles.c.id.in_(names)).order_by(battles.c.id)
        rows = connection.execute(chosen.with_for_update()).mappings().all()
        # A look after the lock: a vote that was being cast is there by now.
        voted = set(
            connection.scalars(select(votes.c.battle_id).where(votes.c.battle_id.in_(names)))
        )
        for stored in rows:
            battle, row = given[stored["id"]]
            more = answers_in(battle) > answers_in(battle_from_row(stored))
            if more and battle.id not in voted and stored["erased"] is None:
                changed = update(battles).where(battles.c.id == battle.id)
                connection.execute(changed.values(**row, updated_at=now))


def _with_battle(connection: Connection, rows: list[Plain], what: str) -> list[Plain]:
    """The rows with a battle in the store; a broken line of a copy can lose a battle."""
    kept: list[Plain] = []
    for batch in _batches(rows):
        names = [row["battle_id"] for row in batch]
        known = set(connection.scalars(select(battles.c.id).where(battles.c.id.in_(names))))
        kept += [row for row in batch if row["battle_id"] in known]
    if len(kept) < len(rows):
        _log.warning("%d %s of the copy have no battle", len(rows) - len(kept), what)
    return kept


def _batches(rows: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), _BATCH):
        yield list(rows[start : start + _BATCH])
