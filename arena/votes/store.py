"""Battles and votes on disk: every write is one transaction, acknowledged after its commit.

Methods are async and work in a thread; the functions below the class are the work. A method that
is cancelled returns only when its thread has ended, so a later write is never overtaken by an
earlier one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from arena.domain import Battle, Mode, Vote, Winner
from arena.errors import (
    AlreadyVoted,
    BattleLocked,
    NotYourBattle,
    UnknownBattle,
    VoteTooEarly,
)
from arena.votes.codec import battle_from_row, battle_row, vote_from_row, vote_row
from arena.votes.engine import make_engine, place_of, store_errors, writing
from arena.votes.migrations import upgrade
from arena.votes.schema import battles, daily_counts, meta, votes

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_EXPORT_BATCH = 50


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


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the store holds."""

    battles: int
    votes: int


def voter_hash(salt: str, session: str) -> str:
    """Whom a vote is from: 64 hexadecimal digits that lead back to nobody.

    Args:
        salt: the store's, or an export's own.
        session: the browser session's random id; never an address of the network.
    """
    return hmac.new(salt.encode(), session.encode(), hashlib.sha256).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


class VoteStore:
    """The one place that reads and writes battles and votes.

    Every method raises `StoreError` where the database does not take it.
    """

    def __init__(self, engine: Engine, place: str, clock: Callable[[], datetime]) -> None:
        self._reader = engine
        self._writer = writing(engine)
        self._clock = clock
        self.place = place

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = _now) -> VoteStore:
        """The store at that URL, its folder made and its tables brought up to date. Blocks.

        Raises:
            StoreError: it can't be made, read or written, or a newer arena wrote it.
        """
        place = place_of(url)
        with store_errors(place):
            engine = make_engine(url)
            try:
                upgrade(writing(engine), place)
            except BaseException:
                engine.dispose()
                raise
        return cls(engine, place, clock)

    async def add_battle(self, battle: Battle) -> None:
        """Stores a new battle.

        Raises:
            StoreError: also where there is one of that id.
        """
        await self._write(_add_battle, battle, self._clock())

    async def update_battle(self, battle: Battle) -> None:
        """Replaces the whole record of a battle.

        Raises:
            UnknownBattle: it was never added.
            BattleLocked: it has its vote.
        """
        await self._write(_update_battle, battle, self._clock())

    async def get_battle(self, battle_id: str) -> Battle | None:
        """That battle, or None."""
        return await self._read(_get_battle, battle_id)

    async def cast_vote(self, vote: Vote) -> Battle:
        """Stores the only vote of a battle; when this returns, it is on disk.

        Returns:
            The battle, whose names may be shown now.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            VoteTooEarly: a side has no usable answer, or the mode has no votes.
            AlreadyVoted: it has its vote.
        """
        return await self._write(_cast_vote, vote)

    async def annotate_vote(
        self,
        battle_id: str,
        voter: str,
        *,
        reasons: tuple[str, ...] | None = None,
        comment: str | None = None,
        guess: str | None = None,
    ) -> Vote:
        """Adds to a vote that was cast; None leaves what is there.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            VoteTooEarly: it has no vote yet.
        """
        given = {"reasons": reasons, "comment": comment, "guess": guess}
        changes = {name: value for name, value in given.items() if value is not None}
        return await self._write(_annotate_vote, battle_id, voter, changes)

    async def get_vote(self, battle_id: str) -> Vote | None:
        """The vote on that battle, or None."""
        return await self._read(_get_vote, battle_id)

    async def tally(self) -> tuple[PairTally, ...]:
        """The votes per pair of contestants, in the contestants' order.

        A contestant against itself says nothing about its rank and is left out.
        """
        return await self._read(_tally)

    async def count_today(self, name: str, limit: int) -> bool:
        """Takes one unit of what may be done today (UTC); False when none is left."""
        return await self._write(_count_today, name, self._clock().astimezone(UTC).date(), limit)

    async def today(self, name: str) -> int:
        """How many units of today (UTC) are taken."""
        return await self._read(_today, name, self._clock().astimezone(UTC).date())

    async def salt(self) -> str:
        """The salt of the voters' hashes, drawn once in the life of the database."""
        return await self._write(_salt)

    async def counts(self) -> Counts:
        """How many battles and votes there are."""
        return await self._read(_counts)

    async def iter_battles(self) -> AsyncIterator[tuple[Battle, Vote | None]]:
        """Every battle with its vote, oldest first, as of the moment this starts.

        The list of battles and all votes are read at once, the battles in batches after that: a
        battle with a vote can't change any more, and no lock is held while the caller works. A
        battle without a vote may be given as it was a little later.
        """
        ids, ballots = await self._read(_snapshot)
        for start in range(0, len(ids), _EXPORT_BATCH):
            found = await self._read(_battles_of, ids[start : start + _EXPORT_BATCH])
            for battle in found:
                yield battle, ballots.get(battle.id)

    async def aclose(self) -> None:
        """Closes the connections."""
        await asyncio.to_thread(self._reader.dispose)

    async def _read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await _settled(lambda: self._transact(self._reader, work, *args, **kwargs))

    async def _write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await _settled(lambda: self._transact(self._writer, work, *args, **kwargs))

    def _transact(
        self,
        engine: Engine,
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs the work in one transaction, which is committed when this returns."""
        with store_errors(self.place), engine.begin() as connection:
            return work(connection, *args, **kwargs)


async def _settled(work: Callable[[], T]) -> T:
    """Runs the work in a thread; when this task is cancelled, waits for the thread first."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.exception() is not None:
            _log.warning("a cancelled task's write failed", exc_info=running.exception())
        raise


def _add_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    connection.execute(insert(battles).values(**battle_row(battle), updated_at=now))


def _update_battle(connection: Connection, battle: Battle, now: datetime) -> None:
    _locked(connection, battle.id)
    if _get_vote(connection, battle.id) is not None:
        raise BattleLocked(battle.id)
    changed = update(battles).where(battles.c.id == battle.id)
    connection.execute(changed.values(**battle_row(battle), updated_at=now))


def _get_battle(connection: Connection, battle_id: str) -> Battle | None:
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


def _cast_vote(connection: Connection, vote: Vote) -> Battle:
    battle = _locked(connection, vote.battle_id)
    if battle.voter != vote.voter:
        raise NotYourBattle(vote.battle_id)
    if not battle.votable:
        raise VoteTooEarly(vote.battle_id)
    try:
        connection.execute(insert(votes).values(**vote_row(vote)))
    except IntegrityError as error:
        # The battle is there and the codec let the winner pass: only the key is left to refuse.
        raise AlreadyVoted(vote.battle_id) from error
    return battle


def _annotate_vote(
    connection: Connection, battle_id: str, voter: str, changes: Mapping[str, Any]
) -> Vote:
    if _locked(connection, battle_id).voter != voter:
        raise NotYourBattle(battle_id)
    vote = _get_vote(connection, battle_id)
    if vote is None:
        raise VoteTooEarly(battle_id)
    row = vote_row(replace(vote, **changes))
    connection.execute(update(votes).where(votes.c.battle_id == battle_id).values(**row))
    return vote_from_row(row)


def _get_vote(connection: Connection, battle_id: str) -> Vote | None:
    row = connection.execute(select(votes).where(votes.c.battle_id == battle_id)).mappings().first()
    return None if row is None else vote_from_row(row)


def _tally(connection: Connection) -> tuple[PairTally, ...]:
    columns = (
        battles.c.mode,
        battles.c.model_a,
        battles.c.served_model_a,
        battles.c.model_b,
        battles.c.served_model_b,
        votes.c.winner,
    )
    grouped = select(*columns, func.count()).join_from(votes, battles).group_by(*columns)
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


def _count_today(connection: Connection, name: str, day: date, limit: int) -> bool:
    today = (daily_counts.c.name == name) & (daily_counts.c.day == day)
    if connection.scalar(select(daily_counts.c.count).where(today).with_for_update()) is None:
        connection.execute(insert(daily_counts).values(name=name, day=day, count=0))
    # The limit stands in the statement itself, so that nothing can come between look and take.
    taken = update(daily_counts).where(today, daily_counts.c.count < limit)
    return connection.execute(taken.values(count=daily_counts.c.count + 1)).rowcount == 1


def _today(connection: Connection, name: str, day: date) -> int:
    today = (daily_counts.c.name == name) & (daily_counts.c.day == day)
    return connection.scalar(select(daily_counts.c.count).where(today)) or 0


def _salt(connection: Connection) -> str:
    kept = connection.scalar(select(meta.c.value).where(meta.c.key == "voter_salt"))
    if kept is not None:
        return str(kept)
    drawn = secrets.token_hex(32)
    connection.execute(insert(meta).values(key="voter_salt", value=drawn))
    return drawn


def _counts(connection: Connection) -> Counts:
    number_of_battles = connection.scalar(select(func.count()).select_from(battles)) or 0
    number_of_votes = connection.scalar(select(func.count()).select_from(votes)) or 0
    return Counts(number_of_battles, number_of_votes)


def _snapshot(connection: Connection) -> tuple[list[str], dict[str, Vote]]:
    ordered = select(battles.c.id).order_by(battles.c.created_at, battles.c.id)
    ballots = [vote_from_row(row) for row in connection.execute(select(votes)).mappings()]
    return list(connection.scalars(ordered)), {vote.battle_id: vote for vote in ballots}


def _battles_of(connection: Connection, ids: Sequence[str]) -> list[Battle]:
    """Those battles, in the order of the ids."""
    rows = connection.execute(select(battles).where(battles.c.id.in_(ids))).mappings()
    found = {row["id"]: battle_from_row(row) for row in rows}
    return [found[battle_id] for battle_id in ids]
