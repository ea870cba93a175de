"""A contestant whose weights are on this machine: start, stream, restart after a crash, end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arena.concurrency import GIVE_UP_S, run_in_daemon_thread
from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, ModelSpec, Role
from arena.errors.base import ArenaError
from arena.errors.models import EngineCrashed, ModelError, ModelUnavailable
from arena.errors.reasons import ErrorReason
from arena.models.base import (
    Dormant,
    Loading,
    ModelStatus,
    Ready,
    StreamEvent,
    Unavailable,
)
from arena.models.local.download import REVISION_CHARACTERS
from arena.models.local.engine import LoadedEngine, TokenEngine, TokenRequest
from arena.models.local.load import load
from arena.models.local.spec import ZERO_GPU, ModelConfig
from arena.models.throughput import Throughput, ThroughputMeter
from arena.stats.loops import LoopDetector

if TYPE_CHECKING:
    from arena.models.local.chat_template import ChatText

log = logging.getLogger(__name__)

PROVIDER = "local"
RESTARTS = 3
"""Restarts in a row, without one good answer between them, before it stays down."""
SEEDS = 2**31
"""Seeds to draw from where the visitor names none."""


@dataclass(frozen=True, slots=True)
class _Running:
    """The loaded model, and what turns its tokens into text."""

    loaded: LoadedEngine
    chat: ChatText


class LocalModel:
    """Loads weights and answers with them."""

    def __init__(self, config: ModelConfig) -> None:
        self.slug = config.slug
        self._config = config
        self._spec = ModelSpec(
            id=config.slug,
            label=config.label,
            provider=PROVIDER,
            source=config.source,
            licence=config.licence,
            price_in=0.0,
            price_out=0.0,
            stand_in=config.stand_in,
        )
        self._restarts_left = RESTARTS
        self._meter = ThroughputMeter()
        self._status: ModelStatus = Dormant()
        self._running: _Running | None = None
        self._start: Future[None] | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        """Who it is; final once it is ready."""
        return self._spec

    def status(self) -> ModelStatus:
        """How it is now."""
        return self._status

    @property
    def engine(self) -> TokenEngine | None:
        """What runs the weights; None until they are loaded."""
        return None if self._running is None else self._running.loaded.engine

    def throughput(self) -> Throughput:
        """How fast it writes now."""
        return self._meter.throughput()

    async def start(self) -> None:
        """Load it, or start a dead engine again; returns when that has ended, well or badly."""
        await asyncio.wrap_future(self._begin())

    def load_now(self) -> None:
        """Load it on this thread; returns when that has ended, well or badly.

        For ZeroGPU: a GPU is imitated only for the thread that imported `spaces`, and the weights
        must be there before the page is served. So there nothing is loaded later either.
        """
        self._status = Loading()
        self._start_in_thread()

    def _begin(self) -> Future[None]:
        """The start that is under way, or a new one; from any thread and event loop."""
        with self._lock:
            if self._start is None or self._start.done():
                if (
                    isinstance(self._status, Ready)
                    or self._closed
                    or self._config.engine == ZERO_GPU
                ):
                    done: Future[None] = Future()
                    done.set_result(None)
                    return done
                self._status = Loading()
                self._start = run_in_daemon_thread(f"start-{self.slug}", self._start_in_thread)
            return self._start

    def _start_in_thread(self) -> None:
        try:
            running = self._running or self._load()
            self._report("warm_up", None)
            running.loaded.engine.start()
            self._running = running
        except ArenaError as error:
            log.warning("%s: %s", self.slug, error.detail or error)
            self._status = Unavailable(error)
        except Exception as error:
            log.exception("%s could not be started", self.slug)
            self._status = Unavailable(
                ModelUnavailable(
                    f"{type(error).__name__}: {error}",
                    label=self._config.label,
                    why=ErrorReason.START_FAILED,
                )
            )
        else:
            self._ready(running)
        if self._closed:
            self._free()

    def _report(self, step: str, progress: float | None) -> None:
        if self._closed:  # ends a download or a conversion from within
            raise self._stopped()
        self._status = Loading(progress, step)

    def _stopped(self) -> ModelUnavailable:
        return ModelUnavailable(label=self._config.label, why=ErrorReason.CLOSED)

    def _load(self) -> _Running:
        began = time.perf_counter()

        from arena.models.local.chat_template import ChatText

        loaded = load(self._config, self._report, self._crashed)
        try:
            chat = ChatText(loaded.tokenizer, self._config.label)
            # Compiles the template, and finds out now if it refuses a plain question.
            chat.encode([Message(Role.USER, "?")])
        except BaseException:
            loaded.engine.stop()
            raise
        self._spec = replace(
            self._spec,
            id=f"{self.slug}-{loaded.precision}",
            source=loaded.source,
            revision=loaded.revision,
            precision=loaded.precision,
            context_tokens=loaded.context,
        )
        facts = {
            **loaded.facts,
            "template_hash": chat.template_hash,
            "load_seconds": f"{time.perf_counter() - began:.1f}",
            **({"revision": loaded.revision} if loaded.revision else {}),
        }
        return _Running(replace(loaded, facts=facts), chat)

    def _ready(self, running: _Running) -> None:
        engine = running.loaded.engine
        facts = {**running.loaded.facts, **engine.facts()}
        self._spec = replace(self._spec, engine=facts["engine"])
        self._status = Ready(facts, engine.notice or running.loaded.notice)

    def _crashed(self, error: ModelError) -> None:
        """From the engine's thread, or from a reader that found it dead."""
        with self._lock:
            if not isinstance(self._status, Ready) or self._closed:
                return
            self._status = Unavailable(error)
            pause_s = self._config.restart_after_s
            again = pause_s is not None and self._restarts_left > 0
            self._restarts_left -= 1
        if again:
            timer = threading.Timer(pause_s or 0.0, self._begin)
            timer.daemon = True
            timer.start()

    async def _get_ready(self) -> _Running:
        """What answers; waits for a start that is under way.

        Raises:
            ArenaError: it is not available.
        """
        if isinstance(self._status, Loading | Dormant):
            await self.start()
        if isinstance(self._status, Unavailable):
            raise self._status.error
        if self._running is None or not isinstance(self._status, Ready):
            raise self._stopped()
        return self._running

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer in parts of the text and a last `Finished`."""
        began = time.perf_counter()
        running = await self._get_ready()
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(None, running.chat.encode, messages)
        request = TokenRequest(
            ids=ids,
            max_new_tokens=params.max_new_tokens,
            temperature=float(params.temperature),
            top_p=float(params.top_p),
            seed=secrets.randbelow(SEEDS) if params.seed is None else params.seed,
            stop_ids=running.loaded.stop_ids,
        )
        running.loaded.engine.check(request)
        self._meter.answering += 1
        try:
            async with aclosing(self._answer(running, request, began)) as events:
                async for event in events:
                    yield event
        except EngineCrashed as error:
            if self._config.engine != ZERO_GPU:  # there each answer has a process of its own
                self._crashed(error)
            raise
        finally:
            self._meter.answering -= 1

    async def _answer(
        self, running: _Running, request: TokenRequest, began: float
    ) -> AsyncGenerator[StreamEvent, None]:
        decoder = running.chat.decoder()
        loops = LoopDetector()
        first: float | None = None
        written = 0
        finish = None
        async with aclosing(running.loaded.engine.generate(request)) as batches:
            async for batch in batches:
                written += len(batch.ids)
                self._meter.add(len(batch.ids))
                finish = batch.finish
                # A stop token may be plain text to the tokenizer; it is no part of the answer.
                text = decoder.push([i for i in batch.ids if i not in request.stop_ids])
                if finish is not None:
                    text += decoder.finish()
                if text:
                    first = time.perf_counter() if first is None else first
                    yield Delta(text)
                    if loops.push(text):
                        finish = FinishReason.LOOP
                        break
        if finish is None:
            raise EngineCrashed("the answer had no end")
        self._restarts_left = RESTARTS
        revision = self._spec.revision[:REVISION_CHARACTERS]
        yield Finished(
            reason=finish,
            prompt_tokens=len(request.ids),
            completion_tokens=written,
            ttft_s=None if first is None else first - began,
            total_s=time.perf_counter() - began,
            served_model="@".join(filter(None, (self._spec.source, revision))),
            sent={
                "temperature": request.temperature,
                "top_p": request.top_p,
                "max_new_tokens": request.max_new_tokens,
                "seed": request.seed,
            },
        )

    async def aclose(self) -> None:
        """Stop all work and free the weights.

        A start under way is waited for, but not for long: nothing cuts a load short. It frees what
        it has loaded itself.
        """
        with self._lock:
            self._closed = True
            start = self._start
        if start is not None and not start.done():
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(start), GIVE_UP_S)
        stopping = run_in_daemon_thread(f"stop-{self.slug}", self._free)
        await asyncio.wrap_future(stopping)

    def _free(self) -> None:
        running, self._running = self._running, None
        self._status = Dormant()
        if running is not None:
            running.loaded.engine.stop()
