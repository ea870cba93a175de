"""The card of an export: what a stranger must know before they use it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from arena.dataset.columns import COLUMNS, ExportShape, FileFormat

_FILTERS: Final[Mapping[ExportShape, str]] = {
    ExportShape.ARENA: """\
Every battle is there, also those without a vote, in open or single mode, and those that the owner
excluded (`excluded` has the reason). Whoever counts votes decides which of them count.""",
    ExportShape.LMARENA: """\
One row a blind vote, in the columns of LMArena's `arena-human-preference-140k`. Left out: battles
without a vote, in open mode, and those that the owner excluded. What is not known here is null:
tokens of the prompts, and all category tags but math. Token counts are each model's own.""",
    ExportShape.DPO: """\
One row a decided vote, for direct preference optimisation. Left out: battles without a vote, those
that the owner excluded, pairs of the same text{ties}. Open mode is in; `mode` tells. With several
turns the row is of the last one where all before it is the same on both sides, otherwise of the
first one. A contestant's own system prompt is not in `prompt`; the visitor's is.""",
    ExportShape.KTO: """\
One row an answer that is known to be good or bad. A grade decides (good is true, bad is false, ok
gives no row); without one the vote does (the better answer is true, the other one false, both-bad
both false{ties}). Left out: battles without a vote and those that the owner excluded. Open mode is
in; `mode` tells. With several turns the row is of the last one, with its own side's history.""",
}
_TIES: Final[Mapping[tuple[ExportShape, bool], str]] = {
    (ExportShape.DPO, False): ", ties and both-bad votes",
    (ExportShape.DPO, True): "; a tie or a both-bad vote gives the pair both ways round",
    (ExportShape.KTO, False): ", a tie none",
    (ExportShape.KTO, True): ", a tie both true",
}
_MASKED: Final = """\
E-mail addresses, telephone numbers (Japanese, North American, international), IP addresses, card
numbers with a right check digit, and users and passwords in URLs were replaced by `[email]`,
`[phone]`, `[ip]`, `[card]` and `[credentials]`: {found}. Names, postal addresses, keys and whatever
is spelt out or split were not looked for: read before you publish."""
_NOT_MASKED: Final = """\
Nothing was masked: the texts are what visitors typed and models answered. Read before you
publish, or export with `--mask`."""


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
    day = facts.made_at.astimezone(UTC)
    left = _listed(facts.left_out) or "none"
    filters = _FILTERS[facts.shape].format(ties=_TIES.get((facts.shape, facts.ties), ""))
    parts = [
        _front_matter(facts),
        f"# Votes of an arena: {facts.shape.value}",
        (
            f"`{facts.file}`, made {day:%Y-%m-%d %H:%M} UTC: {facts.rows} rows of {facts.battles} "
            f"battles; battles left out: {left}."
        ),
        (
            "An arena shows the answers of two language models to one prompt side by side; whoever "
            "wrote the prompt votes."
        ),
        f"## What is in it\n\n{filters}",
        f"Languages of the prompts: {_listed(facts.languages) or 'none'}.\n{_sources(facts)}",
        f"## Columns\n\n{_columns(facts)}",
        (
            "## Voters\n\nA voter is an HMAC-SHA256 of the visitor's id in the arena, which is a "
            "salted hash itself, under a salt that was drawn for this file and kept nowhere (or "
            "given by who made it). The same voter has the same hash within this file and another "
            "one in every other. No address, name or account is in the data."
        ),
        f"## Personal data\n\n{_masking(facts)}",
        f"## Licence\n\n{_licences(facts)}",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: CardFacts) -> str:
    languages = [name for name in sorted(facts.languages) if name != "other"]
    lines = ["license: other", f"license_name: {json.dumps('see below')}"]
    if languages:
        lines += ["language:", *(f"  - {name}" for name in languages)]
    lines += ["tags:", "  - preference", "  - human-feedback"]
    lines += ["configs:", "  - config_name: default", f"    data_files: {json.dumps(facts.file)}"]
    return "\n".join(["---", *lines, "---"])


def _columns(facts: CardFacts) -> str:
    rows = [f"| `{c.name}` | {c.kind.value} | {c.meaning} |" for c in COLUMNS[facts.shape]]
    note = {
        FileFormat.JSONL: "Times are ISO 8601 in UTC.",
        FileFormat.CSV: "Null is empty; what is nested is JSON text; times are ISO 8601 in UTC.",
        FileFormat.PARQUET: "A column of kind json is JSON text.",
    }[facts.file_format]
    return "\n".join(["| name | kind | meaning |", "|---|---|---|", *rows]) + f"\n\n{note}"


def _sources(facts: CardFacts) -> str:
    elsewhere = {name: number for name, number in facts.sources.items() if name}
    if not elsewhere:
        return "All of it was asked and voted on in this arena."
    return f"Brought from elsewhere, rows by source: {_listed(elsewhere)}."


def _masking(facts: CardFacts) -> str:
    if facts.masked is None:
        return _NOT_MASKED
    return _MASKED.format(found=_listed(facts.masked) or "none found")


def _licences(facts: CardFacts) -> str:
    rows = [
        f"- `{name}`: {licence or 'not known here'}"
        for name, licence in sorted(facts.models.items())
    ]
    return "\n".join(
        [
            (
                "The prompts and votes are the visitors'; their licence is for the owner of the "
                "arena to choose and to write here. The answers are under the terms of the models "
                "that wrote them, some of which forbid to train other models on them:"
            ),
            "",
            *(rows or ["- none"]),
        ]
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
