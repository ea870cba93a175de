"""Runs a transformers model on the shared GPUs of Hugging Face Spaces (ZeroGPU).

The app's own process never has a GPU there. `spaces.GPU` runs a generator in a process that is
forked for it, has the weights by that and a GPU for a stated number of seconds, and may serve
later calls as well. What goes in and comes out is pickled; nothing else is shared. The only way to
stop it is to close the generator, which takes effect when the process yields the next time:

- so it yields at least every `BEAT_S`, with or without tokens;
- and a step that is under way is waited for, since a generator that runs cannot be closed.

Every call gets a GPU and a process of its own, so that answers are written side by side; where the
platform has no free GPU, or allows the Space no more of them, it lets a call wait (up to a minute).
`SLOTS` bounds the threads that wait here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import queue
import re
import threading
import time
from asyncio import wrap_future
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from arena.concurrency import Stoppable, stop_with_main_thread
from arena.errors.models import (
    CacheTooSmall,
    EngineCrashed,
    ModelError,
    NotFinite,
    OutOfMemory,
    Overloaded,
    QuotaSpent,
)
from arena.errors.reasons import ErrorReason
from arena.models.local.engine import Foreign, TokenRequest, Tokens, check_context
from arena.models.local.memory import ModelShape, free_memory, gib, is_out_of_memory
from arena.models.local.transformers.semaphore import WeightedSemaphore
from arena.models.local.transformers.single import GenerateRunner

log = logging.getLogger(__name__)

BEAT_S = 0.2
"""Longest time between two yields of the forked process."""
CLOSE_S = 0.5
"""How long a reader that leaves waits for the end; a wait for a GPU ends later, by itself."""
STOP_S = 5.0

FORK_S = 8.0
"""For a process, and for the weights' way from the disk to the GPU, which counts as use."""
SECONDS_PER_TOKEN = 0.03
"""What `generate` needs for one token of a model of 4 billion parameters; an estimate on the safe
side, since a call that exceeds its time may be cut off."""
SECONDS_PER_PROMPT_TOKEN = 0.0005
SHORTEST_S, LONGEST_S = 10, 120

_THREADS = min(32, (os.cpu_count() or 1) + 4)  # those of `asyncio.to_thread`
SLOTS = max(2, _THREADS // 2)
"""Answers at a time; half of the threads, since the rest of the app needs some too."""

_WAIT = re.compile(r"try again in ((?:\d+ days?, )?\d+:\d\d:\d\d)")
_QUOTA_REMEDIES = {
    "illegal duration": ErrorReason.DO_FEWER_TOKENS,
    "pending credits": ErrorReason.DO_LET_FINISH,
    "proxy token": ErrorReason.DO_RELOAD_PAGE,
}


def gpu_seconds(request: TokenRequest) -> int:
    """GPU seconds to ask for: less of them comes sooner, and is allowed to more visitors."""
    reading = len(request.ids) * SECONDS_PER_PROMPT_TOKEN
    writing = request.max_new_tokens * SECONDS_PER_TOKEN
    return min(LONGEST_S, max(SHORTEST_S, math.ceil(FORK_S + reading + writing)))


_SENT: Mapping[str, type[ModelError]] = {e.code: e for e in (OutOfMemory, NotFinite)}
"""What a failure there can be, beside a crash, by code."""


@dataclass(frozen=True, slots=True)
class GpuFailure:
    """A typed error in plain values: an exception with keyword arguments cannot be pickled."""

    code: str
    detail: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, error: ModelError) -> GpuFailure:
        """To be sent to the app's process."""
        return cls(error.code, error.detail, dict(error.values))

    def error(self) -> ModelError:
        """The error again."""
        return _SENT.get(self.code, EngineCrashed)(self.detail, **self.values)


GpuOutput: TypeAlias = Tokens | GpuFailure
Task: TypeAlias = Callable[[TokenRequest], Generator[GpuOutput, None, None]]


