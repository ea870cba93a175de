"""Token for token: alone, in company, in a batch or not, as `generate` writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.domain import FinishReason
from arena.errors.models import CacheTooSmall, ContextTooLong, EngineCrashed, OutOfMemory
from arena.models.local.engine import TokenRequest
from arena.models.local.memory import BLOCK, GIB, ModelShape, plan_cache
from arena.models.local.transformers import engine as engine_module
from arena.models.local.transformers.engine import TransformersEngine
from arena.models.local.transformers.weights import Loaded, load
from tests.models.conftest import Case
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


def loaded_tiny(folder: Path) -> Loaded:
    return load(folder, label="Tiny", source=str(folder), dtype="float32", device="cpu")


@contextmanager
def engine_of(loaded: Loaded, **values: Any) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(
        loaded.model, shape=values.pop("shape", loaded.shape), device="cpu", **values
    )
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


async def test_greedy_tokens_are_those_of_generate_alone_and_in_company(case: Case) -> None:
    """Neighbours in a batch, or a wrong mask or position, would change a visitor's answer."""
    wanted = [request(ids, few(case)) for ids in prompts(case)]
    expected = [case.greedy(list(one.ids), one.max_new_tokens) for one in wanted]
    assert [await collect(case.engine, one) for one in wanted[:2]] == expected[:2]
    assert await together(case.engine, wanted) == expected


async def test_a_seed_repeats_alone_in_company_and_in_the_other_engine(case: Case) -> None:
    """A recorded battle could not be run again if company or engine changed the draw."""
    ids = prompts(case)
    count = few(case)
    mine = request(ids[0], count, temperature=0.9, top_p=0.95, seed=42)
    greedy = request(ids[1], count)
    others = [request(i, count, temperature=1.3, seed=n, top_p=0.8) for n, i in enumerate(ids)]
    alone = await collect(case.engine, mine)
    mixed = await together(case.engine, [others[0], mine, greedy, others[1]])
    assert mixed[1] == alone
    assert mixed[2] == case.greedy(ids[1], greedy.max_new_tokens), "greedy beside sampled ones"
    job = [t async for t in case.engine._alone(mine)]
    assert [i for batch in job for i in batch.ids] == alone
    assert await collect(case.engine, replace(mine, seed=43)) != alone


async def test_stop_tokens_may_be_several(tiny: Case) -> None:
    """Phi-4-mini ends with `<|end|>` or `<|endoftext|>`; with one of them it would ramble on."""
    ids = prompts(tiny)[1]
    free = tiny.greedy(ids, 12)
    unused = [i for i in range(len(tiny.tokenizer)) if i not in free]
    for place, other in ((3, unused[0]), (5, unused[-1])):
        stop = frozenset({free[place], other})
        until = free[: min(free.index(free[place]), place) + 1]
        wanted = request(ids, stop_ids=stop)
        assert await collect(tiny.engine, wanted) == until
        alone = [i async for batch in tiny.engine._alone(wanted) for i in batch.ids]
        assert alone == until


async def test_a_long_request_runs_alone_and_changes_nobody_else(tiny: Case) -> None:
    """LongRoPE picks its factors for a whole batch by its longest position, without a word."""
    ids = prompts(tiny)
    crossing = request((ids[0] * 12)[: SHORT - 10], 30)
    long = request((ids[1] * 20)[: SHORT + 20], 20)
    short = [request(i, 20) for i in ids]
    expected = [tiny.greedy(list(r.ids), r.max_new_tokens) for r in (crossing, long, *short)]
    assert await together(tiny.engine, [crossing, long, *short]) == expected
    assert tiny.engine._goes_alone(crossing)
    assert not tiny.engine._goes_alone(request(ids[0], SHORT - len(ids[0])))
    assert tiny.engine._goes_alone(request(ids[0], SHORT - len(ids[0]) + 1))


