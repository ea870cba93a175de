"""What only shows after many visitors, with several models, or when memory runs short."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from arena.domain import GenerationParams, Message, Role
from arena.errors.models import ContextTooLong, OutOfMemory
from arena.models.base import Ready, Unavailable
from arena.models.local.engine import TokenEngine
from arena.models.local.memory import BLOCK, MAX_RUNNING
from arena.models.local.onnx import engine as onnx_engine
from arena.models.local.onnx.client import typed
from arena.models.local.onnx.engine import OnnxEngine
from arena.models.local.onnx.scheduler import failure
from tests.models.conftest import Case, answer, local_model
from tests.models.local.open_requests import num_waiting, open_requests
from tests.models.local.test_engine_contract import collect, first_piece, prompts, request, until
from tests.models.local.tiny_phi import LONG, SHORT

CYCLES = 100
GROWTH = 24 * 1024**2
"""Bytes: a coarse net. Of memory that was taken and not yet written to, the system counts none, so
what the ONNX worker keeps is looked at in the test of its rounds."""


@pytest.fixture(params=["transformers", "onnx"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(f"wide_{request.param}")
    return found


async def begin_and_leave(engine: TokenEngine, cycles: int) -> None:
    """Every second one leaves before its first token, and four at a time are under way."""

    async def one(number: int) -> None:
        ids = [5 + number % 90, *range(7, 27)]
        # The shared batch, and what goes alone beside it.
        count = LONG - 30 if number % 5 == 0 else SHORT - 21
        stream = engine.generate(request(ids, count, temperature=1.0, seed=number))
        async with aclosing(stream):
            if number % 2:
                await first_piece(stream)
            else:
                reading = asyncio.ensure_future(anext(stream))
                for _ in range(3 * (number % 7)):  # it leaves at another moment each time
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    for number in range(0, cycles, 4):
        await asyncio.gather(*(one(number + more) for more in range(4)))


def resident(case: Case) -> int:
    """Bytes of the process that computes."""
    gc.collect()
    engine = case.engine
    pid = engine.worker_pid if isinstance(engine, OnnxEngine) else None
    return int(psutil.Process(pid).memory_info().rss)


def nothing_is_held(case: Case) -> bool:
    """Whether no place, page or book entry belongs to anybody."""
    engine = case.engine
    if open_requests(engine):
        return False
    if isinstance(engine, OnnxEngine):
        return True  # what it holds is in the worker; see the tests of its scheduler
    batch = engine._batch
    scheduler = batch._manager.batch_processor.scheduler
    pool = batch._manager.batch_processor.cache.pool
    if batch._sinks or scheduler.active_requests or scheduler.waiting_requests:
        return False
    pool.try_to_free_sectors()  # a page is given back when another one is wanted
    return (
        pool.num_free_sectors == pool.num_sectors
        and batch.semaphore.free_slots == MAX_RUNNING
        and batch.semaphore.free_capacity == batch.cache_tokens // BLOCK
        and not num_waiting(batch.semaphore)
    )


async def test_a_hundred_cancelled_requests_hold_nothing(case: Case) -> None:
    """Neither slots nor blocks of the cache nor memory."""
    await begin_and_leave(case.engine, 40)
    before = resident(case)

    await begin_and_leave(case.engine, CYCLES)

    await until(lambda: nothing_is_held(case), "something is still held")
    ids = prompts(case)[0]
    assert await collect(case.engine, request(ids, 8)) == case.greedy(ids, 8)
    grown = resident(case) - before
    assert grown < GROWTH, f"{grown / 1024**2:.1f} MiB more"


async def test_two_models_in_one_process_do_not_mix(
    wide_transformers: Case, wide_onnx: Case
) -> None:
    """Two engines that write at the same time write what each writes alone."""
    cases = [wide_transformers, wide_onnx]
    ids = prompts(wide_onnx)
    expected = [wide_onnx.greedy(one, 20) for one in ids]

    found = await asyncio.gather(
        *(collect(case.engine, request(one, 20)) for one in ids for case in cases)
    )

    assert found[0::2] == found[1::2] == expected


async def test_a_second_model_that_does_not_fit_leaves_the_first_alone(
    wide_onnx: Case, wide_onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with the numbers, and starts once there is room."""
    monkeypatch.setattr(onnx_engine, "free_ram", lambda: 3 * 1024**2)
    second = local_model("two", wide_onnx_folder, engine="onnx")

    await second.start()

    status = second.status()
    assert isinstance(status, Unavailable)
    assert isinstance(status.error, OutOfMemory)
    assert "3 MiB free" in str(status.error)
    assert isinstance(wide_onnx.model.status(), Ready)
    ids = prompts(wide_onnx)[1]
    assert await collect(wide_onnx.engine, request(ids, 8)) == wide_onnx.greedy(ids, 8)
    monkeypatch.undo()
    await second.start()
    assert isinstance(second.status(), Ready), "once there is room, it starts"
    await second.aclose()


async def test_a_long_prompt_is_refused_before_the_engine_gets_it(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory is taken for it, and nothing counts it as running."""
    monkeypatch.setattr(type(case.engine), "generate", lambda *_: pytest.fail("it was begun"))
    long = [Message(Role.USER, "the quick brown fox " * 400)]

    with pytest.raises(ContextTooLong, match=rf"\d{{3,}} tokens.*context of {LONG}"):
        await answer(case.model, long, GenerationParams(max_new_tokens=8))
    assert case.model.throughput().answering == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 4096"),
    ],
)
def test_memory_that_runs_out_in_the_worker_keeps_its_name(error: Exception) -> None:
    """An allocation that fails is out of memory, and not a crash."""
    for number in (1, None):
        assert typed(failure(number, error)).code == OutOfMemory.code
    assert typed(failure(None, RuntimeError("no such file"))).code != OutOfMemory.code
