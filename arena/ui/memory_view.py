"""What a local model's memory is spent on, from the facts of the loaded config. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from arena.ui.i18n import say

SHORT_TOKENS = 4096
_KIB = 1024.0


def size(count: float) -> str:
    """Bytes for people, in binary units: 45 KiB, 1.5 GiB."""
    value, unit = count / _KIB, "KiB"
    for larger in ("MiB", "GiB"):
        if value < 1000:
            break
        value, unit = value / _KIB, larger
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def tokens_short(count: int) -> str:
    """A context as people call it: 4K, 128K."""
    return f"{count // 1024}K" if count % 1024 == 0 else f"{count:,}"


def cache_rows(facts: Mapping[str, str], language: str) -> dict[str, str]:
    """The key-value cache a token and for whole contexts, beside what full heads would need.

    With grouped-query attention several query heads share one pair of key and value heads, so the
    cache is `kv_heads / heads` of that of full multi-head attention: a third for Phi-4-mini.

    Args:
        facts: of a ready model; needs `kv_bytes_per_token`, `heads`, `kv_heads` and `context`.
        language: of the page.

    Returns:
        Texts by key, in order; empty where a fact is missing.
    """
    try:
        per_token, heads, shared, context = (
            int(facts[name]) for name in ("kv_bytes_per_token", "heads", "kv_heads", "context")
        )
    except (KeyError, ValueError):
        return {}
    full = per_token * heads // shared
    rows = {"kv.token": _both(per_token, full, language)}
    for count in sorted({min(SHORT_TOKENS, context), context}):
        key = "kv.short" if count == min(SHORT_TOKENS, context) else "kv.context"
        rows[key] = say(
            language, "kv.at", tokens=tokens_short(count),
            sizes=_both(per_token * count, full * count, language),
        )  # fmt: skip
    return rows


def _both(shared: int, full: int, language: str) -> str:
    if shared == full:
        return size(shared)
    return say(
        language, "kv.both", shared=size(shared), full=size(full), share=f"{shared / full:.0%}"
    )
