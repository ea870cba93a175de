"""A `ZeroGpuEngine` on two fake GPUs, and what the scenarios of `zerogpu_worker.py` share.

With one thread for torch: a process forked while OpenMP's threads exist hangs at its next use of
them. A GPU's work needs none of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from arena.errors.models import ModelError
from arena.models.local.engine import TokenRequest
from arena.models.local.spec import ModelConfig
from arena.models.local.transformers.weights import load
from arena.models.local.transformers.zerogpu import ZeroGpuEngine
from tests.models.local.tiny_phi import LONG, SHORT

FOLDER = Path(sys.argv[1])
FORWARDS = FOLDER.parent / "forwards"
"""Each pass of the model in a forked process leaves a byte here: memory is not shared."""
PROMPTS = [[40, 41, 42, 43], [60, 7, 61, 8, 62], [100 + i for i in range(SHORT - 8)]]
NO_STOP = frozenset({9999})
CONFIG = ModelConfig("t", "T", str(FOLDER), device="cpu", engine="zerogpu")


def loaded() -> Any:
    return load(FOLDER, CONFIG)


LOADED = loaded()
LAYER = LOADED.model.model.layers[0]
ENGINE = ZeroGpuEngine(LOADED.model, shape=LOADED.shape, device="cpu", slots=2)
SEEN: list[int] = []


def request(ids: list[int], count: int = 12, **values: Any) -> TokenRequest:
    given = {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop_ids": NO_STOP, **values}
    return TokenRequest(ids=ids, max_new_tokens=count, **given)


WANTED = [
    request(PROMPTS[0]),
    request(PROMPTS[1], 20, temperature=1.1, top_p=0.9, seed=7),
    request(PROMPTS[2], 30),  # crosses the length where LongRoPE changes its factors
    request(PROMPTS[2] * 2, 20, temperature=0.8, seed=3),  # beyond it from the start
    request(PROMPTS[0], 9),
    request(PROMPTS[0], LONG - len(PROMPTS[0]), temperature=1.0, seed=2),
]
ENDLESS = request(PROMPTS[0], LONG - len(PROMPTS[0]), temperature=1.0, seed=2)


async def collect(engine: Any, wanted: TokenRequest) -> dict[str, Any]:
    ids: list[int] = []
    async with asyncio.timeout(60), aclosing(engine.generate(wanted)) as pieces:
        async for piece in pieces:
            assert piece.ids or piece.finish
            ids += piece.ids
    return {"ids": ids, "finish": piece.finish}


async def failure(wanted: TokenRequest) -> dict[str, Any]:
    try:
        await collect(ENGINE, wanted)
    except ModelError as error:
        return {"code": error.code, "sentence": error.sentence, "remedy": error.remedy_text}
    return {"code": "none"}


@contextmanager
def in_child(hook: Callable[..., None], layer: Any = LAYER) -> Any:
    """Done before each pass of the layer, in the forked process."""

    def run(*_: object) -> None:
        hook()

    handle = layer.register_forward_pre_hook(run)
    try:
        yield
    finally:
        handle.remove()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it looks at other processes
            await asyncio.sleep(0.005)
