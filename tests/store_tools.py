"""Tools beside the store: a second client of its database, and other processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from arena.domain import Battle, Exclusion, Vote
from arena.store.store import VoteStore

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outside:
    """A second client of the store's database, without the arena."""

    url: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._connection() as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def tables(self, *names: str) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of some tables, in the order in which the database gives them."""
        return {name: self.rows(f"SELECT * FROM {name}") for name in names}  # noqa: S608

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keeps all others from writing battles or votes."""
        sqlite_words = ("BEGIN IMMEDIATE",)
        postgres_words = ("BEGIN", "LOCK TABLE battles, votes IN EXCLUSIVE MODE")
        with self._connection() as connection:
            for words in sqlite_words if self.url.startswith("sqlite") else postgres_words:
                connection.execute(words)
            yield
            connection.execute("ROLLBACK")

    def _connection(self) -> AbstractContextManager[Any]:
        if self.url.startswith("sqlite"):
            path = self.url.removeprefix("sqlite:///")
            return closing(sqlite3.connect(path, isolation_level=None, timeout=10))
        address = self.url.replace("postgresql+psycopg", "postgresql")
        return closing(psycopg.connect(address, autocommit=True))


class Worker:
    """A `vote_worker.py` that has imported everything and waits for `go`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "store" / "vote_worker.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )

    def line(self) -> str:
        """The next line that it says; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Lets it start."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self) -> list[str]:
        """Kills it; see `rest`."""
        self.process.kill()
        return self.rest()

    def rest(self) -> list[str]:
        """Waits for its end; the lines that it had said and that were not read yet."""
        assert self.process.stdout is not None
        # Not `communicate`, which does not know what `line` has read ahead.
        said = self.process.stdout.read()
        self.process.wait()
        return said.split("\n")[:-1]

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.communicate()


async def until(so: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Waits until it is so, looking a hundred times a second."""
    for _ in range(int(seconds * 100)):
        found = so()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not so within {seconds} s")


async def pairs_of(store: VoteStore) -> list[tuple[Battle, Vote | None]]:
    """Every battle with its vote, oldest first."""
    return [(made, vote) async for batch in store.iter_records() for made, vote, _ in batch]


async def excluded_in(store: VoteStore) -> dict[str, Exclusion]:
    """The decisions in force, by battle."""
    records = [record async for batch in store.iter_records() for record in batch]
    return {made.id: decision for made, _, decision in records if decision is not None}


async def decisions_in(store: VoteStore) -> list[Exclusion]:
    """Every decision, oldest first."""
    found = await store.records(await store.record_keys())
    decisions = [record for record in found if isinstance(record, Exclusion)]
    return sorted(decisions, key=lambda decision: decision.decided_at)


async def tally(store: VoteStore) -> dict[str, int]:
    """How many votes that are not excluded there are, by `<model a> <model b> <winner>`."""
    found: Counter[str] = Counter()
    async for batch in store.iter_records():
        for made, vote, decision in batch:
            if vote is not None and decision is None:
                found[f"{made.spec_a.id} {made.spec_b.id} {vote.winner}"] += 1
    return dict(found)
