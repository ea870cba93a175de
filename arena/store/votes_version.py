"""What the leaderboard asks of the store beside the votes themselves, in SQL.

Whether anything changed since it last read them, and what models are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from arena.store.schema import battles, exclusions, votes


@dataclass(frozen=True, slots=True)
class VotesVersion:
    """The same as long as the same votes count.

    Attributes:
        votes, decisions: how many votes, and decisions of the owner about them, there are.
        newest_vote, newest_decision: when the last one was made; None without any.
    """

    votes: int
    newest_vote: datetime | None
    decisions: int
    newest_decision: datetime | None


def votes_version(connection: Connection) -> VotesVersion:
    """The state of the votes at this moment."""
    cast = select(func.count(), func.max(votes.c.cast_at)).select_from(votes)
    decided = select(func.count(), func.max(exclusions.c.decided_at)).select_from(exclusions)
    return VotesVersion(*connection.execute(cast).one(), *connection.execute(decided).one())


def newest_names(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Label and provider of those models by id, as the newest battle of each says.

    Labels may change and models may leave the arena; the record keeps what the page said.
    """
    found = {}
    for model_id in ids:
        newest: tuple[datetime, dict[str, str]] | None = None
        for model, spec in (
            (battles.c.model_a, battles.c.spec_a),
            (battles.c.model_b, battles.c.spec_b),
        ):
            last = select(battles.c.created_at, spec).where(model == model_id)
            last = last.order_by(battles.c.created_at.desc()).limit(1)
            row = connection.execute(last).first()
            if row is not None and (newest is None or row[0] > newest[0]):
                newest = (row[0], row[1])
        if newest is not None:
            found[model_id] = newest[1]["label"], newest[1]["provider"]
    return found
