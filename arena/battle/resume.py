"""A battle outlives its page: which page shows it, how long it waits for one, who takes it up."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from arena.battle.pending import PendingVotes
from arena.battle.session import BattleSession
from arena.domain import Battle, Vote
from arena.store.store import VoteStore

RECENT: Final = timedelta(hours=24)
"""How long after its beginning a battle is shown again from the store."""
_REMEMBERED_PAGES: Final = 10_000


def handle_of(battle_id: str) -> str:
    """What a page knows its battle by before the vote: the id can't be found from it."""
    return hashlib.sha256(f"page:{battle_id}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A battle that a page shows again.

    Attributes:
        vote: with all that was added to it, if it is cast.
    """

    session: BattleSession
    vote: Vote | None


class Pages:
    """Which open battle is shown by which page of this process.

    A battle whose page is gone runs on until the grace time is over. Then it is stopped, and its
    visitor can have it from the store.

    Args:
        sessions: the table of open battles, shared with the arena.
        store: has the battles that are not open.
        pending: the votes that can be taken back.
        revive: an open battle from its record.
        stop: stops what a battle still writes.
        grace_seconds: how long a battle waits for a page.
        now: the wall clock, UTC.
        sleep: waits so many seconds.
    """

    def __init__(
        self, sessions: dict[str, BattleSession], store: VoteStore, pending: PendingVotes, *,
        revive: Callable[[Battle], BattleSession],
        stop: Callable[[BattleSession], Awaitable[None]],
        grace_seconds: float, now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._sessions = sessions
        self._store = store
        self._pending = pending
        self._revive = revive
        self._stop = stop
        self._grace = grace_seconds
        self._now = now
        self._sleep = sleep
        self._timers: dict[BattleSession, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._gone: dict[str, None] = {}

    def is_gone(self, session_hash: str) -> bool:
        """Whether that page was open and has closed."""
        return session_hash in self._gone

    async def leave(self, session_hash: str) -> None:
        """The page is gone, or cut off: its votes are final, and what runs has the grace time."""
        self._gone[session_hash] = None
        if len(self._gone) > _REMEMBERED_PAGES:
            del self._gone[next(iter(self._gone))]
        if not self._grace:
            await self.close(session_hash)
        for session in self._shown_by(session_hash):
            session.session_hash = None
            self._timers[session] = asyncio.create_task(self._after_grace(session))
            await self._pending.close(session)

    async def close(self, session_hash: str, *, keep: str | None = None) -> None:
        """Stop and forget a page's battles at once: it started another one, or wants none.

        A vote that could still be taken back becomes final.
        """
        await self.close_where(lambda s: s.session_hash == session_hash and s.battle.id != keep)

    async def close_where(self, which: Callable[[BattleSession], bool]) -> None:
        """The same of battles of any page, or of none."""
        for session in [s for s in self._sessions.values() if which(s)]:
            await self._end(session, session.session_hash)
            await self._pending.close(session)

    def _shown_by(self, session_hash: str) -> list[BattleSession]:
        return [s for s in self._sessions.values() if s.session_hash == session_hash]

    async def _after_grace(self, session: BattleSession) -> None:
        await self._sleep(self._grace)
        # A task of its own: a page that takes the battle up now gets it stopped, not half stopped.
        ending = asyncio.create_task(self._end(session, None))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, session: BattleSession, page: str | None) -> None:
        """Stop and forget it, unless another page than that one shows it by now."""
        if session.session_hash == page:
            self._wait_no_more(session)
            await self._stop(session)
        if session.session_hash == page:
            self._sessions.pop(session.battle.id, None)
            session.release_slot()

    async def take_up(
        self, voter: str, session_hash: str, shown: str | None = None, *, shown_only: bool = False
    ) -> TakenUp | None:
        """The battle that a page of this visitor shows when it opens, if there is one.

        What this page showed before comes first. Then a battle without a vote that no page shows
        any more; what another open page shows stays there. A page that showed none of the stored
        battles, or is new, gets the newest one from the store, see `_newest`.

        Args:
            voter: the visitor; a battle of another one is never found.
            session_hash: of the page.
            shown: the handle of what it showed before; empty if it was empty, None if it is new.
            shown_only: it has something else to show.

        Raises:
            StoreError: the store can't be read.
        """
        found = self._open(voter, shown, shown_only=shown_only)
        if found is None:
            battle = await self._stored(voter, shown, shown_only=shown_only)
            if battle is None:
                return None
            found = await self._reopened(battle)
        self._wait_no_more(found)
        found.session_hash = session_hash
        await self._pending.close(found)  # the page that could take it back is gone
        vote = await self._store.get_vote(found.battle.id) if found.locked else None
        return TakenUp(found, vote or found.vote)

    async def unfinished(self, voter: str) -> list[str]:
        """The visitor's recent battles that wait for their vote, newest first.

        What an open page shows stays there.

        Raises:
            StoreError: the store can't be read.
        """
        found = await self._store.unfinished_battles(voter, self._now() - RECENT)
        shown = {s.battle.id for s in self._sessions.values() if s.session_hash is not None}
        return [battle_id for battle_id in found if battle_id not in shown]

    async def take_up_unfinished(self, voter: str, session_hash: str) -> TakenUp | None:
        """The newest of them, for that page; what it showed before is closed.

        Raises:
            StoreError: the store can't be read.
        """
        waiting = await self.unfinished(voter)
        if not waiting:
            return None
        taken = await self.take_up(voter, session_hash, handle_of(waiting[0]), shown_only=True)
        if taken is not None:
            await self.close(session_hash, keep=taken.session.battle.id)
        return taken

    def _wait_no_more(self, session: BattleSession) -> None:
        if timer := self._timers.pop(session, None):
            timer.cancel()

    def _open(self, voter: str, shown: str | None, *, shown_only: bool) -> BattleSession | None:
        own = [s for s in self._sessions.values() if s.battle.voter == voter]
        before = [s for s in own if handle_of(s.battle.id) == shown]
        left = [s for s in own if s.session_hash is None and not s.locked and not shown_only]
        return next(iter([*before, *reversed(left)]), None)

    async def _stored(self, voter: str, shown: str | None, *, shown_only: bool) -> Battle | None:
        recent = await self._store.recent_battles(voter, self._now() - RECENT)
        for battle_id in recent:
            if handle_of(battle_id) == shown:
                return await self._store.get_battle(battle_id)
        return await self._newest(recent) if shown is None and not shown_only else None

    async def _newest(self, recent: dict[str, bool]) -> Battle | None:
        """The newest battle with an answer; None if it has its vote, or is open in another page.

        Nothing older is dug out: its visitor has gone on to the next one.
        """
        for battle_id, voted in recent.items():
            if voted or battle_id in self._sessions:
                return None
            battle = await self._store.get_battle(battle_id)
            if battle is not None and _has_answer(battle):
                return battle
        return None

    async def _reopened(self, battle: Battle) -> BattleSession:
        """The open battle of that record; the first one of two pages that want it at once."""
        until = (await self._store.pending_votes()).get(battle.id)
        if until is not None:
            await self._store.finalise_votes(self._now(), {battle.id: until})
        vote = await self._store.get_vote(battle.id)
        session = self._sessions.setdefault(battle.id, self._revive(battle))
        session.vote = session.vote or vote
        return session

    async def aclose(self) -> None:
        """No battle waits for its page any more."""
        timers = list(self._timers.values())
        self._timers.clear()
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, *self._ending, return_exceptions=True)


def _has_answer(battle: Battle) -> bool:
    exchanges = (one for side in battle.sides for one in battle.conversation(side))
    return any(one.answer is not None for one in exchanges)
