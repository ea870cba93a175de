"""A battle with an open page: its streams, and snapshots of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from arena.battle.admission import Slot
from arena.battle.request import messages_for
from arena.blind import Phase, SideFacts, Trouble, even_chars, hides_sides, trouble_of
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
)
from arena.errors.base import ArenaError
from arena.models.registry import Entry
from arena.stats.prompt_length import prompt_cut


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
        votable: both answers are complete, and the store has them.
        saved: False when the store did not take the answers.
        error_id: finds in the log why a side failed; empty while none has.
    """

    battle: Battle
    sides: Mapping[Side, SideSnapshot]
    running: bool
    votable: bool
    saved: bool = True
    error_id: str = ""

    def retryable(self, side: Side, *, voted: bool = False) -> bool:
        """Whether asking that side again would ask anything.

        Where sides are hidden, both ask whichever side ended without an answer.
        """
        if self.running or voted:
            return False
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
    """One side of one turn; only the task that streams that side writes it."""

    phase: Phase = Phase.WAITING
    parts: list[str] = field(default_factory=list)
    length: int = 0
    answer: Answer | None = None
    error: ArenaError | None = None
    task: asyncio.Task[None] | None = None
    started: float = field(default_factory=time.monotonic)
    ttft_s: float | None = None

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
        if self.answer is None or self.answer.finished.reason is FinishReason.CANCELLED:
            self.phase = Phase.STOPPED
        else:
            self.phase = Phase.DONE if self.answer.usable else Phase.FAILED


def flags_of_answer(answer: Answer, sent: Sequence[Message]) -> frozenset[Flag]:
    """What an answer adds to its battle's flags; `sent` is all that its model was sent."""
    finished = answer.finished
    found = {
        Flag.TRUNCATED: finished.reason is FinishReason.LENGTH,
        Flag.LOOPING: finished.reason is FinishReason.LOOP,
        Flag.PROMPT_CUT: prompt_cut((m.content for m in sent), finished.prompt_tokens),
    }
    return frozenset(flag for flag, is_set in found.items() if is_set)


class BattleSession:
    """A battle with an open page.

    Attributes:
        battle: the record; replaced whole, never between two awaits of one change.
        session_hash: of the page that runs it.
        pool: all contestants that could have been drawn, as everybody may know them.
        changed: set when there is something new to show.
        lock: held while the record is written to the store.
        locked: the vote is cast, so nothing may be asked any more.
        saved: the store has the newest record.
        slot: held while an answer is being written.
        error_id: of this turn; drawn when its first side fails.
        turn_started: monotonic clock, seconds.
    """

    def __init__(
        self, battle: Battle, entries: Mapping[Side, Entry], session_hash: str,
        pool: Iterable[Entry] = (),
    ) -> None:  # fmt: skip
        self.battle = battle
        self.pool = tuple(entry.model.spec for entry in pool)
        self.session_hash = session_hash
        self.entries = entries
        self.streams = {side: SideStream() for side in battle.sides}
        self.changed = asyncio.Event()
        self.lock = asyncio.Lock()
        self.locked = False
        self.saved = True
        self.slot: Slot | None = None
        self.error_id = ""
        self.turn_started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether an answer is still being written."""
        return any(stream.running for stream in self.streams.values())

    def release_slot(self) -> None:
        """Let the next battle of the queue run; safe to call twice."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None

    def begin_turn(self, longer: Battle, slot: Slot) -> None:
        """The next turn of both sides; `longer` is the battle with the new prompt."""
        self.battle = longer
        self.streams = {side: SideStream() for side in longer.sides}
        self.slot = slot
        self.error_id = ""

    def begin_retry(self, side: Side, slot: Slot) -> None:
        """One side's turn once more; the failed answer is kept beside the new one."""
        *before, last = self.battle.conversation(side)
        failed = last.failed if last.answer is None else (*last.failed, last.answer)
        talk = (*before, Exchange(last.prompt, None, failed))
        battle = self.battle.with_conversation(side, talk)
        self.battle = replace(battle, flags=battle.flags | {Flag.RETRIED}, answered_at=None)
        self.streams[side] = SideStream()
        self.slot = slot
        self.error_id = ""

    def record_answer(self, side: Side, answer: Answer, now: datetime) -> None:
        """Put a side's answer into the record; with the last one the battle is answered."""
        self.streams[side].answer = answer
        sent = messages_for(self.battle, side)
        *before, last = self.battle.conversation(side)
        battle = self.battle.with_conversation(side, (*before, replace(last, answer=answer)))
        found = flags_of_answer(answer, sent)
        battle = replace(battle, flags=battle.flags | found)
        complete = all(battle.conversation(s)[-1].answer is not None for s in battle.sides)
        self.battle = replace(battle, answered_at=now if complete else None)

    def snapshot(self, *, even_pace: bool = False) -> Snapshot:
        """How it looks now; at an even pace no text is ahead of the other.

        A side whose text is cut looks as if it were still being written.
        """
        elapsed_s = time.monotonic() - self.turn_started
        lengths = (stream.length for stream in self.streams.values() if stream.running)
        max_chars = even_chars(elapsed_s, lengths) if even_pace else None
        sides = {}
        cut_short = False
        for side, stream in self.streams.items():
            text = stream.text if max_chars is None else stream.text[:max_chars]
            cut = len(text) < stream.length
            held = cut or (max_chars is not None and stream.running)
            phase = Phase.WRITING if held and stream.phase is Phase.DONE else stream.phase
            facts = SideFacts(
                None if held else stream.answer, stream.error, stream.ttft_s, stream.elapsed_s
            )
            sides[side] = SideSnapshot(phase, text, facts)
            cut_short = cut_short or cut
        running = self.running or cut_short
        votable = not running and self.saved and not self.locked and self.battle.votable
        return Snapshot(self.battle, sides, running, votable, self.saved, self.error_id)


def snapshot_of(battle: Battle) -> Snapshot:
    """How a finished battle looks that no page is writing any more."""
    sides = {}
    for side in battle.sides:
        answer = battle.conversation(side)[-1].answer
        facts = SideFacts(answer)
        if answer is not None:
            finished = answer.finished
            facts = SideFacts(answer, ttft_s=finished.ttft_s, elapsed_s=finished.total_s)
        phase = Phase.DONE if answer is not None and answer.usable else Phase.FAILED
        sides[side] = SideSnapshot(phase, answer.text if answer else "", facts)
    return Snapshot(battle, sides, running=False, votable=False)
