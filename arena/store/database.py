"""How the database is opened, and work in transactions, each in a thread of the store's own."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from arena.concurrency import run_to_end
from arena.errors.store import DriverMissing, StoreError, StoreNotOpened
from arena.settings import sqlite_file
from arena.store.migrations import upgrade
from arena.store.serialization import RecordError

P = ParamSpec("P")
T = TypeVar("T")

POOL: Final = 10
"""Most connections, and most threads that wait for the database."""
_WRITES: Final = "arena_writes"

_log = logging.getLogger(__name__)

# busy_timeout first, so that the others wait for a lock too. DELETE and FULL: the file may lie on
# a network volume, where WAL corrupts, and a vote that was acknowledged must survive a power cut.
# What is removed is overwritten with zeros, so that erased texts are not left in the file.
_PRAGMAS = (
    ("busy_timeout", "10000"),
    ("journal_mode", "delete"),
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    ("secure_delete", "ON"),
)


def place_of(url: str) -> str:
    """The database in words for people: its file, or its address without any password."""
    address = _address(url)
    if address is None:
        return "the database of ARENA_DATABASE_URL"
    if address.get_backend_name() == "sqlite":
        return str(file_of(url) or url)
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
    address = _address(url)
    if address is None or address.get_backend_name() != "sqlite" or not address.database:
        return None
    return Path(address.database)


def _address(url: str) -> URL | None:
    """The parts of an address; None for what is none."""
    if (file := sqlite_file(url)) is not None:
        return URL.create("sqlite", database=str(file))
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _mangled(address: URL) -> bool:
    """Whether a password with @, : or / in it was taken for other parts of the address."""
    parts = (address.username, address.host, address.database)
    return any("@" in part for part in parts if part)


@contextmanager
def store_errors(place: str, kind: type[StoreError] = StoreError) -> Iterator[None]:
    """Turns errors of the database, of a record and of a file into a `StoreError`.

    Raises:
        StoreError: of that kind: the database did not take it; `detail` has the place and the
            reason.
    """
    try:
        yield
    except (SQLAlchemyError, RecordError, json.JSONDecodeError, OSError) as error:
        raise kind(f"{place}: {type(error).__name__}: {error}", place=place) from error


def make_engine(url: str, pool: int = POOL) -> Engine:
    """An engine, from which `read_engine` and `write_engine` make the ones to use.

    Makes the folder of an SQLite file. Connects when it is first used.

    Args:
        url: of SQLite or of Postgres.
        pool: most connections to a Postgres server.

    Raises:
        OSError: the folder can't be made.
        StoreError: the address is wrong, its driver is missing, or the database would live in
            memory, where each thread had its own.
    """
    address = _address(url)
    if address is None:
        # Without a cause, which may quote the address with its password.
        raise StoreNotOpened("not an address of a database", place=place_of(url))
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
        raise StoreNotOpened("a database in memory can't be shared by threads", place=url)
    # Threads bound the number of connections; a second bound would only make them wait.
    engine = create_engine(address, max_overflow=-1, **_COMMON)
    Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _postgres_engine(address: URL, place: str, pool: int) -> Engine:
    if _mangled(address):
        raise StoreNotOpened("write @, : and / of a password as %40, %3A and %2F", place=place)
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


def advisory_lock(connection: Connection, key: int) -> None:
    """Waits until no other transaction holds the lock of that key; held until the end of this one.

    For Postgres: SQLite has one writer at a time in any case.
    """
    if is_postgres(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def read_engine(engine: Engine) -> Engine:
    """The same engine, whose transactions see one moment and can't write."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def write_engine(engine: Engine) -> Engine:
    """The same engine, whose transactions may write.

    On SQLite they take the write lock at their start: a transaction that reads first and then
    writes would fail at once, without waiting, when another has written in between. On Postgres
    each statement sees what is committed by then, so a look after a lock sees the lock's reason.
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="READ COMMITTED")
    return engine.execution_options(**{_WRITES: True})


def _set_pragmas(connection: DBAPIConnection, _record: Any) -> None:  # noqa: ANN401 - the event's form
    # The driver begins transactions late and never for a SELECT or a CREATE; `_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for name, value in _PRAGMAS:
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def open_engine(url: str, pool: int = POOL) -> Engine:
    """As `make_engine`, with the tables brought up to date. Blocks.

    Raises:
        StoreError: it can't be made, read or written, or a newer arena wrote it.
    """
    place = place_of(url)
    with store_errors(place, StoreNotOpened):
        engine = make_engine(url, pool)
        try:
            upgrade(write_engine(engine), place)
        except BaseException:
            engine.dispose()
            raise
    return engine


class Database:
    """An open database; `read` and `write` run one function in one transaction.

    It has threads of its own: a server that does not answer holds up no other threads, and their
    number bounds that of the connections. Writers of one process take turns where the database has
    one at a time.

    Attributes:
        reader: transactions that see one moment and can't write (SQLite would let them).
        writer: transactions that may write.
        place: the database in words for people, without a password.
    """

    def __init__(self, engine: Engine, place: str, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="arena-store")
        self.reader = read_engine(engine)
        self.writer = write_engine(engine)
        self.place = place
        # SQLite has one writer at a time, and its own waiting is not fair: of many threads that
        # ask again and again, one may not get its turn before it gives up.
        alone = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = threading.Lock() if alone else nullcontext()

    @classmethod
    def open(cls, url: str, pool: int) -> Database:
        """The database at that URL. Blocks; errors as `open_engine`."""
        return cls(open_engine(url, pool), place_of(url), pool)

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The work's result, from one transaction that only reads.

        Raises:
            StoreError: the database can't be read.
        """
        return await self.in_thread(lambda: self.transact(self.reader, work, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The work's result, after its transaction is committed.

        Raises:
            StoreError: the database did not take it.
        """
        return await self.in_thread(lambda: self.transact(self.writer, work, *args, **kwargs))

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The result of work in a thread, whose end is waited for although this task is cancelled.

        So a later write is never overtaken by an earlier one.

        Raises:
            StoreError: also where the database is closed.
        """
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:
            raise StoreError(str(error), place=self.place) from error
        return await run_to_end(running)

    def transact(
        self,
        engine: Engine,
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs the work in one transaction, which is committed when this returns. Blocks.

        A connection that is lost before the COMMIT took the transaction with it, so the work is
        done once more. One that is lost later leaves open whether it was done: that is an error.

        Raises:
            StoreError: the database did not take it.
        """
        with store_errors(self.place):
            for last in (False, True):
                committing = False
                turn = self._turn if engine is self.writer else nullcontext()
                try:
                    with turn, engine.begin() as connection:
                        result = work(connection, *args, **kwargs)
                        committing = True
                except DBAPIError as error:
                    if last or committing or not error.connection_invalidated:
                        raise
                    _log.warning("the connection to %s was lost; once more", self.place)
                else:
                    return result
        raise AssertionError  # the second round returns or raises

    async def aclose(self) -> None:
        """Waits for the work that runs and closes the connections."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`. Blocks."""
        self._threads.shutdown()
        self._engine.dispose()
