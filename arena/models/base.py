"""What every model looks like from outside."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, runtime_checkable

from arena.domain import (
    Delta,
    Finished,
    FinishReason,
    GenerationParams,
    Message,
    ModelSpec,
    clean,
)
from arena.errors.base import ArenaError
from arena.models.throughput import Throughput

StreamEvent = Delta | Finished

ANSWER_CHARS = 200_000
"""The largest answer; some 50,000 tokens of English."""
LINE_CHARS = 200
"""The longest name of a model that an engine may give itself."""
# A character that was cut may show as up to three U+FFFD and half a surrogate pair.
_HELD_CHARS = 4
_CUT_CHARACTER = "\ufffd"
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Dormant:
    """Not started yet."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Being started.

    Attributes:
        progress: 0 to 1, or None where it cannot be known.
        step: which part is going on: `download`, `convert`, `load` or `warm_up`.
    """

    progress: float | None = None
    step: str = "load"


@dataclass(frozen=True, slots=True)
class Ready:
    """Answers requests.

    Attributes:
        facts: for the Models tab and the record, e.g. device, precision, attention,
            template_hash; plain text by stable key.
        notice: code of something people should know although it works, else empty
            (e.g. `one_at_a_time`).
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Cannot answer; the error says why and what to do.

    Attributes:
        retry_at: when it is tried again by itself, UTC; None where it is not. For the owner.
    """

    error: ArenaError
    retry_at: datetime | None = None


ModelStatus = Dormant | Loading | Ready | Unavailable


@dataclass(frozen=True, slots=True)
class Expenses:
    """What a contestant has cost today (UTC), and what it may; US dollars."""

    today_usd: float
    limit_usd: float | None


@runtime_checkable
class Metered(Protocol):
    """A contestant with caps that other processes use up, too."""

    async def refresh(self) -> None:
        """Bring `status()` up to date with what other processes have used today.

        Raises:
            StoreError: the store, which counts, did not answer.
        """

    def expenses(self) -> Expenses | None:
        """What it has cost today, when that was last looked at; None where nothing is paid."""


@runtime_checkable
class Recovering(Protocol):
    """A contestant that knows when to try again after a failure."""

    @property
    def retry_due(self) -> bool:
        """Whether it is unavailable, and `start` should be called now."""


@runtime_checkable
class Sending(Protocol):
    """A contestant that sends the visitor's text to some address."""

    @property
    def sends_to(self) -> str:
        """The host that gets it, with its port; empty where the page has another notice."""


@runtime_checkable
class Measured(Protocol):
    """A contestant that runs here, and counts its tokens."""

    def throughput(self) -> Throughput:
        """How fast it writes now; never blocks."""


@runtime_checkable
class ChatModel(Protocol):
    """One contestant."""

    @property
    def spec(self) -> ModelSpec:
        """Who it is; id, revision, engine and precision are final once it is ready."""

    def status(self) -> ModelStatus:
        """How it is now; never blocks."""

    async def start(self) -> None:
        """Make it ready; returns when it is ready or unavailable, and raises neither.

        May be called again after a failure, and by several callers at once.
        """

    def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer in parts of the text and a last `Finished`.

        Closing the generator, or cancelling the task that reads it, stops the work at its source
        within a second.

        Raises:
            ModelError: the request cannot be answered, or broke on its way. Text that came
                before stays valid as a cut answer.
        """

    async def aclose(self) -> None:
        """Stop all work and free what it holds; safe to call twice."""


class TextGate:
    """Pieces of one text as they come in, as valid Unicode; no piece ends within a character."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """The text that is now certain; may be empty."""
        text = self._held + text
        keep = len(text)
        if keep and "\ud800" <= text[-1] <= "\udbff":  # its second half may come yet
            keep -= 1
        while keep and len(text) - keep < _HELD_CHARS and text[keep - 1] == _CUT_CHARACTER:
            keep -= 1
        self._held = text[keep:]
        return clean(text[:keep])

    def end(self, *, cut: bool) -> str:
        """What is left at the end of the text; a character that was cut is dropped.

        Args:
            cut: the text did not end by itself, so a U+FFFD at its end is such a character too.
        """
        held, self._held = self._held, ""
        if held and "\ud800" <= held[-1] <= "\udbff":
            held = held[:-1]
        return "" if cut else clean(held)


async def gated(events: AsyncGenerator[StreamEvent, None]) -> AsyncGenerator[StreamEvent, None]:
    """A model's stream as the rest of the arena may see it.

    Its text is text (see `clean` and `TextGate`), and of `ANSWER_CHARS` at most: then the stream
    is closed, and the answer ends with the reason `size`. Closing it closes the model's.
    """
    gate, room = TextGate(), ANSWER_CHARS
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                if tail := gate.end(cut=event.reason is not FinishReason.STOP):
                    yield Delta(tail[:room])
                yield replace(event, served_model=clean_line(event.served_model))
                return
            text = gate.push(event.text[: room + _HELD_CHARS])
            if text:
                yield Delta(text[:room])
            room -= len(text)
            if room <= 0:
                yield Finished(FinishReason.SIZE)
                return


def clean_line(text: str) -> str:
    """A name or a short note from elsewhere, in one line of at most `LINE_CHARS` characters."""
    return clean(" ".join(text[:LINE_CHARS].split()))


def slug_of(name: str) -> str:
    """A name in lower-case letters, digits and dots with single dashes between; may be empty."""
    return _NOT_IN_A_SLUG.sub("-", name.lower()).strip("-.")
