"""Runs a model with ONNX Runtime, in a process of its own: a CPU's quickest way, in 4 bits.

`worker.py` is that process; here are its limits, its start and its end.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import count

from arena.concurrency import Stoppable, stop_with_main_thread
from arena.errors.models import CacheTooSmall, EngineCrashed, ModelError, OutOfMemory
from arena.errors.reasons import ErrorReason
from arena.models.local.device import compute_threads
from arena.models.local.engine import CrashHandler, Sink, TokenRequest, Tokens, check_context
from arena.models.local.memory import GIB, MAX_RUNNING, free_ram, gib, reservations
from arena.models.local.onnx.client import WorkerLink
from arena.models.local.onnx.folder import GenAiModel
from arena.models.local.onnx.protocol import RunnerInfo, WorkerConfig

log = logging.getLogger(__name__)

MAX_PREFIXES, PREFIX_TTL_S = 8, 600.0
"""Sequences that are kept for the next turn of their conversation, and for how long."""
CHUNK, CHUNK_OF_LARGE = 32, 16
"""Tokens of a prompt that one step prefills, between which the other answers go on: a step should
take less than a second on a laptop. Fixed for a model, since the last bits depend on it."""
LARGE_BYTES = GIB
"""Weights of this size or more make a large model."""
CACHE_TOKENS = 32768
"""Size of the KV cache, where memory allows; more, if the model's context is longer."""
MIN_CACHE_TOKENS = 1024

_WEIGHTS_FACTOR = 1.25
"""What weights take in memory, of what they take on the disk: they are laid out for products."""
_CACHE_SHARE = 0.5
"""Of the memory that the weights leave; the rest is other programs'."""


def plan_tokens(model: GenAiModel, free: int, cap_gib: float | None) -> int:
    """Tokens that the KV cache may hold, within what is free.

    Args:
        model: gives the sizes.
        free: bytes of memory.
        cap_gib: upper limit of the cache.

    Raises:
        OutOfMemory: not even one short answer has room.
    """
    need = int(model.weights_bytes * _WEIGHTS_FACTOR)
    per_token = model.shape.kv_bytes_per_token
    affordable = int((free - need) * _CACHE_SHARE // per_token)
    if cap_gib is not None:
        affordable = min(affordable, int(cap_gib * GIB // per_token))
    least = min(MIN_CACHE_TOKENS, model.shape.context)
    if affordable < least:
        raise OutOfMemory(
            f"weights: {need} bytes, cache: {affordable} tokens at {per_token} bytes",
            need=gib(need + least * per_token / _CACHE_SHARE),
            free=gib(free),
            remedy=ErrorReason.DO_MORE_MEMORY if need > free else ErrorReason.DO_RAISE_CACHE,
        )
    return min(affordable, max(CACHE_TOKENS, model.shape.context))


class OnnxEngine(Stoppable):
    """See the module. Not started until `start()`.

    Args:
        model: what lies in the folder.
        max_cache_gib: upper limit of the KV cache.
        on_crash: called from a thread of the engine when the worker died.
    """

    notice = ""

    def __init__(
        self,
        model: GenAiModel,
        *,
        max_cache_gib: float | None = None,
        on_crash: CrashHandler | None = None,
    ) -> None:
        self._model = model
        self._max_cache_gib = max_cache_gib
        self._on_crash = on_crash or (lambda _: None)
        self._threads = compute_threads()
        self._link: WorkerLink | None = None
        self._info: RunnerInfo | None = None
        self._cache_tokens = 0
        self._numbers = count(1)
        stop_with_main_thread(self)

    @property
    def worker_pid(self) -> int:
        """Id of the worker process, which may have ended; 0 before the first start."""
        return 0 if self._link is None else self._link.pid

    def facts(self) -> Mapping[str, str]:
        """Engine, cache, and what the worker takes."""
        found = {"cache_tokens": str(self._cache_tokens), "threads": str(self._threads)}
        if self._info is not None:
            info = self._info
            found = {"engine": info.engine, **info.versions, **found}
            found["together"] = str(info.max_batch_size)
            bytes_per_token = self._model.shape.kv_bytes_per_token // self._model.shape.itemsize
            found["kv_bytes_per_token"] = str(bytes_per_token * info.kv_itemsize)
            found["memory_mib"] = str(round(_resident(self.worker_pid) / 1024**2))
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
        reservations.release(self)
        self._cache_tokens = plan_tokens(self._model, free_ram(), self._max_cache_gib)
        reservations.hold(self, self._cache_tokens * self._model.shape.kv_bytes_per_token)
        link = WorkerLink(self._worker_config(), self._on_crash)
        self._link = link
        try:
            self._info = link.start()
        except ModelError:
            self.stop()
            raise
        if self._info.why_unbatched:
            folder = self._model.folder.name
            log.warning("%s: answers are written one by one: %s", folder, self._info.why_unbatched)

    def _worker_config(self) -> WorkerConfig:
        model = self._model
        return WorkerConfig(
            folder=str(model.folder.resolve()),
            threads=self._threads,
            cache_tokens=self._cache_tokens,
            max_running=MAX_RUNNING,
            chunk=CHUNK if model.weights_bytes < LARGE_BYTES else CHUNK_OF_LARGE,
            context=model.shape.context,
            short_context=model.shape.short_context if model.has_longrope else 0,
            graph=model.graph,
            max_prefixes=MAX_PREFIXES,
            prefix_ttl_s=PREFIX_TTL_S,
        )

    def stop(self) -> None:
        """End the worker."""
        reservations.release(self)
        if self._link is not None:
            self._link.stop()

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered."""
        check_context(request, self._model.shape.context)
        if request.total_tokens > self._cache_tokens:
            raise CacheTooSmall(needed_tokens=request.total_tokens, cache_tokens=self._cache_tokens)

    async def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, a few tokens at a time."""
        link = self._link
        if link is None:
            raise EngineCrashed("the worker was not started")
        number = next(self._numbers)
        sink = Sink()
        link.submit(number, request, sink)
        try:
            async with aclosing(sink.stream(lambda: link.alive)) as batches:
                async for tokens in batches:
                    yield tokens
        finally:
            if sink.finished:
                link.forget(number)
            else:
                link.cancel(number)


def _resident(pid: int) -> int:
    """Bytes of memory that a process takes; 0 if it has ended."""
    import psutil  # type: ignore[import-untyped]

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
