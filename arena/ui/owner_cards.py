"""The owner's part of the Models tab: what to do, what runs, what it cost, the votes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from arena.errors.models import KeyMissing
from arena.models.base import Measured, Metered, Unavailable
from arena.models.registry import Entry
from arena.models.throughput import Throughput
from arena.stats.alarm import ShareAlarm
from arena.store.changes import CopyState
from arena.store.queries import Counts
from arena.ui.cards import card, rows_html
from arena.ui.i18n import error_line, in_line, say
from arena.ui.leaderboard_words import alarm_words
from arena.ui.status_view import status_words


def owner_html(entries: Sequence[Entry], language: str, store_card: str) -> str:
    """The part that only the owner sees; its attribute `data-owner` keeps it up to date."""
    title = escape(say(language, "owner.title"))
    cards = f"{_to_do(entries, language)}{_running(entries, language)}{store_card}"
    return (
        f'<section class="for-owner" data-owner><h2>{title}</h2>'
        f'<div class="cards">{cards}</div></section>'
    )


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
        "store.alarm": alarm_words(alarm, language) if alarm is not None else "",
        "models.remedy": error_line(language, copy.error) if copy.error is not None else "",
        "store.battles": str(counts.battles),
        "store.votes": str(counts.votes),
        "store.place": place,
        "store.copy": copy.place or say(language, "store.no_copy"),
    }
    if copy.place:
        rows["store.copy_state"] = copy_words(copy, language, now)
        rows["store.unpushed"] = str(copy.unpushed)
    body = rows_html(rows, "store", language)
    return card(say(language, "store.title"), body, attributes=' id="store"')


def copy_words(copy: CopyState, language: str, now: float) -> str:
    """How the copy stands, in a few words."""
    if copy.restoring:
        return say(language, "store.restoring")
    if copy.error is not None:
        return say(language, "store.failing")
    if copy.pushed_at is None:
        return say(language, "store.not_yet")
    return say(language, "store.pushed", minutes=int(max(0.0, now - copy.pushed_at) // 60))


def _to_do(entries: Sequence[Entry], language: str) -> str:
    """What keeps models from answering, with the remedy and another try where it can help."""
    items = "".join(_fault(entry, language) for entry in entries if not entry.is_variant)
    body = items or f'<p class="what">{escape(say(language, "owner.nothing"))}</p>'
    return card(say(language, "owner.to_do"), body)


def _fault(entry: Entry, language: str) -> str:
    status, spec = entry.model.status(), entry.model.spec
    words, remedy = status_words(status, spec, language)
    if not isinstance(status, Unavailable):
        return ""
    rows = {"models.state": words, "models.remedy": remedy}
    if status.retry_at is not None:
        rows["models.retry_at"] = f"{status.retry_at:%H:%M:%S} UTC"
    # A key is read at the start only.
    button = "" if isinstance(status.error, KeyMissing) else _try_again(entry.slug, language)
    title = f"<b>{escape(spec.label)}</b>{button}"
    return f'<div class="fault"><p>{title}</p>{rows_html(rows, entry.slug, language)}</div>'


def _running(entries: Sequence[Entry], language: str) -> str:
    """What moves with the answers: what each model is doing now, and what it has cost today."""
    found = [(entry, _live(entry, language)) for entry in entries if not entry.is_variant]
    items = "".join(
        f'<div class="fault"><p><b>{escape(entry.model.spec.label)}</b></p>'
        f"{rows_html(rows, f'{entry.slug}-now', language)}</div>"
        for entry, rows in found
        if rows
    )
    return card(say(language, "owner.running"), items) if items else ""


def _live(entry: Entry, language: str) -> dict[str, str]:
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


def _try_again(slug: str, language: str) -> str:
    return (
        f'<button type="button" class="tag" data-slug="{escape(slug, quote=True)}">'
        f"{escape(say(language, 'retry'))}</button>"
    )
