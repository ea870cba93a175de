"""What the store knows of one visitor, in SQL. Each function is one step of a transaction.

A visitor is the salted hash of an account or of a browser.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from arena.store.schema import battles, votes


def judged_presets(connection: Connection, voter: str) -> list[str]:
    """The examples that a visitor has judged, edited or not, the longest ago first.

    A vote that can still be taken back is one.
    """
    last = func.max(votes.c.cast_at)
    chosen = (
        select(battles.c.preset_id)
        .join_from(votes, battles)
        .where(votes.c.voter == voter, battles.c.preset_id.is_not(None))
        .group_by(battles.c.preset_id)
        .order_by(last, battles.c.preset_id)
    )
    return list(connection.scalars(chosen))
