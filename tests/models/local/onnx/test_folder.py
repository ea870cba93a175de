"""Which files the ONNX engine takes, how it gets them, and when it is chosen."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from arena.errors.base import ArenaError
from arena.errors.models import ModelUnavailable, OutOfMemory, UnsupportedModel
from arena.models.base import Ready, Unavailable
from arena.models.local import memory
from arena.models.local.download import Fetched
from arena.models.local.memory import GIB, ModelShape
from arena.models.local.model import LocalModel
from arena.models.local.onnx import build as onnx_build
from arena.models.local.onnx import engine as onnx_engine
from arena.models.local.onnx import load as onnx_loading
from arena.models.local.onnx.engine import OnnxEngine, plan_tokens
from arena.models.local.onnx.folder import GenAiModel, choose, describe, find_model
from arena.models.local.onnx.protocol import Graph
from arena.models.local.spec import ModelConfig
from tests.models.conftest import QUESTION, answer, local_model
from tests.models.local.test_load import Hub, failure, hub, hub_cache
from tests.models.local.test_model import GREEDY

__all__ = ["hub", "hub_cache"]  # fixtures

CPU = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4"
OTHERS = ("gpu/gpu-int4-rtn-block-32", "directml/int4", "cuda/cuda-fp16")


def in_folders(folder: Path) -> dict[str, bytes]:
    """A repository in the form of Microsoft's: one folder a device."""
    files = {f"{CPU}/{path.name}": path.read_bytes() for path in folder.iterdir()}
    for other in OTHERS:
        files[f"{other}/genai_config.json"] = b"{}"
        files[f"{other}/model.onnx"] = b"x" * 1000
    return files | {"README.md": b"hello", "config.json": b"{}", f"{CPU}/evil.py": b"raise"}


@pytest.fixture
def onnx_hub(hub: Hub, wide_onnx_folder: Path, tmp_path: Path) -> Hub:
    (tmp_path / "none").mkdir()
    hub.folder = tmp_path / "none"
    hub.extra = in_folders(wide_onnx_folder)
    return hub


def config(source: object, **values: Any) -> ModelConfig:
    return ModelConfig(slug="tiny", label="Tiny", source=str(source), **values)


def model(source: object, **values: Any) -> LocalModel:
    return local_model("tiny", source, **values)


def weights_in(cache: Path) -> list[Path]:
    return list(cache.rglob("snapshots/*/*/*/model.onnx.data"))


async def served(wanted: LocalModel) -> dict[str, str]:
    """The facts of a model that answers; closes it."""
    try:
        await wanted.start()
        status = wanted.status()
        assert isinstance(status, Ready), status
        assert (await answer(wanted, QUESTION, GREEDY))[0]
        return dict(status.facts)
    finally:
        await wanted.aclose()


@pytest.mark.parametrize(
    ("folders", "chosen"),
    [
        ([CPU, *OTHERS, "cpu_and_mobile/cpu-int4-rtn-block-32"], CPU),
        (["cpu-int4-awq-block-128-acc-level-4", "gpu-int4"], "cpu-int4-awq-block-128-acc-level-4"),
        (["cpu-fp32", "cpu-int4"], "cpu-int4"),
        (["int4", "cpu-fp32"], "cpu-fp32"),
        (["."], ""),
        (OTHERS, None),
        ([], None),
    ],
)
def test_the_folder_for_a_cpu_is_taken(folders: list[str], chosen: str | None) -> None:
    """The one for CPUs in 4 bits, in whatever order they are listed; none of another device."""
    names = [f"{folder}/genai_config.json".removeprefix("./") for folder in folders]
    assert choose(names) == chosen
    assert choose(reversed(names)) == chosen


async def test_only_the_cpu_folder_comes_from_the_hub_and_only_once(onnx_hub: Hub) -> None:
    """Other folders and scripts are not fetched, and a second start needs no network."""
    seen: list[float] = []
    choice = onnx_loading.choose(config("owner/tiny-onnx"))
    assert choice is not None
    choice.fetch(lambda _, progress: seen.append(progress or 0.0))
    first = model("owner/tiny-onnx")
    facts = await served(first)
    assert facts["engine"] == "onnxruntime"
    assert first.spec.source == "owner/tiny-onnx"
    assert first.spec.revision == facts["revision"] != ""
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    fetched = [path.partition("/resolve/")[2] for path in onnx_hub.asked if "/resolve/" in path]
    assert fetched
    assert all(CPU in name and not name.endswith(".py") for name in fetched)
    asked = len(onnx_hub.asked)
    await served(model("owner/tiny-onnx"))
    assert onnx_hub.asked[asked:] == [], "the second start needs no network"


