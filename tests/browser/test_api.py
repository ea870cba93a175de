"""The public functions, called as docs/api.md says, over HTTP, with the real app and model."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.browser.conftest import READY_S, Served, wait_until

MANUAL = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
# The client leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def ready(app: Served) -> bool:
    """Whether a battle could begin."""
    return bool(health(app)["ready"])


def health(app: Served) -> dict[str, Any]:
    """What the health page says."""
    with urllib.request.urlopen(f"{app.url}health", timeout=READY_S) as reply:  # noqa: S310
        found: dict[str, Any] = json.load(reply)
    return found


@contextmanager
def client(app: Served) -> Iterator[Client]:
    """A program's connection, once models answer."""
    wait_until(lambda: ready(app), READY_S, "two contestants")
    opened = Client(app.url, verbose=False)
    try:
        yield opened
    finally:
        opened.close()


def test_the_example_of_the_manual_runs(app: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in docs/api.md runs as it stands."""
    wait_until(lambda: ready(app), READY_S, "two contestants")
    found = re.search(r"```python\n(from gradio_client.*?)```", MANUAL, flags=re.DOTALL)
    assert found is not None
    code = found[1].replace("http://127.0.0.1:7860", app.url)
    before = len(app.rows("select id from battles where mode = 'open'"))
    scope: dict[str, Any] = {}
    exec(compile(code, "docs/api.md", "exec"), scope)  # noqa: S102 -- our own manual
    scope["arena"].close()
    out = capsys.readouterr().out
    assert "smollm2-135m-steps ready" in out
    assert scope["battle"]["a"]["text"].strip()
    assert scope["battle"]["b"]["stats"]["total_s"] > 0
    (row,) = app.rows("select mode, finish_a, finish_b from battles where mode = 'open'")[before:]
    assert row[0] == "open"


def test_a_seed_repeats_a_comparison(app: Served) -> None:
    """The same seed gives the same answers of a local model."""
    with client(app) as arena:
        ask = {"prompt": "Count.", "model_a": "smollm2-135m", "model_b": "smollm2-135m"}
        one, two = (
            arena.predict(**ask, max_new_tokens=8, seed=5, api_name="/compare") for _ in range(2)
        )
    assert one["a"]["text"] == one["b"]["text"] == two["a"]["text"]
    assert one["battle"] != two["battle"]
    assert one["a"]["finish"] in {"length", "stop"}
    assert one["a"]["stats"]["cost_usd"] == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_a": "no-such-model"}, "no_contestants"),
        ({"prompt": "   "}, "empty_prompt"),
        ({"prompt": "x" * 9000}, "prompt_too_long"),
        ({"temperature": 9.0}, "invalid_params"),
        ({"seed": -2}, "invalid_params"),
    ],
)
def test_what_is_refused_says_why(app: Served, change: dict[str, Any], code: str) -> None:
    """A refusal carries its error's code, and no battle is stored."""
    ask = {"prompt": "Hi", "model_a": "smollm2-135m", "model_b": "smollm2-135m-steps"}
    before = len(app.rows("select id from battles"))
    with client(app) as arena, pytest.raises(AppError, match=code):
        arena.predict(**(ask | change), max_new_tokens=8, api_name="/compare")
    assert len(app.rows("select id from battles")) == before


def test_only_three_functions_are_public(app: Served) -> None:
    """Programs can call three functions; the page's listeners are private."""
    with client(app) as arena:
        info = arena.view_api(return_format="dict", print_info=False)
        assert isinstance(info, dict)
        assert set(info["named_endpoints"]) == {"/compare", "/leaderboard", "/models"}
        assert not info["unnamed_endpoints"]
        board = arena.predict(api_name="/leaderboard")
    assert set(board) >= {"pairs", "votes", "contestants", "headline"}


def test_health_says_what_a_balancer_needs(app: Served) -> None:
    """The health page reports the store, the models and the copy of the votes."""
    found = health(app)
    assert found["status"] == "ok"
    assert found["store"] == "ok"
    assert set(found["models"]) == {"phi-4-mini", "smollm2-135m", "gemini"}
    assert found["backup"] == {"on": False, "restoring": False, "unpushed": 0, "error": None}
