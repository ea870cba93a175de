"""How the database is opened: its address, SQLite's pragmas, transactions, and errors of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from arena.errors.store import DriverMissing, StoreError
from arena.store.serialization import RecordError

WRITES = "arena_writes"
POOL: Final = 10

# busy_timeout first, so that the others wait for a lock too. DELETE and FULL: the file may lie on
# a network volume, where WAL corrupts, and a vote that was acknowledged must survive a power cut.
_PRAGMAS = (
    ("busy_timeout", "10000"),
    ("journal_mode", "delete"),
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
)


def place_of(url: str) -> str:
    """The database in words for people: its file, or its address without any password."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return "the database of ARENA_DATABASE_URL"
    if address.get_backend_name() == "sqlite":
        return str(address.database or url)
    if _mangled(address):
        return address.get_backend_name()
    # Of the options, those that say where; a password may stand among the others.
    where = {name: address.query[name] for name in ("host", "port") if name in address.query}
    shown = URL.create(
        address.get_backend_name(),
        username=address.username,
        host=address.host,
        port=address.port,
        database=address.database,
        query=where,
    )
    return shown.render_as_string(hide_password=True)


def file_of(url: str) -> Path | None:
    """The file of an SQLite address; None for what is in no file, or is no address."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return None
    is_file = address.get_backend_name() == "sqlite" and address.database
    return Path(str(address.database)) if is_file else None


def _mangled(address: URL) -> bool:
    """Whether a password with @, : or / in it was taken for other parts of the address."""
    parts = (address.username, address.host, address.database)
    return any("@" in part for part in parts if part)


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """Turns what the database and the codec raise into a `StoreError`.

    Raises:
        StoreError: the database did not take it; `detail` has its reason.
    """
    try:
        yield
    except (SQLAlchemyError, RecordError, json.JSONDecodeError, OSError) as error:
        raise StoreError(f"{type(error).__name__}: {error}", place=place) from error


def make_engine(url: str, pool: int = POOL) -> Engine:
    """An engine, from which `reading` and `writing` make the ones to use.

    Makes the folder of an SQLite file. Connects when it is first used.

    Args:
        url: of SQLite or of Postgres.
        pool: most connections to a Postgres server.

    Raises:
        OSError: the folder can't be made.
        StoreError: the address is wrong, its driver is missing, or the database would live in
            memory, where each thread had its own.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        # Without the cause, which may quote the address with its password.
        raise StoreError(f"not an address: {type(error).__name__}", place=place_of(url)) from None
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address, url)
    return _postgres_engine(address, place_of(url), pool)


# The log must not hold what visitors wrote.
_COMMON: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": partial(json.dumps, ensure_ascii=False, allow_nan=False),
}


def _sqlite_engine(address: URL, url: str) -> Engine:
    if address.database in (None, "", ":memory:"):
        raise StoreError("a database in memory can't be shared by threads", place=url)
    # Threads bound the number of connections; a second bound would only make them wait.
    engine = create_engine(address, max_overflow=-1, **_COMMON)
    Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _postgres_engine(address: URL, place: str, pool: int) -> Engine:
    if _mangled(address):
        raise StoreError("write @, : and / of a password as %40, %3A and %2F", place=place)
    try:
        from arena.store.postgres import postgres_engine

        return postgres_engine(address, pool, _COMMON)
    except ImportError as error:
        raise DriverMissing(str(error), place=place) from error


def is_postgres(connection: Connection) -> bool:
    """Whether the connection leads to Postgres."""
    return connection.dialect.name == "postgresql"


def inserting(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say ON CONFLICT, which both databases know."""
    return postgresql.insert(table) if is_postgres(connection) else sqlite.insert(table)


def reading(engine: Engine) -> Engine:
    """The same engine, whose transactions see one moment and can't write."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def writing(engine: Engine) -> Engine:
    """The same engine, whose transactions may write.

    On SQLite they take the write lock at their start: a transaction that reads first and then
    writes would fail at once, without waiting, when another has written in between. On Postgres
    each statement sees what is committed by then, so a look after a lock sees the lock's reason.
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="READ COMMITTED")
    return engine.execution_options(**{WRITES: True})


def _set_pragmas(connection: DBAPIConnection, _record: Any) -> None:  # noqa: ANN401 - the event's form
    # The driver begins transactions late and never for a SELECT or a CREATE; `_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for name, value in _PRAGMAS:
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
