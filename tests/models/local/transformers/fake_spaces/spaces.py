"""A stand-in for the package `spaces` as it is on ZeroGPU: the fake at the outermost boundary.

There are no GPUs behind it. What the engine must cope with is as in the real one: a decorated
generator runs in a forked process; arguments and pieces are pickled; the caller's context is read
at the first step; closing is noticed at the process's next piece, and waited for; a process that
ended a call well serves the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any

visitor: ContextVar[str] = ContextVar("visitor")
"""Stands for Gradio's request, by which the real one knows whose quota it is."""


class Error(Exception):
    """In form like Gradio's, which the real one raises."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(message)
        self.title = title
        self.message = message


@dataclass
class Call:
    """What the platform got to know of one call."""

    visitor: str | None
    seconds: int
    pid: int = 0


@dataclass
class Platform:
    """What a test sets and reads.

    Attributes:
        refuse: raised in place of a GPU.
        free: a GPU is free; while it is not set, calls wait.
        keep: processes serve later calls.
    """

    refuse: Exception | None = None
    free: threading.Event = field(default_factory=threading.Event)
    keep: bool = False
    calls: list[Call] = field(default_factory=list)
    forking: threading.Lock = field(default_factory=threading.Lock)


platform = Platform()
platform.free.set()


class Worker:
    """A forked process that has the task, and with it the model."""

    def __init__(self, task: Callable[..., Iterator[Any]]) -> None:
        # Under a lock: a process forked in between would hold the child's end open for good.
        with platform.forking:
            self.conn, theirs = Pipe()
            self.pid = os.fork()
            if self.pid == 0:
                self.conn.close()
                _serve(task, theirs)
            theirs.close()

    def take(self) -> tuple[str, Any]:
        """The next piece, or how it ended."""
        try:
            return self.conn.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            os.waitpid(self.pid, 0)
            return "gone", None

    def end(self) -> None:
        # Said outright: processes that were forked later hold this end of the pipe too.
        self.conn.send(("quit", None))
        os.waitpid(self.pid, 0)
        self.conn.close()


def _serve(task: Callable[..., Iterator[Any]], conn: Connection) -> None:
    """The life of the process; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        kind, args = conn.recv()
        while kind != "quit":
            if kind == "run":
                _run(task, args, conn)
            kind, args = conn.recv()
    os._exit(0)


def _run(task: Callable[..., Iterator[Any]], args: tuple[Any, ...], conn: Connection) -> None:
    steps = task(*args)
    while True:
        try:
            piece = next(steps)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - its name is sent
            conn.send(("raised", type(error).__name__))
            return
        if conn.poll():
            conn.recv()
            steps.close()  # type: ignore[attr-defined]
            break
        conn.send(("piece", piece))
    conn.send(("end", None))


def _kept(idle: list[Worker]) -> Worker | None:
    """A process of an earlier call, if they are kept."""
    while idle and not platform.keep:
        idle.pop().end()
    return idle.pop() if idle else None


def GPU(task: Any = None, *, duration: Any = None) -> Any:  # noqa: N802 - its name
    idle: list[Worker] = []

    def on_gpu(*args: Any) -> Iterator[Any]:
        call = Call(visitor.get(None), duration(*args))
        platform.calls.append(call)
        if platform.refuse is not None:
            raise platform.refuse
        assert platform.free.wait(30)
        worker = _kept(idle) or Worker(task)
        call.pid = worker.pid
        worker.conn.send(("run", args))
        kind, piece = worker.take()
        try:
            while kind == "piece":
                yield piece
                kind, piece = worker.take()
        except GeneratorExit:
            worker.conn.send(("stop", None))
            while kind == "piece":
                kind, piece = worker.take()
            raise
        finally:
            if kind == "end" and platform.keep:
                idle.append(worker)
            elif kind != "gone":
                worker.end()
        if kind == "gone":
            raise Error("ZeroGPU worker error", "GPU task aborted")
        if kind == "raised":
            raise Error("ZeroGPU worker error", piece)

    return on_gpu


def _first_importer() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in (
        __name__,
        "importlib._bootstrap",
        "importlib._bootstrap_external",
    ):
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


imported = {
    "by": _first_importer(),
    "after": [name for name in ("torch", "gradio", "transformers") if name in sys.modules],
}
if note := os.environ.get("FAKE_SPACES_NOTE"):
    with open(note, "a", encoding="utf-8") as opened:  # noqa: PTH123
        opened.write(json.dumps(imported) + "\n")
