"""The card of an export: what a stranger must know before they use it. Pure.

Its text is `card.md.jinja`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from arena.dataset.columns import COLUMNS, ExportShape, FileFormat

_TEMPLATE: Final = Path(__file__).with_name("card.md.jinja")


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card tells of one export.

    Attributes:
        file: its name, without the folder.
        rows: how many there are.
        battles: how many were looked at.
        left_out: battles that gave no row, by reason.
        masked: places that were masked, by kind; None if masking was off.
        models: licences by contestant; empty where unknown.
        sources: rows by where they came from; empty for this arena.
        languages: of the prompts.
    """

    file: str
    shape: ExportShape
    file_format: FileFormat
    ties: bool
    made_at: datetime
    rows: int
    battles: int
    left_out: Mapping[str, int]
    masked: Mapping[str, int] | None
    models: Mapping[str, str]
    sources: Mapping[str, int]
    languages: Mapping[str, int]


def card_text(facts: CardFacts) -> str:
    """The card as Markdown, with the front matter that the Hub reads; can be a README.md as is."""
    from jinja2 import Environment, StrictUndefined

    # Markdown, not HTML: what a reader's viewer does with it is not known here.
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["listed"] = _listed
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        facts=facts,
        file_json=json.dumps(facts.file),
        day=f"{facts.made_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        elsewhere={name: number for name, number in facts.sources.items() if name},
        columns=COLUMNS[facts.shape],
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
