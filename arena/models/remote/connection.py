"""A provider's client and the streams that are read with it. No SDK is known here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arena.errors.models import ModelUnavailable, StreamBroken
from arena.errors.reasons import ErrorReason
from arena.models.remote.dialect import ClientT
from arena.models.remote.failure import RemoteFailure

if TYPE_CHECKING:
    import httpx2

CONNECT_S = 10.0
"""The longest that opening a connection may take."""
CHUNKS_AHEAD = 16
"""How many chunks of an answer are read before they are wanted."""
EVENT_BYTES = 1_000_000
"""The longest line of a stream; a whole answer of the largest size fits."""

T = TypeVar("T")


async def outcome(work: Awaitable[T]) -> T | BaseException:
    """The result or the exception, so that no error is raised while another is handled."""
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result


class ReplyReader(Generic[T]):
    """Reads a stream in a task of its own.

    Leaving an SDK's stream does not always close its connection; cancelling the task that reads
    it does, within milliseconds, whatever it waits for. It reads `CHUNKS_AHEAD` chunks ahead, so
    that a burst neither fills the memory nor holds the event loop.
    """

    def __init__(self, stream: AsyncIterator[T]) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._given_up: RemoteFailure | None = None
        self._room = asyncio.Semaphore(CHUNKS_AHEAD)
        self._task = asyncio.create_task(self._read(stream))
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))

    async def _read(self, stream: AsyncIterator[T]) -> None:
        leaving = False
        async for chunk in stream:
            if leaving:
                continue
            self._queue.put_nowait(chunk)
            try:
                await self._room.acquire()
            except asyncio.CancelledError:
                # Only a cancellation within the SDK's own waiting closes its connection.
                leaving = True
                if (task := asyncio.current_task()) is not None:
                    task.cancel()

    async def next(self) -> T | None:
        """The next chunk; None when there are no more, for whatever reason."""
        self._room.release()
        return await self._queue.get()

    def give_up(self, failure: RemoteFailure) -> None:
        """It is not read on, for that reason."""
        self._given_up = failure

    def failure(self, classify: Callable[[BaseException], RemoteFailure]) -> RemoteFailure | None:
        """Why it ended, once it has; None if it ended well."""
        if self._given_up is not None:
            return self._given_up
        if self._task.cancelled():
            return RemoteFailure(StreamBroken, "the model was closed")
        error = self._task.exception()
        return classify(error) if error is not None else None

    async def aclose(self) -> None:
        """Stop reading; returns when the connection is closed."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()  # marks it as retrieved: asyncio would log it otherwise


def bound_lines(response: httpx2.Response) -> httpx2.Response:
    """The response, whose reader gets a ValueError where a line is longer than `EVENT_BYTES`.

    An SDK keeps a line until it ends, and parses it in one go.
    """
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        """The response's own stream, looked at as it passes."""

        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            begun = 0
            async for part in self._stream:
                first, *more = part.split(b"\n")
                if max(begun + len(first), *map(len, more), 0) > EVENT_BYTES:
                    raise ValueError(f"a line of more than {EVENT_BYTES} bytes in the reply")
                begun = len(more[-1]) if more else begun + len(first)
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = Bounded(response.stream)
    return response


class Connection(Generic[ClientT]):
    """A provider's client, built when it is first needed, and the streams that are read with it.

    Args:
        label: the contestant, for people.
        package: what has to be installed.
        build: imports the package and makes the client; runs in a thread, since that takes long.
    """

    def __init__(self, *, label: str, package: str, build: Callable[[], ClientT]) -> None:
        self._label = label
        self._package = package
        self._build = build
        self._client: ClientT | None = None
        self._building = asyncio.Lock()
        self._readers: set[ReplyReader[Any]] = set()
        self.closed = False

    async def client(self) -> ClientT:
        """The client.

        Raises:
            ModelUnavailable: the connection was closed, or the package is missing.
        """
        if self.closed:
            raise ModelUnavailable(label=self._label, why=ErrorReason.CLOSED)
        async with self._building:
            if self._client is None:
                try:
                    self._client = await asyncio.to_thread(self._build)
                except ImportError as error:
                    raise ModelUnavailable(
                        str(error),
                        label=self._label,
                        why=ErrorReason.PACKAGE_MISSING,
                        package=self._package,
                        command="pip install -r requirements.txt",
                    ) from None
            return self._client

    @asynccontextmanager
    async def reading(self, stream: AsyncIterator[T]) -> AsyncGenerator[ReplyReader[T], None]:
        """Read a stream; its connection is closed at the end, however that comes."""
        reader = ReplyReader(stream)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            await reader.aclose()
            self._readers.discard(reader)

    async def aclose(self) -> None:
        """Stop every stream and close the client; safe to call twice."""
        self.closed = True
        await asyncio.gather(*(reader.aclose() for reader in tuple(self._readers)))
        async with self._building:  # a client that is being built right now is closed too
            client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class SharedTask:
    """Work that several callers wait for; the first of them begins it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it has begun and has not ended."""
        return self._task is not None and not self._task.done()

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the work unless it is running, and wait for it.

        A caller that is cancelled stops waiting; the work goes on.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
        task = self._task
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()

    async def cancel(self) -> None:
        """End the work, if it is running."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))
