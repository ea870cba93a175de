"""What the web server takes from visitors and tells their browsers, around Gradio's own routes.

Gradio has many more routes than the page needs: uploads of any size, a proxy, fetching foreign
addresses, tools for developers. What is not named here is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arena.errors.base import without_values

log = logging.getLogger(__name__)

BODY_BYTES: Final = 1024 * 1024
"""Smallest cap of a request's body; a visitor's longest texts may raise it."""
_BYTES_A_CHAR: Final = 12
"""Most bytes of one character in JSON: an escaped surrogate pair."""
_TEXTS: Final = 4
"""A request has a prompt, a system prompt, and room for two more."""

_GRADIO: Final = "/gradio_api"
_PAGE: Final = frozenset({
    "", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt",
    "/login/huggingface", "/login/callback", "/logout",
})  # fmt: skip
_CALLS: Final = frozenset(
    f"{_GRADIO}/{name}"
    for name in ("queue/join", "queue/data", "cancel", "info", "startup-events", "theme.css")
)
_BELOW: Final = (
    "/assets/", "/static/", f"{_GRADIO}/heartbeat/", f"{_GRADIO}/call/", f"{_GRADIO}/run/",
)  # fmt: skip
# A file that the page offers. Not an address: Gradio would fetch it for the visitor.
_FILE: Final = f"{_GRADIO}/file=/"

# Gradio's page needs inline scripts and styles, and builds the functions of `js=` from text.
# A Space shows the page in a frame of the Hub's.
POLICY: Final = "; ".join((
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "media-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self' https://huggingface.co",
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
))  # fmt: skip
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}


def surface(prompt_chars: int, own: Sequence[Route]) -> Middleware:
    """The middleware for `launch(app_kwargs={"middleware": [...]})`.

    Args:
        prompt_chars: the longest prompt, for which a request must have room.
        own: the arena's own routes, which stay open.
    """
    most = max(BODY_BYTES, _TEXTS * _BYTES_A_CHAR * prompt_chars)
    return Middleware(Surface, most_bytes=most, own=frozenset(route.path for route in own))


class _TooLargeError(Exception):
    """The body is longer than its cap."""


class _Answer:
    """Sends an answer with `HEADERS`, those of them that it does not have."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


class Surface:
    """Passes on what the page needs, and adds `HEADERS` to every response.

    404 for any other path, 413 for a body above the cap: by its declared length at once, otherwise
    as soon as more has come. 500 for a fault, of which the log has the kind and the place.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, own: frozenset[str]) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        if not self._open(scope["path"]):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, answer)
            return
        try:
            await self._app(scope, self._bounded(scope, receive), answer)
        except _TooLargeError:
            if answer.begun:
                raise
            await JSONResponse({"detail": "Content Too Large"}, 413)(scope, receive, answer)
        except Exception as error:
            if answer.begun:
                raise
            # Here, since the web server would log a traceback for each made-up function.
            log.error("a request failed: %s", without_values(error))  # noqa: TRY400 -- as above
            await JSONResponse({"detail": "Internal Server Error"}, 500)(scope, receive, answer)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receives a body up to the cap.

        Raises:
            _TooLargeError: at once if its length is told, else when more has come.
        """
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self._most_bytes:
            raise _TooLargeError
        received = 0

        async def take() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                raise _TooLargeError
            return message

        return take

    def _open(self, path: str) -> bool:
        path = path.rstrip("/")
        known = path in _PAGE or path in _CALLS or path in self._own
        return known or path.startswith((*_BELOW, _FILE))
