"""The models' cards. Pure: no Gradio, no I/O.

What a model is comes first, then where it runs, what it costs, what it takes of the memory; all
else is folded. Whatever moves with the answers that are being written (throughput, the day's cost)
would tell who plays on which side, and remedies are for the owner: see `owner_cards.py`.
"""

from __future__ import annotations

from html import escape

from arena.models.registry import Entry, Registry, is_google
from arena.ui.cards import Number, card, rows_html
from arena.ui.i18n import say
from arena.ui.memory_view import KvCache, cache_picture, cache_rows, kv_cache, size
from arena.ui.owner_cards import owner_html
from arena.ui.status_view import LIGHTS, far_host, status_words

# Shown in other forms, or not at all.
HIDDEN_FACTS = ("price_", "kv_bytes")
_LOCAL = "local"
_MIB = 1024 * 1024


def models_html(
    registry: Registry, language: str, store_card: str = "", *, owner: bool = False
) -> str:
    """A card a contestant; a built-in variant only while it can play. The owner's part is first."""
    shown = [entry for entry in registry.entries if entry.ready or not entry.fallback_variant]
    bases = {entry.model.spec.id: entry for entry in registry.entries}
    cards = "".join(
        _model_card(entry, bases.get(entry.model.spec.base_id, entry), language) for entry in shown
    )
    if owner:
        own = owner_html(shown, language, store_card)
        return f'{own}<div class="cards">{cards}</div>'
    return f'<div class="cards">{cards}{store_card}</div>'


def visitor_html(language: str) -> str:
    """Where the owner finds what visitors don't see."""
    return f'<p class="note">{escape(say(language, "models.owner_hint"))}</p>'


def votes_html(votes: int, language: str) -> str:
    """A visitor's card about the votes: how many. Battles without a vote are no public number."""
    rows = {"store.votes": str(votes)}
    body = rows_html(rows, "store", language)
    return card(say(language, "store.title"), body, attributes=' id="store"')


def _model_card(entry: Entry, base: Entry, language: str) -> str:
    """One contestant.

    Args:
        entry: the contestant.
        base: whose weights it has; the same where it has its own.
        language: of the page.
    """
    spec, place, cache = entry.model.spec, entry.slug, kv_cache(entry.facts)
    status = entry.model.status()
    words, _ = status_words(status, spec, language)
    light = LIGHTS[type(status)]
    first = {
        "models.where": _where(entry, language),
        "models.price": _price(entry, language),
        "models.memory": _memory(entry, base, cache, language),
    }
    picture = (
        cache_picture(cache, f"{place}-kv", language) if cache and not entry.is_variant else ""
    )
    rest = rows_html(_details(entry, cache, language), place, language)
    name, title = escape(place, quote=True), escape(say(language, "models.details"))
    fold = (
        f'<details class="more" data-fold="{name}"><summary id="more-{name}">{title}</summary>'
        f"{rest}</details>"
    )
    body = (
        f'<p class="what">{escape(_what(entry, base, language))}</p>'
        f'<p class="light {light}"><i></i>{escape(words)}</p>'
        f"{rows_html(first, place, language)}{picture}{fold}"
    )
    return card(spec.label, body)


def _what(entry: Entry, base: Entry, language: str) -> str:
    """What it is, in one sentence."""
    spec, facts = entry.model.spec, entry.facts
    if entry.is_variant:
        key = "prompted" if spec.system_prompt else "variant"
        return say(language, f"models.what.{key}", base=base.model.spec.label)
    if is_google(entry):
        return say(language, "models.what.google")
    if spec.provider != _LOCAL:
        return say(language, "models.what.remote")
    kind = "stand_in" if spec.stand_in else "local"
    try:
        parameters, context = int(facts["parameters"]), int(facts["context"])
    except (KeyError, ValueError):
        return say(language, f"models.what.{kind}")
    return say(
        language, f"models.what.{kind}.known",
        parameters=_large(parameters, language), context=f"{context:,}",
    )  # fmt: skip


def _large(count: int, language: str) -> str:
    """A large number as people say it: 3.8 billion."""
    for unit in ("large", "middle"):
        least = int(say(language, f"number.{unit}.least"))
        if count >= least:
            value = count / least
            text = f"{value:.1f}" if value < 10 else f"{value:,.0f}"
            return say(language, f"number.{unit}", n=text)
    return f"{count:,}"


def _where(entry: Entry, language: str) -> str:
    """Where it runs, and so where a question goes."""
    if is_google(entry):
        return say(language, "models.where.google")
    if host := far_host(entry):
        return say(language, "models.where.far", host=host)
    if entry.model.spec.provider != _LOCAL:
        return say(language, "models.where.near")
    kind, space, name = entry.facts.get("device", "").partition(" ")
    if not kind:
        return say(language, "models.where.here")
    return say(language, "models.where.on", device=f"{kind.upper()}{space}{name}")


def _price(entry: Entry, language: str) -> str:
    """What it costs, as far as that is known."""
    spec, facts = entry.model.spec, entry.facts
    if spec.provider == _LOCAL:
        return say(language, "money.here")
    if spec.price_in is None or spec.price_out is None:
        return say(language, "money.unknown")
    if not spec.price_in and not spec.price_out:
        return say(language, "money.free")
    price = say(language, "money.price", into=f"{spec.price_in:g}", out=f"{spec.price_out:g}")
    if facts.get("price_verified") == "no":
        price = f"{price} {say(language, 'money.unverified', day=facts['price_as_of'])}"
    return price


def _memory(entry: Entry, base: Entry, cache: KvCache | None, language: str) -> str:
    """What it takes of this machine's memory; empty while that is not known."""
    if entry.model.spec.provider != _LOCAL:
        return say(language, "models.memory.none")
    if entry.is_variant:
        return say(language, "models.memory.shared", base=base.model.spec.label)
    loaded = Number.read(entry.facts.get("memory_mib", ""))
    taken = [size(loaded.value * _MIB)] if loaded else []
    if cache is not None:
        taken.append(say(language, "models.memory.cache", size=size(cache.per_token)))
    return say(language, "models.plus").join(taken)


def _details(entry: Entry, cache: KvCache | None, language: str) -> dict[str, str]:
    """What few people look for: ids, sources, and every fact of the loaded model."""
    spec = entry.model.spec
    rows = {
        "models.licence": spec.licence,
        "models.source": spec.source,
        "models.id": spec.id,
        "models.variant_of": spec.variant_of or "",
        "models.system_prompt": spec.system_prompt or "",
    }
    if not entry.is_variant:
        shown = {k: v for k, v in entry.facts.items() if not k.startswith(HIDDEN_FACTS)}
        rows |= {f"fact.{key}": value for key, value in shown.items()}
        rows |= cache_rows(cache, language) if cache else {}
    return rows
