"""What an engine's error replies mean: pure functions, no network and no state."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from arena.errors.models import (
    BadReply,
    ContentBlocked,
    EngineUnreachable,
    KeyRejected,
    ModelError,
    ModelGone,
    Overloaded,
    RateLimited,
    RequestRefused,
)
from arena.models.remote.failure import RemoteFailure, redacted, refusal, transport_failure
from arena.models.remote.openai_wire import OPTIONAL

if TYPE_CHECKING:
    import openai

    from arena.models.remote.openai_wire import Address

_STATUS = re.compile(r"\d{3}")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")
_ABOUT = re.compile(r"\(about: ([^()]*)\)")
_FIELDS = re.compile(rf"\b({'|'.join(sorted(OPTIONAL))}|include_usage)\b")
_CONTEXT = re.compile(r"context (?:length is|size \() ?(\d+) tokens", re.IGNORECASE)
_PROMPT = re.compile(
    r"\((\d{1,12}) in the messages|(\d{1,12}) input tokens|request \((\d{1,12}) tokens\)",
    re.IGNORECASE,
)
# The account is empty: waiting does not help, another key does.
_NO_MONEY = ("insufficient_quota", "insufficient balance")
# How an error is called inside a stream, where no status comes with it.
_BY_TYPE = {
    "rate_limit": 429,
    "authentication": 401,
    "permission": 403,
    "invalid_request": 400,
    "badrequest": 400,
}


def classify(error: BaseException, address: Address) -> RemoteFailure:
    """What an exception of the SDK or its HTTP client means; no secret is in the result."""
    import openai

    if isinstance(error, openai.APIStatusError):
        words = _words(error.body)
        return refusal(
            _kind(error.status_code, f"{error.code or ''} {error.type or ''} {words}"),
            redacted(f"HTTP {error.status_code}: {words}", *address.secrets),
            retry_after(error.response.headers),
        )
    if isinstance(error, openai.APIConnectionError):
        error = error.__cause__ or error
    elif isinstance(error, openai.APIError):
        return _inside_stream(error, address)
    return transport_failure(error, *address.secrets, unreachable=EngineUnreachable)


def _inside_stream(error: openai.APIError, address: Address) -> RemoteFailure:
    """An error in the place of a chunk: with a status as its code, a type, or only words."""
    words = _words(error.body)
    name = f"{error.code or ''} {error.type or ''}".lower()
    status = next((status for part, status in _BY_TYPE.items() if part in name), 500)
    code = error.code or ""
    kind = _kind(int(code) if _STATUS.fullmatch(code) else status, f"{name} {words}")
    return RemoteFailure(kind, redacted(words, *address.secrets), again=kind is Overloaded)


def _kind(code: int, text: str) -> type[ModelError]:
    low = text.lower()
    if code in {401, 402, 403} or (code == 429 and any(sign in low for sign in _NO_MONEY)):
        return KeyRejected
    if code == 404:
        # Every engine names the model; without it, the path is not one of this API.
        return ModelGone if "model" in low else EngineUnreachable
    if code == 429:
        return RateLimited
    if 500 <= code < 600 or code == 408:
        return Overloaded
    if not 400 <= code < 500:
        return BadReply
    return ContentBlocked if "content_filter" in low else RequestRefused


def _words(body: object) -> str:
    """The sentence in an error's body, and what it is about; never the request that it echoes."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(_words(entry) for entry in body)
    if not isinstance(body, dict):
        return "" if body is None else str(body)
    for key in ("message", "detail", "msg", "error"):
        if body.get(key):
            about = body.get("param") or body.get("loc")
            return _words(body[key]) + (f" (about: {about})" if about else "") + _sizes(body)
    return json.dumps(body, ensure_ascii=False, default=str)


def _sizes(body: Mapping[str, Any]) -> str:
    """llama.cpp's figures of a prompt that is too long, in the words of the other engines."""
    prompt, context = body.get("n_prompt_tokens"), body.get("n_ctx")
    if not isinstance(prompt, int) or not isinstance(context, int):
        return ""
    return f" [{prompt} input tokens, context size ({context} tokens)]"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the engine asks to wait, given as a number or a date; None if it does not."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return float(text) / unit
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def refused_fields(failure: RemoteFailure) -> frozenset[str]:
    """Which fields of a request the engine calls wrong, of those that it can do without."""
    if failure.kind is not RequestRefused:
        return frozenset()
    about = " ".join(_ABOUT.findall(failure.detail))
    named = set(_FIELDS.findall(about or failure.detail))
    return frozenset("stream_options" if n == "include_usage" else n for n in named)


def too_long(detail: str) -> tuple[int, int] | None:
    """Tokens of the prompt and of the model's context; None if that was not the complaint."""
    context, prompt = _CONTEXT.search(detail), _PROMPT.search(detail)
    if context is None or prompt is None:
        return None
    return int(next(filter(None, prompt.groups()))), int(context[1])
