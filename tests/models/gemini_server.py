"""A loopback server that speaks the Gemini API as far as the arena uses it.

The wire format is from the documentation, not recorded from Google.

    async with GeminiServer() as server:             # on the running loop
        server.script(says("Hel", "lo"), fails(503))  # one reply a request, in this order
        ...GEMINI_BASE_URL=server.url...

    with running_server() as server:                 # in a thread, for tests of a whole process
        ...

When the script has run out, every request gets `server.default`. Everything that is waited for is
a `concurrent.futures.Future`, which both kinds of test can wait on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

PRO = "gemini-pro-latest"
FLASH = "gemini-flash-latest"
EMBEDDING = "gemini-embedding-001"


def model_entry(name: str, *actions: str) -> Json:
    """One model as `models.list` and `models.get` show it."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": list(actions or ("generateContent", "countTokens")),
    }


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
    """

    steps: Sequence[Step] = ()
    status: int = 200
    body: Json | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def chunk(
    text: str | None = None,
    *,
    thought: str | None = None,
    finish: str | None = None,
    usage: tuple[int, int, int] | None = None,
    version: str = "gemini-test-001",
    **more: Any,
) -> Json:
    """One `GenerateContentResponse`; `usage` is prompt, candidates and thoughts."""
    parts: list[Json] = []
    if thought is not None:
        parts.append({"text": thought, "thought": True})
    if text is not None:
        parts.append({"text": text})
    candidate: Json = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    if finish is not None:
        candidate["finishReason"] = finish
    found: Json = {"candidates": [candidate], "modelVersion": version, "responseId": "r"}
    if usage is not None:
        prompt, answer, thoughts = usage
        found["usageMetadata"] = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": answer,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": prompt + answer + thoughts,
        }
    return found | more


def says(
    *texts: str,
    finish: str = "STOP",
    usage: tuple[int, int, int] = (7, 5, 3),
    version: str = "gemini-test-001",
) -> Reply:
    """A whole answer in so many chunks."""
    steps = [chunk(text, version=version) for text in texts[:-1]]
    return Reply([*steps, chunk(texts[-1], finish=finish, usage=usage, version=version)])


def drips(text: str = "drop ", *, every: float = 0.05, first: Sequence[Step] = ()) -> Reply:
    """A chunk every so many seconds, for longer than any test lasts."""
    return Reply([*first, *([chunk(text), Pause(every)] * 2000)])


def error_body(code: int, message: str, status: str, *details: Json) -> Json:
    """The JSON of an error."""
    error: Json = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return {"error": error}


_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def fails(code: int, message: str = "It failed.", *details: Json) -> Reply:
    """An error in place of an answer."""
    return Reply(status=code, body=error_body(code, message, _STATUSES[code], *details))


def retry_info(delay: str) -> Json:
    """The detail that says how long to wait, e.g. `2s`."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def key_invalid(message: str = "API key not valid. Please pass a valid API key.") -> Reply:
    """What a wrong key gets."""
    reason = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
    }
    return fails(400, message, reason)


def no_free_quota() -> Reply:
    """What a key without billing gets for a paid model; its RetryInfo promises too much."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    message = f"You exceeded your current quota.\n* Quota exceeded for metric: {metric}, limit: 0"
    return fails(429, message, retry_info("2s"))


@dataclass
class Connection:
    """One socket of a client. `closed` is done when the client has left or was thrown out."""

    closed: Future[None] = field(default_factory=Future)


@dataclass
class Request:
    """What a client asked, and over which connection."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Json
    connection: Connection

    @property
    def for_text(self) -> bool:
        """Whether it asks a model for an answer."""
        return self.path.endswith(":streamGenerateContent")

    @property
    def model(self) -> str:
        """The model that it names."""
        return self.path.rsplit("/", 1)[-1].split(":")[0]


