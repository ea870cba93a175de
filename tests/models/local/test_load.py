"""How a model gets its files, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.domain import GenerationParams
from arena.errors.base import ArenaError
from arena.errors.models import ModelUnavailable, OutOfMemory, UnsupportedModel
from arena.models.base import Loading, Ready, Unavailable
from arena.models.local import download, memory
from arena.models.local.download import is_complete
from arena.models.local.model import LocalModel
from arena.models.local.transformers import weights as loading
from arena.models.local.transformers.weights import refuse_wrong_gguf, stop_ids
from tests.models.conftest import QUESTION, Case, answer, local_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """Speaks as much of the Hub as the library asks for, from a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.extra: dict[str, bytes] = {"onnx/model.onnx": b"x" * 10, "README.md": b"hello"}
        self.refuse: tuple[int, str] | None = None
        self.asked: list[str] = []

    @property
    def files(self) -> dict[str, bytes]:
        found = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        return {**found, **self.extra}


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append(path)
        if hub.refuse is not None:
            status, code = hub.refuse
            self.reply(status, b"{}", {"X-Error-Code": code} if code else {})
        elif "/tree/" in path:
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": f"{len(data):040x}"}
                for name, data in hub.files.items()
            ]
            self.reply(200, json.dumps(entries).encode())
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": n, "size": len(d)} for n, d in hub.files.items()]
            info = {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(info).encode())
        else:
            name = path.partition(f"/resolve/{COMMIT}/")[2]
            data = hub.files[name]
            headers = {"ETag": f'"{len(data):040x}"', "X-Repo-Commit": COMMIT}
            self.reply(200, data, headers)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return tmp_path / "hub"