async def test_an_interrupted_download_is_not_taken_for_a_model(
    onnx_hub: Hub, hub_cache: Path
) -> None:
    """A folder without its weights is fetched again."""
    await served(model("owner/tiny-onnx"))
    (weights,) = weights_in(hub_cache)
    weights.unlink()
    assert find_model(weights.parents[2]) is None
    await served(model("owner/tiny-onnx"))
    assert weights_in(hub_cache) == [weights]


async def test_phi_s_own_build_is_fetched_in_place_of_the_dense_form(
    onnx_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the vendor's 4-bit build serves for the dense model's name."""
    monkeypatch.setitem(onnx_loading.BUILDS, "owner/dense", "owner/dense-onnx")  # type: ignore[arg-type]
    wanted = model("owner/dense", device="cpu")
    facts = await served(wanted)
    assert facts["engine"] == "onnxruntime"
    assert wanted.spec.source == "owner/dense-onnx"
    assert all("dense-onnx" in path for path in onnx_hub.asked)


async def test_a_dense_form_that_is_here_already_is_used(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched where the dense form is in the cache and the build is not."""
    await served(model("owner/dense", device="cpu", engine="transformers"))
    monkeypatch.setitem(onnx_loading.BUILDS, "owner/dense", "owner/dense-onnx")  # type: ignore[arg-type]
    asked = len(hub.asked)
    assert (await served(model("owner/dense", device="cpu")))["engine"] == "transformers-cb"
    assert hub.asked[asked:] == []


@pytest.mark.parametrize("values", [{"dtype": "float32"}, {"revision": "abc"}, {"device": "cuda"}])
def test_what_only_the_dense_form_has_is_left_to_it(values: dict[str, str]) -> None:
    """A number format, a commit or a GPU that was asked for decides for the dense form."""
    phi = config("microsoft/Phi-4-mini-instruct", **values)
    assert onnx_loading.choose(phi) is None
    plain = config("microsoft/Phi-4-mini-instruct", device="cpu")
    choice = onnx_loading.choose(plain)
    assert choice is not None
    assert choice.source == "microsoft/Phi-4-mini-instruct-onnx"


@pytest.mark.parametrize("source", ["owner/tiny", "/nowhere/model.gguf", "/nowhere/model"])
def test_other_models_stay_with_transformers_unless_told(source: str) -> None:
    """Only a name that speaks of ONNX, or the engine `onnx`, looks for a build."""
    assert onnx_loading.choose(config(source, device="cpu")) is None
    if source.startswith("/"):
        with pytest.raises(UnsupportedModel, match="ONNX Runtime GenAI"):
            onnx_loading.choose(config(source, device="cpu", engine="onnx"))


async def test_a_repository_without_a_cpu_build_is_named(hub: Hub) -> None:
    """The error says what is missing and which setting leads on."""
    error = await failure(model("owner/tiny", engine="onnx"))
    assert isinstance(error, UnsupportedModel)
    assert "no model for a CPU" in error.sentence
    assert "ARENA_LOCAL_ENGINE=transformers" in error.remedy_text


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Makes Python see no such package."""
    monkeypatch.setitem(sys.modules, request.param, None)
    return str(request.param)


@pytest.mark.parametrize("not_installed", ["onnxruntime_genai", "onnx"], indirect=True)
async def test_without_the_runtime_transformers_serves_or_the_command_is_named(
    not_installed: str, tiny_folder: Path, wide_onnx_folder: Path
) -> None:
    """The runtime is optional; where it was asked for, the error has the command to install it."""
    assert onnx_loading.choose(config(wide_onnx_folder)) is None
    error = await failure(model(tiny_folder, engine="onnx"))
    assert f"{not_installed.replace('_', '-')} is missing" in error.sentence
    assert error.remedy_text == "Run: pip install -r requirements-cpu.txt"


def building(target: Path, dense: Path) -> Any:
    def build(report: Any) -> Fetched:
        onnx_build.ensure(target, lambda: dense, label="Tiny", report=report, precision="fp32")
        return Fetched(target, "abc")

    return build


@pytest.mark.parametrize("not_installed", ["onnx_ir"], indirect=True)
async def test_without_the_builder_transformers_serves_and_says_so(
    not_installed: str, tiny_folder: Path, tmp_path: Path
) -> None:
    """The notice and the facts say why the model is not on ONNX Runtime."""
    build = building(tmp_path / "made", tiny_folder)
    values = {"device": "cpu", "build_onnx": build}
    wanted = model(tiny_folder, **values)
    await wanted.start()
    status = wanted.status()
    assert isinstance(status, Ready)
    assert status.notice == "not_onnx"
    assert "onnx-ir is missing" in status.facts["not_onnx"]
    assert status.facts["engine"] == "transformers-cb"
    assert wanted.spec.id == "tiny-f32"
    await wanted.aclose()
    error = await failure(model(tiny_folder, engine="onnx", **values))
    assert error.remedy_text == "Run: pip install -r requirements-cpu.txt"


async def test_a_built_form_that_does_not_run_is_replaced_by_transformers(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """What the runtime refuses only when it computes falls back, unless ONNX was asked for."""
    # Heads of 16 numbers are built, but cannot be run.
    build = building(tmp_path / "made", tiny_folder)
    wanted = model(tiny_folder, device="cpu", build_onnx=build)
    await wanted.start()
    status = wanted.status()
    assert isinstance(status, Ready)
    assert status.notice == "not_onnx"
    assert (await answer(wanted, QUESTION, GREEDY))[0]
    await wanted.aclose()
    error = await failure(model(tmp_path / "made", engine="onnx"))
    assert isinstance(error, ModelUnavailable)
    assert "could not be loaded" in error.sentence
    assert "cos_cache" in error.detail


def test_it_is_built_once(wide_folder: Path, wide_onnx_folder: Path) -> None:
    """A folder that is complete is left as it is."""

    def never() -> Path:
        raise AssertionError

    before = (wide_onnx_folder / "model.onnx").stat().st_mtime_ns
    onnx_build.ensure(wide_onnx_folder, never, label="Wide", report=lambda *_: None)
    assert (wide_onnx_folder / "model.onnx").stat().st_mtime_ns == before
    assert (wide_onnx_folder / "config.json").read_bytes() == (
        wide_folder / "config.json"
    ).read_bytes()
    assert not list(wide_onnx_folder.parent.glob("*.part"))


def test_a_build_that_fails_leaves_nothing_and_is_typed(tmp_path: Path) -> None:
    """No part of a folder stays behind."""
    dense = tmp_path / "dense"
    dense.mkdir()
    (dense / "config.json").write_text('{"num_hidden_layers": 2, "model_type": "mystery"}')
    with pytest.raises(ModelUnavailable, match="could not be prepared") as caught:
        onnx_build.ensure(tmp_path / "made", lambda: dense, label="X", report=lambda *_: None)
    assert "ARENA_CACHE_DIR" in caught.value.remedy_text
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        ["dense"], ["dense", "made.lock"],
    )  # fmt: skip


@pytest.fixture
def copy(wide_onnx_folder: Path, tmp_path: Path) -> Path:
    """One to be changed."""
    folder = tmp_path / "copy-fp16"
    shutil.copytree(wide_onnx_folder, folder)
    return folder


def test_a_folder_says_what_it_holds(copy: Path) -> None:
    """Sizes, precision and LongRoPE limit, from the folder or by the known limits."""
    found = describe(copy, "x")
    assert found.shape == ModelShape(2, 4, 2, 64, 256, 128, found.shape.vocabulary, 256, 64, 4)
    assert found.has_longrope
    assert found.precision == "f16", "by its name, where the graph is not quantised"
    assert found.weights_bytes > (copy / "model.onnx.data").stat().st_size
    (copy / "config.json").unlink()
    assert describe(copy, "x").shape.short_context == 256, "a context below the known limit"
    config = json.loads((copy / "genai_config.json").read_text())
    config["model"]["context_length"] = 131072
    (copy / "genai_config.json").write_text(json.dumps(config))
    assert describe(copy, "x").shape.short_context == 4096, "Phi's, which the runtime knows too"


def test_the_precision_is_that_of_most_products(copy: Path) -> None:
    """The `bits` of the quantised products decide, by their number."""
    model = onnx.load(copy / "model.onnx", load_external_data=False)
    for node, bits in zip(model.graph.node, (8, 4, 4), strict=False):
        node.attribute.append(helper.make_attribute("bits", bits))
    onnx.save(model, copy / "model.onnx")
    assert describe(copy, "x").precision == "int4"


def test_a_graph_that_is_none_is_typed(copy: Path) -> None:
    """A file of another kind is broken weights, and no model that could be taken."""
    (copy / "model.onnx").write_bytes(b"version https://git-lfs.example/spec/v1\n")
    assert find_model(copy) is None
    with pytest.raises(ModelUnavailable):
        describe(copy, "x")


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("genai_config.json", "{", ModelUnavailable),
        ("genai_config.json", "[]", ModelUnavailable),
        ("genai_config.json", '{"model": {"type": "whisper"}}', UnsupportedModel),
        ("config.json", "{", ModelUnavailable),
    ],
)
def test_a_folder_that_makes_no_sense_is_typed(
    copy: Path, name: str, text: str, kind: type[ArenaError]
) -> None:
    """Broken settings are unavailable, settings of another kind of model unsupported."""
    (copy / name).write_text(text)
    with pytest.raises(kind):
        describe(copy, "x")


async def test_broken_weights_are_typed_and_a_second_start_can_succeed(copy: Path) -> None:
    """Once the files are mended, the same model starts."""
    good = (copy / "model.onnx.data").read_bytes()
    (copy / "model.onnx.data").write_bytes(good[:100])
    wanted = model(copy, engine="onnx")
    error = await failure(wanted)
    assert isinstance(error, ModelUnavailable), error
    (copy / "model.onnx.data").write_bytes(good)
    await served(wanted)


def phi(weights: float) -> GenAiModel:
    shape = ModelShape(32, 24, 8, 128, 3072, 8192, 200064, 131072, 4096, 4)
    graph = Graph("model.onnx", "ids", "mask", "position", "logits", (), (), 8, 128, in_place=True)
    return GenAiModel(Path("x"), "phi3", shape, frozenset({1}), "int4", int(weights * GIB), graph)


def test_the_cache_is_planned_within_what_is_free() -> None:
    """Weights and cache fit into free memory; a refusal names the numbers and the setting."""
    model = phi(5)
    for free in (8, 16, 64):
        tokens = plan_tokens(model, free * GIB, None)
        used = model.weights_bytes + tokens * model.shape.kv_bytes_per_token
        assert 1024 <= tokens <= model.shape.context
        assert used < free * GIB
    assert plan_tokens(model, 64 * GIB, 1.0) == 4096
    with pytest.raises(OutOfMemory, match=r"5\.0 GiB free") as caught:
        plan_tokens(model, 5 * GIB, None)
    assert "more memory" in caught.value.remedy_text
    with pytest.raises(OutOfMemory) as caught:
        plan_tokens(model, 64 * GIB, 0.1)
    assert "ARENA_MAX_CACHE_GIB" in caught.value.remedy_text


def test_models_do_not_plan_with_the_same_memory(
    wide_onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each engine plans with what the others have not reserved, and gives it back at its end."""
    free, reservations = 64 * 1024**2, memory.MemoryReservations()
    monkeypatch.setattr(memory, "reservations", reservations)
    monkeypatch.setattr(onnx_engine, "reservations", reservations)
    monkeypatch.setattr(onnx_engine, "free_ram", lambda: free - reservations.total)
    monkeypatch.setattr(onnx_engine, "CACHE_TOKENS", 10**9)
    described = describe(wide_onnx_folder, "wide")
    engines = [OnnxEngine(described) for _ in range(3)]
    planned = []
    for engine in engines:
        engine.start()
        planned.append(reservations.total)
    try:
        assert planned == sorted(set(planned))
        assert planned[2] + 3 * described.weights_bytes < free
        engines[0].start()
        assert reservations.total == planned[2], "one that runs plans nothing anew"
    finally:
        for engine in engines:
            engine.stop()
    assert reservations.total == 0


async def test_weights_that_do_not_fit_are_refused(
    wide_onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a fallback to transformers, which needs more."""
    monkeypatch.setattr(onnx_engine, "free_ram", lambda: 10**6)
    wanted = model(wide_onnx_folder, engine="auto", device="cpu")
    await wanted.start()
    status = wanted.status()
    assert isinstance(status, Unavailable)
    assert isinstance(status.error, OutOfMemory), "transformers would need more, not less"
