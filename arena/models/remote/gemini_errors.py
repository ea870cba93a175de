"""What Google's replies and failures mean: pure functions, no network and no state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arena.domain import FinishReason
from arena.errors.models import (
    BadReply,
    KeyRejected,
    ModelError,
    ModelGone,
    NetworkFailed,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    RequestRefused,
    StreamBroken,
)
from arena.models.remote.model import RemoteFailure, redacted, shortened, wait_words

if TYPE_CHECKING:
    from google.genai import errors, types

KEY_VARIABLE = "GEMINI_API_KEY"
MODEL_VARIABLE = "GEMINI_MODEL"
FALLBACK_VARIABLE = "GEMINI_FALLBACK_MODEL"

# Named when the API cannot be asked which models the key may call.
USUAL_MODELS = ("gemini-flash-latest", "gemini-pro-latest")

_ENDINGS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,  # the provider's own limit for one request
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
            "ESCALATION", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        FinishReason.BLOCKED,
    ),
}  # fmt: skip
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
_ACCOUNT_CLOSED = "PUP_LIMITED_DISABLED"

_NO_QUOTA = re.compile(r"\blimit:\s*0(?![\d.])")
_SAMPLING = re.compile(r"\b(?:(temperature|top_?p)|(seed))\b", re.IGNORECASE)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(slots=True)
class Reading:
    """What one request has brought so far.

    Attributes:
        served: the model version that answers, as the provider names it.
        text_seen: whether visible text has come; from then on nothing is sent again.
        finish: the provider's finish reason, empty while there is none.
        prompt_blocked: the provider's reason for not answering the prompt at all, else empty.
    """

    served: str
    text_seen: bool = False
    finish: str = ""
    prompt_blocked: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None

    def take(self, chunk: types.GenerateContentResponse) -> str:
        """Note what the chunk says, and return its visible text (thoughts left out)."""
        if chunk.model_version:
            self.served = chunk.model_version
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            self.prompt_blocked = str(chunk.prompt_feedback.block_reason.value)
        if (usage := chunk.usage_metadata) is not None:
            self.prompt_tokens = _latest(usage.prompt_token_count, self.prompt_tokens)
            self.completion_tokens = _latest(usage.candidates_token_count, self.completion_tokens)
            self.thinking_tokens = _latest(usage.thoughts_token_count, self.thinking_tokens)
        if not chunk.candidates:
            return ""
        candidate = chunk.candidates[0]
        reason = candidate.finish_reason
        if reason is not None and reason.value != _UNSPECIFIED:
            self.finish = str(reason.value)
        text = visible_text(candidate)
        self.text_seen = self.text_seen or bool(text)
        return text

    def ending(self) -> FinishReason | RemoteFailure:
        """How it ended, once the stream is over."""
        if not self.finish:
            if self.prompt_blocked:
                return FinishReason.BLOCKED
            return RemoteFailure(
                StreamBroken, "the stream ended without a finish reason", again=True
            )
        if self.finish == _ACCOUNT_CLOSED:
            return RemoteFailure(KeyRejected, f"finish reason {self.finish}")
        return _ENDINGS.get(self.finish) or RemoteFailure(BadReply, f"finish reason {self.finish}")


def _latest(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


def visible_text(candidate: types.Candidate) -> str:
    """The text of a candidate's parts without the thoughts; empty where it has no parts."""
    parts = (candidate.content.parts if candidate.content else None) or ()
    return "".join(part.text for part in parts if part.text and not part.thought)


def classify(error: BaseException, key: str) -> RemoteFailure:
    """What an exception of the SDK or of its HTTP client means; the key is not in the result."""
    import httpx2
    from google.genai import errors

    if isinstance(error, errors.APIError):
        return _refusal(error, key)
    detail = redacted(f"{type(error).__name__}: {error}", key)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        again = not isinstance(error, httpx2.TimeoutException)
        return RemoteFailure(NetworkFailed, detail, again, refused=True)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return RemoteFailure(NetworkFailed, detail)
    if isinstance(error, httpx2.TransportError | OSError):
        return RemoteFailure(NetworkFailed, detail, again=True)
    # What is left is a reply that the SDK could not read: UnknownApiResponseError, a failed
    # validation, or the TypeError it gives for an error without a code.
    return RemoteFailure(BadReply, detail)


def _refusal(error: errors.APIError, key: str) -> RemoteFailure:
    text = str(error)
    kind = _kind_of_refusal(error.code, text)
    wait_s = retry_delay(error.details)
    again = kind is Overloaded or (kind is RateLimited and wait_s is not None)
    return RemoteFailure(kind, redacted(text, key), again, wait_s, refused=True)


def _kind_of_refusal(code: int, text: str) -> type[ModelError]:
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


def as_error(
    failure: RemoteFailure, *, model: str, variable: str, names: Sequence[str] = ()
) -> ModelError:
    """The failure as the error that people hear of.

    Args:
        failure: what happened.
        model: the model that was asked.
        variable: the setting that named it.
        names: models that the key can call; empty where the API could not be asked.
    """
    others = [name for name in names or USUAL_MODELS if name != model]
    if failure.kind is KeyRejected:
        return KeyRejected(failure.detail, variable=KEY_VARIABLE)
    if failure.kind is ModelGone:
        return ModelGone(failure.detail, model=model, variable=variable, available=listed(others))
    if failure.kind is NoFreeQuota:
        best = next((name for name in others if name == USUAL_MODELS[0]), others[0])
        return NoFreeQuota(failure.detail, model=model, variable=variable, suggestion=best)
    if failure.kind is RateLimited:
        return RateLimited(failure.detail, wait=wait_words(failure))
    return failure.kind(failure.detail)


def listed(names: Sequence[str]) -> str:
    """The first few names, the usual ones in front, and how many more there are."""
    ordered = [n for n in USUAL_MODELS if n in names] + [n for n in names if n not in USUAL_MODELS]
    return shortened(ordered)
