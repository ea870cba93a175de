"""Other stores, and files of rows, for the tests of imports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from arena.store.store import VoteStore
from tests.vote_samples import NOON


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[VoteStore]:
    """Another store, on SQLite."""
    store = await asyncio.to_thread(VoteStore.open, f"sqlite:///{path}", clock=lambda: NOON)
    try:
        yield store
    finally:
        await store.aclose()


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of either kind, as JSON has them."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    rows = pq.read_table(path).to_pylist()
    return [json.loads(json.dumps(row, default=lambda m: m.isoformat())) for row in rows]


def rewrite(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The file with those rows in place of its own."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
