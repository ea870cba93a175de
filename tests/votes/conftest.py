"""A store in a folder of its own, and other processes that use it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from arena.votes.store import VoteStore

HERE = Path(__file__).parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "arena.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[VoteStore]:
    opened = VoteStore.open(url)
    yield opened
    await opened.aclose()


class Worker:
    """A `vote_worker.py` that has imported everything and waits for `go`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "vote_worker.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Lets it start."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.communicate()


Together = Callable[..., list[str]]


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Starts a worker, and ends it after the test."""
    workers: list[Worker] = []

    def begin(*arguments: str) -> Worker:
        workers.append(Worker(*arguments))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


@pytest.fixture
def two(start: Callable[..., Worker]) -> Together:
    """Runs one command in two processes at the same time; gives what each said."""

    def run(*arguments: str) -> list[str]:
        workers = [start(*arguments) for _ in range(2)]
        assert [worker.line() for worker in workers] == ["ready", "ready"]
        for worker in workers:
            worker.go()
        return [worker.line() for worker in workers]

    return run
