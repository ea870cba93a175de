"""Removes the texts of battles for good, in SQL; what counts without them stays.

An erased battle keeps its models, flags, parameters and times, and of each answer how it ended; its
vote keeps everything but the comment. `Battle.erased` marks it, and has what the statistics need of
the texts, so that the vote counts as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Engine, null, select, update

from arena.domain import Answer, Battle, Conversation, Erasure, Exchange
from arena.store.changes import RecordKey, RecordKind
from arena.store.features import chars_of, found_in_texts, prompts_code
from arena.store.schema import battles, votes
from arena.store.serialization import battle_from_row, battle_row
from arena.store.settings_table import LAST_ERASURE, set_meta

BATCH: Final = 50
"""Battles in one transaction: a vote does not wait for more."""
BATTLE_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Erasable:
    """What a battle's id or a voter's hash stands for.

    Attributes:
        ids: battles that have texts, oldest first.
        votes: how many of them have a vote, which stays.
        comments: how many of the votes have a comment, which goes.
        erased: how many other battles have no texts any more.
    """

    ids: tuple[str, ...]
    votes: int
    comments: int
    erased: int

    @property
    def text(self) -> str:
        """One line for people."""
        return (
            f"{len(self.ids)} battles with texts, {self.votes} of them with a vote, "
            f"{self.comments} with a comment; {self.erased} have none any more."
        )


def erasable(connection: Connection, target: str) -> Erasable:
    """What there is of a battle (its id, 32 digits) or of a voter (the hash, 64 digits)."""
    column = battles.c.id if len(target) == BATTLE_DIGITS else battles.c.voter
    chosen = (
        select(battles.c.id, battles.c.erased, votes.c.battle_id, votes.c.comment)
        .join_from(battles, votes, isouter=True)
        .where(column == target)
        .order_by(battles.c.created_at, battles.c.id)
    )
    rows = connection.execute(chosen).all()
    left = [row for row in rows if row.erased is None or row.comment is not None]
    return Erasable(
        ids=tuple(row.id for row in left),
        votes=sum(row.battle_id is not None for row in left),
        comments=sum(row.comment is not None for row in left),
        erased=len(rows) - len(left),
    )


def begun_before(connection: Connection, moment: datetime) -> list[str]:
    """Some battles with texts that began before that moment, oldest first; none: all are erased."""
    chosen = select(battles.c.id).where(battles.c.created_at < moment, _has_texts())
    return list(connection.scalars(chosen.order_by(battles.c.created_at).limit(BATCH)))


def erase(connection: Connection, now: datetime, ids: Sequence[str]) -> list[RecordKey]:
    """Removes the texts of those battles and of their votes, all in one transaction.

    Battles that are not there or have none any more are left alone.

    Returns:
        What was changed.

    Raises:
        RecordError: a battle can't be read.
    """
    chosen = select(battles).where(battles.c.id.in_(ids), _has_texts()).order_by(battles.c.id)
    changed: list[RecordKey] = []
    for row in connection.execute(chosen.with_for_update()).mappings().all():
        bare = battle_row(without_texts(battle_from_row(row), now))
        connection.execute(
            update(battles).where(battles.c.id == row["id"]).values(**bare, updated_at=now)
        )
        changed.append(RecordKey(RecordKind.BATTLE, row["id"]))
    said = update(votes).where(votes.c.battle_id.in_(ids), votes.c.comment.is_not(None))
    silent = connection.scalars(said.values(comment=None).returning(votes.c.battle_id))
    changed += [RecordKey(RecordKind.VOTE, name) for name in silent]
    if changed:
        set_meta(connection, LAST_ERASURE, now.isoformat())
    return changed


def _has_texts() -> ColumnElement[bool]:
    return battles.c.erased.is_(null())


def without_texts(battle: Battle, at: datetime) -> Battle:
    """The battle without what visitors and models wrote. Pure."""
    return replace(
        battle,
        system_prompt=None,
        conversation_a=_bare(battle.conversation_a),
        conversation_b=_bare(battle.conversation_b),
        erased=Erasure(
            at=at,
            found=int(found_in_texts(battle)),
            prompt=prompts_code(battle),
            chars_a=chars_of(battle.conversation_a),
            chars_b=chars_of(battle.conversation_b),
        ),
    )


def _bare(conversation: Conversation) -> Conversation:
    return tuple(
        Exchange(
            "",
            None if turn.answer is None else _silent(turn.answer),
            tuple(_silent(attempt) for attempt in turn.failed),
        )
        for turn in conversation
    )


def _silent(answer: Answer) -> Answer:
    return replace(answer, text="")


def vacuum(engine: Engine) -> bool:
    """Writes an SQLite file anew, so that no bytes of removed texts are left in it. Blocks.

    Takes about the time of copying the file, during which nothing else is written.

    Returns:
        Whether it was done; Postgres frees removed rows by itself, later.
    """
    if engine.dialect.name != "sqlite":
        return False
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("VACUUM")
    finally:
        connection.close()
    return True