async def test_the_config_stays_causal(case: Case) -> None:
    """A second thread on one model leaves `is_causal` set: attention then sees the future."""
    ids = prompts(case)
    alone = case.engine._alone(request(ids[0], 8))
    await asyncio.gather(
        together(case.engine, [request(i, 8) for i in ids]),
        *[anext(alone)],
        return_exceptions=False,
    )
    await alone.aclose()
    case.engine._batch._warm_up()  # its return means that the thread is past the others' steps
    for model in (batch_model(case), case.engine._solo._model):
        assert not hasattr(model.config, "is_causal")


def test_the_second_shell_shares_weights_and_nothing_else(case: Case) -> None:
    """Copied weights would double the memory; shared buffers would be changed by both."""
    first, second = batch_model(case), case.engine._solo._model
    assert first is not second
    assert first.config is not second.config
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(a is b for a, b in pairs)
    for a, b in zip(first.buffers(), second.buffers(), strict=True):
        assert a.data_ptr() != b.data_ptr()


def test_a_window_as_long_as_the_context_is_dropped(tiny: Case) -> None:
    """Phi-4-mini declares one of 262,144 tokens, which would turn off the sharing of prompts."""
    assert batch_model(tiny).config.sliding_window is None
    assert tiny.engine._batch._manager.batch_processor.cache.use_prefix_sharing


async def test_requests_that_never_fit_are_refused_with_the_numbers(tiny_folder: Path) -> None:
    """In transformers one larger than the cache ends the thread, and everybody's answers."""
    loaded = loaded_tiny(tiny_folder)
    cap = BLOCK * loaded.shape.kv_bytes_per_token / GIB
    wide = replace(loaded.shape, context=4 * BLOCK, short_context=4 * BLOCK)
    with engine_of(loaded, shape=wide, max_cache_gib=4 * cap) as engine:
        engine._batch.cache_tokens = BLOCK
        with pytest.raises(CacheTooSmall, match="257 tokens; the engine's cache holds 256"):
            engine.check(request([1] * 200, 57))
        engine.check(request([1] * 200, 56))
        with pytest.raises(ContextTooLong, match=r"1000 tokens.*25.*1024"):
            engine.check(request([1] * 1000, 25))
    with pytest.raises(OutOfMemory):
        plan_cache(wide, device="cpu", free=GIB, cap_gib=cap)


async def test_more_requests_than_the_cache_holds_wait_and_all_finish(tiny_folder: Path) -> None:
    """A full cache makes transformers throw requests out, or die when none can be."""
    loaded = loaded_tiny(tiny_folder)
    cap = BLOCK * loaded.shape.kv_bytes_per_token / GIB
    with engine_of(loaded, max_cache_gib=1.5 * cap) as engine:
        assert engine._batch.cache_tokens == BLOCK
        wanted = [request([i + 5, i + 6, i + 7], 10) for i in range(6)]
        results = await together(engine, wanted)
        assert [len(ids) for ids in results] == [10] * 6
        assert len({tuple(ids) for ids in results}) > 1


async def test_without_continuous_batching_answers_come_one_at_a_time(
    tiny: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device or model that it does not support must not leave the arena without answers."""

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


async def test_a_solo_answer_that_fails_reaches_its_reader(tiny: Case) -> None:
    """An exception inside `generate` hangs whoever reads its streamer."""
    with engine_of(loaded_tiny(tiny.folder), batching=False) as engine:
        model = engine._solo._model
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


async def test_a_closed_solo_answer_frees_the_thread_even_while_it_reads(tiny: Case) -> None:
    """A visitor who leaves during a long prompt would block all the others until its end."""
    with engine_of(loaded_tiny(tiny.folder), batching=False) as engine:
        reading, go_on = threading.Event(), threading.Event()
        hook = engine._solo._layers()[0].register_forward_pre_hook(lambda *_: hold(reading, go_on))
        job = engine._solo.submit(request([1] * 50, LONG - 50), sink := engine_module.Sink())
        assert await asyncio.to_thread(reading.wait, 20)
        job.cancelled.set()
        hook.remove()
        go_on.set()
        with pytest.raises(EngineCrashed, match="stopped unexpectedly"):
            await sink.take(20)
        assert len(await collect(engine, request([1, 2, 3]))) == 12


def test_the_cache_is_planned_within_what_is_free() -> None:
    """60% of the free memory, the library's default, takes 12 s to make and starves the rest."""
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
