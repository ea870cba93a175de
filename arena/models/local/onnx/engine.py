"""Runs a model with ONNX Runtime, in a process of its own: a CPU's quickest way, in 4 bits.

`onnx_worker.py` is that process; here are its start, its bounds and its end.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from itertools import count

from arena.concurrency import Stoppable, stop_with_main_thread
from arena.errors.models import (
    CacheTooSmall,
    ContextTooLong,
    EngineCrashed,
    ModelError,
    OutOfMemory,
)
from arena.errors.reasons import ErrorReason
from arena.models.local.device import compute_threads
from arena.models.local.engine import CrashHandler, Sink, TokenRequest, Tokens
from arena.models.local.memory import GIB, MAX_RUNNING, free_ram, gib, promises
from arena.models.local.onnx.client import WorkerLink
from arena.models.local.onnx.folder import GenAiModel
from arena.models.local.onnx.protocol import Plan, WorkerReady

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a reader that gets nothing looks whether the worker still lives."""
KEEP, KEEP_S = 8, 600.0
"""Texts that are kept for the next turn of their conversation, and for how long."""

_WEIGHTS = 1.25
"""What weights take in memory, of what they take on the disk: products are laid out anew."""
_SHARE = 0.5
"""Of the memory that the weights leave, for keys and values; the rest is other programs'."""
_WANTED = 32768
"""Tokens in the cache, where memory allows; more, if the model's context is longer."""
_LEAST = 1024


def chunk_of(model: GenAiModel) -> int:
    """Tokens that are read in one step, between which the other answers go on.

    Fixed for a model, since results depend on it in their last bits. A large model takes its time
    over each token, and a step should take less than a second on a laptop.
    """
    return 32 if model.weights_bytes < GIB else 16


def plan_tokens(model: GenAiModel, free: int, cap_gib: float | None) -> int:
    """Tokens whose keys and values may be held, within what is free.

    Raises:
        OutOfMemory: not even one short answer has room.
    """
    need = int(model.weights_bytes * _WEIGHTS)
    per_token = model.shape.kv_bytes_per_token
    affordable = int((free - need) * _SHARE // per_token)
    if cap_gib is not None:
        affordable = min(affordable, int(cap_gib * GIB // per_token))
    least = min(_LEAST, model.shape.context)
    if affordable < least:
        raise OutOfMemory(
            f"weights: {need} bytes, cache: {affordable} tokens at {per_token} bytes",
            need=gib(need + least * per_token / _SHARE),
            free=gib(free),
            remedy=ErrorReason.DO_MORE_MEMORY if need > free else ErrorReason.DO_RAISE_CACHE,
        )
    return min(affordable, max(_WANTED, model.shape.context))


class OnnxEngine(Stoppable):
    """See the module. Not started until `start()`.

    Args:
        model: what lies in the folder.
        max_cache_gib: upper limit of the cache.
        on_crash: called from a thread of the engine when the worker died.
        threads: that compute a step; None takes what suits this machine.
        keep: texts that are kept for a continuation.
    """

    def __init__(
        self,
        model: GenAiModel,
        *,
        max_cache_gib: float | None = None,
        on_crash: CrashHandler | None = None,
        threads: int | None = None,
        keep: int = KEEP,
    ) -> None:
        self._model = model
        self._max_cache_gib = max_cache_gib
        self._on_crash = on_crash or (lambda _: None)
        self._threads = threads or compute_threads()
        self._keep = keep
        self._link: WorkerLink | None = None
        self._ready: WorkerReady | None = None
        self._cache_tokens = 0
        self._numbers = count(1)
        stop_with_main_thread(self)

    @property
    def notice(self) -> str:
        """Nothing to say."""
        return ""

    @property
    def open_requests(self) -> int:
        """Requests whose tokens somebody still waits for."""
        return 0 if self._link is None else self._link.open_requests

    def facts(self) -> Mapping[str, str]:
        """Engine, cache, and what the worker takes."""
        found = {"cache_tokens": str(self._cache_tokens), "threads": str(self._threads)}
        if self._link is not None and self._ready is not None:
            ready = self._ready
            found = {"engine": ready.engine, **ready.versions, **found}
            found["together"] = str(ready.together)
            bytes_per_token = self._model.shape.kv_bytes_per_token // self._model.shape.itemsize
            found["kv_bytes_per_token"] = str(bytes_per_token * ready.kv_itemsize)
            found["memory_mib"] = str(round(_resident(self._link.pid) / 1024**2))
        return found

    def start(self) -> None:
        """Start the worker if it does not run, and let it write something; blocks.

        Raises:
            OutOfMemory: weights or cache do not fit.
            EngineCrashed: the worker could not load the model.
        """
        if self._link is not None:
            if self._link.alive:
                return
            self._link.stop()
        promises.give_back(self)
        self._cache_tokens = plan_tokens(self._model, free_ram(), self._max_cache_gib)
        promises.hold(self, self._cache_tokens * self._model.shape.kv_bytes_per_token)
        link = WorkerLink(self._plan(), self._on_crash)
        self._link = link
        try:
            self._ready = link.start()
        except ModelError:
            self.stop()
            raise
        if self._ready.why_alone:
            folder = self._model.folder.name
            log.warning("%s: answers are written one by one: %s", folder, self._ready.why_alone)

    def _plan(self) -> Plan:
        model = self._model
        return Plan(
            folder=str(model.folder.resolve()),
            threads=self._threads,
            cache_tokens=self._cache_tokens,
            running=MAX_RUNNING,
            chunk=chunk_of(model),
            context=model.shape.context,
            short_context=model.shape.short_context if model.has_longrope else 0,
            graph=model.graph,
            keep=self._keep,
            keep_s=KEEP_S,
        )

    def stop(self) -> None:
        """End the worker."""
        promises.give_back(self)
        if self._link is not None:
            self._link.stop()

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered."""
        context = self._model.shape.context
        if request.total_tokens > context:
            raise ContextTooLong(
                prompt_tokens=len(request.ids),
                max_new_tokens=request.max_new_tokens,
                context_tokens=context,
            )
        if request.total_tokens > self._cache_tokens:
            raise CacheTooSmall(needed_tokens=request.total_tokens, cache_tokens=self._cache_tokens)

    async def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, in pieces."""
        link = self._link
        if link is None:
            raise EngineCrashed("the worker was not started")
        number = next(self._numbers)
        sink = Sink()
        finished = False
        link.write(number, request, sink)
        try:
            while not finished:
                tokens = await sink.take(LOOK_S)
                if tokens is None:
                    if not link.alive:
                        raise EngineCrashed("the worker is gone")
                    continue
                finished = tokens.finish is not None
                yield tokens
        except ModelError:
            finished = True
            raise
        finally:
            link.forget(number, cancel=not finished)


def _resident(pid: int) -> int:
    """Bytes of memory that a process takes; 0 if it has ended."""
    import psutil  # type: ignore[import-untyped]

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
