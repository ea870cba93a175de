"""Checks of what a visitor may ask for. The caps are `settings.limits`."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from arena.domain import Message, clean
from arena.errors.base import ArenaError
from arena.errors.battle import (
    DayUsedUp,
    EmptyPrompt,
    OneAtATime,
    PromptTooLong,
    RateExceeded,
    TooManyTokens,
    TooManyTurns,
)
from arena.settings import Limits
from arena.store.usage import RateWindow, Refusal

MINUTE = 60
DAY = 86400
# Latin text has about four characters a token; Japanese, Chinese and Korean about one.
_LATIN_CHARS_A_TOKEN = 4
_FIRST_EAST_ASIAN = 0x2E80
# One household has all addresses with the same first bits.
_IPV6_HOUSEHOLD_BITS = 64


UNKNOWN = "unknown"
"""In place of the hash of an address that is not known."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as caps and votes need to know.

    Attributes:
        voter: salted hash of the account, or of the browser's random id; 64 hex digits.
        address: salted hash of the network address and the day; one for all of whom it is unknown.
        signed_in: the hash is of an account.
    """

    voter: str
    address: str = UNKNOWN
    signed_in: bool = False


def check_prompt(text: str, limits: Limits) -> str:
    """The prompt as it will be sent: valid Unicode, stripped, with plain newlines.

    Raises:
        EmptyPrompt: nothing is left.
        PromptTooLong: longer than `limits.prompt_chars`.
    """
    prompt = clean(text).replace("\r\n", "\n").replace("\r", "\n").strip()
    if not prompt:
        raise EmptyPrompt
    if len(prompt) > limits.prompt_chars:
        raise PromptTooLong(length=len(prompt), limit=limits.prompt_chars)
    return prompt


def check_system_prompt(text: str | None, limits: Limits) -> str | None:
    """As `check_prompt`, but it may be empty: then None.

    Raises:
        PromptTooLong: longer than `limits.prompt_chars`.
    """
    return check_prompt(text, limits) if text and text.strip() else None


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: the same for both sides, whatever their tokenizers.

    One for each East Asian character, one for each four of the others, rounded up.
    """
    wide = sum(ord(char) >= _FIRST_EAST_ASIAN for char in text)
    return wide + math.ceil((len(text) - wide) / _LATIN_CHARS_A_TOKEN)


def check_tokens(messages: Iterable[Message], limits: Limits) -> None:
    """Whether a conversation is short enough to be sent.

    Raises:
        TooManyTokens: with the estimate and the cap.
    """
    tokens = sum(estimated_tokens(message.content) for message in messages)
    if tokens > limits.prompt_tokens:
        raise TooManyTokens(tokens=tokens, limit=limits.prompt_tokens)


def check_turns(turns: int, limits: Limits) -> None:
    """Whether one more prompt may follow.

    Raises:
        TooManyTurns: the conversation has `limits.turns` prompts already.
    """
    if turns >= limits.turns:
        raise TooManyTurns(limit=limits.turns)


def check_own(running: int, limits: Limits) -> None:
    """Whether a visitor with that many running battles may have one more.

    Raises:
        OneAtATime: not before one of them has ended.
    """
    if running >= limits.visitor_battles:
        raise OneAtATime(limit=limits.visitor_battles)


def rate_windows(visitor: Visitor, limits: Limits) -> list[RateWindow]:
    """What one prompt of this visitor counts against.

    A browser's id is new whenever its visitor likes, so the address always counts too.
    """
    counted = [(f"v:{visitor.voter}", 1), (f"a:{visitor.address}", limits.visitors_per_address)]
    caps = ((MINUTE, limits.battles_per_minute), (DAY, limits.battles_per_day))
    return [
        RateWindow(key, seconds, cap * share) for key, share in counted for seconds, cap in caps
    ]


def erasure_windows(visitor: Visitor, limits: Limits) -> list[RateWindow]:
    """As `rate_windows`, counted apart: whoever has asked enough for today may still delete."""
    windows = rate_windows(visitor, limits)
    return [replace(window, key=f"erase:{window.key}") for window in windows]


def rate_error(refusal: Refusal, now: datetime) -> ArenaError:
    """The error that says which rate is full and when to come back."""
    limit, wait = refusal.window.limit, wait_for(refusal, now)
    if refusal.window.seconds <= MINUTE:
        return RateExceeded(limit=limit, wait=wait)
    return DayUsedUp(limit=limit, wait=wait, until=f"{refusal.until:%H:%M} UTC")


def wait_for(refusal: Refusal, now: datetime) -> str:
    """How long it is until there is room again, for people."""
    left = max(1, math.ceil((refusal.until - now).total_seconds()))
    if refusal.window.seconds <= MINUTE:
        return f"{left} s"
    hours, minutes = divmod(math.ceil(left / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def address_hash(salt: str, address: str, now: datetime) -> str:
    """A network address as a one-way hash that changes every day (UTC).

    `UNKNOWN` for what is no address. Of a public IPv6 address the first `_IPV6_HOUSEHOLD_BITS`
    count.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.version == 6 and parsed.is_global:
        household = f"{parsed}/{_IPV6_HOUSEHOLD_BITS}"
        parsed = ipaddress.ip_network(household, strict=False).network_address
    text = f"{now:%Y-%m-%d} {parsed}"
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()
