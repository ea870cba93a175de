"""Models that load once per run: `LocalModel` serves one test's event loop after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from arena.domain import Delta, Finished, GenerationParams, Message, Role
from arena.models.base import ChatModel, Ready
from arena.models.local.embedded import embedded_config, ensure_dense
from arena.models.local.model import LocalModel
from arena.models.local.onnx import build as onnx_build
from arena.models.local.onnx import load as onnx_loading
from arena.models.local.onnx.folder import GenAiModel, describe
from arena.models.local.spec import ModelConfig
from tests.models.local.tiny_phi import save_tiny_phi

if TYPE_CHECKING:
    from tests.models.local.onnx.harness import LoggedBatched, LoggedGenai

QUESTION = [Message(Role.USER, "What is the capital of France?")]


@dataclass(frozen=True)
class Case:
    """A started model and the same weights loaded apart, which nothing else touches."""

    name: str
    model: LocalModel
    folder: Path
    reference: Any
    tokenizer: Any

    @property
    def engine(self) -> Any:
        return self.model.engine

    def greedy(self, ids: list[int], count: int, stop: list[int] | None = None) -> list[int]:
        """What transformers' own `generate` writes."""
        import torch

        out = self.reference.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=0,
        )
        return out[0, len(ids) :].tolist()


def local_model(slug: str, source: object, **values: Any) -> LocalModel:
    """One whose label is its slug."""
    return LocalModel(ModelConfig(slug=slug, label=slug, source=str(source), **values))


def embedded_model(cache_dir: Path, **values: Any) -> LocalModel:
    """The stand-in on the CPU."""
    return LocalModel(replace(embedded_config(cache_dir), device="cpu", **values))


def started(model: LocalModel) -> LocalModel:
    asyncio.run(model.start())
    assert isinstance(model.status(), Ready), model.status()
    return model


def load_reference(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_phi(tmp_path_factory.mktemp("phi") / "tiny-phi")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Iterator[Case]:
    model = local_model("tiny-phi", tiny_folder, device="cpu")
    yield Case("tiny", started(model), tiny_folder, *load_reference(tiny_folder))
    asyncio.run(model.aclose())


@pytest.fixture(scope="session")
def smol(embedded_cache: Path) -> Iterator[Case]:
    model = started(embedded_model(embedded_cache, engine="transformers", max_cache_gib=0.2))
    folder = ensure_dense(embedded_cache, lambda *_: None).path
    yield Case("smol", model, folder, *load_reference(folder))
    asyncio.run(model.aclose())


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Phi-3 that ONNX Runtime can run, too."""
    return save_tiny_phi(tmp_path_factory.mktemp("phi") / "wide-phi", wide=True)


@pytest.fixture(scope="session")
def wide_onnx_folder(wide_folder: Path) -> Path:
    """Its weights as they are, in the form of ONNX Runtime GenAI."""
    target = wide_folder.parent / "wide-phi-onnx"
    onnx_build.ensure(
        target, lambda: wide_folder, label="Wide", report=lambda *_: None, precision="fp32"
    )
    return target


@pytest.fixture(scope="session")
def wide_transformers(wide_folder: Path) -> Iterator[Case]:
    model = local_model("wide", wide_folder, device="cpu")
    yield Case("transformers", started(model), wide_folder, *load_reference(wide_folder))
    asyncio.run(model.aclose())


@pytest.fixture(scope="session")
def wide_onnx(wide_onnx_folder: Path, wide_transformers: Case) -> Iterator[Case]:
    model = local_model("wide", wide_onnx_folder, engine="onnx")
    reference = wide_transformers.reference, wide_transformers.tokenizer
    yield Case("onnx", started(model), wide_onnx_folder, *reference)
    asyncio.run(model.aclose())


@pytest.fixture(scope="session")
def wide_genai(wide_onnx_folder: Path, wide_transformers: Case) -> Iterator[Case]:
    """As a model whose keys and values are not written in place, which cannot be batched."""

    def not_in_place(folder: Path, source: str) -> GenAiModel:
        model = describe(folder, source)
        return replace(model, graph=replace(model.graph, in_place=False))

    model = local_model("wide", wide_onnx_folder, engine="onnx")
    with mock.patch.object(onnx_loading, "describe", not_in_place):
        started(model)
    reference = wide_transformers.reference, wide_transformers.tokenizer
    yield Case("genai", model, wide_onnx_folder, *reference)
    asyncio.run(model.aclose())


@pytest.fixture(scope="session")
def batched_runner(wide_onnx_folder: Path) -> LoggedBatched:
    from tests.models.local.onnx.harness import LoggedBatched, config_of

    return LoggedBatched(config_of(wide_onnx_folder))


@pytest.fixture(scope="session")
def genai_runner(wide_onnx_folder: Path) -> LoggedGenai:
    from tests.models.local.onnx.harness import LoggedGenai, config_of

    return LoggedGenai(config_of(wide_onnx_folder))


@pytest.fixture(params=["tiny", "smol"])
def case(request: pytest.FixtureRequest) -> Case:
    return request.getfixturevalue(request.param)


@asynccontextmanager
async def being_read(stream: AsyncGenerator[Any, None], how: str) -> AsyncIterator[None]:
    """From its first item on; at the end it is left by `aclose`, or by a `cancel` of its reader."""
    begun = asyncio.Event()
    leaving = asyncio.Event()

    async def read() -> None:
        async with aclosing(stream) as items:
            async for _ in items:
                begun.set()
                if how == "aclose":
                    await leaving.wait()
                    return

    reader = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 60)
    yield
    leaving.set()
    if how == "cancel":
        reader.cancel()
    await asyncio.wait([reader])


async def answer(
    model: ChatModel, messages: list[Message], params: GenerationParams
) -> tuple[str, Finished]:
    """The whole text and how it ended."""
    text, finished = "", None
    async with asyncio.timeout(60):
        async for event in model.stream(messages, params):
            if isinstance(event, Delta):
                assert event.text
                text += event.text
            else:
                finished = event
    assert finished is not None
    return text, finished
