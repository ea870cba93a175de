"""The transformers engine writes what `generate` writes, token for token, in a batch or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from arena.domain import FinishReason
from arena.errors.models import CacheTooSmall, ContextTooLong, EngineCrashed, OutOfMemory
from arena.models.local.engine import Sink, TokenRequest
from arena.models.local.memory import BLOCK, GIB, ModelShape, plan_cache
from arena.models.local.spec import ModelConfig
from arena.models.local.transformers import engine as engine_module
from arena.models.local.transformers.engine import TransformersEngine
from arena.models.local.transformers.single import clone_sharing_weights
from arena.models.local.transformers.weights import LoadedWeights, load
from tests.models.conftest import Case
from tests.models.local.open_requests import open_requests
from tests.models.local.tiny_phi import LONG, SHORT

PROMPTS = ["What is the capital", "Write a for loop in Python", "日本の首都", "The quick brown fox"]


def prompts(case: Case) -> list[list[int]]:
    return [case.tokenizer(text)["input_ids"][:16] for text in PROMPTS]


def few(case: Case) -> int:
    """Tokens per answer: the larger model writes some ten a second."""
    return 12 if case.name == "tiny" else 5


def request(ids: list[int], count: int = 12, **values: Any) -> TokenRequest:
    given = {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop_ids": frozenset[int](), **values}
    return TokenRequest(ids=ids, max_new_tokens=count, **given)


async def collect(engine: TransformersEngine, wanted: TokenRequest) -> list[int]:
    ids: list[int] = []
    async with asyncio.timeout(60), aclosing(engine.generate(wanted)) as batches:
        async for batch in batches:
            ids += batch.ids
            if batch.finish is not None:
                assert batch.finish is FinishReason.LENGTH or ids[-1] in wanted.stop_ids
    return ids


async def together(engine: TransformersEngine, wanted: list[TokenRequest]) -> list[list[int]]:
    return list(await asyncio.gather(*(collect(engine, one) for one in wanted)))


def batch_model(case: Case) -> Any:
    return case.engine._batch._model


def loaded_tiny(folder: Path) -> LoadedWeights:
    return load(folder, ModelConfig("tiny", "Tiny", str(folder), device="cpu"))


@contextmanager
def running(engine: TransformersEngine) -> Iterator[TransformersEngine]:
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def unbatched_engine(case: Case) -> AbstractContextManager[TransformersEngine]:
    """The reference's weights, all of them through `generate`."""
    shape = ModelShape.of(case.reference.config, 4)
    return running(TransformersEngine(case.reference, shape=shape, device="cpu", batching=False))


def engine_of(loaded: LoadedWeights, **values: Any) -> AbstractContextManager[TransformersEngine]:
    shape = values.pop("shape", loaded.shape)
    return running(TransformersEngine(loaded.model, shape=shape, device="cpu", **values))


async def test_greedy_tokens_are_those_of_generate_alone_and_in_a_batch(case: Case) -> None:
    """Neither neighbours, masks nor positions change an answer."""
    wanted = [request(ids, few(case)) for ids in prompts(case)]
    expected = [case.greedy(list(one.ids), one.max_new_tokens) for one in wanted]
    assert [await collect(case.engine, one) for one in wanted[:2]] == expected[:2]
    assert await together(case.engine, wanted) == expected


async def test_a_seed_repeats_alone_in_a_batch_and_outside_it(case: Case) -> None:
    """The draw depends on the request alone."""
    ids = prompts(case)
    count = few(case)
    mine = request(ids[0], count, temperature=0.9, top_p=0.95, seed=42)
    greedy = request(ids[1], count)
    others = [request(i, count, temperature=1.3, seed=n, top_p=0.8) for n, i in enumerate(ids)]
    alone = await collect(case.engine, mine)
    mixed = await together(case.engine, [others[0], mine, greedy, others[1]])
    assert mixed[1] == alone
    assert mixed[2] == case.greedy(ids[1], greedy.max_new_tokens), "greedy beside sampled ones"
    with unbatched_engine(case) as engine:
        assert await collect(engine, mine) == alone
    assert await collect(case.engine, replace(mine, seed=43)) != alone


