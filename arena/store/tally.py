"""Votes counted by pair of contestants: all that statistics are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from arena.domain import Mode, Winner
from arena.store.exclusions import in_force
from arena.store.schema import battles, exclusions, votes


@dataclass(frozen=True, slots=True, order=True)
class Contestant:
    """Whom the statistics compare: an alias that moved to another version is another one."""

    id: str
    served_model: str


@dataclass(frozen=True, slots=True)
class PairTally:
    """The blind votes between two contestants, whichever sides they had; `first` < `second`.

    Attributes:
        open_votes: votes in open mode, which are in none of the other counts.
    """

    first: Contestant
    second: Contestant
    wins_first: int = 0
    wins_second: int = 0
    ties: int = 0
    both_bad: int = 0
    open_votes: int = 0


def tally(connection: Connection, *, signed_in_only: bool) -> tuple[PairTally, ...]:
    """The votes that count, per pair, in the contestants' order."""
    columns = (
        battles.c.mode,
        battles.c.model_a,
        battles.c.served_model_a,
        battles.c.model_b,
        battles.c.served_model_b,
        votes.c.winner,
    )
    excluded = in_force().with_only_columns(exclusions.c.battle_id)
    grouped = select(*columns, func.count()).join_from(votes, battles).group_by(*columns)
    grouped = grouped.where(votes.c.battle_id.not_in(excluded))
    if signed_in_only:
        grouped = grouped.where(votes.c.signed_in.is_(True))
    pairs: dict[tuple[Contestant, Contestant], Counter[str]] = {}
    for mode, id_a, served_a, id_b, served_b, winner, number in connection.execute(grouped):
        side_a, side_b = Contestant(id_a, served_a), Contestant(id_b, served_b)
        if side_a != side_b:
            first, second = sorted((side_a, side_b))
            column = _column(Mode(mode), Winner(winner), a_is_first=side_a == first)
            pairs.setdefault((first, second), Counter())[column] += number
    return tuple(PairTally(pair[0], pair[1], **pairs[pair]) for pair in sorted(pairs))


def _column(mode: Mode, winner: Winner, *, a_is_first: bool) -> str:
    """The field of `PairTally` in which a vote counts."""
    if mode is not Mode.BLIND:
        return "open_votes"
    if winner is Winner.TIE:
        return "ties"
    if winner is Winner.BOTH_BAD:
        return "both_bad"
    return "wins_first" if (winner is Winner.MODEL_A) == a_is_first else "wins_second"
