"""Copies a whole store into another database, and compares the two at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, insert, select, text

from arena.concurrency import thread_to_end
from arena.domain import clean
from arena.errors.store import CopyDiffers, StoreMissing, StoreNotEmpty
from arena.store.database import (
    file_of,
    is_postgres,
    open_engine,
    place_of,
    read_engine,
    store_errors,
    write_engine,
)
from arena.store.schema import battles, metadata
from arena.store.serialization import Plain

_BATCH: Final = 200
# Derived tables are not copied: they are computed again when they are needed.
_TABLES: Final = [table for table in metadata.sorted_tables if not table.info.get("derived")]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, and that it is the same on both sides.

    Attributes:
        source: the old database in words for people, without a password.
        target: the new one.
        rows: how many rows each table has, on both sides.
        digest: SHA-256 over all rows whatever their order, the same on both sides.
    """

    source: str
    target: str
    rows: Mapping[str, int]
    digest: str

    @property
    def text(self) -> str:
        """One line for people."""
        rows = ", ".join(f"{number} {name}" for name, number in self.rows.items())
        return (
            f"{self.source} -> {self.target}: {rows}; the same on both sides, SHA-256 {self.digest}"
        )


async def copy_database(source_url: str, target_url: str) -> CopyReport:
    """Copies a whole store into a database without battles, and compares the two.

    Stop the arena first: what it writes meanwhile is not copied. The source is only read, but
    for the tables of a newer version, which it gets as at any start. The target gets everything in
    one transaction; what it had besides battles, such as a salt that was drawn at its first start,
    gives way to the source's. A task that is cancelled waits for the end.

    Args:
        source_url: of SQLite or Postgres, as in ARENA_DATABASE_URL.
        target_url: the same; an SQLite file is made, a Postgres database must be there.

    Raises:
        StoreMissing: there is no source.
        StoreNotEmpty: the target has battles.
        CopyDiffers: what arrived is not what was sent; nothing is kept of it.
        StoreError: one of them can't be read or written; nothing is kept.
    """
    return await thread_to_end(_move, source_url, target_url)


def _move(source_url: str, target_url: str) -> CopyReport:
    source, target = place_of(source_url), place_of(target_url)
    file = file_of(source_url)
    if file is not None and not file.is_file():
        raise StoreMissing(place=source)
    with ExitStack() as stack:
        old, new = _opened(stack, source_url), _opened(stack, target_url)
        # Errors while copying are of the target; `_rows` says which are of the source.
        stack.enter_context(store_errors(target))
        reader = stack.enter_context(_patient(read_engine(old)))
        writer = stack.enter_context(_patient(write_engine(new)))
        _copy(reader, source, writer, target)
        sums = _compared(_sums(reader, source), _sums(writer, target), target)
    everything = "".join(digest for _, digest in sums.values())
    return CopyReport(
        source=source,
        target=target,
        rows={name: number for name, (number, _) in sums.items()},
        digest=hashlib.sha256(everything.encode()).hexdigest(),
    )


def _opened(stack: ExitStack, url: str) -> Engine:
    engine = open_engine(url)
    stack.callback(engine.dispose)
    return engine


@contextmanager
def _patient(engine: Engine) -> Iterator[Connection]:
    """One transaction without a bound on its idle time: the other side may take long."""
    with engine.begin() as connection:
        if is_postgres(connection):
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection


def _copy(reader: Connection, source: str, writer: Connection, target: str) -> None:
    """Replaces all that the target has.

    Raises:
        StoreNotEmpty: that would be battles.
    """
    if writer.scalar(select(battles.c.id).limit(1)) is not None:
        raise StoreNotEmpty(place=target)
    for table in reversed(metadata.sorted_tables):
        writer.execute(delete(table))
    for table in _TABLES:
        with closing(_rows(reader, source, table)) as batches:
            for batch in batches:
                writer.execute(insert(table), batch)


def _rows(connection: Connection, place: str, table: Table) -> Generator[list[Plain], None, None]:
    """All rows of a table, some at a time, cleaned for any database. The caller closes it."""
    streaming = connection.execution_options(yield_per=_BATCH)
    with store_errors(place), streaming.execute(select(table)) as rows:
        for batch in rows.mappings().partitions():
            yield [{name: _cleaned(value) for name, value in row.items()} for row in batch]


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - whatever a column or JSON holds
    """The value with all texts in it cleaned for any database."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    return value


_Sums = dict[str, tuple[int, str]]
"""Of each table, how many rows it has and the digest of all of them."""


def _sums(connection: Connection, place: str) -> _Sums:
    """The sums of all tables, the same in whatever order the database gives its rows."""
    found: _Sums = {}
    for table in _TABLES:
        digests = sorted(
            hashlib.sha256(_canonical(row)).digest()
            for batch in _rows(connection, place, table)
            for row in batch
        )
        found[table.name] = len(digests), hashlib.sha256(b"".join(digests)).hexdigest()
    return found


def _canonical(row: Plain) -> bytes:
    """The row as bytes that are the same on every database."""
    return json.dumps(
        row, sort_keys=True, ensure_ascii=False, default=methodcaller("isoformat")
    ).encode()


def _compared(sent: _Sums, arrived: _Sums, target: str) -> _Sums:
    """What both sides hold.

    Raises:
        CopyDiffers: they do not hold the same.
    """
    for name, (number, digest) in sent.items():
        if arrived[name][0] != number:
            difference = f"{name} has {arrived[name][0]} rows, not {number}"
            raise CopyDiffers(place=target, difference=difference)
        if arrived[name][1] != digest:
            raise CopyDiffers(place=target, difference=f"the rows of {name} are not the same")
    return sent
