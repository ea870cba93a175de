"""The examples: chips over the panes, a dice, and the rest in a fold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from arena.domain import Category
from arena.presets import CATEGORIES, LANGUAGES, Preset
from arena.ui.i18n import say

DICE_ID = "*"


def presets_html(presets: Sequence[Preset], language: str, *, first: str) -> str:
    """One example of each category as a chip, a dice, and the rest in a fold.

    All languages are in it; `first` is the one whose examples come first.
    """
    chips = []
    featured = set()
    for category in CATEGORIES:
        top = next((p for p in presets if p.category is category and p.language == first), None)
        if top is not None:
            featured.add(top.id)
            chips.append(_category(category, language) + _chip(top))
    order = (first, *(other for other in LANGUAGES if other != first))
    groups = "".join(_group(presets, c, order, language, featured) for c in Category)
    dice = f"⚄ {escape(say(language, 'preset.dice'))}"
    everything = escape(say(language, "preset.all"))
    return (
        f'<div class="presets">{"".join(chips)}'
        f'<button type="button" class="pre" id="preset-dice" data-preset="{DICE_ID}">'
        f"{dice}</button>"
        f'<details class="all"><summary class="pre" id="preset-all">{everything}</summary>'
        f'<div class="sheet">{groups}</div></details></div>'
    )


def _category(category: Category, language: str) -> str:
    return f'<span class="cat">{escape(say(language, f"category.{category}"))}</span>'


def _group(
    presets: Sequence[Preset],
    category: Category,
    order: Sequence[str],
    language: str,
    featured: set[str],
) -> str:
    mine = [p for p in presets if p.category is category and p.id not in featured]
    mine.sort(key=lambda p: (order.index(p.language), p.order))
    buttons = "".join(_chip(p, say(language, f"preset.level.{p.level}")) for p in mine)
    return f'<div class="group">{_category(category, language)}{buttons}</div>' if mine else ""


def _chip(preset: Preset, level: str = "") -> str:
    small = f"<small>{escape(level)}</small>" if level else ""
    return (
        f'<button type="button" class="pre" id="preset-{preset.id}" lang="{preset.language}" '
        f'data-preset="{preset.id}">{escape(preset.title)}{small}</button>'
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
    summary = f"{say(language, 'preset.judge')}: {preset.title}"
    return (
        f'<details class="judge"><summary>{escape(summary)}</summary>'
        f'<div lang="{preset.language}">{"".join(parts)}</div></details>'
    )
