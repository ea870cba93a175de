"""A model whose answers a test writes: the fake at the outermost boundary, labelled as one.

It speaks the real protocol (`ChatModel`) and counts what is running, so that a test can see
whether work was stopped at its source.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, ModelSpec
from arena.models.base import ModelStatus, Ready, StreamEvent

Step = str | float | Exception | Finished | asyncio.Event


class ScriptedModel:
    """Says its script; an event in it is waited for, an exception is raised.

    A number is so many seconds of silence, for a loop of `virtual_time`.

    Attributes:
        asked: the messages and params of every request, oldest first.
        running: streams that are open now.
    """

    def __init__(
        self, name: str, *scripts: Sequence[Step], provider: str = "local", stand_in: bool = False
    ) -> None:
        self.slug = name
        self._spec = ModelSpec(
            id=name, label=name.title(), provider=provider, source=name, price_in=0.0,
            price_out=0.0, stand_in=stand_in,
        )  # fmt: skip
        self.scripts = list(scripts)
        self.asked: list[tuple[tuple[Message, ...], GenerationParams]] = []
        self.running = 0
        self.state: ModelStatus = Ready({"device": "script"})
        self.starts: Callable[[], ModelStatus] | None = None

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def status(self) -> ModelStatus:
        return self.state

    async def start(self) -> None:
        if self.starts is not None:
            self.state = self.starts()

    async def aclose(self) -> None:
        pass

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        self.asked.append((tuple(messages), params))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.running += 1
        try:
            for step in script:
                await asyncio.sleep(0)
                if isinstance(step, str):
                    yield Delta(step)
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Finished):
                    yield step
                    return
                else:
                    raise step
            yield Finished(
                FinishReason.STOP, completion_tokens=3, ttft_s=0.1, total_s=0.5,
                served_model=f"{self.slug}@1",
            )  # fmt: skip
        finally:
            self.running -= 1


class ClosedBook:
    """A day's counts that allow nothing: for registries whose cloud models are never asked."""

    async def count_today(self, name: str, limit: int) -> bool:
        return False

    async def today(self, name: str) -> int:
        return 0

    async def reserve_spend(self, name: str, micro_usd: int, limit_micro_usd: int | None) -> None:
        return None

    async def settle_spend(self, reservation: None, actual_micro_usd: int) -> None:
        pass

    async def spent_today(self, name: str) -> int:
        return 0
