"""OpenAI-compatible engines: a real one, `transformers serve`, with the embedded model on the CPU.

What it does otherwise than the documentation, seen with transformers 5.24:
- `stream_options` is ignored (a warning in its log); the usage comes all the same, in the chunk
  with the finish reason. No `[DONE]` is sent.
- With continuous batching, temperature and top_p of the FIRST request hold for all that follow,
  and without it the seed is set for the whole process. So only the shape of answers is tested.
- Errors are FastAPI's (`{"detail": …}`), and a wrong model is a 400, not a 404.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, Role
from arena.errors.models import EngineUnreachable, ModelGone, StreamBroken
from arena.models.base import Ready, Unavailable
from arena.models.local.embedded import ensure_dense
from arena.models.models_file import OpenAiEntry
from arena.models.remote.model import RemoteModel
from arena.models.remote.openai import OpenAiDialect
from tests.models.conftest import answer

pytestmark = pytest.mark.slow

CAPITAL = [Message(Role.USER, "What is the capital of France? One word.")]
STORY = [Message(Role.USER, "Tell me a long story about a dog.")]
GREEDY = GenerationParams(temperature=0.0, max_new_tokens=12)


@dataclass(frozen=True)
class Engine:
    """The running server.

    Attributes:
        model: the name under which it serves the embedded model.
    """

    url: str
    model: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What its process has used so far."""
        used = self.process.cpu_times()
        return used.user + used.system


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def engine(embedded_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for all tests of this file; a folder's relative path is its model's name."""
    folder = ensure_dense(embedded_cache, lambda *_: None).path
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", folder.name,
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--continuous-batching",
        "--cb-num-blocks", "32", "--cb-max-batch-tokens", "256", "--log-level", "error",
    ]  # fmt: skip
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    output = tmp_path_factory.mktemp("engine") / "output"
    with (
        output.open("w") as out,
        subprocess.Popen(
            command, cwd=folder.parent, env=env, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            _wait_for(port, process, output)
            yield Engine(f"http://127.0.0.1:{port}/v1", folder.name, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until it listens, which it does not announce."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, output.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(output.read_text())


def model_of(engine: Engine, **changes: str) -> RemoteModel:
    values = {"kind": "openai", "base_url": engine.url, "model": engine.model, "precision": "f32"}
    entry = OpenAiEntry.model_validate(values | changes)
    return RemoteModel(OpenAiDialect("smol-served", entry))


@pytest.fixture
async def model(engine: Engine) -> AsyncIterator[RemoteModel]:
    made = model_of(engine)
    await made.start()
    yield made
    await made.aclose()


async def test_it_is_found(engine: Engine, model: RemoteModel) -> None:
    """The engine lists its model and is ready."""
    status = model.status()

    assert isinstance(status, Ready)
    assert status.facts["listed"] == "yes"
    assert status.facts["sends_to"] == engine.url.removeprefix("http://").removesuffix("/v1")
    assert model.spec.id == "smol-served-f32"


async def test_a_streamed_answer_ends_by_its_budget(engine: Engine, model: RemoteModel) -> None:
    """Text comes in pieces; an answer that used up its tokens ends by length, with its counts."""
    events = [event async for event in model.stream(STORY, GREEDY)]

    *deltas, finished = events
    assert len(deltas) > 5
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.LENGTH
    assert finished.completion_tokens == 12
    assert finished.prompt_tokens is not None
    assert finished.prompt_tokens > 10
    assert finished.served_model == engine.model
    assert finished.ttft_s is not None
    assert 0 < finished.ttft_s < finished.total_s
    assert finished.sent["max_tokens"] == 12


async def test_an_answer_that_ends_by_itself(model: RemoteModel) -> None:
    """An answer that ends by itself has no control tokens in its text."""
    text, finished = await answer(
        model, CAPITAL, GenerationParams(temperature=0.0, max_new_tokens=40)
    )

    assert "Paris" in text
    assert "<|" not in text
    assert finished.reason is FinishReason.STOP
    assert finished.completion_tokens is not None
    assert finished.completion_tokens < 40


async def test_what_was_said_before_arrives(model: RemoteModel) -> None:
    """Earlier turns and the system prompt reach the engine."""
    talk = [
        Message(Role.USER, "The secret word is banana."),
        Message(Role.ASSISTANT, "I will remember the secret word: banana."),
        Message(Role.USER, "Repeat the secret word."),
    ]
    text, finished = await answer(model, talk, GREEDY)

    assert "banana" in text
    _, framed = await answer(
        model, [Message(Role.SYSTEM, "You are a pirate who likes rum."), *talk], GREEDY
    )
    assert finished.prompt_tokens != framed.prompt_tokens


async def test_two_answers_at_once(model: RemoteModel) -> None:
    """Two answers are written side by side."""
    order: list[str] = []

    async def say(name: str) -> None:
        async for _ in model.stream(STORY, GREEDY):
            order.append(name)  # noqa: PERF401 -- both write into one list, as it happens

    async with asyncio.timeout(60):
        await asyncio.gather(say("a"), say("b"))

    first = {name: order.index(name) for name in "ab"}
    last = {name: len(order) - order[::-1].index(name) for name in "ab"}
    assert max(first.values()) < min(last.values()), order


LONG = GenerationParams(temperature=0.0, max_new_tokens=4000)


async def test_a_stop_frees_the_engine(engine: Engine, model: RemoteModel) -> None:
    """A closed stream ends the engine's work."""
    async with asyncio.timeout(60), aclosing(model.stream(STORY, LONG)) as events:
        await anext(events)

    await _rests(engine)
    _, finished = await answer(model, CAPITAL, GREEDY)
    assert finished.reason in {FinishReason.LENGTH, FinishReason.STOP}


async def test_a_cancelled_reader_frees_the_engine(engine: Engine, model: RemoteModel) -> None:
    """A cancelled reader ends the engine's work."""
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in model.stream(STORY, LONG):
            begun.set()

    reader = asyncio.create_task(listen())
    await asyncio.wait_for(begun.wait(), 60)

    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    await _rests(engine)


async def _rests(engine: Engine) -> None:
    """Until it uses next to nothing beside this process, which works as hard as it can.

    On a busy machine both get the same share. All rounds together are 30 seconds of a core, in
    which it would not have written its 4,000 tokens.
    """
    for _ in range(100):
        await asyncio.sleep(0)
        before, begun = engine.cpu_seconds(), time.process_time()
        while time.process_time() - begun < 0.3:
            pass
        if engine.cpu_seconds() - before < 0.03:
            return
    raise AssertionError("it goes on writing")


async def test_a_model_that_it_does_not_serve(engine: Engine) -> None:
    """A model that the engine does not serve is known at the start."""
    model = model_of(engine, model="microsoft/Phi-4-mini-instruct")

    await model.start()

    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is ModelGone
    assert engine.model in status.error.remedy_text
    await model.aclose()


async def test_an_address_without_its_path(engine: Engine) -> None:
    """An address without its /v1 is an unreachable engine."""
    model = model_of(engine, base_url=engine.url.removesuffix("/v1"))

    await model.start()

    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is EngineUnreachable
    await model.aclose()


async def test_an_engine_that_dies(engine: Engine, model: RemoteModel) -> None:
    """A dead engine breaks the answer and leaves the pool. The last test: it kills the engine."""
    events = model.stream(STORY, LONG)
    await anext(events)
    engine.process.kill()
    with pytest.raises(StreamBroken):
        [event async for event in events]

    with pytest.raises(EngineUnreachable):
        await anext(model.stream(STORY, GREEDY))

    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is EngineUnreachable
