"""How soon the next answer comes after a reader left, and how long the event loop is ever held.

With the helpers of the tests, which count the same in passes of the model and turns of the loop.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from arena.models.local.model import LocalModel
from bench.page import CACHE
from tests.models.conftest import QUESTION, answer, being_read, embedded_model, local_model, started
from tests.models.local.test_model import ENDLESS, GREEDY, four_streams
from tests.models.local.tiny_phi import save_tiny_phi

LOOK_S = 0.01
"""How often the loop's lag is looked at."""


async def freed_after_s(model: LocalModel, how: str) -> float:
    """From leaving a long answer to the end of another one of a single token."""
    async with being_read(model.stream(QUESTION, ENDLESS), how):
        left = time.perf_counter()
    await answer(model, QUESTION, replace(GREEDY, max_new_tokens=1))
    return time.perf_counter() - left


async def lag_s(model: LocalModel, repeated: int) -> float:
    """The longest time for which the loop was held while four streams ran."""
    streams = asyncio.create_task(four_streams(model, repeated=repeated))
    lags = [0.0]
    while not streams.done():
        began = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        lags.append(time.perf_counter() - began - LOOK_S)
    await streams
    return max(lags)


async def figures(model: LocalModel, pairs: int, repeated: int) -> str:
    """Medians in milliseconds, as cells of a row."""
    await four_streams(model, repeated=repeated)
    seconds = [
        [await freed_after_s(model, "aclose") for _ in range(pairs)],
        [await freed_after_s(model, "cancel") for _ in range(pairs)],
        [await lag_s(model, repeated) for _ in range(pairs)],
    ]
    return " | ".join(f"{median(one) * 1000:.0f}" for one in seconds)


def run(pairs: int) -> str:
    """The table."""
    rows = [
        "| engine | next answer after a close, ms | after a cancel, ms | loop held, ms |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "ONNX": (embedded_model(CACHE, engine="onnx"), 20),
            "transformers, in the batch": (embedded_model(CACHE, engine="transformers"), 20),
            # Its long answers run outside the batch.
            "transformers, tiny Phi-3": (local_model("phi", save_tiny_phi(Path(folder))), 1),
        }
        for name, (model, repeated) in contestants.items():
            started(model)
            rows.append(f"| {name} | {asyncio.run(figures(model, pairs, repeated))} |")
            asyncio.run(model.aclose())
    return "\n".join(rows)
