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

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.models.remote.loopback import (
    Json,
    LoopbackServer,
    Pause,
    Reply,
    Request,
    Step,
    in_a_thread,
)

PRO = "gemini-pro-latest"
FLASH = "gemini-flash-latest"
EMBEDDING = "gemini-embedding-001"
MODULE = "gemini"
STOP, LENGTH, BLOCKED = "STOP", "MAX_TOKENS", "SAFETY"


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


def error_event(code: int) -> Json:
    """An error in the middle of a stream."""
    return error_body(code, "Busy.", _STATUSES[code])


def busy(seconds: float | None = None) -> Reply:
    """Over the rate, with the wait that the provider asks for."""
    return fails(429, "Slow down.", *([] if seconds is None else [retry_info(f"{seconds}s")]))


def thought(text: str) -> Json:
    """A chunk of thinking."""
    return chunk(thought=text)


def usage_of(prompt: int, visible: int, thinking: int) -> tuple[int, int, int]:
    """The counts as `says` takes them."""
    return prompt, visible, thinking


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


class GeminiServer(LoopbackServer):
    """The server; see the module's docstring.

    Attributes:
        models: what `models.list` and `models.get` know; change it before the request.
        page_size: how many models one page of the list has.
    """

    text_path = ":streamGenerateContent"
    line_end = b"\r\n"

    def __init__(self) -> None:
        super().__init__(says("Hello", ", ", "world."))
        self.models: list[Json] = [
            model_entry(EMBEDDING, "embedContent"),
            model_entry("gemini-3.8-flash"),
            model_entry(PRO),
            model_entry(FLASH),
        ]
        self.page_size = 3

    @property
    def url(self) -> str:
        """What GEMINI_BASE_URL should be."""
        return f"http://127.0.0.1:{self.port}"

    def model_of(self, path: str, body: Json) -> str:
        """The model that it names."""
        return path.rsplit("/", 1)[-1].split(":", maxsplit=1)[0]

    def about_models(self, request: Request) -> Reply:
        """`models.list` and `models.get`."""
        assert (request.method, request.path[:14]) == ("GET", "/v1beta/models")
        if request.path == "/v1beta/models":
            return Reply(body=self._page(int(request.query.get("pageToken", ["0"])[0])))
        known = {entry["name"]: entry for entry in self.models}
        entry = known.get(f"models/{request.model}")
        missing = f"models/{request.model} is not found for API version v1beta."
        return fails(404, missing) if entry is None else Reply(body=entry)

    def _reply_to(self, request: Request) -> Reply:
        assert not request.for_text or request.query.get("alt") == ["sse"]
        return super()._reply_to(request)

    def _page(self, start: int) -> Json:
        end = start + self.page_size
        page: Json = {"models": self.models[start:end]}
        return page | ({"nextPageToken": str(end)} if end < len(self.models) else {})


@contextlib.contextmanager
def running_server() -> Iterator[GeminiServer]:
    """The server on a loop of its own in a thread."""
    with in_a_thread(GeminiServer()) as server:
        yield server
