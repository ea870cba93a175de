"""The arena's side of an ONNX worker process: starts it, talks with it, and ends it."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from arena.concurrency import GIVE_UP_S
from arena.errors.models import EngineCrashed, ModelError, NotFinite, OutOfMemory
from arena.models.local.engine import Sink, TokenRequest
from arena.models.local.memory import out_of_memory
from arena.models.local.onnx.protocol import (
    OUT_OF_MEMORY_STATUS,
    Cancel,
    Command,
    NewTokens,
    Progress,
    RunnerInfo,
    Submit,
    WorkerConfig,
    WorkerFailure,
    WorkerMessage,
)

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[4]
WORKER = "arena.models.local.onnx.worker"
HANG_S = 120.0
"""How long one call of the model may take while somebody waits for it."""


class WorkerLink:
    """One worker process, from its start to its end.

    No caller's thread waits on the worker: commands go through a queue, and a thread of the link
    hands to the sinks what comes back.

    Args:
        config: what the worker loads.
        on_crash: called from the link's thread when the worker dies without being stopped.
    """

    def __init__(self, config: WorkerConfig, on_crash: Callable[[ModelError], None]) -> None:
        self._config = config
        self._on_crash = on_crash
        self._ready: Future[RunnerInfo] = Future()
        self._sinks: dict[int, Sink] = {}
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[WorkerConfig | Command | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="onnx_write", daemon=True)
        self._stopping = False
        self._heard = time.monotonic()
        self._dead: ModelError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> RunnerInfo:
        """Start the process; returns when it has loaded its model and written something.

        Raises:
            ModelError: it could not.
        """
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            # A session of its own: Ctrl-C in the terminal is for the arena alone.
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", WORKER, str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection: Connection = Connection(os.dup(ours.fileno()))
        self._outbox.put(self._config)
        self._writer.start()
        threading.Thread(target=self._read, name="onnx_read", daemon=True).start()
        return self._ready.result()

    @property
    def alive(self) -> bool:
        """Whether it answers requests; a worker that hangs is killed, and so does not."""
        if self._sinks and time.monotonic() - self._heard > HANG_S and self._process is not None:
            log.error("the worker said nothing for %.0f s", HANG_S)
            self._process.kill()  # its readers get the error from the end of the connection
        return self._dead is None and not self._stopping and self._ready.done()

    @property
    def pid(self) -> int:
        """Of the process; 0 before there is one."""
        return 0 if self._process is None else self._process.pid

    def submit(self, number: int, request: TokenRequest, sink: Sink) -> None:
        """Begin an answer; returns at once.

        Raises:
            ModelError: the worker is dead.
        """
        with self._lock:
            if self._dead is not None:
                raise self._dead
            if not self._sinks:
                self._heard = time.monotonic()
            self._sinks[number] = sink
        self._outbox.put(Submit(number, request))

    def forget(self, number: int) -> None:
        """Its tokens are no longer read."""
        with self._lock:
            self._sinks.pop(number, None)

    def cancel(self, number: int) -> None:
        """Stop writing it."""
        self.forget(number)
        self._outbox.put(Cancel(number))

    def stop(self) -> None:
        """End the process, and wait for its end; safe to call twice."""
        self._stopping = True
        self._outbox.put(None)
        if self._socket is None:
            return
        # Both ends read the end of the connection, the worker after the step that it is in.
        with suppress(OSError):  # it is down already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._exit_status()
        self._socket.close()

    def _exit_status(self) -> int | None:
        """Wait for the process to end; it is killed if that takes longer than a step may."""
        if self._process is None:
            return None
        try:
            return self._process.wait(GIVE_UP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _write(self) -> None:
        """In a thread of its own: a worker in a long step does not read."""
        while (item := self._outbox.get()) is not None:
            try:
                self._connection.send(item)
            except OSError as error:
                log.debug("not sent, since the worker is gone: %s", error)
                return

    def _read(self) -> None:
        last: WorkerFailure | None = None
        try:
            while True:
                message: WorkerMessage = self._connection.recv()
                if isinstance(message, WorkerFailure) and message.number is None:
                    last = message
                    continue
                self._deliver(message)
        except (EOFError, OSError):
            self._ended(last)

    def _deliver(self, message: WorkerMessage) -> None:
        self._heard = time.monotonic()
        if isinstance(message, Progress):
            return
        if isinstance(message, RunnerInfo):
            self._ready.set_result(message)
            return
        sink = self._sinks.get(message.number or 0)
        if sink is not None:
            sink.push(message.tokens if isinstance(message, NewTokens) else typed(message))

    def _ended(self, last: WorkerFailure | None) -> None:
        """Tell the engine first, so that no reader still finds the model ready."""
        self._outbox.put(None)
        error = self._why(last)
        with self._lock:
            self._dead = error
            sinks = list(self._sinks.values())
        if not self._ready.done():
            self._ready.set_exception(error)
        elif not self._stopping:
            log.error("the worker died: %s", error.detail)
            self._on_crash(error)
        for sink in sinks:
            sink.push(error)
        self._writer.join()  # it may be in the middle of a long prompt, which nobody reads any more
        self._connection.close()

    def _why(self, last: WorkerFailure | None) -> ModelError:
        if self._stopping:
            return EngineCrashed("the worker was stopped")
        if last is not None:
            return typed(last)
        status = self._exit_status()
        detail = f"the worker {_end_of(status)}"
        if status == OUT_OF_MEMORY_STATUS:
            return out_of_memory(MemoryError(detail), "cpu")
        return EngineCrashed(detail)


def typed(failure: WorkerFailure) -> ModelError:
    """What a worker reports, as an error with a remedy."""
    if failure.code == OutOfMemory.code:
        return out_of_memory(MemoryError(failure.detail), "cpu")
    if failure.code == NotFinite.code:
        return NotFinite(failure.detail)
    return EngineCrashed(failure.detail)


def _end_of(status: int | None) -> str:
    """How a process ended."""
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with the status {status}"
