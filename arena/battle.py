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
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    GenerationParams,
    Mode,
    Side,
    Vote,
    Winner,
)
from arena.errors import (
    ArenaError,
    BattleLocked,
    BattleRunning,
    NoContestants,
    NothingToRetry,
    StreamBroken,
    UnknownBattle,
    VoteTooEarly,
)
from arena.guard.language import prompt_language
from arena.guard.limits import Limits, check_prompt, check_room, check_system_prompt, check_turns
from arena.live import Frame, LiveBattle, Phase, SideState, even_pace
from arena.models.base import Loading
from arena.models.registry import Entry, Registry
from arena.presets import Preset, usage
from arena.record import (
    answered,
    battle_flags,
    cost_usd,
    library_versions,
    messages_for,
    ready_facts,
)
from arena.votes.store import VoteStore

log = logging.getLogger(__name__)

FRAME_SECONDS = 0.1
WAIT_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Ask:
    """What a visitor sends.

    Attributes:
        session: the page's session; ends when the tab closes.
        model_a, model_b: slugs; chosen in open mode (both) and single mode (a), else None.
    """

    text: str
    mode: Mode
    params: GenerationParams
    voter: str
    session: str
    ui_language: str = "ja"
    use_gemini: bool = True
    preset: Preset | None = None
    system_prompt: str | None = None
    model_a: str | None = None
    model_b: str | None = None


