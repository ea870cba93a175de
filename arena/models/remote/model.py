"""What all contestants behind an address share: failures, waits, connections and their streams.

No SDK is known here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from arena.domain import FinishReason
from arena.errors.models import (
    KeyRejected,
    ModelError,
    ModelGone,
    ModelUnavailable,
    NoFreeQuota,
    StreamBroken,
)
from arena.errors.reasons import ErrorReason

if TYPE_CHECKING:
    from arena.models.remote.quota import MeteredCall

T = TypeVar("T")
L = TypeVar("L")

Opening = Callable[[], Awaitable[AsyncIterator[T]]]

_DETAIL_CHARS = 2000
_NAMES_SHOWN = 6
_UNKNOWN_WAIT_S = 60.0
_BACKOFF_S = (0.5, 1.5)
_LONGEST_WAIT_S = 8.0


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """Why one request failed, before it is put into words.

    Attributes:
        kind: the error that people will hear of.
        detail: the provider's words without the key, for the log.
        again: whether the same request may succeed within seconds.
        wait_s: how long the provider asks to wait; None where it does not say.
        refused: nothing was generated: the provider answered with an error, or was not reached.
    """

    kind: type[ModelError]
    detail: str
    again: bool = False
    wait_s: float | None = None
    refused: bool = False

    @property
    def lasting(self) -> bool:
        """Whether it stays until the owner changes the key, the model or the billing."""
        return issubclass(self.kind, KeyRejected | ModelGone | NoFreeQuota)


class Counts(Protocol):
    """What a request has brought, as far as it costs money."""

    served: str
    text_seen: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    thinking_tokens: int | None


def cost_of(
    charge: MeteredCall, reading: Counts, end: FinishReason | RemoteFailure
) -> float | None:
    """US dollars for one request; None where it is not known.

    A request that was refused costs nothing. One that broke in its middle, or that the visitor
    stopped (then nothing comes here), keeps what was reserved: what is billed of it is not told.
    """
    if isinstance(end, RemoteFailure):
        return 0.0 if not reading.text_seen and end.refused else None
    thinking = reading.thinking_tokens or 0
    visible = reading.completion_tokens
    blocked = 0 if end is FinishReason.BLOCKED else None
    generated = thinking + visible if visible is not None else blocked
    return charge.usd(reading.served, reading.prompt_tokens, generated)


def redacted(text: str, *secrets: str) -> str:
    """The text without the secrets, shortened for the log.

    The secrets go first, so that the cut never leaves a part of one; the longest of them before
    those that it contains.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return text[:_DETAIL_CHARS]


def is_sendable(key: str) -> bool:
    """Whether a key can be a header at all: the HTTP client's complaint would quote it."""
    return key.isascii() and key.isprintable() and " " not in key


def retry_wait(failure: RemoteFailure, *, retries: int, waited: float) -> float | None:
    """Seconds until the same request goes out again; None if it does not.

    Args:
        failure: how the last one ended.
        retries: how often it went out again already.
        waited: seconds that were waited for that.
    """
    if not failure.again or retries >= len(_BACKOFF_S):
        return None
    wait = _BACKOFF_S[retries] if failure.wait_s is None else failure.wait_s
    return wait if waited + wait <= _LONGEST_WAIT_S else None


def wait_words(failure: RemoteFailure) -> str:
    """How long a visitor should wait, in whole seconds."""
    wait = _UNKNOWN_WAIT_S if failure.wait_s is None else failure.wait_s
    return f"{max(1, math.ceil(wait))} s"


def shortened(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" … (+{more})" if more > 0 else "")


async def outcome(work: Awaitable[T]) -> T | BaseException:
    """The result or the exception, so that no error is raised while another is handled."""
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result


class Pump(Generic[T]):
    """Reads a stream in a task of its own.

    Leaving an SDK's stream does not always close its connection; cancelling the task that reads
    it does, within milliseconds, whatever it waits for.
    """

    def __init__(self, opening: Opening[T]) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._read(opening))
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))

    async def _read(self, opening: Opening[T]) -> None:
        async for chunk in await opening():
            self._queue.put_nowait(chunk)

    async def next(self) -> T | None:
        """The next chunk; None when there are no more, for whatever reason."""
        return await self._queue.get()

    def failure(self, classify: Callable[[BaseException], RemoteFailure]) -> RemoteFailure | None:
        """Why it ended, once it has; None if it ended well."""
        if self._task.cancelled():
            return RemoteFailure(StreamBroken, "the model was closed")
        error = self._task.exception()
        return classify(error) if error is not None else None

    async def aclose(self) -> None:
        """Stop reading; returns when the connection is closed."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()  # it has been looked at, or nobody wants it any more


class Connection(Generic[L]):
    """A provider's client, built when it is first needed, and the streams that are read with it.

    Args:
        label: the contestant, for people.
        package: what has to be installed.
        build: imports the package and makes the client; runs in a thread, since that takes long.
        close: ends what the client holds.
    """

    def __init__(
        self,
        *,
        label: str,
        package: str,
        build: Callable[[], L],
        close: Callable[[L], Awaitable[None]],
    ) -> None:
        self._label = label
        self._package = package
        self._build = build
        self._close = close
        self._link: L | None = None
        self._linking = asyncio.Lock()
        self._pumps: set[Pump[Any]] = set()
        self.closed = False

    async def link(self) -> L:
        """The client.

        Raises:
            ModelUnavailable: it was closed, or the package is missing.
        """
        if self.closed:
            raise ModelUnavailable(
                label=self._label, why=ErrorReason.CLOSED, remedy=ErrorReason.DO_RESTART
            )
        async with self._linking:
            if self._link is None:
                try:
                    self._link = await asyncio.to_thread(self._build)
                except ImportError as error:
                    raise ModelUnavailable(
                        str(error),
                        label=self._label,
                        why=ErrorReason.PACKAGE_MISSING,
                        package=self._package,
                        remedy=ErrorReason.DO_INSTALL,
                        command="pip install -r requirements.txt",
                    ) from None
            return self._link

    @asynccontextmanager
    async def reading(self, opening: Opening[T]) -> AsyncGenerator[Pump[T], None]:
        """Read a stream; whatever happens, its connection is closed at the end."""
        pump = Pump(opening)
        self._pumps.add(pump)
        try:
            yield pump
        finally:
            await pump.aclose()
            self._pumps.discard(pump)

    async def aclose(self) -> None:
        """Stop every stream and close the client; safe to call twice."""
        self.closed = True
        await asyncio.gather(*(pump.aclose() for pump in tuple(self._pumps)))
        async with self._linking:  # a client that is being built right now is closed too
            link, self._link = self._link, None
        if link is not None:
            await self._close(link)


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
