"""What Google's error replies mean: pure functions, no network and no state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from arena.errors.models import (
    BadReply,
    KeyRejected,
    ModelError,
    ModelGone,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    RequestRefused,
)
from arena.models.remote.failure import RemoteFailure, redacted, refusal, transport_failure

_NO_QUOTA = re.compile(r"\blimit:\s*0(?![\d.])")
_SAMPLING = re.compile(r"\b(?:(temperature|top_?p)|(seed))\b", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def classify(error: BaseException, key: str) -> RemoteFailure:
    """What an exception of the SDK or of its HTTP client means; the key is not in the result."""
    from google.genai import errors

    if not isinstance(error, errors.APIError):
        return transport_failure(error, key)
    text = str(error)
    return refusal(_kind(error.code, text), redacted(text, key), retry_delay(error.details))


def _kind(code: int, text: str) -> type[ModelError]:
    if code in {401, 403} or "API_KEY_INVALID" in text:
        return KeyRejected
    if code == 404:
        return ModelGone
    if code == 429:
        return NoFreeQuota if _NO_QUOTA.search(text) else RateLimited
    if 500 <= code < 600:
        return Overloaded
    return RequestRefused if 400 <= code < 500 else BadReply


def retry_delay(details: object) -> float | None:
    """Seconds of the first RetryInfo anywhere in an error's JSON; None if there is none."""
    for entry in _dicts(details):
        if str(entry.get("@type", "")).endswith("RetryInfo"):
            match = _SECONDS.fullmatch(str(entry.get("retryDelay", "")))
            return float(match[1]) if match else None
    return None


def _dicts(value: object) -> Iterator[dict[object, object]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _dicts(item)


def refused_sampling(failure: RemoteFailure) -> frozenset[str]:
    """Which sampling parameters the provider calls wrong, by the SDK's names.

    Temperature and top_p go together: a model that refuses one has its own sampling.
    """
    if failure.kind is not RequestRefused:
        return frozenset()
    named = _SAMPLING.findall(failure.detail)
    refused = {"temperature", "top_p"} if any(nucleus for nucleus, _ in named) else set()
    return frozenset(refused | ({"seed"} if any(seed for _, seed in named) else set()))
