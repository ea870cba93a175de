"""What an export wrote, and its card: what a stranger must know before they use it. Pure.

The card's text is `card.md.jinja`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from arena.dataset.columns import COLUMNS, ExportShape, FileFormat

_TEMPLATE: Final = Path(__file__).with_name("card.md.jinja")


@dataclass(slots=True)
class ExportReport:
    """What one export wrote; its numbers grow while it is being written.

    Attributes:
        place: the file; `-` for a stream.
        card: the file's card; None for a stream.
        ties: whether ties give rows of training data too.
        masked: places that were masked, by kind; None if masking was off.
        rows: how many there are.
        battles: how many were looked at.
        left_out: battles that gave no row, by reason.
        models: licences by contestant; empty where unknown.
        sources: rows by where they came from; empty for this arena.
        languages: of the prompts.
    """

    place: str
    card: Path | None
    shape: ExportShape
    file_format: FileFormat
    ties: bool
    made_at: datetime
    masked: Mapping[str, int] | None
    rows: int = 0
    battles: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    models: dict[str, str] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    @property
    def file(self) -> str:
        """The file's name, without its folder."""
        return Path(self.place).name

    @property
    def text(self) -> str:
        """One line for people."""
        parts = [f"{self.rows} rows of {self.battles} battles written to {self.place}"]
        parts += [f"left out: {_listed(self.left_out)}"] if self.left_out else []
        if self.masked is not None:
            parts.append(f"masked: {_listed(self.masked) or 'nothing found'}")
        parts += [f"card: {self.card}"] if self.card is not None else []
        return "; ".join(parts)


def card_text(report: ExportReport) -> str:
    """The card as Markdown, with the front matter that the Hub reads; can be a README.md as is."""
    from jinja2 import Environment, StrictUndefined

    # Markdown, not HTML: what a reader's viewer does with it is not known here.
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["listed"] = _listed
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        file_json=json.dumps(report.file),
        day=f"{report.made_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        elsewhere={name: number for name, number in report.sources.items() if name},
        columns=COLUMNS[report.shape],
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
