"""Runs battles: draws sides, streams both answers side by side, stores them, takes the vote.

The store has the record: a vote is checked against it alone. Memory has what is being written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime

from arena.battle.admission import Admission, Slot
from arena.battle.cadence import TICK_SECONDS
from arena.battle.limits import Visitor, check_own, check_prompt, check_turns
from arena.battle.pending import PendingVotes
from arena.battle.public import PublicStatuses
from arena.battle.request import (
    BattleRequest,
    answered,
    build_battle,
    check_battle,
    check_texts,
    checked_answer,
    contestants_of,
    cost_usd,
    draw_contestants,
    messages_for,
)
from arena.battle.resume import Pages
from arena.battle.session import BattleSession, SideStream, Snapshot
from arena.blind import Phase, Trouble, hides_sides, trouble_of
from arena.concurrency import run_to_end, wait_to_end
from arena.domain import Answer, Battle, Exchange, Finished, FinishReason, Mode, Side, Vote, Winner
from arena.errors.base import ArenaError
from arena.errors.battle import (
    BattleLocked,
    BattleRunning,
    NoContestants,
    NothingToRetry,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.models import StreamBroken
from arena.errors.store import StoreError
from arena.models.base import Loading, gated
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

SNAPSHOT_SECONDS = 0.1
WAIT_POLL_SECONDS = 0.25


class Arena:
    """Runs battles. One object for the whole process.

    Args:
        registry: the contestants.
        store: where battles and votes are kept.
        limits: the owner's caps.
        rng: draws pairs, sides and seeds; seeded in tests.
        even_cadence: in blind mode show both texts at the same even pace.
        salt: of the visitors' hashes; None takes the one that the store keeps.
        now: the wall clock, UTC.
        undo_seconds: how long a vote can be taken back; 0 makes it final at once.
        grace_seconds: how long a battle runs on without a page; 0 stops it at once.
    """

    def __init__(
        self, registry: Registry, store: VoteStore, limits: Limits, *,
        rng: random.Random | None = None, even_cadence: bool = False, salt: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC), undo_seconds: float = 0,
        grace_seconds: float = 0,
    ) -> None:  # fmt: skip
        self.registry = registry
        self.store = store
        self.limits = limits
        self.admission = Admission(limits, store, now, salt)
        self.pending = PendingVotes(store, undo_seconds, now)
        self._rng = rng or random.SystemRandom()
        self._even = even_cadence
        self._now = now
        self._sessions: dict[str, BattleSession] = {}
        self._saves: set[asyncio.Task[None]] = set()
        self._public = PublicStatuses(registry, self._sessions.values)
        self.pages = Pages(
            self._sessions, store, self.pending, revive=self._revive, stop=self.stop,
            grace_seconds=grace_seconds, now=now,
        )  # fmt: skip

    @property
    def public_registry(self) -> Registry:
        """The contestants as everybody may see them; only to be looked at."""
        return self._public.registry()

    # --- before a battle -----------------------------------------------------------------------

    async def wait_for_contestants(
        self, request: BattleRequest
    ) -> AsyncGenerator[tuple[Entry, ...], None]:
        """Yields while the requested battle must wait for models that load.

        Each item is the entries that are loading. Ends when `begin` can draw, or when nothing that
        could help is loading any more.
        """
        while not self._can_begin(request) and self.registry.settling:
            candidates = (e for e in self.registry.entries if not e.is_variant)
            yield tuple(e for e in candidates if isinstance(e.model.status(), Loading))
            await asyncio.sleep(WAIT_POLL_SECONDS)

    def _can_begin(self, request: BattleRequest) -> bool:
        if request.mode is Mode.BLIND:
            return self.registry.enough(use_gemini=request.use_gemini)
        entries = [self.registry.find(slug) for slug in request.slugs.values()]
        return all(entry is not None and entry.ready for entry in entries)

    async def begin(self, request: BattleRequest, slot: Slot | None = None) -> BattleSession:
        """Check the request, draw the sides, and write the battle to the store.

        Args:
            request: the visitor's prompt and settings.
            slot: of the admission's queue; it is released when no answer is being written any
                more, or here if no battle begins. None takes a free one.

        Raises:
            LimitError: the text, the number of running battles or the visitor passes a cap.
            NoContestants: not enough models are ready.
            StoreError: it could not be written; then nothing is sent to any model.
            UnknownBattle: the page is gone, or wants another one; nothing is sent either.
        """
        with self.admission.use_slot(slot) as used:
            request = check_texts(request, self.limits)
            if self.pages.is_gone(request.session_hash):
                raise UnknownBattle
            await self.registry.refresh()
            check_own(self._running_of(request.visitor.voter), self.limits)
            entries = draw_contestants(request, self.registry, self._rng)
            pool = self.public_registry.pool()  # also notes the states before the battle
            seed = self._rng.randrange(2**31)
            battle = build_battle(request, entries, seed=seed, now=self._now(), limits=self.limits)
            check_battle(battle, self.limits)
            even = self._even and hides_sides(battle, voted=False)
            session = BattleSession(battle, entries, request.session_hash, pool, even=even)
            # In the table before the next await, so that a closing page and the caps see it.
            self._sessions[battle.id] = session
            try:
                await self.admission.count(request.visitor)
                await self.store.add_battle(battle)
            except BaseException:  # cancelled ones too: a battle that did not begin takes no slot
                self._sessions.pop(battle.id, None)
                raise
            if battle.id not in self._sessions:  # it was closed meanwhile
                raise UnknownBattle
            session.slot = used
        self._start_streams(session)
        return session

    def _running_of(self, voter: str) -> int:
        return sum(s.running and s.battle.voter == voter for s in self._sessions.values())

    # --- while it runs -------------------------------------------------------------------------

    async def follow_up(
        self, session: BattleSession, text: str, visitor: Visitor, slot: Slot | None = None
    ) -> None:
        """The next prompt of the same conversation, to both sides; the slot is as in `begin`.

        Raises:
            BattleLocked: the vote is cast.
            BattleRunning: an answer is still being written.
            VoteTooEarly: a side has no answer to the prompt before.
            NoContestants: one of them is not there any more.
            LimitError: a cap.
        """
        with self.admission.use_slot(slot) as used:
            self._check_idle(session)
            self._check_contestants(session)
            battle = session.battle
            if not all(answered(battle, side) for side in battle.sides):
                raise VoteTooEarly
            prompt = check_prompt(text, self.limits)
            check_turns(len(battle.conversation_a), self.limits)
            check_own(self._running_of(battle.voter), self.limits)
            longer = replace(battle, answered_at=None)
            for side in battle.sides:
                talk = (*battle.conversation(side), Exchange(prompt))
                longer = longer.with_conversation(side, talk)
            check_battle(longer, self.limits)
            await self.admission.count(visitor)
            async with session.lock:  # a vote that is being stored comes first
                self._check_idle(session)  # of two requests at once the other one was first
                session.begin_turn(longer, used)
        try:
            await self._save(session)
        except BaseException:  # the page is gone: no model is asked
            for stream in session.streams.values():
                stream.end()
            session.cut_short(self._now())
            session.release_slot()
            raise
        self._start_streams(session)

    @staticmethod
    def _check_idle(session: BattleSession) -> None:
        if session.locked:
            raise BattleLocked
        if session.running:
            raise BattleRunning

    def _check_contestants(self, session: BattleSession) -> None:
        """After a restart a model may still be loading, or be gone."""
        session.entries = {**contestants_of(session.battle, self.registry), **session.entries}
        if len(session.entries) < len(session.battle.sides):
            raise NoContestants

    async def retry(
        self, session: BattleSession, side: Side, visitor: Visitor, slot: Slot | None = None
    ) -> None:
        """Ask a side again that ended without an answer; an answer that is there stays.

        Where sides are hidden, every side without an answer is asked, whichever is named. Where
        the store did not take the answers, they are first written once more.

        Raises:
            BattleLocked, BattleRunning, NoContestants, LimitError: as in `follow_up`.
            NothingToRetry: there is an answer, and it is stored.
            StoreError: the store did not take it again.
        """
        if not session.saved:
            self._check_idle(session)
            if not await self._save(session):
                raise StoreError(place=self.store.place)
            if all(answered(session.battle, one) for one in session.battle.sides):
                return
        with self.admission.use_slot(slot) as used:
            self._check_retry(session, side)
            self._check_contestants(session)
            check_own(self._running_of(session.battle.voter), self.limits)
            await self.admission.count(visitor)
            async with session.lock:
                # Again: of two requests at once the other one was first.
                for one in self._check_retry(session, side):
                    session.begin_retry(one, used)
        self._start_streams(session)

    def _check_retry(self, session: BattleSession, side: Side) -> list[Side]:
        """The sides that are to be asked again."""
        self._check_idle(session)
        battle = session.battle
        named = battle.sides if hides_sides(battle, voted=session.revealed) else (side,)
        asked = [one for one in named if one in session.streams and not answered(battle, one)]
        if not asked:
            raise NothingToRetry
        return asked

    def _start_streams(self, session: BattleSession) -> None:
        if session.cadence is not None:
            session.pacing = asyncio.create_task(self._pace(session))
        for side, stream in session.streams.items():
            if stream.phase is Phase.WAITING and stream.task is None:
                stream.task = asyncio.create_task(self._stream_side(session, side, stream))

    async def _stream_side(self, session: BattleSession, side: Side, stream: SideStream) -> None:
        """One side, from its prompt to its stored answer. Never delays the other."""
        spec = session.battle.spec(side)
        finished: Finished | None = None
        try:
            model, params = session.entries[side].model, session.battle.params
            events = gated(model.stream(messages_for(session.battle, side), params))
            async with contextlib.aclosing(events):
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                        continue
                    stream.append(event)
                    session.note()
            if finished is None:
                raise StreamBroken("the stream ended without a last event")  # noqa: TRY301
        except asyncio.CancelledError:
            finished = Finished(FinishReason.CANCELLED)
        except ArenaError as error:
            finished = stream.fail(error)
        except Exception as error:  # a fault in one model must not end the battle
            log.exception("unexpected failure of %s", spec.id)
            finished = stream.fail(ArenaError(repr(error)))
        if finished.total_s == 0.0:
            finished = replace(finished, ttft_s=stream.ttft_s, total_s=stream.elapsed_s)
        answer, why = checked_answer(Answer(stream.text, finished, cost_usd(spec, finished)))
        stream.error = stream.error or why
        session.record_answer(side, answer, self._now())
        trouble = trouble_of(answer)
        if trouble not in {None, Trouble.STOPPED}:
            session.error_id = session.error_id or secrets.token_hex(4)
            shown = stream.error or ArenaError()
            log.warning(
                "battle %s side %s (%s) failed [%s]: %s: %s: %s %s",
                session.battle.id, side, spec.id, session.error_id, trouble,
                answer.finished.error_code, shown.sentence, shown.detail,
            )  # fmt: skip
        try:
            await self._save(session)
        finally:
            stream.end()
            if not session.streaming:
                session.release_slot()
            session.note()

    async def _pace(self, session: BattleSession) -> None:
        """Show both texts at an even pace; then the battle is answered."""
        try:
            whole = False
            while not whole:
                await asyncio.sleep(TICK_SECONDS)
                whole = session.advance()
            if session.battle.answered_at is not None:  # reading ends later than writing
                session.battle = replace(session.battle, answered_at=self._now())
            await self._save(session)
            session.show_all()
        except Exception:
            log.exception("battle %s is not shown to its end", session.battle.id)
            session.cut_short(self._now())
            raise

    async def _save(self, session: BattleSession) -> bool:
        """Whether the record is written now; a cancelled caller does not stop the write."""
        task = asyncio.create_task(self._write(session))
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)
        await run_to_end(task)
        return session.saved

    async def _write(self, session: BattleSession) -> None:
        async with session.lock:
            try:
                await self.store.update_battle(session.battle)
            except ArenaError as error:
                # Not swallowed: snapshots say that it is not saved, and voting stays closed.
                log.exception("battle %s is not saved: %s", session.battle.id, error.detail)
                session.saved = False
            else:
                session.saved = True

    async def snapshots(self, session: BattleSession) -> AsyncGenerator[Snapshot, None]:
        """How the battle looks, about ten times a second while something changes.

        Ends with a snapshot that is not running. A reader that leaves before stops nothing, see
        `Pages`.
        """
        while True:
            changed, snapshot = session.changed, session.snapshot()
            yield snapshot
            if not snapshot.running:
                return
            if not session.paced:
                await asyncio.sleep(SNAPSHOT_SECONDS)
            await changed.wait()

    async def stop(self, session: BattleSession) -> None:
        """Stop what still runs, at its source; what was written so far is kept as cancelled."""
        every = [session.pacing, *(stream.task for stream in session.streams.values())]
        tasks = [task for task in every if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await wait_to_end(task)
        if session.paced:
            session.cut_short(self._now())
            await self._save(session)

    # --- after it ------------------------------------------------------------------------------

    async def vote(
        self, battle_id: str, winner: Winner, visitor: Visitor, guess: str | None = None
    ) -> Battle:
        """Cast the vote; returns the battle, names and all, once the vote is on disk.

        It can be taken back by `undo` for some seconds, see `BattleSession.pending`; until it is
        final the names must not be shown, and another vote is refused.

        Args:
            battle_id: of a battle of this process or of another one.
            winner: the verdict.
            visitor: who votes.
            guess: the id of the contestant whom the voter takes for side a, if they said one.

        Raises:
            UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted, StoreError: as they say.
        """
        vote = Vote(
            battle_id, winner, visitor.voter, self._now(),
            guess=guess, signed_in=visitor.signed_in,
        )  # fmt: skip
        return await self.pending.cast(vote, self.find_session(battle_id))

    async def undo(self, battle_id: str, visitor: Visitor) -> None:
        """Take a vote back that is not final: the battle goes on as if it had not been cast.

        Raises:
            UnknownBattle, NotYourBattle, NothingToUndo, UndoTooLate, StoreError: as they say.
        """
        await self.pending.undo(battle_id, visitor.voter, self.find_session(battle_id))

    async def shared(self, battle_id: str) -> tuple[Battle, Vote] | None:
        """A battle and its vote, for anyone with its link; None without a vote, or without texts.

        The id is the secret: it is 128 random bits, and no page shows it before the vote.

        Raises:
            StoreError: the store can't be read.
        """
        vote = await self.store.get_vote(battle_id)
        battle = await self.store.get_battle(battle_id) if vote is not None else None
        return None if battle is None or vote is None or battle.erased else (battle, vote)

    def session(self, battle_id: str | None) -> BattleSession:
        """The open battle of that id.

        Raises:
            UnknownBattle: it is not open in this process.
        """
        if (found := self.find_session(battle_id)) is None:
            raise UnknownBattle
        return found

    def find_session(self, battle_id: str | None) -> BattleSession | None:
        """The open battle of that id; None if it is not open in this process."""
        return self._sessions.get(battle_id or "")

    def _revive(self, battle: Battle) -> BattleSession:
        even = self._even and hides_sides(battle, voted=False)
        pool = self.public_registry.pool()
        entries = contestants_of(battle, self.registry)
        return BattleSession.from_record(battle, entries, pool, even=even)

    async def aclose(self) -> None:
        """Stop every battle, make every vote final, and wait until all is written."""
        await self.pages.aclose()
        for session in list(self._sessions.values()):
            await self.stop(session)
        await asyncio.gather(*self._saves)
        await self.pending.aclose()
        self._sessions.clear()