async def test_stop_tokens_may_be_several(tiny: Case) -> None:
    """Any of them ends an answer, as its last token."""
    ids = prompts(tiny)[1]
    free = tiny.greedy(ids, 12)
    unused = [i for i in range(len(tiny.tokenizer)) if i not in free]
    for place, other in ((3, unused[0]), (5, unused[-1])):
        stop = frozenset({free[place], other})
        until = free[: min(free.index(free[place]), place) + 1]
        wanted = request(ids, stop_ids=stop)
        assert await collect(tiny.engine, wanted) == until
        with unbatched_engine(tiny) as engine:
            assert await collect(engine, wanted) == until


async def test_a_long_request_runs_outside_the_batch(tiny: Case) -> None:
    """LongRoPE picks its factors for a whole batch by its longest position."""
    ids = prompts(tiny)
    crossing = request((ids[0] * 12)[: SHORT - 10], 30)
    long = request((ids[1] * 20)[: SHORT + 20], 20)
    short = [request(i, 20) for i in ids]
    expected = [tiny.greedy(list(r.ids), r.max_new_tokens) for r in (crossing, long, *short)]
    assert await together(tiny.engine, [crossing, long, *short]) == expected
    for longer, batched in ((0, 1), (1, 0)):
        stream = tiny.engine.generate(request(ids[0], SHORT - len(ids[0]) + longer))
        await anext(stream)
        assert open_requests(tiny.engine) == batched
        await stream.aclose()


async def test_the_config_stays_causal(case: Case) -> None:
    """Two threads never run one model object, which would leave `is_causal` set."""
    ids = prompts(case)
    alone = case.engine._unbatched(request(ids[0], 8))
    await asyncio.gather(
        together(case.engine, [request(i, 8) for i in ids]),
        *[anext(alone)],
        return_exceptions=False,
    )
    await alone.aclose()
    case.engine._batch._warm_up()  # its return means that the thread is past the others' steps
    for model in (batch_model(case), case.engine._generate_runner._model):
        assert not hasattr(model.config, "is_causal")


def test_the_clone_shares_weights_and_nothing_else(case: Case) -> None:
    """Parameters are the same objects; config and buffers are not."""
    first = case.reference
    second = clone_sharing_weights(first)
    assert first is not second
    assert first.config is not second.config
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(a is b for a, b in pairs)
    for a, b in zip(first.buffers(), second.buffers(), strict=True):
        assert a.data_ptr() != b.data_ptr()


def test_a_window_as_long_as_the_context_is_dropped(tiny: Case) -> None:
    """A sliding window of the whole context is none, and prompts share their prefix."""
    assert batch_model(tiny).config.sliding_window is None
    assert tiny.engine._batch._manager.batch_processor.cache.use_prefix_sharing


async def test_requests_that_never_fit_are_refused_with_the_numbers(tiny_folder: Path) -> None:
    """Larger than the cache or the context: refused before the thread gets them."""
    loaded = loaded_tiny(tiny_folder)
    cap = BLOCK * loaded.shape.kv_bytes_per_token / GIB
    wide = replace(loaded.shape, context=8 * BLOCK, short_context=8 * BLOCK)
    with engine_of(loaded, shape=wide, max_cache_gib=4 * cap) as engine:
        with pytest.raises(CacheTooSmall, match="1025 tokens; the engine's cache holds 1024"):
            engine.check(request([1] * 200, 825))
        engine.check(request([1] * 200, 824))
        with pytest.raises(ContextTooLong, match=r"2000 tokens.*49.*2048"):
            engine.check(request([1] * 2000, 49))
    with pytest.raises(OutOfMemory):
        plan_cache(wide, device="cpu", free=GIB, cap_gib=cap)


async def test_more_requests_than_the_cache_holds_wait_and_all_finish(tiny_folder: Path) -> None:
    """The semaphore admits what the cache holds to the end of each answer."""
    loaded = loaded_tiny(tiny_folder)
    cap = BLOCK * loaded.shape.kv_bytes_per_token / GIB
    with engine_of(loaded, max_cache_gib=1.5 * cap) as engine:
        assert engine.facts()["cache_tokens"] == str(BLOCK)
        wanted = [request([i + 5, i + 6, i + 7], 10) for i in range(6)]
        results = await together(engine, wanted)
        assert [len(ids) for ids in results] == [10] * 6
        assert len({tuple(ids) for ids in results}) > 1


