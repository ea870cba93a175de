"""What the store knows of one visitor, in SQL. Each function is one step of a transaction.

A visitor is the salted hash of an account or of a browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, null, or_, select

from arena.domain import Winner
from arena.store.queries import battles_of
from arena.store.schema import battles, final_votes, votes

_RECENT: Final = 50
"""Of one visitor: more than a day's battles of a person who reads them."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a visitor's votes say of one contestant."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    both_bad: int = 0

    @property
    def votes(self) -> int:
        """How many there are."""
        return self.wins + self.losses + self.ties + self.both_bad


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


def own_tally(connection: Connection, voter: str, model: str) -> Tally:
    """A visitor's final votes on a contestant against others; on those against itself none."""
    on_left = battles.c.model_a == model
    chosen = (
        select(on_left.label("on_left"), final_votes.c.winner, func.count().label("number"))
        .join_from(final_votes, battles, battles.c.id == final_votes.c.battle_id)
        .where(final_votes.c.voter == voter, battles.c.model_a != battles.c.model_b)
        .where(or_(on_left, battles.c.model_b == model))
        .group_by(on_left, final_votes.c.winner)
    )
    rows = connection.execute(chosen)
    found: dict[tuple[bool, str], int] = {(bool(r.on_left), r.winner): r.number for r in rows}

    def of(left: Winner, right: Winner) -> int:
        return found.get((True, left), 0) + found.get((False, right), 0)

    return Tally(
        wins=of(Winner.MODEL_A, Winner.MODEL_B),
        losses=of(Winner.MODEL_B, Winner.MODEL_A),
        ties=of(Winner.TIE, Winner.TIE),
        both_bad=of(Winner.BOTH_BAD, Winner.BOTH_BAD),
    )


def recent_battles(connection: Connection, voter: str, since: datetime) -> dict[str, bool]:
    """The newest battles that a visitor began here since then, and whether each has a vote.

    Newest first, without those whose texts were removed. A vote that can be taken back is one.
    """
    began = (battles.c.voter == voter, battles.c.created_at >= since, battles.c.source == "")
    chosen = (
        select(battles.c.id, votes.c.battle_id.is_not(None).label("voted"))
        .outerjoin(votes, votes.c.battle_id == battles.c.id)
        .where(*began, battles.c.erased.is_(null()))
        .order_by(battles.c.created_at.desc(), battles.c.id)
        .limit(_RECENT)
    )
    return {row.id: bool(row.voted) for row in connection.execute(chosen)}


def unfinished_battles(connection: Connection, voter: str, since: datetime) -> list[str]:
    """Those of `recent_battles` that can be voted on and have no vote, newest first."""
    recent = recent_battles(connection, voter, since)
    without = [battle_id for battle_id, voted in recent.items() if not voted]
    return [battle.id for battle in battles_of(connection, without) if battle.votable]
