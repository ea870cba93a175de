"""ZeroGPU: forked processes, one a request; run for real but for the GPUs and their platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from arena.domain import FinishReason
from arena.errors.models import (
    CacheTooSmall,
    ContextTooLong,
    EngineCrashed,
    ModelUnavailable,
    NotFinite,
    OutOfMemory,
    QuotaSpent,
)
from arena.errors.reasons import ErrorReason
from arena.models.base import Unavailable
from arena.models.local.download import Fetched, ProgressCallback
from arena.models.local.transformers.zerogpu import SHORTEST_S
from arena.models.registry import Entry, Registry
from tests.environment import settings_from
from tests.models.conftest import local_model
from tests.models.local.tiny_phi import SHORT

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[4]
FAKE = Path(__file__).parent / "fake_spaces"


def environment(home: Path, *paths: Path, **more: str) -> dict[str, str]:
    given = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    where = os.pathsep.join(str(path) for path in (ROOT, *paths))
    return given | {"HOME": str(home), "PYTHONPATH": where, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="module")
def report(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the worker saw: its scenarios share one start of torch."""
    folder = tmp_path_factory.mktemp("zerogpu") / "tiny-phi"
    folder.symlink_to(tiny_folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.local.transformers.zerogpu_worker", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
        env=environment(folder.parent, FAKE),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def seen(report: dict[str, Any], scenario: str) -> Any:
    found = report[scenario]
    assert "failed" not in found, found["failed"]
    return found


def test_tokens_are_those_of_generate(report: dict[str, Any]) -> None:
    """Also where an answer crosses LongRoPE's limit."""
    found = seen(report, "tokens")
    assert found["forked"] == found["expected"]
    lengths = [len(answer["ids"]) for answer in found["forked"]]
    assert lengths[:5] == [12, 20, 30, 20, 9]
    assert found["crossing_prompt"] < SHORT < found["crossing_prompt"] + lengths[2]
    assert found["forked"][2]["ids"] == found["greedy"]
    assert found["forked"][0]["ids"][:9] == found["forked"][4]["ids"]


def test_the_end_has_its_reason(report: dict[str, Any]) -> None:
    """STOP for a stop token, LENGTH for the budget."""
    *cut, stopped = seen(report, "tokens")["forked"]
    assert {answer["finish"] for answer in cut} == {FinishReason.LENGTH}
    assert stopped["finish"] == FinishReason.STOP
    assert stopped["ids"] == cut[0]["ids"][:5]


def test_scores_that_are_not_finite_end_the_answer(report: dict[str, Any]) -> None:
    """The error comes out of the forked process as itself; nothing is written after it."""
    found = seen(report, "not_finite")
    assert found["failed_with"]["code"] == NotFinite.code
    assert found["passes"] == 4


def test_nothing_is_shared_with_the_process(report: dict[str, Any]) -> None:
    """The forked process has memory of its own, and ends after its call."""
    found = seen(report, "tokens")
    assert found["seen_here"] == [], "a pass of the model ran in this process"
    assert found["thread"], "a thread was started that would not live through the fork"
    assert found["pids"] == len(found["forked"])
    assert found["alive"] == []


def test_one_process_serves_several_calls(report: dict[str, Any]) -> None:
    """No call leaves anything behind that changes the next."""
    found = seen(report, "reused")
    assert found["pids"] == 1
    assert found["found"] == found["expected"]


def test_leaving_between_two_outputs_ends_the_process(report: dict[str, Any]) -> None:
    """Closing the stream ends the use of the GPU."""
    found = seen(report, "left_early")
    assert found["was_alive"]
    assert found["forwards"] <= 4, "the pass that was under way is the last"
    assert found["open"] == 0


def test_leaving_during_a_step_ends_the_process(report: dict[str, Any]) -> None:
    """The thread that is inside the step closes the generator after it."""
    found = seen(report, "cancelled_in_a_step")
    assert found["cancelled"]
    assert found["second_halves"] == 0, "it went on with the second half of the pass"
    assert found["open"] == 0


def test_the_gpu_is_given_back_idle(report: dict[str, Any]) -> None:
    """No pass of the model runs after the call has ended."""
    found = seen(report, "given_back_idle")
    assert found["alive"]
    assert found["marks"] >= 2
    assert found["marks"] % 2 == 0, "a pass was under way"


def test_leaving_the_queue_neither_waits_nor_writes(report: dict[str, Any]) -> None:
    """A cancelled wait for a GPU ends at once, and the GPU that comes later is not used."""
    found = seen(report, "cancelled_in_the_queue")
    assert found["waiting"] == 1
    assert found["written"] <= 4, "it was to be left as soon as the GPU came"
    assert found["again"] == 12, "the place is free again"


def test_a_lost_process_is_an_error_of_one_answer(report: dict[str, Any]) -> None:
    """Its reader gets a typed error, and the next answer is well."""
    found = seen(report, "crashes")
    assert found["killed"]["code"] == found["gone"]["code"] == EngineCrashed.code
    assert found["fault"]["code"] == found["silent"]["code"] == EngineCrashed.code
    assert found["full"]["code"] == OutOfMemory.code
    assert "more needed" in found["full"]["sentence"]
    assert len(found["well"]["ids"]) == 12


def test_a_visitor_without_quota_is_told_what_to_do(report: dict[str, Any]) -> None:
    """With the time to wait, and before a process is forked."""
    found = seen(report, "refused")
    assert found["quota"]["code"] == QuotaSpent.code
    assert "3:59:12" in found["quota"]["remedy"]
    assert found["forked"] == 0


def test_what_never_fits_is_refused_before_a_gpu_is_asked_for(report: dict[str, Any]) -> None:
    """By the context, and by the memory of the GPU."""
    found = seen(report, "refused")
    assert found["fits"] == ""
    assert found["long"] == ContextTooLong.code
    assert found["large"] == CacheTooSmall.code


def test_each_call_is_on_its_visitors_account(report: dict[str, Any]) -> None:
    """The thread of a call has the visitor's context."""
    found = seen(report, "context")
    assert found["visitors"] == ["aiko", "ben"]
    assert found["seconds"] == [SHORTEST_S] * 2


def test_answers_are_written_side_by_side(report: dict[str, Any]) -> None:
    """Each call has a process of its own, up to the number of slots."""
    found = seen(report, "side_by_side")
    assert found["pids"] == 2
    assert found["alive"] == [True, True]
    assert found["first"] == [True, True]
    assert found["held"], "a third answer began while both places were taken"


def test_the_engine_stops_under_its_readers(report: dict[str, Any]) -> None:
    """They get an error, the process ends, and the engine can start again."""
    found = seen(report, "stopped")
    assert found["ended"]["code"] == found["after"]["code"] == EngineCrashed.code
    assert len(found["again"]["ids"]) == 12


def test_a_local_model_runs_with_it(report: dict[str, Any]) -> None:
    """A lost process fails one answer, and the model stays ready."""
    found = seen(report, "whole_model")
    assert found["dormant"] == "Dormant", "it was loaded in a thread, where ZeroGPU has no CUDA"
    assert found["engine"] == found["facts"]["engine"] == "transformers-zerogpu"
    assert found["text"]
    assert found["text"] == found["again"]
    assert found["crash"] == EngineCrashed.code
    assert found["after"] == "Ready"


def test_weights_are_moved_by_the_thread_that_loads(report: dict[str, Any]) -> None:
    """`spaces` imitates a GPU for that thread alone."""
    found = seen(report, "moved_here")
    assert found["device"] == "meta"
    assert found["moved"] >= found["parameters"] > 0


# --- the app's start ---------------------------------------------------------------------------

START = """
import asyncio, json, sys
import app
from arena.domain import Delta, GenerationParams, Message, Role

registry = app.parts.arena.registry
entry = next(e for e in registry.entries if e.primary)
at_import = type(entry.model.status()).__name__

async def main():
    registry.start()
    await registry.started()
    params = GenerationParams(temperature=0, max_new_tokens=8)
    stream = entry.model.stream([Message(Role.USER, "Hello")], params)
    text = "".join([event.text async for event in stream if isinstance(event, Delta)])
    facts = dict(entry.model.status().facts)
    states = [type(e.model.status()).__name__ for e in registry.entries if e.stand_in]
    await registry.aclose()
    return {"text": text, "engine": facts["engine"], "standby": states}

print(json.dumps({"at_import": at_import, **(asyncio.run(main()) if sys.argv[1:] else {})}))
"""


def start_app(
    tiny_folder: Path, home: Path, *arguments: str, **more: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    note = home / "note.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
        env=environment(
            home, FAKE,
            ARENA_LOCAL_MODEL=str(tiny_folder),
            ARENA_DATABASE_URL=f"sqlite:///{home / 'arena.db'}",
            ARENA_CACHE_DIR=str(home),
            FAKE_SPACES_NOTE=str(note),
            HF_HUB_OFFLINE="1",
            **more,
        ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = note.read_text("utf-8").splitlines() if note.exists() else []
    return json.loads(done.stdout.splitlines()[-1]), json.loads(notes[0]) if notes else {}


def test_on_zero_gpu_the_app_imports_spaces_first_and_loads_at_once(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """Before torch, and before the page is launched."""
    found, note = start_app(tiny_folder, tmp_path, "answer", SPACES_ZERO_GPU="true")
    assert note == {"by": "app", "after": []}
    assert found["at_import"] == "Ready"
    assert found["engine"] == "transformers-zerogpu"
    assert found["text"]
    assert set(found["standby"]) == {"Dormant"}


def test_elsewhere_the_app_does_not_touch_spaces(tiny_folder: Path, tmp_path: Path) -> None:
    """Neither imports it nor loads a model at import."""
    found, note = start_app(tiny_folder, tmp_path)
    assert note.get("by", "gradio.").startswith("gradio."), "Gradio itself looks for it"
    assert found["at_import"] == "Dormant"


def test_the_variable_of_the_platform_decides() -> None:
    """SPACES_ZERO_GPU takes the engine `zerogpu`, whatever is set."""
    assert settings_from({}).engine == "auto"
    for value in ("true", "1", "True", "t"):
        settings = settings_from({"SPACES_ZERO_GPU": value, "ARENA_LOCAL_ENGINE": "transformers"})
        assert settings.engine == "zerogpu"
    assert settings_from({"SPACES_ZERO_GPU": "0"}).engine == "auto"


class Unfetched:
    """A local model whose files cannot be had; keeps the threads that asked for them."""

    def __init__(self, slug: str) -> None:
        self.asked: list[threading.Thread] = []
        self.model = local_model(slug, "x/y", engine="zerogpu", fetch=self._fetch)

    def _fetch(self, _report: ProgressCallback) -> Fetched:
        self.asked.append(threading.current_thread())
        raise ModelUnavailable(label="X", why=ErrorReason.HUB_SILENT, remedy=ErrorReason.DO_RESTART)


async def test_the_stand_in_is_loaded_where_the_primary_model_could_not_be() -> None:
    """On the thread that starts the app; nothing is loaded later."""
    primary, other, stand_in = Unfetched("phi"), Unfetched("other"), Unfetched("smol")
    registry = Registry([
        Entry("phi", primary.model, primary=True),
        Entry("other", other.model),
        Entry("smol", stand_in.model, stand_in=True),
    ])  # fmt: skip
    registry.load_before_launch()
    here = threading.current_thread()
    assert [model.asked for model in (primary, other, stand_in)] == [[here]] * 3
    registry.start()
    await registry.started()
    assert len(primary.asked) == len(stand_in.asked) == 1, "nothing is loaded later"
    assert isinstance(primary.model.status(), Unavailable)
