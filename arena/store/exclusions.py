"""The owner's decisions about votes, in SQL. Decisions are added and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, select

from arena.domain import Exclusion
from arena.errors.battle import UnknownBattle
from arena.store.schema import battles, exclusions
from arena.store.serialization import exclusion_row


def in_force() -> Select[Any]:
    """The rows that count: the latest decision of each battle, unless it lifts the one before."""
    latest = (
        select(exclusions.c.battle_id, func.max(exclusions.c.decided_at).label("decided_at"))
        .group_by(exclusions.c.battle_id)
        .subquery()
    )
    same = and_(
        exclusions.c.battle_id == latest.c.battle_id,
        exclusions.c.decided_at == latest.c.decided_at,
    )
    return select(exclusions).join(latest, same).where(exclusions.c.lifted.is_(False))


def add_exclusion(connection: Connection, exclusion: Exclusion) -> None:
    """Stores a decision.

    Raises:
        UnknownBattle: there is no such battle.
    """
    known = select(battles.c.id).where(battles.c.id == exclusion.battle_id)
    if connection.scalar(known) is None:
        raise UnknownBattle(exclusion.battle_id)
    connection.execute(insert(exclusions).values(**exclusion_row(exclusion)))


def all_in_force(connection: Connection) -> Mapping[str, Exclusion]:
    """The decisions that count, by battle."""
    rows = connection.execute(in_force()).mappings()
    return {row["battle_id"]: Exclusion(**row) for row in rows}


def decisions(connection: Connection) -> tuple[Exclusion, ...]:
    """Every decision, oldest first."""
    ordered = select(exclusions).order_by(exclusions.c.decided_at, exclusions.c.battle_id)
    return tuple(Exclusion(**row) for row in connection.execute(ordered).mappings())


def get_exclusion(connection: Connection, battle_id: str) -> Exclusion | None:
    """The decision that counts for that battle, or None."""
    chosen = in_force().where(exclusions.c.battle_id == battle_id)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else Exclusion(**row)
