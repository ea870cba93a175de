"""What is asked over HTTP: the app through its page's own Send, and `transformers serve`.

The client's threads run in the worker's process; the memory that counts is the server's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.crowd import Question, Visit
from bench.engine_worker import free_port

START_S, ANSWER_S = 300.0, 1200.0
MANY = "10000"
LIMITS = (
    "BATTLES", "WAITING", "VISITOR_BATTLES", "BATTLES_PER_MINUTE", "BATTLES_PER_DAY",
    "VISITORS_PER_ADDRESS",
)  # fmt: skip


def post(url: str, body: dict[str, Any]) -> urllib.request.Request:
    """As JSON."""
    headers = {"Content-Type": "application/json"}
    return urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 -- ours


def read_json(request: str | urllib.request.Request) -> dict[str, Any]:
    """The whole reply."""
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:  # noqa: S310 -- ours
        found: dict[str, Any] = json.load(reply)
    return found


def events(request: str | urllib.request.Request) -> Iterator[dict[str, Any]]:
    """The events of a stream, as they come."""
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:  # noqa: S310 -- ours
        for line in reply:
            words = line.decode().strip().removeprefix("data:").strip()
            if words.startswith("{"):
                yield json.loads(words)


class SendButton:
    """The page's own Send, pressed over Gradio's queue.

    Attributes:
        outputs: the ids of the parts that an event's data is of.
    """

    def __init__(self, url: str) -> None:
        config = read_json(f"{url}/config")
        self._api = url + config.get("api_prefix", "")
        names = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
        (self._button,) = (number for number, name in names.items() if name == "send")
        (self._listener,) = (
            one for one in config["dependencies"] if [self._button, "click"] in one["targets"]
        )
        self._inputs = [names[number] for number in self._listener["inputs"]]
        self.outputs = [names[number] for number in self._listener["outputs"]]

    def press(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events until the queue has ended; `values` by the parts' ids."""
        given = {"top-p": 1, "seed": "", "system-prompt": "", **values}
        session = uuid.uuid4().hex[:12]
        body = {
            "data": [given.get(name) for name in self._inputs], "fn_index": self._listener["id"],
            "session_hash": session, "trigger_id": self._button, "event_data": None,
        }  # fmt: skip
        read_json(post(f"{self._api}/queue/join", body))
        for event in events(f"{self._api}/queue/data?session_hash={session}"):
            yield event
            if event["msg"] == "close_stream":
                return


class App:
    """One visitor is one session in single mode: the page's own Send, over Gradio's queue.

    `/compare` would have two sides, and says nothing before both have ended. The tokens are those
    that the app recorded.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        # Not at the top: the other server needs neither pytest nor the browser's tests.
        from tests.browser.conftest import serve, wait_until

        self._folder = tempfile.TemporaryDirectory()
        self._served = serve(
            Path(self._folder.name), Path(plan["cache"]), ARENA_LOCAL_MODEL="embedded",
            ARENA_LOCAL_ENGINE="onnx", ARENA_MAX_NEW_TOKENS="1024",
            **{f"ARENA_MAX_{name}": MANY for name in LIMITS},
        )  # fmt: skip
        self._url = self._served.url.rstrip("/")
        wait_until(lambda: bool(read_json(f"{self._url}/health")["ready"]), START_S, "a model")
        self._send = SendButton(self._url)
        self._pane = self._send.outputs.index("pane-a")

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        from importlib.metadata import version

        return {"gradio": version("gradio"), "pid": str(self._served.process.pid)}

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`."""
        values = {
            "prompt": question.text, "mode": "single", "use-gemini": False,
            "model-a": "smollm2-135m", "temperature": 0, "max-new-tokens": tokens,
        }  # fmt: skip
        for event in self._send.press(values):
            if visit.first is None and has_answer(event, self._pane):
                visit.saw(0)
        visit.ended()
        rows = self._served.rows(
            "select json_extract(conversation_a, '$[0].answer.finished.completion_tokens')"
            " from battles where json_extract(conversation_a, '$[0].prompt') = ?",
            question.text,
        )
        visit.tokens = sum(int(count or 0) for (count,) in rows)

    def close(self) -> None:
        """End the server."""
        from tests.browser.conftest import end

        end(self._served)
        self._folder.cleanup()


def has_answer(event: dict[str, Any], pane: int) -> bool:
    """Whether this event, a whole page or the changes of one, brings words of the answer."""
    data = (event.get("output") or {}).get("data") or []
    return len(data) > pane and isinstance(data[pane], str | list) and bool(data[pane])


class Serve:
    """`transformers serve --continuous-batching`, by its OpenAI-compatible address."""

    def __init__(self, plan: dict[str, Any]) -> None:
        folder = Path(plan["folder"])
        self._model = folder.name
        port = free_port()
        command = [
            str(Path(sys.executable).with_name("transformers")), "serve", folder.name,
            "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32",
            "--continuous-batching", "--cb-num-blocks", "64", "--cb-max-batch-tokens", "256",
            "--log-level", "error",
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 -- transformers' own command
            command, cwd=folder.parent, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        )
        self._url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("transformers serve did not start")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return bool(read_json(f"{self._url}/health"))
        except OSError:
            return False

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        from importlib.metadata import version

        return {"transformers": version("transformers"), "pid": str(self._process.pid)}

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`."""
        body = {
            "model": self._model, "stream": True, "max_tokens": tokens, "temperature": 0.0,
            "messages": [{"role": "user", "content": question.text}],
        }  # fmt: skip
        for event in events(post(f"{self._url}/v1/chat/completions", body)):
            for choice in event.get("choices") or []:
                if (choice.get("delta") or {}).get("content"):
                    visit.saw(0)
            if event.get("usage"):
                visit.tokens = event["usage"]["completion_tokens"]

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
