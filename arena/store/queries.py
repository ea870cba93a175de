"""Battles and votes in SQL. Each function is one step inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from arena.domain import Battle, Vote
from arena.errors.battle import (
    AlreadyVoted,
    BattleLocked,
    NotYourBattle,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.store import BadGuess
from arena.store.schema import battles, votes
from arena.store.serialization import VOTE, battle_from_row, battle_row, clean, vote_row
from arena.store.sql_engine import inserting


@dataclass(frozen=True, slots=True)
class Counts:
    """How many battles and votes there are, or were added."""

    battles: int
    votes: int


def add_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    """Inserts a new battle.

    Raises:
        sqlalchemy.exc.IntegrityError: there is one of that id.
    """
    connection.execute(insert(battles).values(**battle_row(battle), updated_at=now))


def update_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    """Replaces the whole record of a battle.

    Raises:
        UnknownBattle: it was never added.
        BattleLocked: it has its vote.
    """
    _locked(connection, battle.id)
    if get_vote(connection, battle.id) is not None:
        raise BattleLocked(battle.id)
    changed = update(battles).where(battles.c.id == battle.id)
    connection.execute(changed.values(**battle_row(battle), updated_at=now))


def get_battle(connection: Connection, battle_id: str) -> Battle | None:
    """That battle, or None."""
    row = connection.execute(select(battles).where(battles.c.id == battle_id)).mappings().first()
    return None if row is None else battle_from_row(row)


def _locked(connection: Connection, battle_id: str) -> Battle:
    """The battle, which nobody else can write until this transaction ends.

    SQLite leaves FOR UPDATE out: there the whole transaction holds the write lock.
    """
    chosen = select(battles).where(battles.c.id == battle_id).with_for_update()
    row = connection.execute(chosen).mappings().first()
    if row is None:
        raise UnknownBattle(battle_id)
    return battle_from_row(row)


def cast_vote(connection: Connection, vote: Vote) -> Battle:
    """Inserts the only vote of a battle.

    Raises:
        UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted: it does not count.
        BadGuess: the guess names neither contestant.
    """
    battle = _locked(connection, vote.battle_id)
    if battle.voter != vote.voter:
        raise NotYourBattle(vote.battle_id)
    if not battle.votable:
        raise VoteTooEarly(vote.battle_id)
    _check_guess(battle, vote.guess)
    added = inserting(connection, votes).values(**vote_row(vote)).on_conflict_do_nothing()
    if connection.scalar(added.returning(votes.c.battle_id)) is None:
        raise AlreadyVoted(vote.battle_id)
    return battle


def _check_guess(battle: Battle, guess: str | None) -> None:
    ids = [clean(battle.spec(side).id) for side in battle.sides]
    if guess is not None and clean(guess) not in ids:
        raise BadGuess(battle.id, guess=clean(guess)[:80], allowed=", ".join(ids))


def annotate_vote(
    connection: Connection, battle_id: str, voter: str, changes: Mapping[str, Any]
) -> Vote:
    """Changes fields of a vote that was cast.

    Raises:
        UnknownBattle, NotYourBattle, VoteTooEarly: there is no such vote of that voter.
        BadGuess: the guess names neither contestant.
    """
    battle = _locked(connection, battle_id)
    if battle.voter != voter:
        raise NotYourBattle(battle_id)
    _check_guess(battle, changes.get("guess"))
    vote = get_vote(connection, battle_id)
    if vote is None:
        raise VoteTooEarly(battle_id)
    row = vote_row(replace(vote, **changes))
    connection.execute(update(votes).where(votes.c.battle_id == battle_id).values(**row))
    return VOTE.decode(row)


def get_vote(connection: Connection, battle_id: str) -> Vote | None:
    """The vote on that battle, or None."""
    row = connection.execute(select(votes).where(votes.c.battle_id == battle_id)).mappings().first()
    return None if row is None else VOTE.decode(row)


def counts(connection: Connection) -> Counts:
    """How many battles and votes there are."""
    number_of_battles = connection.scalar(select(func.count()).select_from(battles)) or 0
    number_of_votes = connection.scalar(select(func.count()).select_from(votes)) or 0
    return Counts(number_of_battles, number_of_votes)


def snapshot(connection: Connection) -> tuple[list[str], dict[str, Vote]]:
    """The ids of all battles, oldest first, and all votes by battle."""
    ordered = select(battles.c.id).order_by(battles.c.created_at, battles.c.id)
    ballots = [VOTE.decode(row) for row in connection.execute(select(votes)).mappings()]
    return list(connection.scalars(ordered)), {vote.battle_id: vote for vote in ballots}


def battles_of(connection: Connection, ids: Sequence[str]) -> list[Battle]:
    """Those battles, in the order of the ids."""
    rows = connection.execute(select(battles).where(battles.c.id.in_(ids))).mappings()
    found = {row["id"]: battle_from_row(row) for row in rows}
    return [found[battle_id] for battle_id in ids]
