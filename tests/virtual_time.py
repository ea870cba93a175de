"""An event loop whose clock stands still while work is done, and jumps when all of it waits.

So a battle of a minute takes milliseconds, and each event has an exact time, on any machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The clock waits for threads, such as the store's."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now = 0.0
        self.threads = 0

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.threads += 1  # it waits for a thread of its own
        try:
            await super().shutdown_default_executor()
        finally:
            self.threads -= 1

    def _thread_done(self, _future: object) -> None:
        self.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._loop.threads:
            return super().select(None if timeout is None or timeout > 0 else 0)
        assert timeout is not None, "everything waits, and nothing is due"
        if timeout > 0:
            self._loop.now += timeout
        return super().select(0)


def put_forward(seconds: float) -> None:
    """The running loop's clock jumps: whatever waits for a moment before that is due.

    For a loop that works in real time, where only one long wait is to be over at once.
    """
    loop = asyncio.get_running_loop()
    before = loop.time
    setattr(loop, "time", lambda: before() + seconds)  # noqa: B010 -- for mypy


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
