"""The leaderboard's table and the models' cards. Pure: no Gradio, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from arena.models.base import Ready
from arena.models.registry import Entry, Registry
from arena.ui.i18n import say, say_or
from arena.ui.status_view import status_words
from arena.votes.store import Contestant, PairTally


def board_html(pairs: Sequence[PairTally], labels: Mapping[str, str], language: str) -> str:
    """A plain table of votes by pair; the rest of the statistics build on the same records."""
    counted = [(p, (p.wins_first, p.wins_second, p.ties, p.both_bad)) for p in pairs]
    counted = [(pair, counts) for pair, counts in counted if sum(counts)]
    open_votes = sum(pair.open_votes for pair in pairs)
    left_out = say(language, "board.open", votes=open_votes) if open_votes else ""
    if not counted:
        return f'<div class="empty">{escape(say(language, "board.empty"))} {escape(left_out)}</div>'
    columns = ("model_1", "model_2", "wins_1", "wins_2", "ties", "both_bad", "total")
    head = "".join(f"<th>{escape(say(language, f'board.{name}'))}</th>" for name in columns)
    rows = []
    for pair, counts in counted:
        names = "".join(_contestant(who, labels) for who in (pair.first, pair.second))
        cells = "".join(f'<td class="num">{n}</td>' for n in (*counts, sum(counts)))
        rows.append(f"<tr>{names}{cells}</tr>")
    lead = say(language, "board.count", votes=sum(sum(counts) for _, counts in counted))
    return (
        f'<p class="lead">{escape(lead)} {escape(left_out)}</p><div class="scroll">'
        f'<table class="board"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _contestant(who: Contestant, labels: Mapping[str, str]) -> str:
    name = escape(labels.get(who.id, who.id))
    return f"<td><b>{name}</b><small>{escape(who.served_model)}</small></td>"


def models_html(registry: Registry, language: str) -> str:
    """A card a contestant, with its facts; a built-in variant only while it can play."""
    shown = [entry for entry in registry.entries if entry.ready or not entry.spare]
    return f'<div class="cards">{"".join(_card(entry, language) for entry in shown)}</div>'


def _card(entry: Entry, language: str) -> str:
    spec, status = entry.model.spec, entry.model.status()
    words, remedy = status_words(status, spec, language)
    rows = {
        "models.state": words,
        "models.remedy": remedy,
        "models.id": spec.id,
        "models.variant_of": spec.variant_of or "",
        "models.source": spec.source,
        "models.licence": spec.licence,
        "models.system_prompt": spec.system_prompt or "",
    }
    if isinstance(status, Ready) and not entry.is_variant:
        rows |= {f"fact.{key}": value for key, value in status.facts.items()}
    cells = "".join(_row(key, value, language) for key, value in rows.items() if value)
    return f'<section class="card"><h3>{escape(spec.label)}</h3><dl>{cells}</dl></section>'


def _row(key: str, value: str, language: str) -> str:
    name = say_or(language, key, key.removeprefix("fact."))
    text = f"{int(value):,}" if value.isascii() and value.isdigit() else value
    return f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"


def labels_of(registry: Registry) -> dict[str, str]:
    """Display names by id, for tables."""
    return {e.model.spec.id: e.model.spec.label for e in registry.entries}
