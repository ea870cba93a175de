"""Work in transactions, each in a thread of the store's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from arena.concurrency import run_to_end
from arena.errors.store import StoreError
from arena.store.migrations import upgrade
from arena.store.sql_engine import make_engine, place_of, reading, store_errors, writing

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Database:
    """An open database; `read` and `write` run one function in one transaction.

    The threads are the database's own: a server that does not answer holds up nobody else's
    threads, and their number bounds that of the connections.

    Attributes:
        reader: transactions that see one moment and can't write (SQLite would let them).
        writer: transactions that may write.
        place: the database in words for people.
    """

    def __init__(self, engine: Engine, place: str, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="arena-store")
        self.reader = reading(engine)
        self.writer = writing(engine)
        self.place = place

    @classmethod
    def open(cls, url: str, pool: int) -> Database:
        """The database at that URL, its folder made and its tables brought up to date. Blocks.

        Raises:
            StoreError: it can't be made, read or written, or a newer arena wrote it.
        """
        place = place_of(url)
        with store_errors(place):
            engine = make_engine(url, pool)
            try:
                upgrade(writing(engine), place)
            except BaseException:
                engine.dispose()
                raise
        return cls(engine, place, pool)

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The work's result, from one transaction that only reads.

        Raises:
            StoreError: the database can't be read.
        """
        return await self.settled(lambda: self.transact(self.reader, work, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The work's result, after its transaction is committed.

        Raises:
            StoreError: the database did not take it.
        """
        return await self.settled(lambda: self.transact(self.writer, work, *args, **kwargs))

    async def settled(self, work: Callable[[], T]) -> T:
        """Runs the work in a thread; when this task is cancelled, waits for the thread first.

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
        done once more. After that nobody knows whether it was done, and it is an error.

        Raises:
            StoreError: the database did not take it.
        """
        with store_errors(self.place):
            for last in (False, True):
                committing = False
                try:
                    with engine.begin() as connection:
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
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()
