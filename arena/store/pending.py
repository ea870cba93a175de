"""Votes that can still be taken back, in SQL. Each function is one step of a caller's transaction.

A vote is pending while its `pending_until` is set, also after that moment until somebody makes it
final.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, and_, delete, select, update

from arena.errors.battle import NothingToUndo, UndoTooLate
from arena.store.queries import locked_for
from arena.store.schema import votes


def undo_vote(connection: Connection, battle_id: str, voter: str, now: datetime) -> None:
    """Removes a pending vote. Errors as `VoteStore.undo_vote`."""
    locked_for(connection, battle_id, voter)
    of_battle = votes.c.battle_id == battle_id
    row = connection.execute(
        select(votes.c.pending_until).where(of_battle).with_for_update()
    ).first()
    if row is None:
        raise NothingToUndo(battle_id)
    if row.pending_until is None or row.pending_until <= now:
        raise UndoTooLate(battle_id)
    connection.execute(delete(votes).where(of_battle))


def finalise_votes(
    connection: Connection, now: datetime, known: Mapping[str, datetime]
) -> list[str]:
    """Makes votes final: all whose moment has come by `now`, and the known ones before it.

    Args:
        connection: in a transaction that writes.
        now: the moment.
        known: the `pending_until` of votes by battle; one that was taken back and cast anew has
            another, and stays.

    Returns:
        The battles whose votes became final by this.
    """
    # In one order for all processes, so that two never wait for each other in a ring.
    due = sorted(
        (battle_id, until)
        for battle_id, until in pending_votes(connection).items()
        if until <= now or until == known.get(battle_id)
    )
    return [battle_id for battle_id, until in due if _finalise(connection, battle_id, until)]


def _finalise(connection: Connection, battle_id: str, until: datetime) -> bool:
    """Makes one vote final, unless another transaction ended it meanwhile; whether it did."""
    same = and_(votes.c.battle_id == battle_id, votes.c.pending_until == until)
    return connection.execute(update(votes).where(same).values(pending_until=None)).rowcount == 1


def pending_votes(connection: Connection) -> dict[str, datetime]:
    """The moments until which pending votes can be taken back, by battle."""
    chosen = select(votes.c.battle_id, votes.c.pending_until)
    rows = connection.execute(chosen.where(votes.c.pending_until.is_not(None)))
    return {row.battle_id: row.pending_until for row in rows}
