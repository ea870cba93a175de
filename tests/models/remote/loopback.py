"""A loopback HTTP server whose replies a test writes step by step, and which sees who leaves.

It knows no API; `gemini_server` and `openai_server` put theirs on top. Everything that is waited
for is a `concurrent.futures.Future`, which tests on a loop and tests of a whole process can wait
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

TLS_HANDSHAKE = b"\x16"
"""How a client begins that takes the server for an HTTPS one."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Pause:
    """Say nothing for so many seconds; None means until the client leaves."""

    seconds: float | None = None


@dataclass(frozen=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True)
class HangUp:
    """Close the connection in the middle of the body."""


Step = Json | bytes | Pause | Reset | HangUp


@dataclass(frozen=True)
class Reply:
    """How one request is answered: a status, and what goes over the wire step by step.

    A dict is sent as one server-sent event, bytes as they are. Other statuses than 200 send
    `body` as plain JSON.

    Attributes:
        before: done before the status line; nothing else is sent if the connection ends by it.
        gzip: the body is compressed, and flushed after each step.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    body: Json | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Pause | Reset | HangUp | None = None
    gzip: bool = False


@dataclass
class Connection:
    """One socket of a client. `closed` is done when the client has left or was thrown out."""

    closed: Future[None] = field(default_factory=Future)


@dataclass
class Request:
    """What a client asked, and over which connection.

    Attributes:
        for_text: whether it asks a model for an answer.
        model: the model that it names.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Json
    connection: Connection
    for_text: bool
    model: str


