"""Battles, votes and decisions in SQL. Each function is one step in a transaction of the caller's.

One with `now` stores it as the moment of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    FromClause,
    Select,
    Table,
    and_,
    func,
    insert,
    null,
    select,
    update,
)

from arena.domain import Battle, Exclusion, ModelName, Vote, clean
from arena.errors.battle import (
    AlreadyVoted,
    BattleErased,
    BattleLocked,
    NotYourBattle,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.store import BadGuess
from arena.store.database import advisory_lock, inserting
from arena.store.schema import battles, exclusions, final_votes, votes
from arena.store.serialization import (
    EXCLUSION,
    VOTE,
    Plain,
    battle_from_row,
    battle_row,
    exclusion_row,
    vote_row,
)

_IMPORT_LOCK: Final = 0x6172656E_03
"""The key of Postgres's advisory lock: a number that no other program is likely to use."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many battles and votes there are, or were added."""

    battles: int
    votes: int


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


@dataclass(frozen=True, slots=True)
class ImportedRows:
    """The rows that one imported battle becomes.

    Raises:
        RecordError: one of the records can't be encoded.
    """

    battle: Plain
    vote: Plain | None
    exclusion: Plain | None

    @classmethod
    def of(cls, battle: Battle, vote: Vote | None, exclusion: Exclusion | None) -> ImportedRows:
        """The rows of those records."""
        return cls(
            battle_row(battle),
            None if vote is None else vote_row(vote),
            None if exclusion is None else exclusion_row(exclusion),
        )


def add_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    """Inserts a new battle.

    Raises:
        sqlalchemy.exc.IntegrityError: there is one of that id.
    """
    connection.execute(insert(battles).values(**battle_row(battle), updated_at=now))


def update_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    """Replaces the whole record of a battle. Errors as `VoteStore.update_battle`."""
    row = _locked(connection, battle.id)
    if row is None:
        raise UnknownBattle(battle.id)
    if row["erased"] is not None:
        raise BattleErased(battle.id)
    if connection.scalar(select(votes.c.battle_id).where(votes.c.battle_id == battle.id)):
        raise BattleLocked(battle.id)
    changed = update(battles).where(battles.c.id == battle.id)
    connection.execute(changed.values(**battle_row(battle), updated_at=now))


def get_battle(connection: Connection, battle_id: str) -> Battle | None:
    """That battle, or None."""
    row = connection.execute(select(battles).where(battles.c.id == battle_id)).mappings().first()
    return None if row is None else battle_from_row(row)


def _locked(connection: Connection, battle_id: str) -> Mapping[Any, Any] | None:
    """The row of a battle, which no other transaction can write until this one ends.

    SQLite leaves FOR UPDATE out: there the whole transaction holds the write lock.
    """
    chosen = select(battles).where(battles.c.id == battle_id).with_for_update()
    return connection.execute(chosen).mappings().first()


def locked_for(connection: Connection, battle_id: str, voter: str) -> Mapping[Any, Any]:
    """The row of a battle as `_locked`.

    Raises:
        UnknownBattle: there is no such battle.
        NotYourBattle: another visitor started it.
        BattleErased: its texts were removed.
    """
    row = _locked(connection, battle_id)
    if row is None:
        raise UnknownBattle(battle_id)
    if row["voter"] != voter:
        raise NotYourBattle(battle_id)
    if row["erased"] is not None:
        raise BattleErased(battle_id)
    return row


def cast_vote(connection: Connection, vote: Vote, pending_until: datetime | None = None) -> Battle:
    """Inserts the only vote of a battle; gives the battle. Errors as `VoteStore.cast_vote`."""
    row = locked_for(connection, vote.battle_id, vote.voter)
    battle = battle_from_row(row)
    if not battle.votable:
        raise VoteTooEarly(vote.battle_id)
    _check_guess(row, vote.guess)
    added = inserting(connection, votes).values(**vote_row(vote), pending_until=pending_until)
    if connection.scalar(added.on_conflict_do_nothing().returning(votes.c.battle_id)) is None:
        raise AlreadyVoted(vote.battle_id)
    return battle


def _check_guess(row: Mapping[Any, Any], guess: str | None) -> None:
    ids = [name for name in (row["model_a"], row["model_b"]) if name is not None]
    if guess is not None and clean(guess) not in ids:
        raise BadGuess(row["id"], guess=clean(guess)[:80], allowed=", ".join(ids))


def annotate_vote(
    connection: Connection, battle_id: str, voter: str, changes: Mapping[str, Any]
) -> Vote:
    """Changes fields of a vote; gives it as it is now. Errors as `VoteStore.annotate_vote`."""
    _check_guess(locked_for(connection, battle_id, voter), changes.get("guess"))
    vote = get_vote(connection, battle_id, among=votes)
    if vote is None:
        raise VoteTooEarly(battle_id)
    record, changed = VOTE.stored_form(replace(vote, **changes))
    given = {name: record[name] for name in changes}
    connection.execute(update(votes).where(votes.c.battle_id == battle_id).values(**given))
    return changed


def get_vote(
    connection: Connection, battle_id: str, among: FromClause = final_votes
) -> Vote | None:
    """The vote on that battle, or None."""
    chosen = select(*(among.c[column.name] for column in final_votes.c))
    row = connection.execute(chosen.where(among.c.battle_id == battle_id)).mappings().first()
    return None if row is None else VOTE.decode(row)


