"""What a cloud model costs, by the table in genai-prices; its updater is never started.

The table was not compared with a bill, so each price is marked unverified and the owner can set
other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import TYPE_CHECKING

from arena.domain import Message

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, TieredPrices

TABLE_VERSION = "0.2.3"
TABLE_DATE = date(2026, 11, 10)
"""The day on which that version of genai-prices was released."""
TABLE = f"ai.google.dev/gemini-api/docs/pricing, as in genai-prices {TABLE_VERSION}"
OWNER = "set by the owner"

MESSAGE_TOKENS = 16
"""What a provider adds around a message (roles, separators), in tokens; generous."""

_ALIAS = re.compile(r"gemini-([a-z][a-z-]{0,60})-latest")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, for prompts of up to 200,000 tokens.

    Attributes:
        usd_in: of the prompt.
        usd_out: of what is generated, thinking included.
        source: where it was read.
        verified: it was compared with the provider's own page or a bill, or set by the owner.
    """

    usd_in: float
    usd_out: float
    source: str = TABLE
    verified: bool = False

    def facts(self) -> dict[str, str]:
        """The price as facts for the Models tab and the record."""
        return {
            "price_in": f"{self.usd_in:g}",
            "price_out": f"{self.usd_out:g}",
            "price_as_of": TABLE_DATE.isoformat(),
            "price_source": self.source,
            "price_verified": "yes" if self.verified else "no",
        }

    def usd(self, prompt_tokens: int, generated_tokens: int) -> float:
        """US dollars for one answer."""
        return (prompt_tokens * self.usd_in + generated_tokens * self.usd_out) / 1e6


@lru_cache(maxsize=64)
def google_price(model: str, day: date) -> Price | None:
    """The price of a model on that day; None where the table does not have it.

    An alias such as `gemini-pro-latest` moves without notice: it has the highest price of all the
    models that it may stand for.
    """
    from genai_prices.data import providers

    google = next(provider for provider in providers if provider.id == "google")
    name = model.rsplit("/", 1)[-1].lower()  # the API also names models as `models/…`
    found = google.find_model(name)
    family = [found] if found is not None else []
    if alias := _ALIAS.fullmatch(name):
        kind = re.compile(rf"gemini-\d[\d.]*-{alias[1]}(-preview)?")
        family += [info for info in google.models if kind.fullmatch(info.id)]
    prices = [price for info in family if (price := _price_on(info, day)) is not None]
    if not prices:
        return None
    return Price(max(p.usd_in for p in prices), max(p.usd_out for p in prices))


def _price_on(info: ModelInfo, day: date) -> Price | None:
    prices = info.get_prices(datetime.combine(day, time(), UTC))
    if prices.input_mtok is None or prices.output_mtok is None:
        return None
    return Price(_usd(prices.input_mtok), _usd(prices.output_mtok))


def _usd(price: Decimal | TieredPrices) -> float:
    """The price of short prompts, where long ones cost more."""
    from genai_prices.types import TieredPrices

    return float(price.base if isinstance(price, TieredPrices) else price)


def overridden(price: Price | None, usd_in: float | None, usd_out: float | None) -> Price | None:
    """The price with what the owner set in its place; None while a half of it is not known."""
    if usd_in is None and usd_out is None:
        return price
    verified = usd_in is not None and usd_out is not None
    if price is not None:
        usd_in = price.usd_in if usd_in is None else usd_in
        usd_out = price.usd_out if usd_out is None else usd_out
    if usd_in is None or usd_out is None:
        return None
    return Price(usd_in, usd_out, source=OWNER, verified=verified)


def most_prompt_tokens(messages: Iterable[Message]) -> int:
    """An upper bound of the prompt's tokens: no byte-level tokenizer makes more than the bytes."""
    return sum(
        len(message.content.encode("utf-8", "replace")) + MESSAGE_TOKENS for message in messages
    )
