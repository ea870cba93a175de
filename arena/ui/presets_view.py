"""The examples: cards, a dice, and the rest in a fold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import zip_longest

from arena.domain import Category
from arena.presets import CATEGORIES, LANGUAGES, Preset
from arena.ui.i18n import say

DICE_ID = "*"
CARDS = 6
"""The cards of an empty page, the dice among them."""


def presets_html(presets: Sequence[Preset], language: str, *, first: str) -> str:
    """Cards with the first examples and a dice; the rest in a fold.

    All languages are in it; `first` is the one whose examples come first.
    """
    featured = _featured([p for p in presets if p.language == first])
    cards = "".join(
        _button(preset, say(language, f"category.{preset.category}")) for preset in featured
    )
    order = (first, *(other for other in LANGUAGES if other != first))
    rest = [preset for preset in presets if preset not in featured]
    groups = "".join(_group(rest, category, order, language) for category in Category)
    dice = _card(
        "preset-dice", DICE_ID, say(language, "category.any"), say(language, "preset.dice")
    )
    everything = escape(say(language, "preset.all"))
    return (
        f'<div class="picks">{cards}{dice}</div>'
        f'<details class="all"><summary class="link" id="preset-all">{everything}</summary>'
        f'<div class="sheet">{groups}</div></details>'
    )


def _featured(presets: Sequence[Preset]) -> list[Preset]:
    """One of each category, then a second one, as long as there is room beside the dice."""
    by_category = [[p for p in presets if p.category is category] for category in CATEGORIES]
    turns = [preset for turn in zip_longest(*by_category) for preset in turn if preset is not None]
    return turns[: CARDS - 1]


def _group(
    presets: Sequence[Preset], category: Category, order: Sequence[str], language: str
) -> str:
    mine = [p for p in presets if p.category is category]
    mine.sort(key=lambda p: (order.index(p.language), p.order))
    buttons = "".join(_button(p, say(language, f"preset.level.{p.level}")) for p in mine)
    title = escape(say(language, f"category.{category}"))
    return f'<section><h3>{title}</h3><div class="picks">{buttons}</div></section>' if mine else ""


def _button(preset: Preset, note: str) -> str:
    return _card(f"preset-{preset.id}", preset.id, note, preset.title, preset.language)


def _card(name: str, preset: str, note: str, title: str, language: str = "") -> str:
    spoken = f' lang="{language}"' if language else ""
    return (
        f'<button type="button" class="pick" id="{name}" data-preset="{preset}">'
        f"<small>{escape(note)}</small><span{spoken}>{escape(title)}</span></button>"
    )


def judge_html(preset: Preset | None, language: str) -> str:
    """What to look for, and the reference answer; folded away, since both may tell the answer."""
    if preset is None:
        return ""
    parts = [f"<p>{escape(preset.judge)}</p>"]
    if preset.reference:
        title = escape(say(language, "preset.reference"))
        parts.append(f"<p><b>{title}</b></p><pre>{escape(preset.reference.strip())}</pre>")
    if preset.note:
        parts.append(f"<p>{escape(preset.note)}</p>")
    summary = escape(say(language, "preset.judge"))
    return (
        f'<details class="judge"><summary class="link">{summary}</summary>'
        f'<div class="sheet" lang="{preset.language}" tabindex="0">{"".join(parts)}</div></details>'
    )
