"""An open battle: its streams, and snapshots of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from arena.battle.admission import Slot
from arena.battle.cadence import Cadence, Progress, cut
from arena.battle.own_record import OwnRecord
from arena.battle.request import messages_for
from arena.blind import Phase, SideFacts, Trouble, hides_sides, trouble_of
from arena.domain import (
    Answer,
    Battle,
    Delta,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    Message,
    Side,
    Vote,
)
from arena.errors.base import ArenaError
from arena.models.registry import Entry
from arena.stats.prompt_length import prompt_cut
from arena.stats.verdict import Verdict


@dataclass(frozen=True, slots=True)
class SideSnapshot:
    """One side at one moment."""

    phase: Phase
    text: str
    facts: SideFacts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both sides at one moment.

    Attributes:
        running: an answer is still being written.
        votable: both answers can be judged, and the store has them.
        saved: False when the store did not take the answers.
        error_id: finds in the log why a side failed; empty while none has.
        undo_s: whole seconds in which the vote can still be taken back; None if it is final, and
            where there is none.
        verdict: whether its vote counts, as far as that may be known now; None where it is not.
        record: the voter's own votes; None before the vote is final, and while they are few.
    """

    battle: Battle
    sides: Mapping[Side, SideSnapshot]
    running: bool
    votable: bool
    saved: bool = True
    error_id: str = ""
    undo_s: int | None = None
    verdict: Verdict | None = None
    record: OwnRecord | None = None

    def retryable(self, side: Side, *, voted: bool = False) -> bool:
        """Whether asking that side again would ask anything, or store what is not stored.

        Where sides are hidden, both ask whichever side ended without an answer.
        """
        if self.running or voted:
            return False
        if not self.saved:
            return True
        asked = self.battle.sides if hides_sides(self.battle, voted=voted) else (side,)
        return any(self.sides[one].phase in (Phase.FAILED, Phase.STOPPED) for one in asked)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why there are no two answers to judge, whichever side it was; in a fixed order."""
        talks = (self.battle.conversation(side) for side in self.battle.sides)
        found = {trouble_of(talk[-1].answer) for talk in talks}
        return tuple(trouble for trouble in Trouble if trouble in found)


@dataclass(slots=True)
class SideStream:
    """One side of one turn; only the task that streams that side writes it.

    Attributes:
        paced: it is shown at an even pace, and not whole yet.
        shown: how many characters of its text are shown; None shows all.
    """

    phase: Phase = Phase.WAITING
    parts: list[str] = field(default_factory=list)
    length: int = 0
    answer: Answer | None = None
    error: ArenaError | None = None
    task: asyncio.Task[None] | None = None
    started: float = field(default_factory=time.monotonic)
    ttft_s: float | None = None
    paced: bool = False
    shown: int | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self.started

    @property
    def running(self) -> bool:
        """Whether its answer is still being written."""
        return self.phase in (Phase.WAITING, Phase.WRITING)

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(self.parts)

    @property
    def progress(self) -> Progress:
        """How far it is, for the even pace."""
        return Progress(self.length, not self.running)

    def snapshot(self) -> SideSnapshot:
        """How it looks; while it is paced, its end does not show."""
        if self.shown is None:
            facts = SideFacts(self.answer, self.error, self.ttft_s, self.elapsed_s)
            return SideSnapshot(self.phase, self.text, facts)
        begun = Phase.WRITING if self.shown else Phase.WAITING
        phase = begun if self.paced else self.phase
        return SideSnapshot(phase, cut(self.text, self.shown), SideFacts())

    def append(self, delta: Delta) -> None:
        """Take a piece of text."""
        if self.ttft_s is None:
            self.ttft_s = self.elapsed_s
        self.parts.append(delta.text)
        self.length += len(delta.text)
        self.phase = Phase.WRITING

    def fail(self, error: ArenaError) -> Finished:
        """Keep the error; returns the last event that reports it."""
        self.error = error
        return Finished(FinishReason.ERROR, error_code=error.code)

    def end(self) -> None:
        """Enter the phase that follows from the answer."""
        self.phase = phase_of(self.answer)


def phase_of(answer: Answer | None) -> Phase:
    """Where a side stands that is not being written; without an answer it was stopped."""
    if answer is None or answer.finished.reason is FinishReason.CANCELLED:
        return Phase.STOPPED
    return Phase.DONE if answer.usable else Phase.FAILED


def flags_of_answer(answer: Answer, sent: Sequence[Message]) -> frozenset[Flag]:
    """What an answer adds to its battle's flags; `sent` is all that its model was sent."""
    finished = answer.finished
    found = {
        Flag.TRUNCATED: finished.reason in (FinishReason.LENGTH, FinishReason.SIZE),
        Flag.LOOPING: finished.reason is FinishReason.LOOP,
        Flag.PROMPT_CUT: prompt_cut((m.content for m in sent), finished.prompt_tokens),
    }
    return frozenset(flag for flag, is_set in found.items() if is_set)


