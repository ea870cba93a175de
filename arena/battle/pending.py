"""Votes that can still be taken back; each becomes final at its deadline, or before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from datetime import datetime, timedelta

from arena.battle.session import BattleSession, PendingVote
from arena.domain import Battle, Vote
from arena.errors.base import ArenaError
from arena.errors.battle import BattleError, VoteTooEarly
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


class PendingVotes:
    """The pending votes of this process, with a task for each that ends it at its deadline.

    Nothing runs while no vote is pending. Votes of other processes of the same store are made
    final only when their time is up, by whoever looks first.

    Args:
        store: where the votes are.
        seconds: how long a vote can be taken back; 0 makes every vote final at once.
        now: the wall clock, UTC.
        sleep: waits so many seconds.

    Attributes:
        votes: those that are watched.
    """

    def __init__(
        self, store: VoteStore, seconds: float, now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._store = store
        self._seconds = seconds
        self._now = now
        self._sleep = sleep
        self.votes: set[PendingVote] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up what processes before this one left: final now, or when its time is up."""
        left = await self._sweep()
        if left is None or left:
            self._run(self._end_leftovers(left))

    async def cast(self, vote: Vote, session: BattleSession | None = None) -> Battle:
        """Store a vote, which can be taken back where there is time for it.

        Args:
            vote: what is stored.
            session: of the battle, if it is open in this process; it is locked by the vote.

        Raises:
            VoteTooEarly: an answer is still being written.
            ArenaError: as `VoteStore.cast_vote` says.
        """
        async with session.lock if session is not None else nullcontext():
            if session is not None and session.running:
                raise VoteTooEarly
            if not self._seconds:
                battle, pending = await self._store.cast_vote(vote), None
            else:
                battle, pending = await self._cast_pending(vote)
            if session is not None:
                session.vote, session.pending = vote, pending
        return battle

    async def _cast_pending(self, vote: Vote) -> tuple[Battle, PendingVote]:
        """Store a vote whose end is watched.

        It is watched before it is stored, so that none is left behind if the caller is cancelled,
        or the database lost before it could say what it did.
        """
        until = vote.cast_at + timedelta(seconds=self._seconds)
        pending = PendingVote(vote.battle_id, until, self._now)
        self.votes.add(pending)
        pending.task = self._run(self._end_at_deadline(pending))
        try:
            return await self._store.cast_vote(vote, until), pending
        except BattleError:
            self._forget(pending)
            raise
        finally:
            pending.stored.set()

    async def undo(self, battle_id: str, voter: str, session: BattleSession | None) -> None:
        """Take a vote back, and unlock its session; errors as `VoteStore.undo_vote`."""
        async with session.lock if session is not None else nullcontext():
            await self._store.undo_vote(battle_id, voter, self._now())
            if session is not None and session.pending is not None:
                self._forget(session.pending)
                session.vote, session.pending = None, None

    async def close(self, session: BattleSession) -> None:
        """The page of that battle is gone: its vote is final, also one that is being stored."""
        async with session.lock:
            if session.pending is not None:
                await self._finalise(session.pending)

    def _forget(self, vote: PendingVote) -> None:
        """It is final, was taken back, or is not stored."""
        self.votes.discard(vote)
        vote.ended.set()
        if vote.task is not None and vote.task is not asyncio.current_task():
            vote.task.cancel()

    async def _finalise(self, vote: PendingVote) -> None:
        """Make it final now. Where the store does not take it, that is tried until it does."""
        await vote.stored.wait()
        if vote.ended.is_set():
            return
        known = {vote.battle_id: vote.until}
        try:
            done = await self._store.finalise_votes(self._now(), known)
            # Not by this call: by another process, or it was taken back or never stored.
            final = vote.battle_id in done or await self._store.get_vote(vote.battle_id) is not None
        except ArenaError as error:
            log.exception("the vote on %s is not final yet: %s", vote.battle_id, error.detail)
            return
        vote.final = final
        self._forget(vote)

    async def aclose(self) -> None:
        """Make all votes of this process final, and end the tasks."""
        await asyncio.gather(*(self._finalise(vote) for vote in list(self.votes)))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_at_deadline(self, vote: PendingVote) -> None:
        await self._sleep(self._seconds)
        while not vote.ended.is_set():
            await self._finalise(vote)
            if not vote.ended.is_set():
                await self._sleep(RETRY_SECONDS)

    async def _end_leftovers(self, left: dict[str, datetime] | None) -> None:
        """Until those votes are no longer pending; None stands for votes that were not read."""
        while left is None or left:
            wait = RETRY_SECONDS
            if left is not None:
                wait = max(0.0, (min(left.values()) - self._now()).total_seconds())
            await self._sleep(wait)
            waiting = await self._sweep()
            if left is None or waiting is None:
                left = waiting
            else:
                left = dict(left.items() & waiting.items())

    async def _sweep(self) -> dict[str, datetime] | None:
        """Make final whatever is past its time; what is still pending, None if that failed."""
        try:
            await self._store.finalise_votes(self._now())
            return await self._store.pending_votes()
        except ArenaError as error:
            log.exception("votes past their time are not final yet: %s", error.detail)
            return None
