"""What the cards of the Models tab are made of: a frame, and rows of names and values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from arena.ui.i18n import say, say_or
from arena.ui.terms import term_html

# The unit of a value that is a number, by the key of its row; its text is `unit.NAME`.
UNITS: Final = {
    "fact.context": "tokens", "fact.original_context": "tokens", "fact.cache_tokens": "tokens",
    "fact.input_tokens": "tokens", "fact.output_tokens": "tokens",
    "fact.load_seconds": "seconds", "fact.memory_mib": "mib",
}  # fmt: skip

# Names that may have digits alone.
WORDS: Final = frozenset({
    "fact.revision", "fact.template_hash", "fact.version", "fact.model", "fact.served_model",
    "fact.transformers", "fact.torch", "fact.sends_to",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A value that is a number, as it was written."""

    value: float
    text: str

    @classmethod
    def read(cls, text: str) -> Number | None:
        """A plain decimal number with separators of thousands; None for any other text."""
        whole, point, part = text.partition(".")
        if not (text.isascii() and whole.isdigit() and (part.isdigit() or not point)):
            return None
        return cls(float(text), f"{int(whole):,}{point}{part}")


def card(title: str, body: str, attributes: str = "") -> str:
    """A card with its title; the body is HTML."""
    return f'<section class="card"{attributes}><h2>{escape(title)}</h2>{body}</section>'


def rows_html(rows: Mapping[str, str], place: str, language: str) -> str:
    """Names and values; empty values are left out.

    Args:
        rows: values by the key of their name: `fact.NAME` may be free-form.
        place: of the card, so that the ids of explanations differ.
        language: of the page.
    """
    cells = "".join(_row(key, value, place, language) for key, value in rows.items() if value)
    return f"<dl>{cells}</dl>" if cells else ""


def _row(key: str, value: str, place: str, language: str) -> str:
    name = say_or(language, key, key.removeprefix("fact."))
    shown = escape(value_words(key, value, language))
    return f"<dt>{term_html(name, key, place, language)}</dt><dd>{shown}</dd>"


def value_words(key: str, value: str, language: str) -> str:
    """A value as people read it: thousands separated, with its unit."""
    number = None if key in WORDS else Number.read(value)
    if number is None:
        return say_or(language, f"value.{value}", value) if key.startswith("fact.") else value
    unit = UNITS.get(key)
    return say(language, f"unit.{unit}", n=number.text) if unit else number.text
