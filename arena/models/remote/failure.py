"""Why a request to a remote model failed, and how long to wait before the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arena.domain import clean
from arena.errors.models import (
    BadReply,
    EngineUnreachable,
    KeyRejected,
    ModelError,
    ModelGone,
    NetworkFailed,
    NoFreeQuota,
    Overloaded,
    RateLimited,
)

BACKOFF_S = (0.5, 1.5)
"""Waits before the first and the second repeated request, where the provider names none."""
LONGEST_WAIT_S = 8.0
"""All waits of one answer together; a longer one is left to the visitor."""
UNKNOWN_WAIT_S = 60.0
"""What a visitor is told where the provider names no wait."""
DETAIL_CHARS = 2000
NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """Why one request failed, before it is put into words.

    Attributes:
        kind: the error that is shown.
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
        """Whether it stays until the owner changes the key, model, billing or engine."""
        return issubclass(self.kind, KeyRejected | ModelGone | NoFreeQuota | EngineUnreachable)

    @property
    def rests(self) -> bool:
        """Whether the provider is left alone for a while: it stays, or a wait was asked for."""
        return self.lasting or self.wait_s is not None


def refusal(kind: type[ModelError], detail: str, wait_s: float | None = None) -> RemoteFailure:
    """The failure of a request that was answered with an error.

    One that is over a rate is only repeated when the provider says how long to wait.
    """
    again = kind is Overloaded or (kind is RateLimited and wait_s is not None)
    return RemoteFailure(kind, detail, again, wait_s, refused=True)


def transport_failure(
    error: BaseException, *secrets: str, unreachable: type[ModelError] = NetworkFailed
) -> RemoteFailure:
    """What an exception of the HTTP client means.

    Any other exception is a reply that could not be read. After a timeout the request is not
    repeated: the visitor has waited long enough.

    Args:
        error: the exception.
        secrets: what must not be in the result.
        unreachable: the kind of a connection that could not be opened.
    """
    import httpx2

    detail = redacted(f"{type(error).__name__}: {error}", *secrets)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        again = not isinstance(error, httpx2.TimeoutException)
        return RemoteFailure(unreachable, detail, again, refused=True)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return RemoteFailure(NetworkFailed, detail)
    if isinstance(error, httpx2.TransportError | OSError):
        return RemoteFailure(NetworkFailed, detail, again=True)
    return RemoteFailure(BadReply, detail)


def plain_error(failure: RemoteFailure) -> ModelError:
    """The error of a failure that needs no names of the owner's settings."""
    if failure.kind is RateLimited:
        wait = UNKNOWN_WAIT_S if failure.wait_s is None else failure.wait_s
        return RateLimited(failure.detail, wait=f"{max(1, math.ceil(wait))} s")
    return failure.kind(failure.detail)


def retry_wait(failure: RemoteFailure, *, retries: int, waited: float) -> float | None:
    """Seconds until the same request is sent again; None if it is not.

    Args:
        failure: how the last one ended.
        retries: how often it was sent again already.
        waited: seconds that were waited for that.
    """
    if not failure.again or retries >= len(BACKOFF_S):
        return None
    wait = BACKOFF_S[retries] if failure.wait_s is None else failure.wait_s
    return wait if waited + wait <= LONGEST_WAIT_S else None


def redacted(text: str, *secrets: str) -> str:
    """The text without the secrets, shortened for the log.

    Secrets are replaced before the text is cut, so that no part of one is left; the longest first,
    since it may contain a shorter one.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return clean(text[:DETAIL_CHARS])


def is_sendable(key: str) -> bool:
    """Whether a key can be a header: printable ASCII without spaces.

    Any other is refused before it is sent, since the HTTP client's complaint would quote it.
    """
    return key.isascii() and key.isprintable() and " " not in key


def shortened(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" … (+{more})" if more > 0 else "")