def point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tiny_folder: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(tiny_folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    point_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def in_cache(folder: Path) -> list[Path]:
    return list(folder.rglob("snapshots/*/model.safetensors"))


def from_hub(source: str = "owner/tiny") -> LocalModel:
    return local_model("tiny", source, device="cpu")


async def failure(model: LocalModel) -> ArenaError:
    async with asyncio.timeout(60):
        await model.start()
    status = model.status()
    assert isinstance(status, Unavailable), status
    assert status.error.remedy_text
    return status.error


async def test_files_come_from_the_hub_once_and_then_from_the_cache(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the files that are needed, with their progress; the second start needs no network."""
    seen: list[Loading] = []
    model = from_hub()
    report = model._report

    def watch(step: str, progress: float | None) -> None:
        seen.append(Loading(progress, step))
        report(step, progress)

    monkeypatch.setattr(model, "_report", watch)
    await model.start()
    assert isinstance(model.status(), Ready), model.status()
    assert model.spec.revision == COMMIT
    assert (await answer(model, QUESTION, GenerationParams(max_new_tokens=4)))[1].served_model == (
        f"owner/tiny@{COMMIT[:12]}"
    )
    shares = [s.progress for s in seen if s.step == "download" and s.progress is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(dict.fromkeys(s.step for s in seen)) == ["download", "load", "warm_up"]
    assert not any("onnx" in path or "README" in path for path in hub.asked)
    await model.aclose()

    asked = len(hub.asked)
    again = from_hub()
    await again.start()
    assert isinstance(again.status(), Ready)
    assert again.spec.revision == COMMIT
    assert hub.asked[asked:] == [], "the second start needs no network"
    await again.aclose()


async def test_an_interrupted_download_is_not_taken_for_a_model(hub: Hub) -> None:
    """A cache folder without all weights is fetched again."""
    first = from_hub()
    await first.start()
    await first.aclose()
    from huggingface_hub import constants

    (weights,) = in_cache(Path(constants.HF_HUB_CACHE))
    weights.unlink()
    assert not is_complete(weights.parent)
    again = from_hub()
    await again.start()
    assert isinstance(again.status(), Ready), again.status()
    assert weights.exists()
    await again.aclose()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "no owner/tiny on the Hub"),
        (404, "RevisionNotFound", r"revision main"),
        (403, "GatedRepo", "accepted its terms"),
        (401, "", r"refuses access.*401"),
        (403, "", r"refuses access.*403"),
        (503, "", r"error \(HTTP 503\)"),
    ],
)
async def test_each_refusal_of_the_hub_has_its_own_sentence(
    hub: Hub, status: int, code: str, words: str
) -> None:
    """A missing token, a wrong name and terms that are not accepted differ."""
    hub.refuse = (status, code)
    error = await failure(from_hub())
    assert isinstance(error, ModelUnavailable)
    assert error.code == "model_unavailable"
    assert re.search(words, error.sentence), error.sentence


async def test_a_full_disk_is_found_before_the_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes that the Hub tells are compared with the free disk."""
    usage = download.shutil.disk_usage("/")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    error = await failure(from_hub())
    assert "on the disk" in error.sentence
    assert not any("resolve" in path for path in hub.asked)


async def test_a_repository_without_safetensors_is_refused(hub: Hub, tmp_path: Path) -> None:
    """Before anything is downloaded."""
    hub.folder = tmp_path
    hub.extra = {"config.json": b"{}", "model.onnx": b"x"}
    error = await failure(from_hub())
    assert isinstance(error, UnsupportedModel)
    assert "no safetensors weights" in error.sentence


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_an_unreachable_hub_is_found_out(
    hub_cache: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused or silent: the start ends although no answer ever comes."""
    monkeypatch.setattr(download, "REACH_S", 0.5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "silent":
            listener.listen()
        point_at(f"http://127.0.0.1:{listener.getsockname()[1]}", monkeypatch)
        error = await failure(from_hub())
    assert "Hub" in error.sentence
    assert "ARENA_LOCAL_MODEL" in error.remedy_text
    assert not in_cache(hub_cache)


async def test_offline_mode_is_named(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy names HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = await failure(from_hub())
    assert "HF_HUB_OFFLINE" in error.sentence


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/model.gguf", "no file /nowhere/model.gguf"),
        ("/nowhere/model", "no folder /nowhere/model"),
        ("a b?c", "neither a folder that exists nor a name"),
    ],
)
async def test_a_wrong_source_is_named(hub_cache: Path, source: str, words: str) -> None:
    """A path that does not exist is not looked up on the Hub."""
    assert words in (await failure(from_hub(source))).sentence


def write_gguf(path: Path, architecture: str) -> Path:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


async def test_a_gguf_file_of_phi3_is_refused(tmp_path: Path) -> None:
    """Transformers would read it without its LongRoPE factors."""
    error = await failure(from_hub(str(write_gguf(tmp_path / "phi.gguf", "phi3"))))
    assert isinstance(error, UnsupportedModel)
    assert "phi3" in error.sentence
    assert "microsoft/Phi-4-mini-instruct-onnx" in error.remedy_text
    assert "safetensors" in error.remedy_text
    refuse_wrong_gguf(write_gguf(tmp_path / "llama.gguf", "llama"), "x")


async def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    """With a typed error, whatever the parser says."""
    (tmp_path / "m.gguf").write_bytes(b"not a model")
    error = await failure(from_hub(str(tmp_path / "m.gguf")))
    assert isinstance(error, UnsupportedModel)


async def test_weights_that_do_not_fit_are_refused_with_numbers_and_remedy(
    tiny: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 bits are a remedy only where they would fit."""
    weights = loading.weights_bytes(tiny.folder, "float32")
    counted = sum(p.numel() for p in tiny.reference.parameters()) * 4
    assert weights == counted
    assert loading.weights_bytes(tiny.folder, "bfloat16") == counted // 2
    monkeypatch.setattr(loading, "free_memory", lambda _: int(weights * 0.7))
    error = await failure(from_hub(str(tiny.folder)))
    assert isinstance(error, OutOfMemory)
    assert "MiB free" in error.sentence
    assert "ARENA_LOCAL_DTYPE=bfloat16" in error.remedy_text
    monkeypatch.setattr(loading, "free_memory", lambda _: 1000)
    assert "bfloat16" not in (await failure(from_hub(str(tiny.folder)))).remedy_text


async def test_memory_that_runs_out_while_loading_is_typed(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same error as that of the check before."""

    def read(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(loading, "_read", read)
    assert isinstance(await failure(from_hub(str(tiny_folder))), OutOfMemory)


async def test_broken_files_are_typed_and_a_second_start_can_succeed(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """Once the files are mended, the same model starts."""
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[:100])
    model = from_hub(str(folder))
    assert isinstance(await failure(model), ModelUnavailable)
    (folder / "model.safetensors").write_bytes(good)
    await model.start()
    assert isinstance(model.status(), Ready)
    await model.aclose()


async def test_a_model_that_needs_its_own_code_is_refused(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """Code from a repository never runs."""
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["model_type"] = "mystery"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "evil.py").write_text("raise SystemExit('ran')", "utf-8")
    error = await failure(from_hub(str(folder)))
    assert isinstance(error, UnsupportedModel), error.detail
    assert "ran" not in error.detail


async def test_closing_ends_a_start_that_is_under_way(tiny_folder: Path) -> None:
    """The next report of a download ends it."""
    going, go_on = threading.Event(), threading.Event()

    def fetch_files(report: download.ProgressCallback) -> download.Fetched:
        going.set()
        while True:
            go_on.wait(20)
            report("download", 0.1)

    model = local_model("t", "x/y", device="cpu", fetch=fetch_files)
    start = asyncio.create_task(model.start())
    assert await asyncio.to_thread(going.wait, 20)
    assert model.status() == Loading()
    closing = asyncio.create_task(model.aclose())
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(20):
        await asyncio.gather(start, closing)
    assert not isinstance(model.status(), Ready | Loading)


@pytest.mark.parametrize(("given", "wanted"), [(7, {7}), ([7, 9], {7, 9}), (None, {3})])
def test_stop_tokens_come_from_the_generation_config(given: object, wanted: set[int]) -> None:
    """One, several, or none: then the tokenizer's."""
    from types import SimpleNamespace as Fake

    config = Fake(eos_token_id=None)
    model = Fake(
        generation_config=Fake(eos_token_id=given), config=Fake(get_text_config=lambda: config)
    )
    assert stop_ids(model, Fake(eos_token_id=3)) == wanted


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory is what the container's limit leaves, file cache not counted."""
    for name, text in (
        ("max", "3000"),
        ("current", "2500"),
        ("memory.stat", "anon 1\ninactive_file 400\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path, "max", "current"),))
    monkeypatch.setattr(memory, "reservations", memory.MemoryReservations())
    assert memory.free_ram() == 900
    (tmp_path / "max").write_text("max\n")
    assert memory.free_ram() > 10**6
