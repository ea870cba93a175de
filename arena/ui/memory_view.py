"""What a local model's memory is spent on, from the facts of the loaded config. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from arena.ui.i18n import say
from arena.ui.terms import term_html

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


@dataclass(frozen=True, slots=True)
class KvCache:
    """The key-value cache, beside what it would be without shared heads.

    With grouped-query attention several query heads share one pair of key and value heads, so the
    cache is `kv_heads / heads` of that of full multi-head attention: a third for Phi-4-mini.

    Attributes:
        per_token: bytes that a token takes.
        full_per_token: bytes that it would take if every head had keys and values of its own.
        heads: query heads.
        kv_heads: pairs of key and value heads.
        context: tokens of the longest context.
    """

    per_token: int
    full_per_token: int
    heads: int
    kv_heads: int
    context: int

    @property
    def share(self) -> float:
        """What of the full cache it takes."""
        return self.per_token / self.full_per_token


def kv_cache(facts: Mapping[str, str]) -> KvCache | None:
    """The cache of a ready model; None where a fact is missing.

    Args:
        facts: needs `kv_bytes_per_token`, `heads`, `kv_heads` and `context`.
    """
    try:
        per_token, heads, shared, context = (
            int(facts[name]) for name in ("kv_bytes_per_token", "heads", "kv_heads", "context")
        )
    except (KeyError, ValueError):
        return None
    if min(per_token, heads, shared, context) < 1:
        return None
    return KvCache(per_token, per_token * heads // shared, heads, shared, context)


def cache_rows(cache: KvCache, language: str) -> dict[str, str]:
    """The cache a token and for whole contexts, beside what full heads would need.

    Returns:
        Texts by key, in order.
    """
    rows = {"kv.token": _both(cache, 1, language)}
    short = min(SHORT_TOKENS, cache.context)
    for count in sorted({short, cache.context}):
        rows["kv.short" if count == short else "kv.context"] = say(
            language, "kv.at", tokens=tokens_short(count), sizes=_both(cache, count, language)
        )
    return rows


def cache_picture(cache: KvCache, place: str, language: str) -> str:
    """Two bars: the cache of a whole context with all heads, and with shared ones.

    Empty where every head has keys and values of its own: there is nothing to compare.
    """
    if cache.per_token == cache.full_per_token:
        return ""
    tokens = tokens_short(cache.context)
    title = term_html(say(language, "kv.cache"), "kv.cache", place, language)
    heads = term_html(say(language, "kv.shared"), "fact.kv_heads", place, language)
    share = f"{100 * cache.share:.1f}%"
    rows = (
        ("all", escape(say(language, "kv.all")), cache.heads, cache.full_per_token, "100%"),
        ("shared", heads, cache.kv_heads, cache.per_token, share),
    )
    bars = "".join(
        f'<li class="{kind}"><span>{name} ({number:,})</span><i style="--w:{width}"></i>'
        f"<b>{size(each * cache.context)}</b></li>"
        for kind, name, number, each, width in rows
    )
    saved = say(
        language, "kv.saved", saved=f"{1 - cache.share:.0%}",
        shared=size(cache.per_token), full=size(cache.full_per_token),
    )  # fmt: skip
    lead = escape(say(language, "kv.title", tokens=tokens))
    return (
        f'<div class="kv"><p>{title} {lead}</p><ul>{bars}</ul><p class="saved">{escape(saved)}</p>'
        "</div>"
    )


def _both(cache: KvCache, tokens: int, language: str) -> str:
    shared, full = cache.per_token * tokens, cache.full_per_token * tokens
    if shared == full:
        return size(shared)
    return say(
        language, "kv.both", shared=size(shared), full=size(full), share=f"{cache.share:.0%}"
    )
