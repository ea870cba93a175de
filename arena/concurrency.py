"""Threads that never keep the process alive, and work that a cancelled task waits for."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

EXIT_GRACE_S = 5.0  # for all daemon threads together, after the engines have been stopped
CLOSE_SECONDS = 8.0
"""How long the app takes to stop. A Space or a container is killed ten seconds or more after
SIGTERM; a last push may take five."""
GIVE_UP_S = 3.0
"""How long a close waits for a thread or a process that computes, before it is given up. Two such
waits, for a load and then for its engine, are within `CLOSE_SECONDS`."""

log = logging.getLogger(__name__)


async def wait_to_end(
    work: asyncio.Future[Any], *, on_cancel: Callable[[], None] | None = None
) -> None:
    """Wait until the work is done, however it ends, although this task is cancelled meanwhile.

    Args:
        work: a future or task; it is not cancelled.
        on_cancel: called at each cancellation of this task; may tell the work to stop early.

    Raises:
        CancelledError: this task was cancelled; raised after the end of the work.
    """
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            if on_cancel is not None:
                on_cancel()
    if cancelled is None:
        return
    if not work.cancelled() and (failure := work.exception()) is not None:
        log.warning("the work of a cancelled task failed", exc_info=failure)
    raise cancelled


async def run_to_end(work: Awaitable[T], *, on_cancel: Callable[[], None] | None = None) -> T:
    """The result of the work, waited for as by `wait_to_end`.

    Raises:
        CancelledError: this task was cancelled; raised after the end of the work.
        Exception: what the work raises.
    """
    future = asyncio.ensure_future(work)
    await wait_to_end(future, on_cancel=on_cancel)
    return future.result()


async def thread_to_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, from a thread that is waited for as by `run_to_end`.

    For work on a file or connection that this task closes afterwards.
    """
    return await run_to_end(asyncio.to_thread(function, *args, **kwargs))


def run_in_daemon_thread(name: str, work: Callable[[], T]) -> Future[T]:
    """Run the work in a new daemon thread, for which the interpreter's exit does not wait.

    At exit the interpreter joins the threads of `asyncio.to_thread`; a download or the load of a
    large model would delay it by minutes.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - the future carries it to its reader
            future.set_exception(error)
        else:
            future.set_result(result)

    thread = threading.Thread(target=run, name=name, daemon=True)
    with _lock:
        _workers.add(thread)
    _watch_main_thread()
    thread.start()
    return future


class Stoppable(ABC):
    """Something with threads that would outlive the main one."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all work; safe to call twice."""


_engines: weakref.WeakSet[Stoppable] = weakref.WeakSet()
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_lock = threading.Lock()
_watching = threading.Event()


def stop_with_main_thread(engine: Stoppable) -> None:
    """Stop the engine when the main thread ends.

    `atexit` is too late: the interpreter first waits for threads that are not daemons, and a
    daemon thread that is still inside torch afterwards aborts the process.
    """
    with _lock:
        _engines.add(engine)
    _watch_main_thread()


def _watch_main_thread() -> None:
    with _lock:
        if _watching.is_set():
            return
        _watching.set()
    # Not a daemon: the interpreter has to wait until the engines are stopped.
    threading.Thread(target=_watch, name="engine-exit", daemon=False).start()


def _watch() -> None:
    threading.main_thread().join()
    for engine in list(_engines):
        engine.stop()
    end = time.monotonic() + EXIT_GRACE_S
    for worker in list(_workers):
        if worker.is_alive():
            worker.join(timeout=max(0.0, end - time.monotonic()))
