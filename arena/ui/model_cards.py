"""The models' cards. Pure: no Gradio, no I/O.

A visitor sees what a model is. What moves with the answers that are being written (throughput, the
day's cost) would tell who plays on which side, and remedies are for the owner: both are the
owner's alone.
"""

from __future__ import annotations

from html import escape

from arena.errors.models import KeyMissing
from arena.models.base import Measured, Metered, Unavailable
from arena.models.registry import Entry, Registry
from arena.models.throughput import Throughput
from arena.stats.alarm import ShareAlarm
from arena.store.changes import CopyState
from arena.store.queries import Counts
from arena.ui.i18n import error_line, in_line, say, say_or
from arena.ui.leaderboard_words import alarm_words
from arena.ui.memory_view import cache_rows
from arena.ui.status_view import status_words

# Shown in other forms, or not at all.
HIDDEN_FACTS = ("price_", "kv_bytes")


def models_html(
    registry: Registry, language: str, store_card: str = "", *, owner: bool = False
) -> str:
    """A card a contestant, with its facts; a built-in variant only while it can play."""
    shown = [entry for entry in registry.entries if entry.ready or not entry.fallback_variant]
    cards = "".join(_model_card(entry, language, owner=owner) for entry in shown)
    mark = " data-owner" if owner else ""
    return f'<div class="cards"{mark}>{cards}{store_card}</div>'


def visitor_html(language: str) -> str:
    """Where the owner finds what visitors don't see."""
    return f'<p class="note">{escape(say(language, "models.owner_hint"))}</p>'


def votes_html(votes: int, language: str) -> str:
    """A visitor's card about the votes: how many. Battles without a vote are no public number."""
    rows = {"store.votes": str(votes)}
    return _card(say(language, "store.title"), rows, language, attributes=' id="store"')


def store_html(
    place: str, counts: Counts, copy: CopyState, language: str, now: float,
    *, alarm: ShareAlarm | None = None,
) -> str:  # fmt: skip
    """The owner's card about the votes: how many, where, and how their copy stands.

    Args:
        place: the store's, in words.
        counts: what it holds.
        copy: how the copy stands; an empty place means that there is none.
        language: of the page.
        now: seconds since the epoch.
        alarm: the share of votes that count has collapsed.
    """
    rows = {
        "store.battles": str(counts.battles),
        "store.votes": str(counts.votes),
        "store.place": place,
        "store.copy": copy.place or say(language, "store.no_copy"),
    }
    if copy.place:
        rows["store.copy_state"] = copy_words(copy, language, now)
        rows["store.unpushed"] = str(copy.unpushed)
    if alarm is not None:
        rows["store.alarm"] = alarm_words(alarm, language)
    if copy.error is not None:
        rows["models.remedy"] = error_line(language, copy.error)
    return _card(say(language, "store.title"), rows, language, attributes=' id="store"')


def copy_words(copy: CopyState, language: str, now: float) -> str:
    """How the copy stands, in a few words."""
    if copy.restoring:
        return say(language, "store.restoring")
    if copy.error is not None:
        return say(language, "store.failing")
    if copy.pushed_at is None:
        return say(language, "store.not_yet")
    return say(language, "store.pushed", minutes=int(max(0.0, now - copy.pushed_at) // 60))


def _model_card(entry: Entry, language: str, *, owner: bool) -> str:
    spec = entry.model.spec
    status = entry.model.status()
    words, remedy = status_words(status, spec, language)
    rows = {
        "models.state": words,
        "models.remedy": remedy if owner else "",
        "models.id": spec.id,
        "models.variant_of": spec.variant_of or "",
        "models.source": spec.source,
        "models.licence": spec.licence,
        "models.system_prompt": spec.system_prompt or "",
    }
    if not entry.is_variant:
        shown = {k: v for k, v in entry.facts.items() if not k.startswith(HIDDEN_FACTS)}
        rows |= {f"fact.{key}": value for key, value in shown.items()}
        rows |= cache_rows(entry.facts, language)
    rows |= _price(entry, language)
    button = ""
    if owner:
        rows |= _live(entry, language)
        if isinstance(status, Unavailable) and status.retry_at is not None:
            rows["models.retry_at"] = f"{status.retry_at:%H:%M:%S} UTC"
        if isinstance(status, Unavailable) and _may_recover(entry, status):
            button = _try_again(entry.slug, language)
    return _card(spec.label, rows, language, button=button)


def _throughput(measured: Throughput, language: str) -> dict[str, str]:
    """What it is doing now, and the best that was seen."""
    now = say(language, "pulse.idle")
    if measured.answering:
        speed = f"{measured.tokens_per_second:.1f}"
        now = say(language, "pulse.answering", answers=measured.answering, speed=speed)
    rows = {"models.now": now}
    if measured.fastest is not None:
        rows["models.fastest"] = f"{measured.fastest:.1f} tok/s"
    return rows


def _live(entry: Entry, language: str) -> dict[str, str]:
    """What moves with the answers: what it is doing now, and what it has cost today."""
    model = entry.model
    rows: dict[str, str] = {}
    if entry.ready and isinstance(model, Measured):
        rows |= _throughput(model.throughput(), language)
    expenses = model.expenses() if isinstance(model, Metered) else None
    if expenses is not None:
        limit = expenses.limit_usd
        key = "money.today" if limit is None else "money.today_of"
        today = f"{expenses.today_usd:.4f}"
        told = say(language, key, today=today, limit=f"{limit or 0:g}")
        reserved = say(language, "money.reserved") if expenses.today_usd else ""
        rows["models.today"] = in_line(language, told, reserved)
    return rows


def _price(entry: Entry, language: str) -> dict[str, str]:
    """What it costs; nothing for what runs here."""
    spec = entry.model.spec
    if not spec.price_in and not spec.price_out:
        return {}
    facts = entry.facts
    price = say(language, "money.price", into=f"{spec.price_in:g}", out=f"{spec.price_out:g}")
    if facts.get("price_verified") == "no":
        price = f"{price} {say(language, 'money.unverified', day=facts['price_as_of'])}"
    return {"models.price": price}


def _may_recover(entry: Entry, status: Unavailable) -> bool:
    """Whether another try can help: a key is read at the start only, a variant follows its base."""
    return not entry.is_variant and not isinstance(status.error, KeyMissing)


def _try_again(slug: str, language: str) -> str:
    return (
        f'<button type="button" class="tag" data-slug="{escape(slug, quote=True)}">'
        f"{escape(say(language, 'retry'))}</button>"
    )


def _card(
    title: str, rows: dict[str, str], language: str, attributes: str = "", button: str = ""
) -> str:
    cells = "".join(_fact(key, value, language) for key, value in rows.items() if value)
    head = f"<h3>{escape(title)}</h3>{button}"
    return f'<section class="card"{attributes}>{head}<dl>{cells}</dl></section>'


def _fact(key: str, value: str, language: str) -> str:
    name = say_or(language, key, key.removeprefix("fact."))
    text = f"{int(value):,}" if value.isascii() and value.isdigit() else value
    return f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
