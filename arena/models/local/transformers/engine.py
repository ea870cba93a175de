"""Runs a transformers model: a shared batch for most requests, `generate` for the rest.

Alone go: everything, where continuous batching does not work; and requests that may pass the
length up to which LongRoPE's short factors hold, since one such request would change the factors
of the whole batch, silently.
"""

from __future__ import annotations

import logging
import uuid
from asyncio import wrap_future
from collections.abc import AsyncGenerator, Mapping

from arena.concurrency import Stoppable, stop_with_main_thread
from arena.errors.models import (
    CacheTooSmall,
    ContextTooLong,
    EngineCrashed,
    ModelError,
    OutOfMemory,
)
from arena.models.local.engine import CrashHandler, Foreign, Sink, TokenRequest, Tokens
from arena.models.local.memory import ModelShape, free_memory, plan_cache
from arena.models.local.transformers.batch import ContinuousBatchRunner, blocks_for
from arena.models.local.transformers.single import GenerateRunner, second_shell

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a reader that gets nothing looks whether the engine still lives."""


class TransformersEngine(Stoppable):
    """See the module. Not started until `start()`.

    Args:
        model: a loaded causal language model; nothing else may run it from now on.
        shape: its sizes.
        device: `cuda` or `cpu`.
        batching: False sends everything through `generate`.
        max_cache_gib: upper limit of the shared cache.
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
        self._solo = GenerateRunner(second_shell(model), device)
        stop_with_main_thread(self)

    @property
    def notice(self) -> str:
        """`one_at_a_time` where answers wait for each other."""
        return "" if self._batch is not None else "one_at_a_time"

    @property
    def open_requests(self) -> int:
        """Requests in the shared batch whose tokens somebody still waits for."""
        return 0 if self._batch is None else self._batch.open_requests

    def facts(self) -> Mapping[str, str]:
        """Engine and cache."""
        if self._batch is None:
            return {"engine": "transformers-generate"}
        return {"engine": "transformers-cb", "cache_tokens": str(self._batch.cache_tokens)}

    def start(self) -> None:
        """Start what does not run; without continuous batching if that does not work here.

        Raises:
            OutOfMemory: there is no room for a cache.
            EngineCrashed: continuous batching worked before, and does not any more.
        """
        self._solo.start()
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
        except OutOfMemory:
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
        self._solo.stop()

    def _goes_alone(self, request: TokenRequest) -> bool:
        return self._batch is None or request.total_tokens > self._shape.short_context

    def check(self, request: TokenRequest) -> None:
        """Refuse what could never be answered."""
        if request.total_tokens > self._shape.context:
            raise ContextTooLong(
                prompt_tokens=len(request.ids),
                max_new_tokens=request.max_new_tokens,
                context_tokens=self._shape.context,
            )
        if self._batch is None or self._goes_alone(request):
            room = self._solo_room()
        else:
            room = self._batch.cache_tokens
        if request.total_tokens > room:
            raise CacheTooSmall(needed_tokens=request.total_tokens, cache_tokens=room)

    def _solo_room(self) -> int:
        """Tokens that a request of its own may have. Linux ends a process that asks for more."""
        per_token = self._shape.kv_bytes_per_token + self._shape.working_bytes_per_token
        return int(free_memory(self._device) * 0.9 / per_token)

    def generate(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        """The answer, in pieces."""
        if self._batch is None or self._goes_alone(request):
            return self._alone(request)
        return self._together(self._batch, request)

    async def _together(
        self, batch: ContinuousBatchRunner, request: TokenRequest
    ) -> AsyncGenerator[Tokens, None]:
        blocks = blocks_for(request)
        admission = batch.admission
        place = admission.ask(blocks)
        request_id = uuid.uuid4().hex
        sink = Sink()
        finished = False
        try:
            await wrap_future(place)
            batch.submit(request_id, request, sink)
            while not finished:
                tokens = await sink.take(LOOK_S)
                if tokens is None:
                    if not batch.running:
                        raise EngineCrashed("the generation thread is gone")
                    continue
                finished = tokens.finish is not None
                yield tokens
        except ModelError:
            finished = True
            raise
        finally:
            if finished:
                batch.forget(request_id)
            else:
                batch.cancel(request_id)
            admission.leave(blocks, place)

    async def _alone(self, request: TokenRequest) -> AsyncGenerator[Tokens, None]:
        sink = Sink()
        job = self._solo.submit(request, sink)
        try:
            while True:
                tokens = await sink.take(LOOK_S)
                if tokens is None:
                    continue
                yield tokens
                if tokens.finish is not None:
                    return
        finally:
            job.cancelled.set()
