"""The page of an arena of two paced models, for `bench/load.py`: labelled, no real model."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message
from arena.models.base import StreamEvent
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import arena_of
from tests.scripted import ScriptedModel
from tests.ui.served import served

RATE, TOKENS = 20, 200
LOOK_S = 0.01


class PacedModel(ScriptedModel):
    """Writes so many pieces at a steady pace."""

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """The whole answer; the question does not matter."""
        for number in range(TOKENS):
            await asyncio.sleep(1 / RATE)
            yield Delta(f"word{number} ")
        yield Finished(
            FinishReason.STOP, completion_tokens=TOKENS, ttft_s=1 / RATE, total_s=TOKENS / RATE,
            served_model=self.slug,
        )  # fmt: skip


async def lag(seconds: list[float]) -> None:
    """How late short sleeps end, until it is cancelled."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        seconds.append(time.perf_counter() - began - LOOK_S)


async def main(folder: str, port: str, battles: str) -> None:
    """Serves until its input ends, then says the lags."""
    store = VoteStore.open(f"sqlite:///{Path(folder) / 'arena.db'}")
    models = [PacedModel(name, ["x"]) for name in ("one", "two")]
    limits = Limits(battles=int(battles), battles_per_minute=10**6, battles_per_day=10**6)
    arena = arena_of(store, *models, limits=limits)
    lags: list[float] = []
    async with served(arena, port=int(port)) as page:
        assert page.loop is not None
        watching = asyncio.run_coroutine_threadsafe(lag(lags), page.loop)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        watching.cancel()
    await store.aclose()
    # Not to the standard output, to which Gradio writes as well.
    await asyncio.to_thread((Path(folder) / "lags.json").write_text, json.dumps(lags))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
