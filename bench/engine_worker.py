"""One contestant in a process of its own, which speaks JSON lines with `bench.engines`.

Imports the standard library alone, for the sake of other environments' Pythons; each contestant's
own libraries are imported when it is made. Standard output is kept for the lines: whatever a
library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from bench.crowd import Question, Visit, run_wave

MAKERS = {
    "pipeline": "bench.engine_transformers:Pipeline",
    "generate": "bench.engine_transformers:Streamer",
    "transformers": "bench.engine_ours:Transformers",
    "onnx": "bench.engine_ours:Onnx",
    "app": "bench.engine_http:App",
    "serve": "bench.engine_http:Serve",
    "llama.cpp": "bench.engine_llama:Llama",
}


class Contestant(Protocol):
    """What writes answers."""

    def facts(self) -> dict[str, str]:
        """Versions, number format and the like; `pid` if its memory is another process's."""
        ...

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """One answer, from a thread of the visitor's own; blocks."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


class InTurn:
    """One answer after another, in the order in which they were asked."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def do(self, work: Callable[[], None]) -> None:
        """Wait for the turn, then do it."""
        self._pool.submit(work).result()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(contestant: Contestant, command: dict[str, Any]) -> dict[str, Any]:
    """Do one command.

    Raises:
        RuntimeError: an answer failed.
    """
    questions = [Question(**question) for question in command["questions"]]
    if command["do"] == "wave":
        rows = run_wave(contestant.say, questions, command["stagger"], command["tokens"])
        return {"rows": rows}
    return dict(getattr(contestant, command["do"])(questions, command["tokens"]))


def main() -> int:
    """Make the contestant and serve until standard input ends."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(found: dict[str, Any]) -> None:
        lines.write(json.dumps(found) + "\n")
        lines.flush()

    plan = json.loads(sys.stdin.readline())
    module, _, name = MAKERS[plan["name"]].partition(":")
    contestant: Contestant = getattr(importlib.import_module(module), name)(plan)
    try:
        tell({"facts": contestant.facts()})
        for line in sys.stdin:
            try:
                tell(answer(contestant, json.loads(line)))
            except Exception as error:  # noqa: BLE001 -- told, and the other side ends the run
                tell({"error": f"{type(error).__name__}: {error}"})
    finally:
        contestant.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