class GeminiServer:
    """The server; see the module's docstring.

    Attributes:
        models: what `models.list` and `models.get` know; change it before the request.
        default: the reply to every request for text beyond the script.
        page_size: how many models one page of the list has.
        requests: all that came, oldest first.
    """

    def __init__(self) -> None:
        self.models: list[Json] = [
            model_entry(EMBEDDING, "embedContent"),
            model_entry("gemini-3.8-flash"),
            model_entry(PRO),
            model_entry(FLASH),
        ]
        self.default = says("Hello", ", ", "world.")
        self.page_size = 3
        self.requests: list[Request] = []
        self._script: deque[Reply] = deque()
        self._by_model: dict[str, deque[Reply]] = {}
        self._about_models: deque[Reply] = deque()
        self._arrivals: dict[int, Future[Request]] = {}
        self._lock = threading.Lock()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        """What GEMINI_BASE_URL should be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def asked(self) -> list[Request]:
        """The requests for text, oldest first."""
        return [request for request in self.requests if request.for_text]

    def script(self, *replies: Reply, model: str | None = None) -> None:
        """Answer the next requests for text with these; with `model`, those to that model."""
        queue = self._script if model is None else self._by_model.setdefault(model, deque())
        queue.extend(replies)

    def script_models(self, *replies: Reply) -> None:
        """Answer the next questions about models with these instead of the truth."""
        self._about_models.extend(replies)

    def arrival(self, number: int = 0) -> Future[Request]:
        """Done when the request for text with that number (from 0) has come."""
        with self._lock:
            future = self._arrivals.setdefault(number, Future())
            asked = self.asked
            if number < len(asked) and not future.done():
                future.set_result(asked[number])
            return future

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

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
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            connection.closed.set_result(None)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, value in (line.split(":", 1) for line in lines)
        }
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        body = json.loads(content) if content else {}
        request = Request(method, parts.path, parse_qs(parts.query), headers, body, connection)
        self._note(request)
        reply = self._reply_to(request)
        if reply.status != 200 or reply.body is not None:
            await _send_whole(writer, reply)
            return True
        return await self._stream(reader, writer, reply.steps)

    def _note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            if not request.for_text:
                return
            future = self._arrivals.setdefault(len(self.asked) - 1, Future())
            if not future.done():
                future.set_result(request)

    def _reply_to(self, request: Request) -> Reply:
        if request.for_text:
            assert request.method == "POST"
            assert request.query.get("alt") == ["sse"]
            for queue in (self._by_model.get(request.model), self._script):
                if queue:
                    return queue.popleft()
            return self.default
        if self._about_models:
            return self._about_models.popleft()
        assert (request.method, request.path[:14]) == ("GET", "/v1beta/models")
        if request.path == "/v1beta/models":
            return Reply(body=self._page(int(request.query.get("pageToken", ["0"])[0])))
        known = {entry["name"]: entry for entry in self.models}
        entry = known.get(f"models/{request.model}")
        missing = f"models/{request.model} is not found for API version v1beta."
        return fails(404, missing) if entry is None else Reply(body=entry)

    def _page(self, start: int) -> Json:
        end = start + self.page_size
        page: Json = {"models": self.models[start:end]}
        return page | ({"nextPageToken": str(end)} if end < len(self.models) else {})

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Sequence[Step]
    ) -> bool:
        """Send the steps; false when the connection is at its end."""
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        gone = asyncio.ensure_future(reader.read(1))  # a client that waits sends nothing but EOF
        try:
            for step in steps:
                if not await _take(step, writer, gone):
                    return False
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return not gone.done()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


async def _take(step: Step, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]) -> bool:
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
    data = step if isinstance(step, bytes) else b"data: " + _json(step) + b"\r\n\r\n"
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
    return not gone.done()


async def _send_whole(writer: asyncio.StreamWriter, reply: Reply) -> None:
    data = reply.body if isinstance(reply.body, bytes) else _json(reply.body or {})
    more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    head = (
        f"HTTP/1.1 {reply.status} {_STATUSES.get(reply.status, 'OK')}\r\n{more}"
        f"content-type: application/json; charset=UTF-8\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()


def _json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@contextlib.contextmanager
def running_server() -> Iterator[GeminiServer]:
    """The server on a loop of its own in a thread."""
    server = GeminiServer()
    started: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with server:
            started.set_result(asyncio.get_running_loop())
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="gemini-server")
    thread.start()
    loop = started.result(timeout=10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


async def soon(future: Future[Any], seconds: float = 5.0) -> Any:
    """The future's result on the running loop; TimeoutError if it takes longer."""
    return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
