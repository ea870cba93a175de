"""Battles and votes on disk: every write is one transaction, acknowledged after its commit.

Methods are async and work in a thread of the store's. A method that is cancelled returns only
when its thread has ended. Their SQL stands in `queries`, `usage`, `visitors`, `settings_table` and
`restore`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection

from arena.domain import Battle, Exclusion, Grade, Reason, Vote
from arena.store import pending, queries, restore, settings_table, usage, visitors
from arena.store.changes import Changes, CopyState, RecordKey, RecordKind, key_of
from arena.store.database import POOL, Database, store_errors
from arena.store.queries import Counts
from arena.store.usage import FullError, RateWindow, Refusal

if TYPE_CHECKING:
    from arena.stats.vote_table import VoteTable
    from arena.store.erasure import Erasable

P = ParamSpec("P")
T = TypeVar("T")

_EXPORT_BATCH: Final = 50
"""Battles that are read at once; no lock is held between two batches."""


def voter_hash(salt: str, session: str) -> str:
    """A visitor as 64 hexadecimal digits, from which the session can't be found.

    Args:
        salt: the store's, or an export's own.
        session: the browser session's random id; never an address of the network.
    """
    return hmac.new(salt.encode(), session.encode(), hashlib.sha256).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


BattleRecords = tuple[Battle, Vote | None, Exclusion | None]
"""A battle with its vote and the decision in force."""

_Method = Callable[Concatenate["VoteStore", P], Coroutine[Any, Any, T]]


def _transaction(
    work: Callable[Concatenate[Connection, P], T], *, writes: bool = False
) -> _Method[P, T]:
    """A method that is one transaction, which only reads unless it `writes`."""

    @wraps(work)
    async def method(store: VoteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = store.database.write if writes else store.database.read
        return await run(work, *args, **kwargs)

    return method


def _transaction_now(
    work: Callable[Concatenate[Connection, datetime, P], T], *, writes: bool = False
) -> _Method[P, T]:
    """As `_transaction`, at the moment of the store's clock."""

    @wraps(work)
    async def method(store: VoteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = store.database.write if writes else store.database.read
        return await run(work, store.clock(), *args, **kwargs)

    return method


class VoteStore:
    """The one place that reads and writes battles and votes.

    Every method raises `StoreError` where the database does not take it. A method that is one
    function of SQL in one transaction is declared in one line; its documentation is the function's.

    Attributes:
        database: for the store's own modules and their tests.
        clock: the moment, aware.
        place: the database in words for people, without a password.
        copy_state: how the copy of the store stands, if there is one.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self.database = database
        self.clock = clock
        self.place = database.place
        self.copy_state: Callable[[], CopyState] = CopyState
        self._changes: Changes | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = _now,
        pool: int = POOL,
    ) -> VoteStore:
        """The store at that URL, its folder made and its tables brought up to date. Blocks.

        Args:
            url: of an SQLite file or a Postgres database.
            clock: the moment, aware.
            pool: most connections, and most threads that wait for the database.

        Raises:
            StoreError: it can't be made, read or written, or a newer arena wrote it.
        """
        return cls(Database.open(url, pool), clock)

    def track_changes(self, copy_state: Callable[[], CopyState]) -> Changes:
        """Where the key of every record stands from now on after each commit that writes it.

        Args:
            copy_state: tells how the copy stands; never blocks.
        """
        self.copy_state = copy_state
        self._changes = Changes()
        return self._changes

    get_battle = _transaction(queries.get_battle)
    get_vote = _transaction(queries.get_vote)
    judged_presets = _transaction(visitors.judged_presets)
    own_tally = _transaction(visitors.own_tally)
    unfinished_battles = _transaction(visitors.unfinished_battles)
    recent_battles = _transaction(visitors.recent_battles)
    record_keys = _transaction(restore.record_keys)
    records = _transaction(restore.read_records)
    counts = _transaction(queries.counts)
    votes_version = _transaction(queries.votes_version)
    model_names = _transaction(queries.model_names)
    pending_votes = _transaction(pending.pending_votes)
    add_imported = _transaction_now(queries.add_imported, writes=True)

    today = _transaction_now(usage.today)
    spent_today = _transaction_now(usage.spent_today)
    count_today = _transaction_now(usage.count_today, writes=True)
    reserve_spend = _transaction_now(usage.reserve_spend, writes=True)
    settle_spend = _transaction(usage.settle_spend, writes=True)

    salt = _transaction(settings_table.salt, writes=True)
    probe_write = _transaction(settings_table.probe_write, writes=True)
    get_meta = _transaction(settings_table.get_meta)
    set_meta = _transaction(settings_table.set_meta, writes=True)

    async def add_battle(self, battle: Battle) -> None:
        """Stores a new battle.

        Raises:
            StoreError: also where there is one of that id.
        """
        await self._tracked(key_of(battle), queries.add_battle, battle, self.clock())

    async def update_battle(self, battle: Battle) -> None:
        """Replaces the whole record of a battle.

        Raises:
            UnknownBattle: it was never added.
            BattleLocked: it has its vote.
            BattleErased: its texts were removed.
        """
        await self._tracked(key_of(battle), queries.update_battle, battle, self.clock())

    async def cast_vote(self, vote: Vote, pending_until: datetime | None = None) -> Battle:
        """Stores the only vote of a battle; when this returns, it is on disk.

        Args:
            vote: what is stored.
            pending_until: until then the vote can be taken back, and only `pending_votes` shows
                that there is one: no other reading, count or copy does before it is made final.
                None makes it final at once.

        Returns:
            The battle, of which the names may be shown once the vote is final.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            VoteTooEarly: a side has no usable answer, or the mode has no votes.
            AlreadyVoted: it has its vote.
            BadGuess: the guess names neither contestant.
        """
        if pending_until is not None:
            return await self.database.write(queries.cast_vote, vote, pending_until)
        return await self._tracked(key_of(vote), queries.cast_vote, vote)

    async def undo_vote(self, battle_id: str, voter: str, now: datetime) -> None:
        """Takes a pending vote back: the battle may be continued and voted on again.

        Raises:
            UnknownBattle: there is no such battle.
            NotYourBattle: another visitor started it.
            NothingToUndo: it has no vote.
            UndoTooLate: the vote is final, or its time is up at `now`.
        """
        await self.database.write(pending.undo_vote, battle_id, voter, now)

    async def finalise_votes(
        self, now: datetime, known: Mapping[str, datetime] | None = None
    ) -> list[str]:
        """Makes pending votes final: those whose time is up at `now`, and the known ones.

        Any number of processes may do this at once; each vote becomes final by one of them.

        Args:
            now: the moment.
            known: votes that become final before their time, by battle: each `pending_until`
                as it was stored, so that a vote which was taken back and cast anew stays.

        Returns:
            The battles whose votes became final by this call.
        """

        def work() -> list[str]:
            writer = self.database.writer
            ids = self.database.transact(writer, pending.finalise_votes, now, known or {})
            self._changed(RecordKey(RecordKind.VOTE, battle_id) for battle_id in ids)
            return ids

        return await self.database.in_thread(work)

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
        key = RecordKey(RecordKind.VOTE, battle_id)
        return await self._tracked(key, queries.annotate_vote, battle_id, voter, changes)

    async def erasable(self, target: str) -> Erasable:
        """What there is of a battle (its id, 32 digits) or of a voter (the hash, 64 digits)."""
        from arena.store import erasure

        return await self.database.read(erasure.erasable, target)

    async def erase(self, ids: Sequence[str]) -> int:
        """Removes the texts of those battles and the comments on them for good.

        That is prompts, answers, failed attempts and the visitor's system prompt. The vote, all
        numbers and the owner's decisions stay, and it counts as before. Some battles are one
        transaction. Doing it again changes nothing.

        Returns:
            How many battles had texts.
        """
        from arena.store import erasure

        def batch(some: Sequence[str]) -> int:
            writer = self.database.writer
            keys = self.database.transact(writer, erasure.erase, self.clock(), some)
            self._changed(keys)
            return sum(key.kind is RecordKind.BATTLE for key in keys)

        batches = (
            ids[start : start + erasure.BATCH] for start in range(0, len(ids), erasure.BATCH)
        )
        return sum([await self.database.in_thread(partial(batch, some)) for some in batches])

    async def erase_before(self, moment: datetime) -> int:
        """As `erase`, of all battles that began before that moment; how many those were."""
        from arena.store import erasure

        erased = 0
        while ids := await self.database.read(erasure.begun_before, moment):
            erased += await self.erase(ids)
        return erased

    async def vacuum(self) -> bool:
        """Writes an SQLite file anew, without what is left of removed texts; False on Postgres."""
        from arena.store import erasure

        def work() -> bool:
            with store_errors(self.place):
                return erasure.vacuum(self.database.writer)

        return await self.database.in_thread(work)

    async def add_exclusion(self, exclusion: Exclusion) -> None:
        """Stores the owner's decision about a battle's vote.

        Raises:
            UnknownBattle: there is no such battle.
            StoreError: also where there is another decision of the same moment.
        """
        await self._tracked(key_of(exclusion), queries.add_exclusion, exclusion)

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

    async def own_votes(
        self, battle: Battle, vote: Vote, labels: Sequence[str] | None = None
    ) -> VoteTable:
        """The voter's other final votes on the same prompts, and last the given one.

        Args:
            battle: as it is now.
            vote: on it; it need not be stored.
            labels: the names that count as named in that battle; None takes those of the two.

        Raises:
            BadVote: a value that the statistics do not know.
        """
        from arena.store import features

        return await features.own_votes(self.database, battle, vote, labels)

    async def consume(self, windows: Sequence[RateWindow]) -> Refusal | None:
        """Counts one use in every window if all have room, and in none otherwise.

        Returns:
            None when it was counted, or the first of the windows that is full.

        Raises:
            ValueError: two windows have the same key and length.
        """
        try:
            await self.database.write(usage.consume, self.clock(), windows)
        except FullError as full:
            return full.refusal
        return None

    async def restore(
        self,
        battles: Sequence[Battle],
        votes: Sequence[Vote],
        exclusions: Sequence[Exclusion],
    ) -> Counts:
        """Puts back what a copy holds, in one transaction.

        A battle that is there stays, unless the given one has more answers and there is no vote.
        A vote or a decision that is there stays. What belongs to a battle that is neither given
        nor there is left out. Doing it again changes nothing. What is put back
        is no change to copy.

        Returns:
            How many battles and votes were not there before.
        """

        def work() -> Counts:
            with store_errors(self.place):
                found = restore.found(battles, votes, exclusions)
            return self.database.transact(
                self.database.writer, restore.restore, found, self.clock()
            )

        return await self.database.in_thread(work)

    async def iter_records(self, *, voted_only: bool = False) -> AsyncIterator[list[BattleRecords]]:
        """Battles with their votes and the decisions in force, oldest first, some at a time.

        As of the moment this starts: the list of battles, all votes and all decisions are read at
        once, the battles in batches after that. A battle with a vote can't change any more, and no
        lock is held while the caller works. One without a vote may be given as it was a little
        later.

        Args:
            voted_only: whether battles without a vote are left out.
        """
        ids, cast, excluded = await self.database.read(queries.snapshot)
        if voted_only:
            ids = [one for one in ids if one in cast]
        for start in range(0, len(ids), _EXPORT_BATCH):
            batch = ids[start : start + _EXPORT_BATCH]
            found = await self.database.read(queries.battles_of, batch)
            yield [(one, cast.get(one.id), excluded.get(one.id)) for one in found]

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.database.aclose()

    async def _tracked(
        self,
        key: RecordKey,
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Writes, then adds the key to the changes, also where the task was cancelled meanwhile."""

        def both() -> T:
            result = self.database.transact(self.database.writer, work, *args, **kwargs)
            self._changed([key])
            return result

        return await self.database.in_thread(both)

    def _changed(self, keys: Iterable[RecordKey]) -> None:
        if self._changes is not None:
            self._changes.add(keys)