class ZeroGpuEngine(Stoppable):
    """See the module.

    Must be made before the page is served: then the weights are moved out of this process, and a
    Space that has decorated nothing by then is refused.

    Args:
        model: a loaded causal language model, on the GPU that `spaces` imitates.
        shape: its sizes.
        device: where it lies.
        slots: answers at a time.
    """

    notice = ""

    def __init__(
        self,
        model: Foreign,
        *,
        shape: ModelShape,
        device: str,
        slots: int = SLOTS,
    ) -> None:
        import spaces  # its package is there on a ZeroGPU Space, and needed nowhere else

        self._shape = shape
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        self._room = shape.tokens_within(free_memory(device) - weights)
        # Its thread is started in the forked process alone: threads do not live through a fork.
        self._runner = GenerateRunner(model, device)
        self._on_gpu: Task = spaces.GPU(self._write, duration=gpu_seconds)
        self._semaphore = WeightedSemaphore(slots, slots)
        self._calls: set[_Call] = set()
        self._stopped = False
        stop_with_main_thread(self)

    def facts(self) -> Mapping[str, str]:
        """The engine."""
        return {"engine": "transformers-zerogpu"}

    def start(self) -> None:
        """There is nothing to try: a GPU comes with a visitor's request, and on their account."""
        self._stopped = False

    def stop(self) -> None:
        """End all calls; one that still waits for a GPU ends when it gets it."""
        self._stopped = True
        calls = list(self._calls)
        for call in calls:
            call.left = True
        end = time.monotonic() + STOP_S
        for call in calls:
            call.close(max(0.0, end - time.monotonic()))

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered."""
        check_context(request, self._shape.context)
        if request.total_tokens > self._room:
            raise CacheTooSmall(needed_tokens=request.total_tokens, cache_tokens=self._room)

    def _write(self, request: TokenRequest) -> Generator[GpuOutput, None, None]:
        """In the forked process: what `generate` writes.

        It has one call at a time, but maybe several one after another.
        """
        mailbox = _Mailbox()
        self._runner.start()
        job = self._runner.submit(request, mailbox.push)
        try:
            while True:
                # Asked before the mailbox is emptied: what a dying thread still said is not lost.
                alive = self._runner.alive
                output = mailbox.take(BEAT_S)
                if output == Tokens([]) and not alive:
                    output = GpuFailure.of(EngineCrashed("the thread that writes is gone"))
                yield output
                if isinstance(output, GpuFailure) or output.finish is not None:
                    return
        finally:
            job.cancelled.set()
            self._runner.stop()

    async def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, a few tokens at a time.

        Raises:
            QuotaSpent: the visitor has no GPU time left.
            Overloaded: no GPU came free.
            OutOfMemory, NotFinite, EngineCrashed: it broke on its way.
        """
        permit = self._semaphore.acquire(1)
        try:
            await wrap_future(permit)
            if self._stopped:
                raise EngineCrashed("the engine is stopped")  # noqa: TRY301 - the permit is released
        except BaseException:
            self._semaphore.release(1, permit)
            raise
        call = _Call(self._on_gpu(request), lambda: self._ended(call, permit))
        self._calls.add(call)
        try:
            while True:
                # Not a thread of our own: `spaces` finds the visitor's account in the context.
                tokens = await asyncio.to_thread(self._step, call)
                if tokens.ids or tokens.finish is not None:
                    yield tokens
                if tokens.finish is not None:
                    return
        finally:
            closing = asyncio.get_running_loop().run_in_executor(None, call.close, CLOSE_S)
            await asyncio.wait([closing], timeout=CLOSE_S)

    def _step(self, call: _Call) -> Tokens:
        """In a thread."""
        try:
            output = call.advance()
        except ModelError:
            raise
        except Exception as error:
            raise typed(error) from error
        if output is None:
            raise EngineCrashed("the engine is stopped" if self._stopped else "no end came")
        if isinstance(output, GpuFailure):
            raise output.error()
        return output

    def _ended(self, call: _Call, permit: Foreign) -> None:
        self._calls.discard(call)
        self._semaphore.release(1, permit)


class _Call:
    """One generator of `spaces`, which one thread at a time advances or closes.

    Attributes:
        left: it is no longer read; a thread that is inside a step closes it right after.
    """

    def __init__(self, steps: Generator[GpuOutput, None, None], on_end: Callable[[], None]) -> None:
        self._steps = steps
        self._on_end = on_end
        self._lock = threading.Lock()
        self._over = False
        self.left = False

    def advance(self) -> GpuOutput | None:
        """The next output, or None after the last one; blocks.

        Raises:
            Exception: whatever `spaces` raises.
        """
        with self._lock:
            going_on = False
            try:
                output = None if self.left else next(self._steps, None)
                going_on = output is not None and not self.left
                return output
            finally:
                if not going_on:
                    self._finish()

    def close(self, patience_s: float) -> None:
        """End it; waits so long for a step that is under way, and leaves the end to it then."""
        self.left = True
        if self._lock.acquire(timeout=patience_s):
            try:
                self._finish()
            finally:
                self._lock.release()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._steps.close()
        except Exception:
            log.warning("a GPU call did not close as it should", exc_info=True)
        finally:
            self._on_end()


class _Mailbox:
    """Carries tokens from the thread that writes to the generator, in the forked process."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Tokens | ModelError] = queue.SimpleQueue()

    def push(self, item: Tokens | ModelError) -> None:
        """Hand over."""
        self._items.put(item)

    def take(self, timeout_s: float) -> GpuOutput:
        """All that has come since the last call; no tokens if nothing came in time."""
        ids: list[int] = []
        try:
            item = self._items.get(timeout=timeout_s)
            while isinstance(item, Tokens):
                ids += item.ids
                if item.finish is not None:
                    return Tokens(ids, item.finish)
                item = self._items.get_nowait()
        except queue.Empty:
            return Tokens(ids)
        if ids:
            self._items.put(item)  # it is the last one, so the order stays
            return Tokens(ids)
        return GpuFailure.of(item)


def typed(error: Exception) -> ModelError:
    """What `spaces` raises, as an error with a remedy.

    It raises Gradio's error with a title and a sentence; what went wrong inside the process is
    told by the name of the exception's class alone.
    """
    title = getattr(error, "title", "")
    detail = f"{type(error).__name__}: {title}: {getattr(error, 'message', error)}"
    words = detail.lower()
    if is_out_of_memory(error) or "outofmemory" in words:
        # The process is gone, and this one can only imagine how much was free.
        return OutOfMemory(
            detail, need=ErrorReason.MORE, free=gib(0), remedy=ErrorReason.DO_SHORTER
        )
    if "no gpu was available" in words:
        return Overloaded(detail)
    return _quota_spent(words, detail) or EngineCrashed(detail)


def _quota_spent(words: str, detail: str) -> QuotaSpent | None:
    for sign, remedy in _QUOTA_REMEDIES.items():
        if sign in words:
            return QuotaSpent(detail, remedy=remedy)
    if "quota exceeded" not in words:
        return None
    if found := _WAIT.search(words):
        return QuotaSpent(detail, remedy=ErrorReason.DO_SIGN_IN_OR_WAIT, wait=found[1])
    return QuotaSpent(detail, remedy=ErrorReason.DO_SIGN_IN)
