"""What a cloud model costs. A table with dates, and the arithmetic; no network.

The figures are those of Google's price page as others transcribed it on 2026-10-07. Nobody checked
them against a bill, so each is marked unverified and the owner can set other ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from arena.domain import Message

SOURCE = "ai.google.dev/gemini-api/docs/pricing, as transcribed on 2026-10-07"
READ_ON = date(2026, 10, 7)
OWNER = "set by the owner"

# What a provider adds around a message (roles, separators), in tokens; generous.
_MESSAGE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, for prompts of up to 200,000 tokens.

    Attributes:
        usd_in: of the prompt.
        usd_out: of what is generated, thinking included.
        as_of: the day on which somebody read it.
        source: where it was read.
        verified: somebody compared it with the provider's own page or a bill.
    """

    usd_in: float
    usd_out: float
    as_of: date = READ_ON
    source: str = SOURCE
    verified: bool = False

    def facts(self) -> dict[str, str]:
        """The price as facts for the Models tab and the record."""
        return {
            "price_in": f"{self.usd_in:g}",
            "price_out": f"{self.usd_out:g}",
            "price_as_of": self.as_of.isoformat(),
            "price_source": self.source,
            "price_verified": "yes" if self.verified else "no",
        }

    def usd(self, prompt_tokens: int, generated_tokens: int) -> float:
        """US dollars for one answer; thinking belongs to what is generated."""
        return (prompt_tokens * self.usd_in + generated_tokens * self.usd_out) / 1e6


# Each with the first day on which it holds, oldest first.
_START = date(2025, 1, 1)
_FLASH_38 = ((_START, Price(0.75, 3.75)), (date(2027, 1, 1), Price(1.50, 7.50)))
_PRO_31 = ((_START, Price(2.00, 12.00)),)
PRICES: dict[str, tuple[tuple[date, Price], ...]] = {
    "gemini-3.8-flash": _FLASH_38,
    "gemini-3.5-flash": ((_START, Price(1.50, 9.00)),),
    "gemini-3.5-flash-lite": ((_START, Price(0.30, 2.50)),),
    "gemini-3.1-pro-preview": _PRO_31,
    "gemini-2.5-pro": ((_START, Price(1.25, 10.00)),),
    "gemini-2.5-flash": ((_START, Price(0.30, 2.50)),),
    # An alias moves without notice: these are the dearest of its kind in the table.
    "gemini-pro-latest": _PRO_31,
    "gemini-flash-latest": ((_START, Price(1.50, 9.00)),),
}


def price_of(model: str, day: date) -> Price | None:
    """The price of a model on that day; None where the table does not have it."""
    found = None
    for first_day, price in PRICES.get(model.rsplit("/", 1)[-1], ()):
        if first_day <= day:
            found = price
    return found


def overridden(price: Price | None, usd_in: float | None, usd_out: float | None) -> Price | None:
    """The price with what the owner set in its place; None while a half of it is not known."""
    if usd_in is None and usd_out is None:
        return price
    if price is None:
        if usd_in is None or usd_out is None:
            return None
        return Price(usd_in, usd_out, source=OWNER, verified=True)
    return replace(
        price,
        usd_in=price.usd_in if usd_in is None else usd_in,
        usd_out=price.usd_out if usd_out is None else usd_out,
        source=OWNER,
        verified=usd_in is not None and usd_out is not None,
    )


def most_prompt_tokens(messages: Iterable[Message]) -> int:
    """An upper bound of the prompt's tokens: no byte-level tokenizer makes more than the bytes."""
    return sum(
        len(message.content.encode("utf-8", "replace")) + _MESSAGE_TOKENS for message in messages
    )
