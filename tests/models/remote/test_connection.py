"""What all remote models share: the reader, the connection, the shared start."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from arena.errors.models import ModelUnavailable, StreamBroken
from arena.models.remote.connection import Connection, ReplyReader, SharedTask
from arena.models.remote.dialect import ReplyChunk
from arena.models.remote.failure import RemoteFailure


class Source:
    """A stream that gives one piece, then waits; it needs a moment to close.

    Attributes:
        closed: it has been closed, to the end.
    """

    def __init__(self) -> None:
        self.closed = False

    async def pieces(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.closed = True


def broken(error: BaseException) -> RemoteFailure:
    return RemoteFailure(StreamBroken, str(error))


class Opened:
    """What a connection builds.

    Attributes:
        closings: how often it was closed.
    """

    def __init__(self) -> None:
        self.closings = 0

    async def aclose(self) -> None:
        self.closings += 1

    def stream(self, request: object) -> AsyncIterator[ReplyChunk]:
        raise NotImplementedError


def connection(opened: Opened) -> Connection[Opened]:
    return Connection(label="X", package="x", build=lambda: opened)


async def test_a_closed_reader_has_closed_its_stream() -> None:
    """Closing the reader returns when the stream is closed; a closed one has no more pieces."""
    source = Source()
    reader = ReplyReader(source.pieces())
    assert await reader.next() == "first"

    await reader.aclose()

    assert source.closed
    assert await reader.next() is None
    failure = reader.failure(broken)
    assert failure is not None
    assert failure.detail == "the model was closed"


async def test_why_a_reader_ended() -> None:
    """The reader learns the error that ended the stream."""

    async def fail() -> AsyncIterator[str]:
        raise OSError("no route")
        yield ""

    reader = ReplyReader(fail())
    assert await reader.next() is None
    await reader.aclose()

    failure = reader.failure(broken)
    assert failure is not None
    assert failure.detail == "no route"


async def test_a_stream_that_fails_while_it_is_closed() -> None:
    """A failure of a stream that its reader has left is not logged by asyncio."""

    async def pieces() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            raise OSError("it cannot even be closed")

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    reader = ReplyReader(pieces())
    assert await reader.next() == "first"

    await reader.aclose()
    del reader
    gc.collect()
    await asyncio.sleep(0)

    assert complaints == []


async def test_closing_ends_streams_before_the_client() -> None:
    """The client is closed once, after the streams that use it."""
    order: list[str] = []
    source = Source()

    class Client(Opened):
        async def aclose(self) -> None:
            order.append(f"client, stream closed: {source.closed}")

    opened = Client()
    shared = connection(opened)
    await shared.client()

    async def read() -> None:
        async with shared.reading(source.pieces()) as reader:
            while await reader.next() is not None:
                begun.set()

    begun = asyncio.Event()
    reader = asyncio.create_task(read())
    await begun.wait()

    await shared.aclose()
    await shared.aclose()
    await reader

    assert order == ["client, stream closed: True"]


async def test_the_client_is_built_once() -> None:
    """Callers at the same time get one client; a closed connection gives none."""
    built: list[Opened] = []

    def build() -> Opened:
        built.append(Opened())
        return built[-1]

    shared = Connection(label="X", package="x", build=build)
    clients = await asyncio.gather(*(shared.client() for _ in range(5)))

    assert len(built) == 1
    assert set(map(id, clients)) == {id(built[0])}
    await shared.aclose()
    assert built[0].closings == 1
    with pytest.raises(ModelUnavailable):
        await shared.client()


async def test_a_client_that_is_being_built_is_closed_too() -> None:
    """Closing waits for a client that is being built, and closes it."""
    opened = Opened()
    shared = connection(opened)
    building = asyncio.create_task(shared.client())
    await asyncio.sleep(0)

    await shared.aclose()
    await building

    assert opened.closings == 1


async def test_callers_share_one_piece_of_work() -> None:
    """Callers share one run; one that is cancelled leaves the work running."""
    runs: list[int] = []
    go = asyncio.Event()

    async def work() -> None:
        runs.append(1)
        await go.wait()
        runs.append(2)

    shared = SharedTask()
    first = asyncio.create_task(shared.run(work))
    second = asyncio.create_task(shared.run(work))
    await asyncio.sleep(0)
    assert shared.running
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    await second

    assert runs == [1, 2]
    assert not shared.running
    await shared.run(work)
    assert runs == [1, 2, 1, 2]


async def test_failed_work_is_told_to_every_caller() -> None:
    """An error of the work is raised in every caller."""

    async def work() -> None:
        raise ValueError("wrong")

    shared = SharedTask()
    results = await asyncio.gather(shared.run(work), shared.run(work), return_exceptions=True)

    assert [str(result) for result in results] == ["wrong", "wrong"]


async def test_cancelled_work_ends() -> None:
    """Cancelling returns when the work has ended."""
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    shared = SharedTask()
    caller = asyncio.create_task(shared.run(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await shared.cancel()
    await shared.cancel()
    await caller

    assert ended
