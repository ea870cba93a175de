"""What an engine is: token ids in, token ids out, and nothing about text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from arena.domain import FinishReason
from arena.errors.models import ContextTooLong, EngineCrashed, ModelError

Foreign: TypeAlias = Any
"""An object of a library that has no types, or types too loose to check against."""

LOOK_S = 1.0
"""How often a reader that gets no tokens looks whether the engine still lives."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One answer to write.

    Attributes:
        ids: the prompt.
        max_new_tokens: the answer's budget, its stop token included.
        temperature: 0 means that the likeliest token is taken.
        seed: the same request with the same seed gives the same tokens, alone or in a batch.
        stop_ids: tokens that end the answer.
    """

    ids: Sequence[int]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop_ids: frozenset[int]

    @property
    def total_tokens(self) -> int:
        """Prompt plus the longest answer that is allowed."""
        return len(self.ids) + self.max_new_tokens


@dataclass(frozen=True, slots=True)
class Tokens:
    """New tokens of an answer; `finish` is set on the last ones (which may be none)."""

    ids: list[int]
    finish: FinishReason | None = None


def finish_of(request: TokenRequest, last: int | None) -> FinishReason:
    """Why an answer that ended by itself ended."""
    return FinishReason.STOP if last in request.stop_ids else FinishReason.LENGTH


def check_context(request: TokenRequest, context: int) -> None:
    """Refuse what passes the model's context.

    Raises:
        ContextTooLong: with the numbers.
    """
    if request.total_tokens > context:
        raise ContextTooLong(
            prompt_tokens=len(request.ids),
            max_new_tokens=request.max_new_tokens,
            context_tokens=context,
        )


class TokenEngine(Protocol):
    """Runs a loaded model."""

    @property
    def notice(self) -> str:
        """Code of something people should know although it works, else empty."""

    def facts(self) -> Mapping[str, str]:
        """What the Models tab and the record want to know."""

    def start(self) -> None:
        """Make it ready and try it once; blocks, so it is called in a thread.

        Raises:
            ModelError: it cannot work here.
        """

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered.

        Raises:
            ContextTooLong, CacheTooSmall: with the numbers.
        """

    def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, a few tokens at a time; closing the generator stops the work.

        Raises:
            ModelError: it broke on its way.
        """

    def stop(self) -> None:
        """Stop all work and free the memory; blocks; safe to call twice."""


CrashHandler = Callable[[ModelError], None]


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A loaded model with what runs it.

    Attributes:
        precision: short name of the weights' number format, as it stands in ids.
        context: longest prompt plus answer.
        stop_ids: tokens that end an answer.
        source, revision: what was really loaded.
        facts: for the Models tab and the record.
        notice: code of something people should know although it works, else empty.
    """

    engine: TokenEngine
    tokenizer: Foreign
    precision: str
    context: int
    stop_ids: frozenset[int]
    source: str
    revision: str
    facts: Mapping[str, str]
    notice: str = ""


class Sink:
    """Carries an answer's tokens from an engine's thread to the coroutine that reads them.

    Made by the reader, so that it remembers the reader's event loop: engines serve several loops.

    Attributes:
        finished: whether the last tokens, or an error, were taken.
    """

    def __init__(self) -> None:
        self.finished = False
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Tokens | ModelError] = asyncio.Queue()

    def push(self, item: Tokens | ModelError) -> None:
        """Hand over; from any thread. Dropped if the reader's loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def stream(self, is_alive: Callable[[], bool]) -> AsyncGenerator[Tokens, None]:
        """All tokens, up to the last ones.

        Args:
            is_alive: whether the engine may still hand over tokens.

        Raises:
            ModelError: what the engine handed over, or that it is gone.
        """
        while not self.finished:
            tokens = await self.take(LOOK_S)
            if tokens is not None:
                yield tokens
            elif not is_alive():
                self.finished = True
                raise EngineCrashed("the engine is gone")

    async def take(self, timeout_s: float) -> Tokens | None:
        """All that has come since the last call, or None if nothing came in time.

        Raises:
            ModelError: what the engine handed over.
        """
        try:
            async with asyncio.timeout(timeout_s):
                item = await self._queue.get()
        except TimeoutError:
            return None
        if isinstance(item, ModelError):
            self.finished = True
            raise item
        ids = list(item.ids)
        while item.finish is None and not self._queue.empty():
            following = self._queue.get_nowait()
            if isinstance(following, ModelError):
                # Delivered at the next call, so that the tokens before it are not lost.
                self._queue.put_nowait(following)
                break
            item = following
            ids.extend(item.ids)
        self.finished = item.finish is not None
        return Tokens(ids, item.finish)
