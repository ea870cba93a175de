"""A contestant out of its declared entry: the key from its variable, the wallet from its price."""

from __future__ import annotations

from datetime import date
from typing import Any

from arena.models.models_file import OpenAiEntry
from arena.models.remote.budget import Budget, UsageStore
from arena.models.remote.openai import OpenAiModel
from arena.models.remote.prices import OWNER, READ_ON, Price
from arena.models.remote.quota import Quota
from arena.settings import secret_from_environment


def openai_contestant(slug: str, entry: OpenAiEntry, book: UsageStore[Any]) -> OpenAiModel:
    """The model that an entry of ARENA_MODELS declares; asks nobody yet.

    Args:
        slug: its name in the file.
        entry: what the owner declared.
        book: counts the day's money, over all processes.
    """
    secret = secret_from_environment(entry.key_variable) if entry.key_variable else None
    key = secret.get_secret_value() if secret else None
    return OpenAiModel(slug, entry, key, meter=_meter(slug, entry, book))


def _meter(slug: str, entry: OpenAiEntry, book: UsageStore[Any]) -> Quota:
    """The wallet; an engine that costs nothing has none, so that no answer waits for the store."""
    section, label = f"[models.{slug}]", entry.label or slug
    paid = bool(entry.price_in or entry.price_out) or entry.daily_budget_usd is not None
    purse = Budget(
        book,
        name=f"openai:{slug}",
        label=label,
        limit_usd=entry.daily_budget_usd,
        variable=f"{section} daily_budget_usd",
    )
    price = price_of(entry)
    return Quota(
        label=label,
        purse=purse if paid else None,
        price_of=lambda model: price if model == entry.model else None,
        price_variables=(f"{section} price_in", f"{section} price_out"),
    )


def price_of(entry: OpenAiEntry) -> Price | None:
    """What the owner says that it costs; None where that is not said."""
    if entry.price_in is None or entry.price_out is None:
        return None
    day = date.fromisoformat(entry.price_as_of) if entry.price_as_of else READ_ON
    return Price(entry.price_in, entry.price_out, as_of=day, source=OWNER, verified=True)
