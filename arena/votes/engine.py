"""How the database is opened: pragmas, transactions, and errors of ours for those of the driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError

from arena.errors import StoreError
from arena.votes.codec import RecordError

WRITES = "arena_writes"

# busy_timeout first, so that the others wait for a lock too. DELETE and FULL: the file may lie on
# a network volume, where WAL corrupts, and a vote that was acknowledged must survive a power cut.
_PRAGMAS = (
    ("busy_timeout", "10000"),
    ("journal_mode", "delete"),
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
)


def place_of(url: str) -> str:
    """The database in words for people: its file, or its address without the password."""
    address = make_url(url)
    is_file = address.get_backend_name() == "sqlite" and address.database
    return str(address.database) if is_file else address.render_as_string(hide_password=True)


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """Turns what the database and the codec raise into a `StoreError`.

    Raises:
        StoreError: the database did not take it; `detail` has its reason.
    """
    try:
        yield
    except (SQLAlchemyError, RecordError, OSError) as error:
        raise StoreError(f"{type(error).__name__}: {error}", place=place) from error


def make_engine(url: str) -> Engine:
    """An engine for reading; `writing(engine)` is the same one for writing.

    Makes the folder of an SQLite file. Connects when it is first used.

    Raises:
        OSError: the folder can't be made.
        StoreError: the database would live in memory, where each thread had its own.
    """
    address = make_url(url)
    is_file = address.get_backend_name() == "sqlite"
    if is_file and address.database in (None, "", ":memory:"):
        raise StoreError("a database in memory can't be shared by threads", place=url)
    engine = create_engine(
        address,
        # The log must not hold what visitors wrote.
        hide_parameters=True,
        json_serializer=partial(json.dumps, ensure_ascii=False, allow_nan=False),
        # Threads bound the number of connections; a second bound would only make them wait.
        max_overflow=-1,
    )
    if is_file:
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    return engine


def writing(engine: Engine) -> Engine:
    """The same engine, whose transactions take SQLite's write lock at their start.

    A transaction that reads first and then writes would fail at once, without waiting, when
    another has written in between.
    """
    return engine.execution_options(**{WRITES: True})


def _set_up(connection: DBAPIConnection, _record: Any) -> None:  # noqa: ANN401 - the event's form
    # The driver begins transactions late and never for a SELECT or a CREATE; `_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for name, value in _PRAGMAS:
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
