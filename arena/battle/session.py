"""A battle whose page is open: the part of it that is still being written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from arena.battle.queue import Slot
from arena.domain import Answer, Battle, Delta, Finished, FinishReason, Side
from arena.errors.base import ArenaError
from arena.models.registry import Entry

EVEN_CHARS_PER_SECOND = 60.0


class Phase(StrEnum):
    """Where one side stands."""

    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SideSnapshot:
    """One side at one moment.

    Attributes:
        error_id: finds the details of `error` in the log.
        ttft_s: seconds to the first text; None before it.
        elapsed_s: seconds since the request, while it runs.
    """

    phase: Phase
    text: str
    answer: Answer | None = None
    error: ArenaError | None = None
    error_id: str = ""
    ttft_s: float | None = None
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both sides at one moment.

    Attributes:
        running: an answer is still being written.
        votable: both answers are complete, and the store has them.
        saved: False when the store did not take the answers.
    """

    battle: Battle
    sides: Mapping[Side, SideSnapshot]
    running: bool
    votable: bool
    saved: bool = True

    def retryable(self, side: Side) -> bool:
        """Whether that side ended without an answer and may be asked again."""
        ended = self.sides[side].phase in (Phase.FAILED, Phase.STOPPED)
        return ended and not self.running


@dataclass(slots=True)
class SideStream:
    """One side of one turn; only its own pump writes it."""

    phase: Phase = Phase.WAITING
    parts: list[str] = field(default_factory=list)
    length: int = 0
    answer: Answer | None = None
    error: ArenaError | None = None
    error_id: str = ""
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

    def append(self, delta: Delta) -> None:
        """Take a piece of text."""
        if self.ttft_s is None:
            self.ttft_s = self.elapsed_s
        self.parts.append(delta.text)
        self.length += len(delta.text)
        self.phase = Phase.WRITING

    def fail(self, error: ArenaError) -> Finished:
        """Take an error; the last event that says so."""
        self.error = error
        return Finished(FinishReason.ERROR, error_code=error.code)

    def end(self) -> None:
        """Take the phase that its answer deserves."""
        if self.answer is None or self.answer.finished.reason is FinishReason.CANCELLED:
            self.phase = Phase.STOPPED
        else:
            self.phase = Phase.DONE if self.answer.usable else Phase.FAILED


class BattleSession:
    """A battle whose page is open."""

    def __init__(self, battle: Battle, entries: Mapping[Side, Entry], session: str) -> None:
        self.battle = battle
        self.session = session
        self.entries = entries
        self.sides = {side: SideStream() for side in battle.sides}
        self.changed = asyncio.Event()
        self.lock = asyncio.Lock()
        self.locked = False
        self.saved = True
        self.ticket: Slot | None = None
        self.turn_started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether an answer is still being written."""
        return any(state.running for state in self.sides.values())

    def rest(self) -> None:
        """Give the place to the next one, once nothing is being written."""
        if self.ticket is not None and not self.running:
            self.ticket.leave()
            self.ticket = None

    def give_up(self) -> None:
        """Give the place away whatever is left: nobody looks any more."""
        if self.ticket is not None:
            self.ticket.leave()
            self.ticket = None

    def frame(self, shown: Mapping[Side, int] | None = None) -> Snapshot:
        """How it looks now; `shown` cuts the texts to that many characters."""
        views = {}
        pacing = False
        for side, state in self.sides.items():
            text = "".join(state.parts)
            cut = len(text) if shown is None else min(len(text), shown[side])
            held = cut < len(text) or (shown is not None and state.running)
            phase = Phase.WRITING if held and state.phase is Phase.DONE else state.phase
            pacing = pacing or (cut < len(text))
            answer = None if held else state.answer
            views[side] = SideSnapshot(
                phase, text[:cut], answer, state.error, state.error_id,
                state.ttft_s, state.elapsed_s,
            )  # fmt: skip
        running = self.running or pacing
        votable = not running and self.saved and not self.locked and self.battle.votable
        return Snapshot(self.battle, views, running, votable, self.saved)


def snapshot_of(battle: Battle) -> Snapshot:
    """How a finished battle looks that no page is writing any more."""
    views = {}
    for side in battle.sides:
        answer = battle.conversation(side)[-1].answer
        finished = answer.finished if answer else None
        views[side] = SideSnapshot(
            Phase.DONE if answer is not None and answer.usable else Phase.FAILED,
            answer.text if answer else "",
            answer,
            ttft_s=finished.ttft_s if finished else None,
            elapsed_s=finished.total_s if finished else 0.0,
        )
    return Snapshot(battle, views, running=False, votable=False)


def even_pace(live: BattleSession) -> dict[Side, int]:
    """Characters to show so that both sides grow alike and none tells its speed.

    Both grow at one pace, never past what the slower side that still runs has written.
    """
    elapsed = time.monotonic() - live.turn_started
    allowed = int(elapsed * EVEN_CHARS_PER_SECOND)
    for state in live.sides.values():
        if state.running:
            allowed = min(allowed, state.length)
    return dict.fromkeys(live.sides, allowed)
