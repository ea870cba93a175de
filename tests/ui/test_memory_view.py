"""Memory figures, computed from a config and not typed in."""

from __future__ import annotations

import re

import pytest

from arena.ui.i18n import LANGUAGES
from arena.ui.memory_view import KvCache, cache_picture, cache_rows, kv_cache, size, tokens_short

# Phi-4-mini's published config in 16 bits: 2 * 32 layers * 8 heads * 128 * 2 bytes.
PHI = {
    "kv_bytes_per_token": str(2 * 32 * 8 * 128 * 2),
    "heads": "24",
    "kv_heads": "8",
    "context": "131072",
}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1024, "1 KiB"), (46_080, "45 KiB"), (131_072, "128 KiB"), (1536 * 1024, "1.5 MiB"),
        (16 * 2**30, "16 GiB"), (48 * 2**30, "48 GiB"), (999 * 1024, "999 KiB"),
    ],
)  # fmt: skip
def test_sizes_are_in_units_that_people_read(count: int, text: str) -> None:
    """Sizes have binary units and three digits."""
    assert size(count) == text


def cache(**changes: str) -> KvCache:
    """Phi-4-mini's cache, but for what is changed."""
    found = kv_cache(PHI | changes)
    assert found is not None
    return found


def test_phis_cache_is_a_third_of_full_heads() -> None:
    """Phi-4-mini's cache is a third of that of full heads, at each length."""
    rows = cache_rows(cache(), "en")
    assert rows["kv.token"] == "128 KiB (full heads: 384 KiB; 33%)"
    assert rows["kv.short"] == "4K: 512 MiB (full heads: 1.5 GiB; 33%)"
    assert rows["kv.context"] == "128K: 16 GiB (full heads: 48 GiB; 33%)"


def test_full_heads_have_nothing_to_compare() -> None:
    """With full heads there is one number, no share and no picture."""
    full = cache(kv_heads="24")
    assert cache_rows(full, "ja")["kv.token"] == "128 KiB"
    assert cache_picture(full, "phi", "ja") == ""


def test_a_short_context_is_shown_once_and_gaps_are_left_out() -> None:
    """A context below 4K is shown once; without the facts nothing is shown."""
    assert list(cache_rows(cache(context="2048"), "en")) == ["kv.token", "kv.short"]
    assert kv_cache({"heads": "24"}) is None
    assert kv_cache(PHI | {"heads": "?"}) is None
    assert kv_cache(PHI | {"kv_heads": "0"}) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_picture_has_both_bars_with_their_numbers(language: str) -> None:
    """Bars are as long as the caches: a third for Phi-4-mini; sizes and heads stand beside them."""
    html = cache_picture(cache(), "phi", language)
    assert re.findall(r"--w:([^\"]+)", html) == ["100%", "33.3%"]
    assert re.findall(r"<b>([^<]+)</b>", html) == ["48 GiB", "16 GiB"]
    for told in ("(24)", "(8)", "67%", "128 KiB", "384 KiB", "128K"):
        assert told in html


def test_contexts_have_their_common_names() -> None:
    """131072 is shown as 128K."""
    assert tokens_short(131072) == "128K"
    assert tokens_short(8192) == "8K"
    assert tokens_short(5000) == "5,000"