def add_exclusion(connection: Connection, exclusion: Exclusion) -> None:
    """Stores the owner's decision about a battle's vote. Decisions are added and never changed.

    Raises:
        UnknownBattle: there is no such battle.
        sqlalchemy.exc.IntegrityError: there is another decision of the same moment.
    """
    known = select(battles.c.id).where(battles.c.id == exclusion.battle_id)
    if connection.scalar(known) is None:
        raise UnknownBattle(exclusion.battle_id)
    connection.execute(insert(exclusions).values(**exclusion_row(exclusion)))


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


def counts(connection: Connection) -> Counts:
    """How many battles and final votes there are."""
    number_of_battles = connection.scalar(select(func.count()).select_from(battles)) or 0
    # Two indexes are read here, where to count `final_votes` would read every vote.
    all_votes = connection.scalar(select(func.count()).select_from(votes)) or 0
    waiting = select(func.count()).where(votes.c.pending_until.is_not(None))
    return Counts(number_of_battles, all_votes - (connection.scalar(waiting) or 0))


def votes_version(connection: Connection) -> VotesVersion:
    """The state of the votes at this moment."""
    cast = select(func.count(), func.max(final_votes.c.cast_at)).select_from(final_votes)
    decided = select(func.count(), func.max(exclusions.c.decided_at)).select_from(exclusions)
    return VotesVersion(*connection.execute(cast).one(), *connection.execute(decided).one())


def model_names(connection: Connection, ids: Sequence[str]) -> dict[str, ModelName]:
    """How those models are called, by id, as the newest battle of each says.

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
            spec_of = newest[1]
            found[model_id] = ModelName(spec_of["label"], local=spec_of["provider"] == "local")
    return found


def snapshot(
    connection: Connection,
) -> tuple[list[str], dict[str, Vote], dict[str, Exclusion]]:
    """The ids of all battles, oldest first; all votes and the decisions in force, by battle."""
    ordered = select(battles.c.id).order_by(battles.c.created_at, battles.c.id)
    cast = [VOTE.decode(row) for row in connection.execute(select(final_votes)).mappings()]
    decided = [EXCLUSION.decode(row) for row in connection.execute(in_force()).mappings()]
    return (
        list(connection.scalars(ordered)),
        {vote.battle_id: vote for vote in cast},
        {exclusion.battle_id: exclusion for exclusion in decided},
    )


def battles_of(connection: Connection, ids: Sequence[str]) -> list[Battle]:
    """Those battles, in the order of the ids."""
    rows = connection.execute(select(battles).where(battles.c.id.in_(ids))).mappings()
    found = {row["id"]: battle_from_row(row) for row in rows}
    return [found[battle_id] for battle_id in ids]


def add_imported(
    connection: Connection,
    now: datetime,
    batches: Callable[[], Iterable[Sequence[ImportedRows]]],
) -> tuple[Counts, int]:
    """Stores what is not there; a battle that the same source gave without its vote gets it.

    Args:
        connection: in a transaction that writes.
        now: the moment of the change.
        batches: gives the rows from the start; called again for a transaction that was cut.

    Returns:
        How many battles and votes were added, and how many battles had nothing new.
    """
    advisory_lock(connection, _IMPORT_LOCK)
    added = cast = known = 0
    for batch in batches():
        rows = [{**one.battle, "updated_at": now} for one in batch]
        fresh = insert_missing(connection, battles, rows, "id")
        late = _complete(connection, [r for r in batch if r.battle["id"] not in fresh], now)
        chosen = [r for r in batch if r.battle["id"] in fresh | late]
        added += len(fresh)
        cast += _add_judgements(connection, chosen)
        known += len(batch) - len(chosen)
    return Counts(added, cast), known


def insert_missing(
    connection: Connection, table: Table, rows: Sequence[Plain], key: str
) -> set[str]:
    """Inserts the rows that are not there; their keys."""
    new = inserting(connection, table).on_conflict_do_nothing().returning(table.c[key])
    return set(connection.scalars(new, rows)) if rows else set()


def _complete(connection: Connection, batch: Sequence[ImportedRows], now: datetime) -> set[str]:
    """Replaces battles that the same source gave before without their vote; their ids."""
    given = {one.battle["id"]: one.battle for one in batch if one.vote is not None}
    chosen = (
        select(battles.c.id, battles.c.source)
        .where(battles.c.id.in_(given), battles.c.source != "", battles.c.erased.is_(null()))
        .where(battles.c.id.not_in(select(votes.c.battle_id)))
        .with_for_update()
    )
    late = {row.id for row in connection.execute(chosen) if row.source == given[row.id]["source"]}
    for name in sorted(late):
        changed = update(battles).where(battles.c.id == name)
        connection.execute(changed.values(**given[name], updated_at=now))
    return late


def _add_judgements(connection: Connection, batch: Sequence[ImportedRows]) -> int:
    """Inserts the votes and decisions of battles that have none; how many votes."""
    cast = [one.vote for one in batch if one.vote is not None]
    if cast:
        connection.execute(insert(votes), cast)
    decided = [one.exclusion for one in batch if one.exclusion is not None]
    insert_missing(connection, exclusions, decided, "battle_id")
    return len(cast)