async def test_without_continuous_batching_answers_come_one_at_a_time(
    tiny: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device or model without it is served by `generate`."""

    class Broken(engine_module.ContinuousBatchRunner):
        def start(self) -> None:
            raise ValueError("not here")

    monkeypatch.setattr(engine_module, "ContinuousBatchRunner", Broken)
    with engine_of(loaded_tiny(tiny.folder)) as engine:
        assert engine.notice == "one_at_a_time"
        assert engine.facts()["engine"] == "transformers-generate"
        wanted = [request(ids, 8) for ids in prompts(tiny)]
        expected = [tiny.greedy(list(one.ids), 8) for one in wanted]
        assert await together(engine, wanted) == expected


async def test_an_answer_of_generate_that_fails_reaches_its_reader(tiny: Case) -> None:
    """The error is typed, and the engine lives on."""
    with engine_of(loaded_tiny(tiny.folder), batching=False) as engine:
        model = engine._generate_runner._model
        forward = model.forward

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("CUDA error: out of memory")

        model.forward = broken
        with pytest.raises(OutOfMemory):
            await collect(engine, request([1, 2, 3]))
        model.forward = forward
        assert len(await collect(engine, request([1, 2, 3]))) == 12, "the engine lives on"


def hold(reached: threading.Event, go_on: threading.Event) -> None:
    reached.set()
    go_on.wait(20)


async def test_an_answer_that_is_cancelled_in_its_prefill_frees_the_thread(
    tiny: Case,
) -> None:
    """Between two layers, so that the next request need not wait for a long prompt."""
    with engine_of(loaded_tiny(tiny.folder), batching=False) as engine:
        reading, go_on = threading.Event(), threading.Event()
        runner = engine._generate_runner
        layer = runner._model.model.layers[0]
        hook = layer.register_forward_pre_hook(lambda *_: hold(reading, go_on))
        job = runner.submit(request([1] * 50, LONG - 50), (sink := Sink()).push)
        assert await asyncio.to_thread(reading.wait, 20)
        job.cancelled.set()
        hook.remove()
        go_on.set()
        with pytest.raises(EngineCrashed, match="stopped unexpectedly"):
            await sink.take(20)
        assert len(await collect(engine, request([1, 2, 3]))) == 12


def test_a_stop_ends_a_step_of_the_batch_between_two_layers(tiny: Case) -> None:
    """On a CPU the prefill of a long prompt takes seconds a step, which a close does not have."""
    with engine_of(loaded_tiny(tiny.folder)) as engine:
        batch = engine._batch
        assert batch is not None
        first, last = batch._model.model.layers[0], batch._model.model.layers[-1]
        reading, go_on, passed = threading.Event(), threading.Event(), []
        first.register_forward_pre_hook(lambda *_: hold(reading, go_on))
        last.register_forward_hook(lambda *_: passed.append(1))
        manager = batch._manager
        with mock.patch.object(manager, "stop", wraps=manager.stop) as stop:
            stop.side_effect = lambda **_: go_on.set() or mock.DEFAULT
            manager.add_request([1] * 50, "long", max_new_tokens=2, seed=0)
            assert reading.wait(20)
            engine.stop()
        assert manager._generation_thread is None, "the thread has ended"
        assert not passed
        assert not [layer for layer in batch._model.model.layers if leaves(layer)]


def leaves(layer: Any) -> list[Any]:
    """Hooks of the runner on a layer."""
    return [h for h in layer._forward_pre_hooks.values() if "call_between" in h.__qualname__]


def test_the_cache_is_planned_within_what_is_free() -> None:
    """It takes the policy's share, at most what is set, and refuses less than one answer."""
    phi = ModelShape(32, 24, 8, 128, 3072, 8192, 200064, 131072, 4096, 2)
    assert phi.kv_bytes_per_token == 128 * 1024
    for device, free in (
        ("cuda", 70 * GIB),
        ("cuda", 7 * GIB),
        ("cpu", 20 * GIB),
        ("cpu", 4 * GIB),
    ):
        plan = plan_cache(phi, device=device, free=free, cap_gib=None)
        assert plan.tokens >= 2 * BLOCK
        assert plan.tokens * phi.kv_bytes_per_token < 0.7 * free
    assert plan_cache(phi, device="cuda", free=70 * GIB, cap_gib=1.0).tokens == 8192
    with pytest.raises(OutOfMemory, match=r"0\.2 GiB free"):
        plan_cache(phi, device="cpu", free=GIB // 4, cap_gib=None)
