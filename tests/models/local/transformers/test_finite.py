"""Scores that are not finite end an answer with an error, and a start with a remedy."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from arena.errors.models import NotFinite
from arena.models.base import Ready, Unavailable
from arena.models.local import device
from arena.models.local.engine import Tokens
from arena.models.local.model import LocalModel
from arena.models.local.transformers import weights
from tests.models.conftest import Case, load_reference, local_model
from tests.models.local.open_requests import open_requests
from tests.models.local.transformers.test_engine import (
    collect,
    engine_of,
    loaded_tiny,
    prompts,
    request,
    together,
)

PASSES = 4
"""Of the model, before its numbers go wrong."""


def altered(folder: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a model whose weights are changed."""
    model, tokenizer = load_reference(folder)
    with torch.no_grad():
        change(model)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def with_nan(model: Any) -> None:
    model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan


def too_large_for_float16(model: Any) -> None:
    """Finite weights, whose products pass 65,504."""
    for layer in model.model.layers:
        layer.mlp.gate_up_proj.weight.mul_(600)


@pytest.fixture(scope="module")
def nan_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return altered(tiny_folder, tmp_path_factory.mktemp("nan") / "nan-phi", with_nan)


@pytest.fixture(scope="module")
def large_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("large") / "large-phi"
    return altered(tiny_folder, made, too_large_for_float16)


async def failure(model: LocalModel) -> NotFinite:
    await model.start()
    status = model.status()
    await model.aclose()
    assert isinstance(status, Unavailable), status
    assert isinstance(status.error, NotFinite), status.error
    return status.error


def go_wrong(model: Any, after: int = PASSES) -> Any:
    """From the given pass on, one number of the model's hidden state is no number."""
    passes = 0

    def hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal passes
        passes += 1
        hidden, *rest = args
        return (hidden * torch.nan, *rest) if passes > after else args

    return model.model.layers[0].register_forward_pre_hook(hook)


async def until_failure(stream: AsyncGenerator[Tokens, None]) -> list[int]:
    """The tokens before the error."""
    ids: list[int] = []

    async def read() -> None:
        async with aclosing(stream) as batches:
            async for batch in batches:
                assert batch.finish is None
                ids.extend(batch.ids)

    with pytest.raises(NotFinite):
        await read()
    return ids


async def test_a_weight_that_is_no_number_stops_the_start(nan_folder: Path) -> None:
    """The owner is told; nobody gets `!!!!`."""
    error = await failure(local_model("nan", nan_folder, device="cpu"))
    assert "ARENA_LOCAL_DTYPE=float32" in error.remedy_text


async def test_the_engines_own_warm_up_finds_it(nan_folder: Path) -> None:
    """In the batch, which its own start tries."""
    model, tokenizer = load_reference(nan_folder)
    loaded = weights.describe(model, tokenizer, device="cpu", dtype="float32")
    with pytest.raises(NotFinite), engine_of(loaded):
        pass
    with engine_of(loaded, batching=False) as engine:
        assert await until_failure(engine.generate(request([5, 6, 7]))) == []


async def test_float16_that_overflows_stops_the_start_if_it_was_asked_for(
    large_folder: Path,
) -> None:
    """The setting is the owner's, so it is not changed silently."""
    error = await failure(local_model("large", large_folder, device="cpu", dtype="float16"))
    assert "float32" in error.remedy_text


@pytest.mark.parametrize("finite", [True, False])
async def test_auto_takes_float32_where_float16_overflows(
    tiny_folder: Path,
    large_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    finite: bool,
) -> None:
    """As on a T4, which has no bfloat16; the id, the facts and the log say so."""
    monkeypatch.setattr(weights, "choose_dtypes", lambda *_: ("float16", "float32"))
    model = local_model("large", tiny_folder if finite else large_folder, device="cpu")
    with caplog.at_level(logging.WARNING):
        await model.start()
    status = model.status()
    await model.aclose()
    assert isinstance(status, Ready), status
    assert status.facts["precision"] == ("f16" if finite else "f32")
    assert model.spec.id == f"large-{status.facts['precision']}"
    assert status.facts.get("not_finite") == (None if finite else "f16")
    assert ("float16" in caplog.text) is not finite


@pytest.mark.parametrize(
    ("native", "expected"), [(True, ("bfloat16",)), (False, ("float16", "float32"))]
)
def test_auto_prefers_bfloat16_where_the_gpu_computes_it(
    monkeypatch: pytest.MonkeyPatch, expected: tuple[str, ...], *, native: bool
) -> None:
    """Not where torch would only imitate it, as on a T4: that is several times slower."""
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: native or including_emulation,
    )
    assert device.choose_dtypes("auto", "cuda") == expected
    assert device.choose_dtypes("auto", "cpu") == ("float32",)
    assert device.choose_dtypes("float16", "cuda") == ("float16",)


async def test_an_answer_of_the_batch_ends_with_the_error(tiny: Case) -> None:
    """What came before stays; the others of the batch, and the engine, are as before."""
    ids = prompts(tiny)
    with engine_of(loaded_tiny(tiny.folder)) as engine:
        expected = await collect(engine, request(ids[0], 12))
        batch = engine._batch
        assert batch is not None
        handle = go_wrong(batch._model)
        failing = engine.generate(request(ids[0], 40))
        assert await until_failure(failing) == expected[:PASSES]
        handle.remove()
        assert open_requests(engine) == 0
        assert await collect(engine, request(ids[0], 12)) == expected
        assert await together(engine, [request(i) for i in ids]) == [
            tiny.greedy(i, 12) for i in ids
        ]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_an_answer_of_generate_ends_with_the_error(tiny: Case, temperature: float) -> None:
    """The same for a request outside the batch."""
    wanted = request(prompts(tiny)[0], 12, temperature=temperature, top_p=0.9, seed=3)
    with engine_of(loaded_tiny(tiny.folder), batching=False) as engine:
        expected = await collect(engine, wanted)
        handle = go_wrong(engine._generate_runner._model)
        assert await until_failure(engine.generate(wanted)) == expected[:PASSES]
        handle.remove()
        assert await collect(engine, wanted) == expected


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("top_p", [0.5, 1.0])
async def test_one_score_of_the_vocabulary_is_enough(
    tiny: Case, value: float, top_p: float
) -> None:
    """Whatever the sampling does with the others."""

    def spoil(_: Any, __: Any, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(-1, torch.tensor([17]), value)

    with engine_of(loaded_tiny(tiny.folder)) as engine:
        wanted = request([5, 6, 7], temperature=0.8, top_p=top_p, seed=2)
        assert engine._batch is not None
        for model, stream in (
            (engine._batch._model, engine.generate),
            (engine._generate_runner._model, engine._unbatched),
        ):
            handle = model.lm_head.register_forward_hook(spoil)
            assert await until_failure(stream(wanted)) == []
            handle.remove()