class Arena:
    """Runs battles. One object for the whole process.

    Args:
        registry: the contestants.
        store: where battles and votes are kept.
        limits: the owner's caps.
        rng: draws pairs, sides and seeds; seeded in tests.
        even_cadence: in blind mode show both texts at the same even pace.
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
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = registry
        self.store = store
        self.limits = limits
        self._rng = rng or random.SystemRandom()
        self._even = even_cadence
        self._now = now
        self._live: dict[str, LiveBattle] = {}
        self._saves: set[asyncio.Task[None]] = set()

    # --- before a battle -----------------------------------------------------------------------

    async def wait_for_contestants(self, ask: Ask) -> AsyncGenerator[tuple[Entry, ...], None]:
        """Yields while the battle that was asked for must wait for models that load.

        Each item is the entries that are on their way. Ends when `begin` can draw, or when
        nothing that could help is loading any more.
        """
        while not self._can_begin(ask) and self.registry.settling:
            on_the_way = (e for e in self.registry.entries if not e.is_variant)
            yield tuple(e for e in on_the_way if isinstance(e.model.status(), Loading))
            await asyncio.sleep(WAIT_POLL_SECONDS)

    def _can_begin(self, ask: Ask) -> bool:
        if ask.mode is Mode.BLIND:
            return self.registry.enough(use_gemini=ask.use_gemini)
        slugs = [ask.model_a] if ask.mode is Mode.SINGLE else [ask.model_a, ask.model_b]
        entries = [self.registry.find(slug) for slug in slugs]
        return all(entry is not None and entry.ready for entry in entries)

    async def begin(self, ask: Ask) -> LiveBattle:
        """Check the request, draw the sides, and write the battle to the store.

        Raises:
            LimitError: the text or the number of running battles passes a cap.
            NoContestants: not enough models are ready.
            StoreError: it could not be written; then nothing is sent to any model.
            UnknownBattle: the tab closed while it was written; nothing is sent either.
        """
        text = check_prompt(ask.text, self.limits)
        system_prompt = check_system_prompt(ask.system_prompt, self.limits)
        check_room(sum(live.running for live in self._live.values()), self.limits)
        entries = self._draw(ask)
        battle = self._record(ask, text, system_prompt, entries)
        live = LiveBattle(battle, entries, ask.session)
        # In the table before the first await, so that a closing tab and the cap see it.
        self._live[battle.id] = live
        try:
            await self.store.add_battle(battle)
        except BaseException:  # cancelled ones too: a battle that did not begin takes no room
            self._live.pop(battle.id, None)
            raise
        if battle.id not in self._live:  # the tab closed meanwhile: nobody waits for answers
            raise UnknownBattle
        self._start_pumps(live)
        return live

    def _draw(self, ask: Ask) -> dict[Side, Entry]:
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

    def _record(
        self, ask: Ask, text: str, system_prompt: str | None, entries: dict[Side, Entry]
    ) -> Battle:
        params = ask.params
        if params.seed is None:
            params = replace(params, seed=self._rng.randrange(2**31))
        if params.max_new_tokens > self.limits.new_tokens:
            params = replace(params, max_new_tokens=self.limits.new_tokens)
        specs = {side: entry.model.spec for side, entry in entries.items()}
        preset = usage(ask.preset, text) if ask.preset else None
        talk = (Exchange(text),)
        return Battle(
            id=secrets.token_hex(16),
            mode=ask.mode,
            language=prompt_language(text, ask.ui_language),
            ui_language=ask.ui_language,
            category=ask.preset.category if ask.preset else Category.FREE,
            preset=preset,
            params=params,
            spec_a=specs[Side.A],
            spec_b=specs.get(Side.B),
            created_at=self._now(),
            voter=ask.voter,
            system_prompt=system_prompt,
            conversation_a=talk,
            conversation_b=talk if Side.B in specs else (),
            flags=battle_flags(
                ask.mode, specs, system_prompt, edited=preset is not None and preset.edited
            ),
            provenance={
                "libraries": library_versions(),
                **{side.value: ready_facts(entry) for side, entry in entries.items()},
            },
        )

    # --- while it runs -------------------------------------------------------------------------

    async def follow_up(self, live: LiveBattle, text: str) -> None:
        """The next prompt of the same conversation, to both sides.

        Raises:
            BattleLocked: the vote is cast.
            BattleRunning: an answer is still being written.
            VoteTooEarly: a side has no answer to the prompt before.
            LimitError: a cap.
        """
        if live.locked:
            raise BattleLocked
        if live.running:
            raise BattleRunning
        if not all(answered(live.battle, side) for side in live.battle.sides):
            raise VoteTooEarly
        clean = check_prompt(text, self.limits)
        check_turns(len(live.battle.conversation_a), self.limits)
        check_room(sum(other.running for other in self._live.values()), self.limits)
        for side in live.battle.sides:
            talk = (*live.battle.conversation(side), Exchange(clean))
            live.battle = live.battle.with_conversation(side, talk)
            live.sides[side] = SideState()
        await self._save(live)
        self._start_pumps(live)

    async def retry(self, live: LiveBattle, side: Side) -> None:
        """Ask a side again that ended without an answer; the other side's answer stays.

        Raises:
            BattleLocked, BattleRunning: as in `follow_up`.
            NothingToRetry: that side has an answer.
        """
        if live.locked:
            raise BattleLocked
        if live.running:
            raise BattleRunning
        if side not in live.sides or answered(live.battle, side):
            raise NothingToRetry
        *before, last = live.battle.conversation(side)
        failed = last.failed if last.answer is None else (*last.failed, last.answer)
        talk = (*before, Exchange(last.prompt, None, failed))
        flags = live.battle.flags | {Flag.RETRIED}
        live.battle = replace(live.battle.with_conversation(side, talk), flags=flags)
        live.sides[side] = SideState()
        self._start_pumps(live)

    def _start_pumps(self, live: LiveBattle) -> None:
        live.turn_started = time.monotonic()
        for side, state in live.sides.items():
            if state.phase is Phase.WAITING and state.task is None:
                state.task = asyncio.create_task(self._pump(live, side, state))

    async def _pump(self, live: LiveBattle, side: Side, state: SideState) -> None:
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
            live.changed.set()

    def _close_side(self, live: LiveBattle, side: Side, state: SideState) -> None:
        """Put the answer into the record. The battle is replaced whole, between two awaits."""
        *before, last = live.battle.conversation(side)
        talk = (*before, replace(last, answer=state.answer))
        battle = live.battle.with_conversation(side, talk)
        if state.answer and state.answer.finished.reason is FinishReason.LENGTH:
            battle = replace(battle, flags=battle.flags | {Flag.TRUNCATED})
        live.battle = battle
        if state.error is not None:
            state.error_id = secrets.token_hex(4)
            log.warning(
                "battle %s side %s (%s) failed [%s]: %s: %s %s",
                battle.id, side, battle.spec(side).id, state.error_id,
                state.error.code, state.error.sentence, state.error.detail,
            )  # fmt: skip

    async def _save(self, live: LiveBattle) -> None:
        """Write the record; a cancelled caller does not stop the write."""
        task = asyncio.create_task(self._write(live))
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)
        await _finish_even_if_cancelled(task)

    async def _write(self, live: LiveBattle) -> None:
        async with live.lock:
            try:
                await self.store.update_battle(live.battle)
            except ArenaError as error:
                # Not swallowed: the frame says that it is not saved, and voting stays closed.
                log.exception("battle %s is not saved: %s", live.battle.id, error.detail)
                live.saved = False
            else:
                live.saved = True

    async def frames(self, live: LiveBattle) -> AsyncGenerator[Frame, None]:
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

    async def stop(self, live: LiveBattle) -> None:
        """Stop what still runs, at its source; what was written so far is kept as cancelled."""
        tasks = [s.task for s in live.sides.values() if s.task is not None and not s.task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await _finish_even_if_cancelled(task)

    # --- after it ------------------------------------------------------------------------------

    async def vote(self, battle_id: str, winner: Winner, voter: str) -> Battle:
        """Cast the vote; returns the battle, names and all, once the vote is on disk.

        Raises:
            UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted, StoreError: as they say.
        """
        live = self._live.get(battle_id)
        if live is not None and live.running:
            raise VoteTooEarly
        battle = await self.store.cast_vote(Vote(battle_id, winner, voter, self._now()))
        if live is not None:
            live.locked = True
        return battle

    def live(self, battle_id: str | None) -> LiveBattle:
        """The open battle of that id.

        Raises:
            UnknownBattle: it is not open in this process.
        """
        found = self.live_or_none(battle_id)
        if found is None:
            raise UnknownBattle
        return found

    def live_or_none(self, battle_id: str | None) -> LiveBattle | None:
        """The same for who does not mind."""
        return self._live.get(battle_id or "")

    async def leave(self, session: str, *, keep: str | None = None) -> None:
        """Stop and forget a session's battles: its tab closed, or it started another one."""
        for live in [v for v in self._live.values() if v.session == session]:
            if live.battle.id != keep:
                await self.stop(live)
                self._live.pop(live.battle.id, None)

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
