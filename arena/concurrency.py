"""Work beside the event loop that never keeps the process alive."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def submit(name: str, work: Callable[[], T]) -> Future[T]:
    """Run it in a daemon thread of its own.

    `asyncio.to_thread` would do but for the end: the interpreter joins its threads, and a
    download or a load of a large model would hold up the exit for minutes.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    thread = threading.Thread(target=run, name=name, daemon=True)
    with _lock:
        _workers.add(thread)
    _watch_main_thread()
    thread.start()
    return future


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Await it in a daemon thread; cancelling the wait leaves the work running."""
    return await asyncio.wrap_future(submit(name, work))


class Stoppable(ABC):
    """Something whose threads would outlive the main one."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all work; safe to call twice."""


GRACE_S = 5.0
_engines: weakref.WeakSet[Stoppable] = weakref.WeakSet()
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_lock = threading.Lock()
_watching = threading.Event()


def stop_with_main_thread(engine: Stoppable) -> None:
    """Stop it when the main thread ends.

    `atexit` is too late: before it the interpreter waits for threads that are no daemons, and a
    daemon that is still inside torch after it brings the process down with an abort.
    """
    with _lock:
        _engines.add(engine)
    _watch_main_thread()


def _watch_main_thread() -> None:
    with _lock:
        if _watching.is_set():
            return
        _watching.set()
    # No daemon: the interpreter is to wait until the others have been stopped.
    threading.Thread(target=_watch, name="engine-exit", daemon=False).start()


def _watch() -> None:
    threading.main_thread().join()
    for engine in list(_engines):
        engine.stop()
    end = time.monotonic() + GRACE_S
    for worker in list(_workers):
        if worker.is_alive():
            worker.join(timeout=max(0.0, end - time.monotonic()))
