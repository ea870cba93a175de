"""Battles and votes on disk: every write is one transaction, acknowledged after its commit.

Methods are async and work in a thread of the store's. A method that is cancelled returns only
when its thread has ended. What they do in SQL stands in `ballots`, `exclusions`, `tally`,
`ledger`, `meta` and `restore`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from arena.domain import Battle, Exclusion, Grade, Reason, Vote
from arena.store import exclusions, restore
from arena.store import queries as ballots
from arena.store import settings_table as meta
from arena.store import usage as ledger
from arena.store.database import Database
from arena.store.journal import Journal, NoJournal
from arena.store.queries import Counts
from arena.store.sql_engine import POOL, store_errors
from arena.store.tally import Contestant, PairTally, tally
from arena.store.usage import FullError, RateWindow, Refusal, Reservation

if TYPE_CHECKING:
    from arena.stats.vote_table import VoteTable

__all__ = [
    "Contestant",
    "Counts",
    "PairTally",
    "RateWindow",
    "Refusal",
    "Reservation",
    "VoteStore",
    "voter_hash",
]

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_EXPORT_BATCH = 50


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

    Attributes:
        journal: hears of every battle, vote and exclusion after its commit.
        place: the database in words for people, without a password.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], journal: Journal) -> None:
        self.database = database
        self.journal = journal
        self.place = database.place
        self._clock = clock

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = _now,
        journal: Journal | None = None,
        pool: int = POOL,
    ) -> VoteStore:
        """The store at that URL, its folder made and its tables brought up to date. Blocks.

        Args:
            url: of an SQLite file or a Postgres database.
            clock: the moment, aware.
            journal: hears of changes; it must not raise, and what it raises is only logged.
            pool: most connections, and most threads that wait for the database.

        Raises:
            StoreError: it can't be made, read or written, or a newer arena wrote it.
        """
        return cls(Database.open(url, pool), clock, NoJournal() if journal is None else journal)

    async def add_battle(self, battle: Battle) -> None:
        """Stores a new battle.

        Raises:
            StoreError: also where there is one of that id.
        """
        await self._noted(
            lambda _: self.journal.battle(battle), ballots.add_battle, battle, self._clock()
        )

    async def update_battle(self, battle: Battle) -> None:
        """Replaces the whole record of a battle.

        Raises:
            UnknownBattle: it was never added.
            BattleLocked: it has its vote.
        """
        await self._noted(
            lambda _: self.journal.battle(battle), ballots.update_battle, battle, self._clock()
        )

    async def get_battle(self, battle_id: str) -> Battle | None:
        """That battle, or None."""
        return await self.database.read(ballots.get_battle, battle_id)

    async def cast_vote(self, vote: Vote) -> Battle:
        """Stores the only vote of a battle; when this returns, it is on disk.

        Returns:
            The battle, whose names may be shown now.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            VoteTooEarly: a side has no usable answer, or the mode has no votes.
            AlreadyVoted: it has its vote.
            BadGuess: the guess names neither contestant.
        """
        return await self._noted(lambda _: self.journal.vote(vote), ballots.cast_vote, vote)

    async def annotate_vote(
        self,
        battle_id: str,
        voter: str,
        *,
        reasons: tuple[Reason, ...] | None = None,
        comment: str | None = None,
        guess: str | None = None,
        grade_a: Grade | None = None,
        grade_b: Grade | None = None,
    ) -> Vote:
        """Adds to a vote that was cast; None leaves what is there.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            VoteTooEarly: it has no vote yet.
            BadGuess: the guess names neither contestant.
        """
        given = {
            "reasons": reasons,
            "comment": comment,
            "guess": guess,
            "grade_a": grade_a,
            "grade_b": grade_b,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return await self._noted(
            self.journal.vote, ballots.annotate_vote, battle_id, voter, changes
        )

    async def get_vote(self, battle_id: str) -> Vote | None:
        """The vote on that battle, or None."""
        return await self.database.read(ballots.get_vote, battle_id)

    async def add_exclusion(self, exclusion: Exclusion) -> None:
        """Stores the owner's decision about a battle's vote.

        Raises:
            UnknownBattle: there is no such battle.
            StoreError: also where there is another decision of the same moment.
        """
        await self._noted(
            lambda _: self.journal.exclusion(exclusion), exclusions.add_exclusion, exclusion
        )

    async def exclusions(self) -> Mapping[str, Exclusion]:
        """The decisions in force by battle: the latest one of each, unless it was lifted."""
        return await self.database.read(exclusions.all_in_force)

    async def decisions(self) -> tuple[Exclusion, ...]:
        """Every decision, oldest first: those in force, those that lifted one, those lifted."""
        return await self.database.read(exclusions.decisions)

    async def get_exclusion(self, battle_id: str) -> Exclusion | None:
        """The decision in force for that battle, or None."""
        return await self.database.read(exclusions.get_exclusion, battle_id)

    async def tally(self, *, signed_in_only: bool = False) -> tuple[PairTally, ...]:
        """The votes per pair of contestants, in the contestants' order.

        Excluded battles are left out. A contestant against itself says nothing about its rank and
        is left out too.

        Args:
            signed_in_only: leaves out the votes of people who had not signed in.
        """
        return await self.database.read(tally, signed_in_only=signed_in_only)

    async def vote_table(self) -> VoteTable:
        """All votes as of one moment, oldest first, as columns for the statistics.

        Every vote is there, those of excluded battles too; `arena.stats.filters` decides which
        count. The first call after many new votes takes longer than the next: about half a
        millisecond a vote, in a thread, during which the store can be used.

        Raises:
            BadVote: a value that the statistics do not know.
        """
        from arena.store import features

        return await features.vote_table(self.database)

    async def take(self, windows: Sequence[RateWindow]) -> Refusal | None:
        """Counts one use in every window if all have room, and in none otherwise.

        Returns:
            None when it was counted, or the first of the windows that is full.

        Raises:
            ValueError: two windows have the same key and length.
        """
        try:
            await self.database.write(ledger.take, windows, self._clock())
        except FullError as full:
            return full.refusal
        return None

    async def count_today(self, name: str, limit: int) -> bool:
        """Takes one unit of what may be done today (UTC); False when none is left."""
        return await self.database.write(ledger.count_today, name, self._today(), limit)

    async def today(self, name: str) -> int:
        """How many units of today (UTC) are taken."""
        return await self.database.read(ledger.today, name, self._today())

    async def reserve_spend(
        self, name: str, micro_usd: int, limit_micro_usd: int | None
    ) -> Reservation | None:
        """Counts an amount as spent today (UTC) if what was spent before is below the limit.

        So all processes together pass the limit by one request at most. Who gets a reservation
        settles it; a crash before that leaves it, so that the sum is never too small.

        Args:
            name: whose budget, e.g. a provider's.
            micro_usd: the most that the request can cost, in millionths of a dollar.
            limit_micro_usd: the day's budget; None counts without a limit.

        Returns:
            What to settle, or None when the budget is spent.
        """
        return await self.database.write(
            ledger.reserve_spend, name, self._today(), micro_usd, limit_micro_usd
        )

    async def settle_spend(self, reservation: Reservation, actual_micro_usd: int) -> None:
        """Puts what was really spent in the place of a reservation, on the reservation's day.

        Call it once for each reservation.
        """
        await self.database.write(ledger.settle_spend, reservation, actual_micro_usd)

    async def spent_today(self, name: str) -> int:
        """What is spent or reserved today (UTC), in millionths of a dollar."""
        return await self.database.read(ledger.spent, name, self._today())

    async def salt(self) -> str:
        """The salt of the voters' hashes, drawn once in the life of the database."""
        return await self.database.write(meta.salt)

    async def get_meta(self, key: str) -> str | None:
        """What is kept about the database under that key, or None."""
        return await self.database.read(meta.get_meta, key)

    async def set_meta(self, key: str, value: str) -> None:
        """Keeps a text about the database under that key of at most 160 characters."""
        await self.database.write(meta.set_meta, key, value)

    async def counts(self) -> Counts:
        """How many battles and votes there are."""
        return await self.database.read(ballots.counts)

    async def restore(
        self,
        battles: Sequence[Battle],
        votes: Sequence[Vote],
        exclusions: Sequence[Exclusion],
        *,
        mark: str,
    ) -> Counts:
        """Puts back what a copy holds, in one transaction, which also sets the mark in `meta`.

        A battle that is there stays, unless the given one has more finished answers and there is
        no vote. A vote or a decision that is there stays. What belongs to a battle that is
        neither given nor there is left out. Doing it again changes nothing but the mark's time.
        The journal does not hear of it.

        Returns:
            How many battles and votes were not there before.
        """

        def work() -> Counts:
            with store_errors(self.place):
                found = restore.found(battles, votes, exclusions)
            return self.database.transact(
                self.database.writer, restore.restore, found, mark, self._clock()
            )

        return await self.database.settled(work)

    async def iter_battles(self) -> AsyncIterator[tuple[Battle, Vote | None]]:
        """Every battle with its vote, oldest first, as of the moment this starts.

        The list of battles and all votes are read at once, the battles in batches after that: a
        battle with a vote can't change any more, and no lock is held while the caller works. A
        battle without a vote may be given as it was a little later.
        """
        ids, cast = await self.database.read(ballots.snapshot)
        for start in range(0, len(ids), _EXPORT_BATCH):
            batch = ids[start : start + _EXPORT_BATCH]
            for battle in await self.database.read(ballots.battles_of, batch):
                yield battle, cast.get(battle.id)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.database.aclose()

    def _today(self) -> date:
        return self._clock().astimezone(UTC).date()

    async def _noted(
        self,
        note: Callable[[T], None],
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Writes, then tells the journal in the same thread."""

        def both() -> T:
            result = self.database.transact(self.database.writer, work, *args, **kwargs)
            self._tell(lambda: note(result))
            return result

        return await self.database.settled(both)

    def _tell(self, note: Callable[[], None]) -> None:
        """A journal that fails must not undo what the visitor was promised."""
        try:
            with self.journal.lock:
                note()
        except Exception:  # noqa: BLE001 - whatever it is, the vote is on disk
            _log.exception("the journal did not take a change; the store has it")