def _stop_flag(battle: Battle) -> frozenset[Flag]:
    """Whether an answer to the last prompt was stopped; a retry of it takes the flag back."""
    last = [battle.conversation(side)[-1].answer for side in battle.sides]
    phases = [phase_of(answer) for answer in last if answer is not None]
    return frozenset({Flag.STOPPED} if Phase.STOPPED in phases else ())


@dataclass(eq=False, slots=True)
class PendingVote:
    """A vote of this process that can be taken back.

    Attributes:
        until: its deadline, as the store has it.
        now: the wall clock, UTC.
        final: it can't be taken back any more; the names may be shown.
        stored: set when the store has taken it, or not.
        ended: set when it is final, and when it was taken back.
    """

    battle_id: str
    until: datetime
    now: Callable[[], datetime]
    final: bool = False
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def seconds_left(self) -> int | None:
        """Whole seconds until it is final; None when it is."""
        left = (self.until - self.now()).total_seconds()
        return None if self.final else max(0, math.ceil(left))

    async def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most so many seconds."""
        try:
            await asyncio.wait_for(self.ended.wait(), seconds)
        except TimeoutError:
            return False
        return True


class BattleSession:
    """An open battle.

    Attributes:
        battle: the record; replaced whole, never between two awaits of one change.
        session_hash: of the page that shows it; None while none does.
        entries: the contestants; without one that is not there any more.
        pool: all contestants that could have been drawn, as everybody may know them.
        changed: set when there is something new to show; each change has an event of its own, so
            that any number of readers can wait for the next one.
        cadence: how much of both texts is shown; None where each is shown as it comes.
        pacing: the task that moves `cadence` on.
        lock: held while the record or the vote is written to the store.
        vote: as it was cast, without what was added to it later; None before it.
        pending: the vote, if it could be taken back when it was cast; it says whether it is final.
        saved: the store has the newest record.
        slot: held while an answer is being written.
        error_id: of this turn; drawn when its first side fails.
        verdict: of these answers or of the final vote; None while nobody has looked.
        record: with the final vote; None while nobody has looked.
    """

    def __init__(
        self, battle: Battle, entries: Mapping[Side, Entry], session_hash: str | None,
        pool: Iterable[Entry] = (), *, even: bool = False,
    ) -> None:  # fmt: skip
        self.battle = battle
        self.pool = tuple(entry.model.spec for entry in pool)
        self.session_hash = session_hash
        self.entries = entries
        self.cadence = Cadence() if even else None
        self.pacing: asyncio.Task[None] | None = None
        self.streams = {side: self._new_stream() for side in battle.sides}
        self.changed = asyncio.Event()
        self.lock = asyncio.Lock()
        self.vote: Vote | None = None
        self.pending: PendingVote | None = None
        self.saved = True
        self.slot: Slot | None = None
        self.error_id = ""
        self.verdict: Verdict | None = None
        self.record: OwnRecord | None = None

    @classmethod
    def from_record(
        cls, battle: Battle, entries: Mapping[Side, Entry], pool: Iterable[Entry], *, even: bool
    ) -> BattleSession:
        """A battle that no page shows, as its record has it: nothing is being written.

        A side whose answer was not stored counts as stopped.
        """
        session = cls(battle, entries, None, pool, even=even)
        for side, stream in session.streams.items():
            stream.paced, stream.shown = False, None
            stream.answer = battle.conversation(side)[-1].answer
            if stream.answer is not None:
                stream.parts = [stream.answer.text]
                stream.ttft_s = stream.answer.finished.ttft_s
            stream.end()
        return session

    def _new_stream(self) -> SideStream:
        even = self.cadence is not None
        return SideStream(paced=even, shown=0 if even else None)

    @property
    def streaming(self) -> bool:
        """Whether an answer is still being written."""
        return any(stream.running for stream in self.streams.values())

    @property
    def paced(self) -> bool:
        """Whether an answer is not shown whole yet."""
        return any(stream.paced for stream in self.streams.values())

    @property
    def running(self) -> bool:
        """Whether an answer is still being written, or shown."""
        return self.streaming or self.paced

    def note(self) -> None:
        """Something new came; where the pace is even, only the clock shows it."""
        if not self.paced:
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def locked(self) -> bool:
        """Whether the vote is cast, so that nothing may be asked any more."""
        return self.vote is not None

    @property
    def revealed(self) -> bool:
        """Whether the vote is final, so that the sides may be known."""
        return self.locked and (self.pending is None or self.pending.final)

    def release_slot(self) -> None:
        """Let the next battle of the queue run; safe to call twice."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None

    def begin_turn(self, longer: Battle, slot: Slot) -> None:
        """The next turn of both sides; `longer` is the battle with the new prompt."""
        self.battle = longer
        self._reset_cadence()
        self.streams = {side: self._new_stream() for side in longer.sides}
        self.slot = slot
        self.error_id, self.verdict = "", None

    def begin_retry(self, side: Side, slot: Slot) -> None:
        """One side's turn once more; the failed answer is kept beside the new one."""
        *before, last = self.battle.conversation(side)
        failed = last.failed if last.answer is None else (*last.failed, last.answer)
        talk = (*before, Exchange(last.prompt, None, failed))
        battle = self.battle.with_conversation(side, talk)
        self.battle = replace(battle, flags=battle.flags | {Flag.RETRIED}, answered_at=None)
        self._reset_cadence()
        self.streams[side] = self._new_stream()
        self.slot = slot
        self.error_id, self.verdict = "", None

    def _reset_cadence(self) -> None:
        self.cadence = None if self.cadence is None else Cadence()

    def record_answer(self, side: Side, answer: Answer, now: datetime) -> None:
        """Put a side's answer into the record; with the last one the battle is answered."""
        self.streams[side].answer = answer
        sent = messages_for(self.battle, side)
        *before, last = self.battle.conversation(side)
        battle = self.battle.with_conversation(side, (*before, replace(last, answer=answer)))
        flags = battle.flags - {Flag.STOPPED} | flags_of_answer(answer, sent) | _stop_flag(battle)
        complete = all(battle.conversation(s)[-1].answer is not None for s in battle.sides)
        self.battle = replace(battle, flags=flags, answered_at=now if complete else None)

    def advance(self) -> bool:
        """One tick of the even pace; true when both texts may be shown whole."""
        cadence = self.cadence or Cadence()
        before = cadence.shown
        paced = [stream for stream in self.streams.values() if stream.paced]
        one, other = [*(stream.progress for stream in paced), Progress()][:2]
        cadence.step(one, other)
        if cadence.shown > before and not cadence.done:
            for stream in paced:
                stream.shown = cadence.shown
            self._tell()
        return cadence.done

    def show_all(self) -> None:
        """Show both texts, and how they ended."""
        for stream in self.streams.values():
            if stream.paced:
                stream.paced, stream.shown = False, None
        self._tell()

    def cut_short(self, now: datetime) -> None:
        """No more is shown of what is paced, and every side of it is stopped alike.

        An answer that was complete before it was shown is cancelled like the others: to offer a
        retry of one side alone would tell which one was the quicker. What was shown of it is the
        answer: nobody can judge the rest.
        """
        for side, stream in self.streams.items():
            if not stream.paced:
                continue
            stream.paced = False
            stream.phase, stream.error = Phase.STOPPED, None
            answer = stream.answer
            if trouble_of(answer) in {None, Trouble.STOPPED} and answer is not None:
                finished = replace(answer.finished, reason=FinishReason.CANCELLED)
                seen = cut(answer.text, stream.shown or 0)
                self.record_answer(side, replace(answer, text=seen, finished=finished), now)
        self._tell()

    def snapshot(self) -> Snapshot:
        """How it looks now."""
        sides = {side: stream.snapshot() for side, stream in self.streams.items()}
        running = self.running
        votable = not running and self.saved and not self.locked and self.battle.votable
        undo_s = None if self.pending is None else self.pending.seconds_left
        told = self.verdict
        if told is None or told.cast is not self.revealed or not (votable or told.cast):
            told = None
        record = self.record if self.revealed else None
        return Snapshot(
            self.battle, sides, running, votable, self.saved, self.error_id, undo_s, told, record
        )


def snapshot_of(battle: Battle) -> Snapshot:
    """How a finished battle looks that no page is writing any more."""
    sides = {}
    for side in battle.sides:
        answer = battle.conversation(side)[-1].answer
        facts = SideFacts(answer)
        if answer is not None:
            finished = answer.finished
            facts = SideFacts(answer, ttft_s=finished.ttft_s, elapsed_s=finished.total_s)
        sides[side] = SideSnapshot(phase_of(answer), answer.text if answer else "", facts)
    return Snapshot(battle, sides, running=False, votable=False)
