"""Runs a transformers model: a shared batch for most requests, `generate` for the rest.

Outside the batch run: everything, where continuous batching does not work; and requests that may
pass the length up to which LongRoPE's short factors hold, since one such request would change the
factors of the whole batch, silently.
"""

from __future__ import annotations

import logging
import uuid
from asyncio import wrap_future
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from arena.concurrency import Stoppable, stop_with_main_thread
from arena.errors.models import CacheTooSmall, EngineCrashed, NotFinite, OutOfMemory
from arena.models.local.engine import (
    CrashHandler,
    Foreign,
    Sink,
    TokenRequest,
    Tokens,
    check_context,
)
from arena.models.local.memory import ModelShape, free_memory, plan_cache
from arena.models.local.transformers.batch import ContinuousBatchRunner, blocks_for
from arena.models.local.transformers.single import GenerateRunner, clone_sharing_weights

log = logging.getLogger(__name__)


class TransformersEngine(Stoppable):
    """See the module. Not started until `start()`.

    Args:
        model: a loaded causal language model; nothing else may run it from now on.
        shape: its sizes.
        device: `cuda` or `cpu`.
        batching: False sends everything through `generate`.
        max_cache_gib: upper limit of the shared KV cache.
        on_crash: called from the thread that died.
    """

    def __init__(
        self,
        model: Foreign,
        *,
        shape: ModelShape,
        device: str,
        batching: bool = True,
        max_cache_gib: float | None = None,
        on_crash: CrashHandler | None = None,
    ) -> None:
        self._model = model
        self._shape = shape
        self._device = device
        self._batching = batching
        self._max_cache_gib = max_cache_gib
        self._on_crash = on_crash or (lambda _: None)
        self._batch: ContinuousBatchRunner | None = None
        self._generate_runner = GenerateRunner(clone_sharing_weights(model), device)
        stop_with_main_thread(self)

    @property
    def notice(self) -> str:
        """`one_at_a_time` where answers wait for each other."""
        return "" if self._batch is not None else "one_at_a_time"

    def facts(self) -> Mapping[str, str]:
        """Engine and cache."""
        if self._batch is None:
            return {"engine": "transformers-generate"}
        return {"engine": "transformers-cb", "cache_tokens": str(self._batch.cache_tokens)}

    def start(self) -> None:
        """Start what does not run; without continuous batching if that does not work here.

        Raises:
            OutOfMemory: there is no room for a cache.
            NotFinite: the model's scores are no numbers.
            EngineCrashed: continuous batching worked before, and no longer does.
        """
        self._generate_runner.start()
        if not self._batching or (self._batch is not None and self._batch.running):
            return
        if self._batch is not None:
            self._batch.stop()
        try:
            free = free_memory(self._device)
            plan = plan_cache(
                self._shape, device=self._device, free=free, cap_gib=self._max_cache_gib
            )
            batch = ContinuousBatchRunner(self._model, plan, self._device, self._on_crash)
            batch.start()
        except (OutOfMemory, NotFinite):
            self.stop()
            raise
        except Exception as error:
            if self._batch is not None:
                raise EngineCrashed(f"not restarted: {type(error).__name__}: {error}") from error
            log.exception("continuous batching does not work here; answers come one at a time")
        else:
            self._batch = batch

    def stop(self) -> None:
        """Stop both threads and free the cache."""
        if self._batch is not None:
            self._batch.stop()
        self._generate_runner.stop()

    def _batch_for(self, request: TokenRequest) -> ContinuousBatchRunner | None:
        """The shared batch; None for a request that runs outside it."""
        return self._batch if request.total_tokens <= self._shape.short_context else None

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered."""
        check_context(request, self._shape.context)
        batch = self._batch_for(request)
        if batch is None:
            room = self._shape.tokens_within(free_memory(self._device))
        else:
            room = batch.cache_tokens
        if request.total_tokens > room:
            raise CacheTooSmall(needed_tokens=request.total_tokens, cache_tokens=room)

    def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, a few tokens at a time."""
        batch = self._batch_for(request)
        return self._unbatched(request) if batch is None else self._batched(batch, request)

    async def _batched(
        self, batch: ContinuousBatchRunner, request: TokenRequest
    ) -> AsyncGenerator[Tokens, None]:
        blocks = blocks_for(request)
        semaphore = batch.semaphore
        permit = semaphore.acquire(blocks)
        request_id = uuid.uuid4().hex
        sink = Sink()
        try:
            await wrap_future(permit)
            batch.submit(request_id, request, sink)
            async with aclosing(sink.stream(lambda: batch.running)) as batches:
                async for tokens in batches:
                    yield tokens
        finally:
            if sink.finished:
                batch.forget(request_id)
            else:
                batch.cancel(request_id)
            semaphore.release(blocks, permit)

    async def _unbatched(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        sink = Sink()
        runner = self._generate_runner
        job = runner.submit(request, sink.push)
        try:
            async with aclosing(sink.stream(lambda: runner.alive)) as batches:
                async for tokens in batches:
                    yield tokens
        finally:
            job.cancelled.set()
