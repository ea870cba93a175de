"""Our engines bare: tokens in, tokens out, without text, page and store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from arena.models.base import Ready
from arena.models.local.embedded import embedded_config
from arena.models.local.engine import TokenEngine, TokenRequest
from arena.models.local.model import LocalModel
from bench.crowd import Question, Visit, worst_gap

NEVER = frozenset({10**6})
"""A stop token that does not exist, so that every answer has its full length."""


class Ours:
    """One of them; the event loop has a thread of its own, as in the app."""

    engine_name: ClassVar[str]

    def __init__(self, plan: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._model: LocalModel | None = None
        self._facts: dict[str, str] = {}
        self._engine = self._made(plan) if plan.get("shape") else self._loaded(plan)

    def _loaded(self, plan: dict[str, Any]) -> TokenEngine:
        config = embedded_config(Path(plan["cache"]))
        self._model = LocalModel(replace(config, device="cpu", engine=self.engine_name))
        self._wait(self._model.start())
        status = self._model.status()
        assert isinstance(status, Ready), status
        self._facts = dict(status.facts)
        assert self._model.engine is not None
        return self._model.engine

    def _made(self, plan: dict[str, Any]) -> TokenEngine:
        from arena.models.local.memory import ModelShape
        from arena.models.local.transformers.engine import TransformersEngine
        from bench.engine_shape import make

        model = make(plan["shape"], plan["device"], plan["dtype"])
        shape = ModelShape.of(model.config, model.dtype.itemsize)
        engine = TransformersEngine(model, shape=shape, device=str(model.device))
        engine.start()
        self._facts = {**engine.facts(), "precision": plan["dtype"]}
        return engine

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 -- whatever it gives
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        names = (
            "engine", "precision", "threads", "cache_tokens", "transformers", "torch",
            "onnxruntime", "onnxruntime-genai", "together", "attention",
        )  # fmt: skip
        found = {name: self._facts[name] for name in names if name in self._facts}
        if "threads" not in found:
            import torch

            found["threads"] = str(torch.get_num_threads())
        return found

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`."""

        async def write() -> None:
            async with aclosing(self._engine.generate(_request(question.ids, tokens))) as pieces:
                async for piece in pieces:
                    visit.saw(len(piece.ids))

        self._wait(write())

    def gap(self, questions: list[Question], tokens: int) -> dict[str, float]:
        """An answer runs; a long prompt is read beside it.

        Returns:
            The running answer's worst wait for its next piece meanwhile, its worst one before, and
            how long the prompt took.
        """
        found: dict[str, float] = self._wait(self._gap(questions[0].ids, questions[1].ids, tokens))
        return found

    async def _gap(self, short: list[int], long: list[int], tokens: int) -> dict[str, float]:
        times: list[float] = []
        warm = asyncio.Event()
        enough = asyncio.Event()

        async def run() -> None:
            async with aclosing(self._engine.generate(_request(short, tokens))) as pieces:
                async for _ in pieces:
                    times.append(time.perf_counter())
                    if len(times) >= 16:
                        warm.set()
                    if enough.is_set():
                        return

        running = asyncio.create_task(run())
        await warm.wait()
        since = time.perf_counter()
        async with aclosing(self._engine.generate(_request(long, 1))) as pieces:
            async for _ in pieces:
                pass
        until = time.perf_counter()
        enough.set()
        await running
        return {
            "worst_s": worst_gap(times, since, until),
            "before_s": worst_gap(times, times[0], times[15]),
            "read_s": until - since,
        }

    def close(self) -> None:
        """See `Contestant`."""
        if self._model is not None:
            self._wait(self._model.aclose())
        else:
            self._engine.stop()


class Transformers(Ours):
    """On transformers, f32 on a CPU."""

    engine_name = "transformers"


class Onnx(Ours):
    """On ONNX Runtime GenAI, 4 bits."""

    engine_name = "onnx"


def _request(ids: list[int], tokens: int) -> TokenRequest:
    return TokenRequest(ids, tokens, 0.0, 1.0, 1, NEVER)
