"""A battle: draws sides, runs both streams, merges them into frames, finishes answers.

The record in the store is the truth. What is here in memory is the part that is still being
written, and a vote is checked against the store alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime

from arena.battle.admission import Admission
from arena.battle.limits import (
    Limits,
    Visitor,
    check_own,
    check_prompt,
    check_system_prompt,
    check_turns,
)
from arena.battle.queue import Slot
from arena.battle.request import (
    BattleRequest,
    answered,
    build_battle,
    check_battle,
    cost_usd,
    messages_for,
)
from arena.battle.session import BattleSession, Phase, SideStream, Snapshot, even_pace
from arena.domain import (
    Answer,
    Battle,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    Mode,
    Side,
    Vote,
    Winner,
)
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
from arena.models.base import Loading
from arena.models.registry import Entry, Registry
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

FRAME_SECONDS = 0.1
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
    """

    def __init__(
        self,
        registry: Registry,
        store: VoteStore,
        limits: Limits,
        *,
        rng: random.Random | None = None,
        even_cadence: bool = False,
        salt: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = registry
        self.store = store
        self.limits = limits
        self._rng = rng or random.SystemRandom()
        self._even = even_cadence
        self._now = now
        self.door = Admission(limits, store, now, salt)
        self._live: dict[str, BattleSession] = {}
        self._saves: set[asyncio.Task[None]] = set()

    # --- before a battle -----------------------------------------------------------------------

    async def wait_for_contestants(
        self, ask: BattleRequest
    ) -> AsyncGenerator[tuple[Entry, ...], None]:
        """Yields while the battle that was asked for must wait for models that load.

        Each item is the entries that are on their way. Ends when `begin` can draw, or when
        nothing that could help is loading any more.
        """
        while not self._can_begin(ask) and self.registry.settling:
            on_the_way = (e for e in self.registry.entries if not e.is_variant)
            yield tuple(e for e in on_the_way if isinstance(e.model.status(), Loading))
            await asyncio.sleep(WAIT_POLL_SECONDS)

    def _can_begin(self, ask: BattleRequest) -> bool:
        if ask.mode is Mode.BLIND:
            return self.registry.enough(use_gemini=ask.use_gemini)
        slugs = [ask.model_a] if ask.mode is Mode.SINGLE else [ask.model_a, ask.model_b]
        entries = [self.registry.find(slug) for slug in slugs]
        return all(entry is not None and entry.ready for entry in entries)

    async def begin(self, ask: BattleRequest, ticket: Slot | None = None) -> BattleSession:
        """Check the request, draw the sides, and write the battle to the store.

        Args:
            ask: the request.
            ticket: a place of the door's room; it is given back when the battle rests, or here if
                none begins. None takes a place if one is free.

        Raises:
            LimitError: the text, the number of running battles or the visitor passes a cap.
            NoContestants: not enough models are ready.
            StoreError: it could not be written; then nothing is sent to any model.
            UnknownBattle: the tab closed while it was written; nothing is sent either.
        """
        with self.door.place(ticket) as place:
            ask = replace(
                ask,
                text=check_prompt(ask.text, self.limits),
                system_prompt=check_system_prompt(ask.system_prompt, self.limits),
            )
            await self.registry.refresh()
            check_own(self._running_of(ask.visitor.voter), self.limits)
            entries = self._draw(ask)
            battle = build_battle(
                ask, entries, seed=self._rng.randrange(2**31), now=self._now(), limits=self.limits
            )
            check_battle(battle, self.limits)
            live = BattleSession(battle, entries, ask.session)
            # In the table before the next await, so that a closing tab and the caps see it.
            self._live[battle.id] = live
            try:
                await self.door.count(ask.visitor)
                await self.store.add_battle(battle)
            except BaseException:  # cancelled ones too: a battle that did not begin takes no room
                self._live.pop(battle.id, None)
                raise
            if battle.id not in self._live:  # the tab closed meanwhile: nobody waits for answers
                raise UnknownBattle
            live.ticket = place
        self._start_pumps(live)
        return live

    def _running_of(self, voter: str) -> int:
        return sum(v.running and v.battle.voter == voter for v in self._live.values())

    def _draw(self, ask: BattleRequest) -> dict[Side, Entry]:
        if ask.mode is Mode.BLIND:
            first, second = self.registry.draw(self._rng, use_gemini=ask.use_gemini)
            return {Side.A: first, Side.B: second}
        slugs = {Side.A: ask.model_a}
        if ask.mode is Mode.OPEN:
            slugs[Side.B] = ask.model_b
        allowed = {e.slug: e for e in self.registry.contestants(use_gemini=ask.use_gemini)}
        chosen = {side: allowed.get(slug or "") for side, slug in slugs.items()}
        found = {side: entry for side, entry in chosen.items() if entry is not None}
        if len(found) < len(slugs):
            raise NoContestants
        return found

    # --- while it runs -------------------------------------------------------------------------

    async def follow_up(
        self, live: BattleSession, text: str, visitor: Visitor, ticket: Slot | None = None
    ) -> None:
        """The next prompt of the same conversation, to both sides; the ticket is as in `begin`.

        Raises:
            BattleLocked: the vote is cast.
            BattleRunning: an answer is still being written.
            VoteTooEarly: a side has no answer to the prompt before.
            LimitError: a cap.
        """
        with self.door.place(ticket) as place:
            self._check_resting(live)
            if not all(answered(live.battle, side) for side in live.battle.sides):
                raise VoteTooEarly
            clean = check_prompt(text, self.limits)
            check_turns(len(live.battle.conversation_a), self.limits)
            check_own(self._running_of(live.battle.voter), self.limits)
            longer = replace(live.battle, answered_at=None)
            for side in longer.sides:
                talk = (*longer.conversation(side), Exchange(clean))
                longer = longer.with_conversation(side, talk)
            check_battle(longer, self.limits)
            await self.door.count(visitor)
            self._check_resting(live)  # two at once: the other one was first
            live.battle = longer
            live.sides = {side: SideStream() for side in longer.sides}
            live.ticket = place
        try:
            await self._save(live)
        except BaseException:  # nobody reads any more: nothing is asked
            for state in live.sides.values():
                state.end()
            live.rest()
            raise
        self._start_pumps(live)

    @staticmethod
    def _check_resting(live: BattleSession) -> None:
        if live.locked:
            raise BattleLocked
        if live.running:
            raise BattleRunning

    async def retry(
        self, live: BattleSession, side: Side, visitor: Visitor, ticket: Slot | None = None
    ) -> None:
        """Ask a side again that ended without an answer; the other side's answer stays.

        Raises:
            BattleLocked, BattleRunning, LimitError: as in `follow_up`.
            NothingToRetry: that side has an answer.
        """
        with self.door.place(ticket) as place:
            self._check_retry(live, side)
            check_own(self._running_of(live.battle.voter), self.limits)
            await self.door.count(visitor)
            self._check_retry(live, side)  # two at once: the other one was first
            *before, last = live.battle.conversation(side)
            failed = last.failed if last.answer is None else (*last.failed, last.answer)
            talk = (*before, Exchange(last.prompt, None, failed))
            flags = live.battle.flags | {Flag.RETRIED}
            again = live.battle.with_conversation(side, talk)
            live.battle = replace(again, flags=flags, answered_at=None)
            live.sides[side] = SideStream()
            live.ticket = place
        self._start_pumps(live)

    def _check_retry(self, live: BattleSession, side: Side) -> None:
        self._check_resting(live)
        if side not in live.sides or answered(live.battle, side):
            raise NothingToRetry

    def _start_pumps(self, live: BattleSession) -> None:
        live.turn_started = time.monotonic()
        for side, state in live.sides.items():
            if state.phase is Phase.WAITING and state.task is None:
                state.task = asyncio.create_task(self._pump(live, side, state))

    async def _pump(self, live: BattleSession, side: Side, state: SideStream) -> None:
        """One side, from its prompt to its stored answer. Never delays the other."""
        spec = live.battle.spec(side)
        finished: Finished | None = None
        try:
            stream = live.entries[side].model.stream(
                messages_for(live.battle, side), live.battle.params
            )
            async with contextlib.aclosing(stream):
                async for event in stream:
                    if isinstance(event, Finished):
                        finished = event
                        continue
                    state.append(event)
                    live.changed.set()
            if finished is None:
                raise StreamBroken("the stream ended without a last event")  # noqa: TRY301
        except asyncio.CancelledError:
            finished = Finished(FinishReason.CANCELLED)
        except ArenaError as error:
            finished = state.fail(error)
        except Exception as error:  # a fault in one model must not end the battle
            log.exception("unexpected failure of %s", spec.id)
            finished = state.fail(ArenaError(repr(error)))
        if finished.total_s == 0.0:
            finished = replace(finished, ttft_s=state.ttft_s, total_s=state.elapsed_s)
        state.answer = Answer("".join(state.parts), finished, cost_usd(spec, finished))
        self._close_side(live, side, state)
        try:
            await self._save(live)
        finally:
            state.end()
            live.rest()
            live.changed.set()

    def _close_side(self, live: BattleSession, side: Side, state: SideStream) -> None:
        """Put the answer into the record. The battle is replaced whole, between two awaits."""
        *before, last = live.battle.conversation(side)
        talk = (*before, replace(last, answer=state.answer))
        battle = live.battle.with_conversation(side, talk)
        if state.answer and state.answer.finished.reason is FinishReason.LENGTH:
            battle = replace(battle, flags=battle.flags | {Flag.TRUNCATED})
        others = (s for s in battle.sides if s is not side)
        complete = all(battle.conversation(s)[-1].answer is not None for s in others)
        live.battle = replace(battle, answered_at=self._now() if complete else None)
        if state.error is not None:
            state.error_id = secrets.token_hex(4)
            log.warning(
                "battle %s side %s (%s) failed [%s]: %s: %s %s",
                battle.id, side, battle.spec(side).id, state.error_id,
                state.error.code, state.error.sentence, state.error.detail,
            )  # fmt: skip

    async def _save(self, live: BattleSession) -> None:
        """Write the record; a cancelled caller does not stop the write."""
        task = asyncio.create_task(self._write(live))
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)
        await _finish_even_if_cancelled(task)

    async def _write(self, live: BattleSession) -> None:
        async with live.lock:
            try:
                await self.store.update_battle(live.battle)
            except ArenaError as error:
                # Not swallowed: the frame says that it is not saved, and voting stays closed.
                log.exception("battle %s is not saved: %s", live.battle.id, error.detail)
                live.saved = False
            else:
                live.saved = True

    async def frames(self, live: BattleSession) -> AsyncGenerator[Snapshot, None]:
        """How the battle looks, about ten times a second while something changes.

        Ends with a frame that is not running. A reader that leaves before stops both sides.
        """
        even = self._even and live.battle.mode is Mode.BLIND
        try:
            while True:
                live.changed.clear()
                frame = live.frame(even_pace(live) if even else None)
                yield frame
                if not frame.running:
                    return
                await asyncio.sleep(FRAME_SECONDS)
                if not even:
                    await live.changed.wait()
        finally:
            if live.running:
                await self.stop(live)

    async def stop(self, live: BattleSession) -> None:
        """Stop what still runs, at its source; what was written so far is kept as cancelled."""
        tasks = [s.task for s in live.sides.values() if s.task is not None and not s.task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await _finish_even_if_cancelled(task)

    # --- after it ------------------------------------------------------------------------------

    async def vote(
        self, battle_id: str, winner: Winner, visitor: Visitor, guess: str | None = None
    ) -> Battle:
        """Cast the vote; returns the battle, names and all, once the vote is on disk.

        Args:
            battle_id: of a battle of this process or of another one.
            winner: the verdict.
            visitor: who votes.
            guess: the id of the contestant whom the voter takes for side a, if they said one.

        Raises:
            UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted, StoreError: as they say.
        """
        live = self._live.get(battle_id)
        if live is not None and live.running:
            raise VoteTooEarly
        vote = Vote(
            battle_id, winner, visitor.voter, self._now(),
            guess=guess, signed_in=visitor.signed_in,
        )  # fmt: skip
        battle = await self.store.cast_vote(vote)
        if live is not None:
            live.locked = True
        return battle

    async def shared(self, battle_id: str) -> tuple[Battle, Vote] | None:
        """A finished battle and its vote, for whoever has its link; None where there is no vote.

        The id is the secret: it is 128 random bits, and shown to nobody before the vote.

        Raises:
            StoreError: the store can't be read.
        """
        vote = await self.store.get_vote(battle_id)
        battle = await self.store.get_battle(battle_id) if vote is not None else None
        return None if battle is None or vote is None else (battle, vote)

    def live(self, battle_id: str | None) -> BattleSession:
        """The open battle of that id.

        Raises:
            UnknownBattle: it is not open in this process.
        """
        found = self.live_or_none(battle_id)
        if found is None:
            raise UnknownBattle
        return found

    def live_or_none(self, battle_id: str | None) -> BattleSession | None:
        """The same for who does not mind."""
        return self._live.get(battle_id or "")

    async def leave(self, session: str, *, keep: str | None = None) -> None:
        """Stop and forget a session's battles: its tab closed, or it started another one."""
        for live in [v for v in self._live.values() if v.session == session]:
            if live.battle.id != keep:
                await self.stop(live)
                self._live.pop(live.battle.id, None)
                live.give_up()

    async def aclose(self) -> None:
        """Stop every battle and wait until all is written."""
        for live in list(self._live.values()):
            await self.stop(live)
        await asyncio.gather(*self._saves)
        self._live.clear()


async def _finish_even_if_cancelled(task: asyncio.Task[None]) -> None:
    """Wait for a task to end; our own cancellation is passed on only after that."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = cancelled or not task.done()
    if cancelled:
        raise asyncio.CancelledError
