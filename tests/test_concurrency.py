"""Work that a cancelled task waits for, and threads that never keep the process alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from arena.concurrency import run_in_daemon_thread, run_to_end, thread_to_end, wait_to_end

ROOT = Path(__file__).parents[1]


async def turns(number: int = 5) -> None:
    """Let all tasks that can go on do so."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_result_and_error_are_those_of_the_work() -> None:
    """Without a cancellation the helpers only wait."""

    def fails() -> None:
        raise ValueError("no")

    assert await thread_to_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ValueError, match="no"):
        await thread_to_end(fails)


async def test_cancelled_task_ends_after_its_work() -> None:
    """However often the task is cancelled, the work runs to its end first."""
    work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    told: list[bool] = []
    task = asyncio.create_task(run_to_end(work, on_cancel=lambda: told.append(work.done())))
    await turns()
    for count in (1, 2):
        task.cancel()
        await turns()
        assert not task.done()
        assert told == [False] * count
    work.set_result(1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_task_waits_for_its_thread() -> None:
    """The task may close a file only when no thread writes into it any more."""
    begun, go, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(20)
        ended.set()

    task = asyncio.create_task(thread_to_end(work))
    await begun.wait()
    task.cancel()
    await turns()
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_failure_of_a_cancelled_tasks_work_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The cancellation is raised, and the log keeps the failure."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_to_end(work))
    await turns()
    task.cancel()
    work.set_exception(OSError("disk full"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "disk full" in caplog.text


async def test_cancelled_work_is_an_end_like_others() -> None:
    """`wait_to_end` returns when the work was cancelled, since its own task was not."""
    work = asyncio.create_task(asyncio.Event().wait())
    await turns()
    work.cancel()
    await wait_to_end(work)
    assert work.cancelled()


def test_daemon_thread_hands_over_result_and_error() -> None:
    """The future carries what the work returns or raises."""

    def fails() -> None:
        raise SystemExit(3)

    assert run_in_daemon_thread("adds", lambda: 1 + 1).result(20) == 2
    assert isinstance(run_in_daemon_thread("fails", fails).exception(20), SystemExit)


def test_exit_stops_engines_and_leaves_daemon_threads() -> None:
    """A process ends although a thread waits for ever, after its engines were told to stop."""
    code = (
        "import threading, arena.concurrency as c\n"
        "c.EXIT_GRACE_S = 0.0\n"
        "class Engine(c.Stoppable):\n"
        "    def stop(self): print('stopped', flush=True)\n"
        "engine = Engine()\n"
        "c.stop_with_main_thread(engine)\n"
        "c.run_in_daemon_thread('waits', threading.Event().wait)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "stopped"