class LoopbackServer:
    """Plays the script; see the module's docstring.

    Attributes:
        default: the reply to every request for text beyond the script.
        tls: what it shows to its clients, from when it listens; None is plain HTTP.
        requests: all that came, oldest first.
    """

    text_path: ClassVar[str]
    """How the path of a request for text ends."""
    line_end: ClassVar[bytes] = b"\n"

    def __init__(self, default: Reply) -> None:
        self.default = default
        self.tls: ssl.SSLContext | None = None
        self.requests: list[Request] = []
        self._script: deque[Reply] = deque()
        self._by_model: dict[str, deque[Reply]] = {}
        self._about_models: deque[Reply] = deque()
        self._arrivals: dict[tuple[bool, int], Future[Request]] = {}
        self._lock = threading.Lock()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._busy = 0
        self.port = 0

    def model_of(self, path: str, body: Json) -> str:
        """The model that a request names."""
        raise NotImplementedError

    def about_models(self, request: Request) -> Reply:
        """The reply to a request that is not for text."""
        raise NotImplementedError

    @property
    def open_connections(self) -> int:
        """Sockets of clients that are open now."""
        return len(self._handlers)

    @property
    def streaming(self) -> int:
        """Replies that are being sent now."""
        return self._busy

    @property
    def asked(self) -> list[Request]:
        """The requests for text, oldest first."""
        return self._of_kind(for_text=True)

    def script(self, *replies: Reply, model: str | None = None) -> None:
        """Answer the next requests for text with these; with `model`, those to that model."""
        queue = self._script if model is None else self._by_model.setdefault(model, deque())
        queue.extend(replies)

    def script_models(self, *replies: Reply) -> None:
        """Answer the next questions about models with these instead of the truth."""
        self._about_models.extend(replies)

    def arrival(self, number: int = 0, *, for_text: bool = True) -> Future[Request]:
        """Done when the request of that kind with that number (from 0) has come."""
        with self._lock:
            future = self._arrivals.setdefault((for_text, number), Future())
            came = self._of_kind(for_text)
            if number < len(came) and not future.done():
                future.set_result(came[number])
            return future

    def _of_kind(self, for_text: bool) -> list[Request]:  # noqa: FBT001
        return [request for request in self.requests if request.for_text is for_text]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.drop_clients()
        await self._server.wait_closed()

    async def drop_clients(self) -> None:
        """Close all connections; it still listens."""
        for task in tuple(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection()
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._serve_one(reader, writer, connection):
                    pass
        finally:
            if self.tls is None:
                writer.close()
            else:  # closing would wait for the client's farewell
                writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            connection.closed.set_result(None)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection
    ) -> bool:
        head = await reader.readexactly(1)
        if head == TLS_HANDSHAKE:
            await _send_whole(writer, Reply(status=400))  # as web servers say it
            return False
        head += await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, value in (line.split(":", 1) for line in lines)
        }
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        body = json.loads(content) if content else {}
        request = Request(
            method,
            parts.path,
            parse_qs(parts.query),
            headers,
            body,
            connection,
            for_text=parts.path.endswith(self.text_path),
            model=self.model_of(parts.path, body),
        )
        self._note(request)
        reply = self._reply_to(request)
        self._busy += 1
        try:
            if reply.status != 200 or reply.body is not None:
                await _send_whole(writer, reply)
                return True
            return await self._stream(reader, writer, reply)
        finally:
            self._busy -= 1

    def _note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            number = len(self._of_kind(request.for_text)) - 1
            future = self._arrivals.setdefault((request.for_text, number), Future())
            if not future.done():
                future.set_result(request)

    def _reply_to(self, request: Request) -> Reply:
        if request.for_text:
            assert request.method == "POST"
            for queue in (self._by_model.get(request.model), self._script):
                if queue:
                    return queue.popleft()
            return self.default
        if self._about_models:
            return self._about_models.popleft()
        return self.about_models(request)

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply
    ) -> bool:
        """Send the steps; false when the connection is at its end."""
        headers = {"content-type": "text/event-stream", **reply.headers}
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if reply.gzip else None
        if packer is not None:
            headers["content-encoding"] = "gzip"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        gone = asyncio.ensure_future(reader.read(1))  # a client that waits sends nothing but EOF
        try:
            if reply.before is not None and not await self._take(reply.before, writer, gone):
                return False
            writer.write(f"HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n".encode())
            for step in reply.steps:
                if not await self._take(step, writer, gone, packer):
                    return False
            if packer is not None:
                await _send_piece(writer, packer.flush())
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return not gone.done()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _take(
        self,
        step: Step,
        writer: asyncio.StreamWriter,
        gone: asyncio.Future[bytes],
        packer: Any = None,
    ) -> bool:
        """Do one step; false when the connection is at its end."""
        if isinstance(step, Pause):
            await asyncio.wait((gone,), timeout=step.seconds)
            return not gone.done()
        if isinstance(step, Reset):
            # With a linger time of zero, closing sends a reset in place of an orderly end.
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(step, HangUp):
            return False
        event = b"data: " + as_json(step) + 2 * self.line_end if isinstance(step, dict) else step
        if packer is not None:
            event = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        await _send_piece(writer, event)
        return not gone.done()


async def _send_piece(writer: asyncio.StreamWriter, data: bytes) -> None:
    """One chunk of a chunked body."""
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


async def _send_whole(writer: asyncio.StreamWriter, reply: Reply) -> None:
    data = reply.body if isinstance(reply.body, bytes) else as_json(reply.body or {})
    headers = {"content-type": "application/json; charset=UTF-8", **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {reply.status} Reply\r\n{lines}content-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()


def as_json(value: Json) -> bytes:
    """As it goes over the wire."""
    return json.dumps(value, ensure_ascii=False).encode()


ServerT = TypeVar("ServerT", bound=LoopbackServer)


@contextlib.contextmanager
def in_a_thread(server: ServerT) -> Iterator[ServerT]:
    """The server on a loop of its own in a thread."""
    started: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with server:
            started.set_result(asyncio.get_running_loop())
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="loopback-server")
    thread.start()
    loop = started.result(timeout=30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)


async def soon(future: Future[Any], seconds: float = 30.0) -> Any:
    """The future's result on the running loop; TimeoutError if it takes longer."""
    return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
