"""The table of prices, and what the owner sets in its place."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Message, Role
from arena.models.remote.prices import (
    TABLE_VERSION,
    Price,
    google_price,
    most_prompt_tokens,
    overridden,
)

DAY = date(2026, 11, 29)
PRICE = Price(2.0, 10.0)


@pytest.mark.parametrize(
    ("model", "day", "usd"),
    [
        ("gemini-3.8-flash", date(2026, 12, 31), (0.75, 3.75)),
        ("gemini-3.8-flash", date(2027, 1, 1), (1.50, 7.50)),
        ("models/gemini-3.8-flash", DAY, (0.75, 3.75)),
        ("gemini-3.5-flash", DAY, (1.50, 9.00)),
        ("gemini-3.5-flash-lite", DAY, (0.30, 2.50)),
        ("gemini-2.5-flash", DAY, (0.30, 2.50)),
        ("gemini-2.5-pro", DAY, (1.25, 10.00)),  # of prompts up to 200,000 tokens
        ("gemini-3.1-pro-preview", DAY, (2.00, 12.00)),
    ],
)
def test_price_by_name_and_day(model: str, day: date, usd: tuple[float, float]) -> None:
    """A price holds for a model, with or without `models/`, and from its day on."""
    price = google_price(model, day)

    assert price is not None
    assert (price.usd_in, price.usd_out) == usd


@pytest.mark.parametrize(
    ("alias", "usd"),
    [
        ("gemini-pro-latest", (2.00, 12.00)),
        ("gemini-flash-latest", (1.50, 9.00)),
        ("models/gemini-flash-lite-latest", (0.30, 2.50)),
    ],
)
def test_an_alias_has_the_highest_price_of_its_family(alias: str, usd: tuple[float, float]) -> None:
    """An alias moves without notice, so a budget reckons with the dearest model behind it."""
    price = google_price(alias, DAY)

    assert price is not None
    assert (price.usd_in, price.usd_out) == usd


@pytest.mark.parametrize("model", ["gemini-99", "gemini-embedding-001", "gemma-3", "other-latest"])
def test_an_unknown_price_is_none(model: str) -> None:
    """A model without both prices has none."""
    assert google_price(model, DAY) is None


def test_a_price_says_where_it_is_from() -> None:
    """Nobody checked the table: each price names its source and day, and is unverified."""
    price = google_price("gemini-3.8-flash", DAY)

    assert price is not None
    assert price.facts() == {
        "price_in": "0.75",
        "price_out": "3.75",
        "price_as_of": "2026-11-10",
        "price_source": "ai.google.dev/gemini-api/docs/pricing, as in genai-prices 0.2.3",
        "price_verified": "no",
    }


def test_the_source_is_the_installed_table() -> None:
    """The named version is the installed one: another one has another day."""
    assert version("genai-prices") == TABLE_VERSION


_OFFLINE = """
import socket, sys, threading
def refuse(*a, **k): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from datetime import date
from arena.models.remote.prices import google_price
assert "genai_prices" not in sys.modules
assert google_price("gemini-pro-latest", date(2026, 11, 29)) is not None
assert threading.active_count() == 1
"""


def test_the_table_is_read_offline_and_when_used() -> None:
    """The table costs no connection, no thread, and no import before the first look."""
    found = subprocess.run(
        [sys.executable, "-c", _OFFLINE],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr


def test_the_owner_knows_better() -> None:
    """What the owner sets wins; half a price is completed by the table or is none."""
    assert overridden(PRICE, None, None) is PRICE
    changed = overridden(PRICE, 1.0, None)
    assert changed is not None
    assert (changed.usd_in, changed.usd_out, changed.verified) == (1.0, 10.0, False)
    whole = overridden(None, 1.0, 2.0)
    assert whole is not None
    assert (whole.usd_in, whole.usd_out, whole.verified) == (1.0, 2.0, True)
    assert overridden(None, 1.0, None) is None


def test_thinking_costs_as_output() -> None:
    """Prices are for a million tokens."""
    assert PRICE.usd(1_000_000, 0) == 2.0
    assert PRICE.usd(0, 500_000) == 5.0


@given(st.text(max_size=60))
def test_the_bound_of_a_prompt_holds_for_any_text(text: str) -> None:
    """A prompt has at most as many tokens as bytes, and some around it."""
    bound = most_prompt_tokens([Message(Role.USER, text)])
    assert bound >= len(text.encode("utf-8", "replace"))
