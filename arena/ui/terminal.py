"""What the commands `leaderboard` and `doctor` print: columns, or JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arena.leaderboard.cache import LeaderboardCache
from arena.leaderboard.report import LeaderboardReport, Standing
from arena.leaderboard.report_json import report_json
from arena.stats.filters import Rules
from arena.store.store import VoteStore
from arena.ui import leaderboard_words as words
from arena.ui.i18n import say

if TYPE_CHECKING:
    from arena.doctor import Finding, State

GAP = "  "
# Wider than any table: a longer line would be cut.
MOST_COLUMNS = 100_000
MARKS: dict[State, str] = {"ok": "ok ", "gap": "gap", "bad": "BAD"}
CAN_RUN = "The arena can run: a local model answers, and votes are kept."
CANNOT_RUN = "The arena can't run yet: see the lines marked BAD."
StandingColumn = tuple[str, Callable[[Standing], str]]


async def leaderboard(store: VoteStore, *, language: str, rules: Rules, as_json: bool) -> str:
    """The leaderboard of a store, to be printed.

    Args:
        store: where the votes are.
        language: `ja` or `en`; JSON is the same in both.
        rules: which votes count.
        as_json: the layout of `arena.leaderboard.report_json` in place of text.

    Raises:
        StoreError: the votes can't be read.
        BadVote: one of them has a value that is unknown.
    """
    report = await LeaderboardCache(store).report(rules)
    if as_json:
        return json.dumps(report_json(report), ensure_ascii=False, indent=2, allow_nan=False)
    return report_text(report, language)


def doctor_text(findings: Sequence[Finding], *, can_run: bool) -> str:
    """What `doctor` found, with the remedy under each gap, and a last line on what follows."""
    rows = []
    for finding in findings:
        rows.append((MARKS[finding.state], finding.name, finding.value))
        if finding.remedy and finding.state != "ok":
            rows.append(("", "", f"-> {finding.remedy}"))
    follows = CAN_RUN if can_run else CANNOT_RUN
    return f"{aligned(rows, left=3)}\n\n{follows}"


def report_text(report: LeaderboardReport, language: str) -> str:
    """The whole leaderboard, without the pictures.

    Args:
        report: what it says.
        language: `ja` or `en`.
    """
    lead = [words.sentence(report, language), *words.notes(report, language)]
    if report.alarm is not None:
        lead.append(words.alarm_words(report.alarm, language))
    blocks = ["\n".join(printable(line) for line in lead)]
    if report.votes:
        blocks.append(_funnel(report, language))
    if report.standings:
        blocks.append(_standings(report, language))
        blocks += [_pairs(report, language), _cells(report, language), _checks(report, language)]
    return "\n\n".join(block for block in blocks if block)


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows in columns; the first `left` of them aligned to the left, the others to the right."""
    grid = Table.grid(padding=(0, len(GAP)), pad_edge=False)
    for place in range(len(rows[0])):
        grid.add_column(justify="left" if place < left else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(printable(text)) for text in row))
    # As wide as its text: a pipe has no width.
    out = StringIO()
    Console(file=out, color_system=None, width=MOST_COLUMNS).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def printable(text: str) -> str:
    """Without what moves a cursor or hides text: labels come from outside."""
    return "".join(char if unicodedata.category(char)[0] != "C" else " " for char in text)


def _titled(title: str, body: str, *notes: str) -> str:
    return "\n".join([printable(title), body, *(printable(note) for note in notes if note)])


def _funnel(report: LeaderboardReport, language: str) -> str:
    steps = " → ".join(
        f"{step.left:,} {say(language, f'board.step.{step.name}')}" for step in report.funnel
    )
    reasons = [
        f"{GAP}{number:,} {say(language, f'board.reason.{reason}')}"
        for reason, number in words.reasons(report)
    ]
    return _titled(say(language, "board.votes_title"), steps, *reasons)


def _standings(report: LeaderboardReport, language: str) -> str:
    columns: list[StandingColumn] = [("model", lambda s: s.name.label)]
    if report.ranking is None:
        columns += [("wins", lambda s: f"{s.wins:,}")]
    else:
        columns = [
            ("rank", lambda s: words.ranks(s.rating) if s.rating else ""),
            *columns,
            ("rating", lambda s: words.points(s.rating.rating) if s.rating else words.UNKNOWN),
        ]
    columns += [
        ("win_rate", lambda s: words.share(s.win_rate)),
        ("votes", lambda s: f"{s.votes:,}"),
        ("speed", lambda s: words.speed(s.speed)),
        ("first_text", lambda s: words.seconds(s.first_text)),
        ("cost", lambda s: words.dollars(s.cost)),
        ("chars", lambda s: words.number(s.chars)),
    ]
    head = [say(language, f"board.col.{name}") for name, _ in columns]
    rows = [[make(standing) for _, make in columns] for standing in report.standings]
    left = 1 if report.ranking is None else 2
    title = say(language, "board.two_title" if report.ranking is None else "board.table_title")
    return _titled(title, aligned([head, *rows], left=left))


def _pairs(report: LeaderboardReport, language: str) -> str:
    """Every pair with its counts."""
    keys = ("board.col.wins", "board.ties", "board.both_bad", "board.col.win_rate")
    head = ["", *(say(language, key) for key in keys)]
    rows = [
        [
            f"{report.name(pair.first)} – {report.name(pair.second)}",
            f"{pair.result.wins_first:,} – {pair.result.wins_second:,}",
            f"{pair.result.ties:,}",
            f"{pair.result.both_bad:,}",
            words.share(pair.result.rate),
        ]
        for pair in report.pairs
    ]
    shown = report.shown_pair
    test = words.two_words(shown.result, language) if shown and report.ranking is None else ""
    return _titled(say(language, "board.filter.pair"), aligned([head, *rows]), test)


def _cells(report: LeaderboardReport, language: str) -> str:
    shown = report.shown_pair
    cells = [cell for cell in report.cells if cell.shown]
    if shown is None or not report.cells:
        return ""
    names = {"a": report.name(shown.first), "b": report.name(shown.second)}
    columns = ("cell", "verdict", "decisive", "own_rate", "shrunk")
    head = [say(language, f"board.col.{name}").format(**names) for name in columns]
    rows = [
        [
            words.cell_name(cell, language),
            words.verdict(report, cell.verdict, language),
            f"{cell.result.decisive:,}",
            words.share(cell.result.rate),
            words.share(cell.shrunk) if cell.shrunk else words.UNKNOWN,
        ]
        for cell in cells
    ]
    body = aligned([head, *rows], left=2) if cells else ""
    title = say(language, "board.cells_title", **names)
    return "\n".join(
        line
        for line in _titled(title, body, *words.cell_notes(report, language)).split("\n")
        if line
    )


def _checks(report: LeaderboardReport, language: str) -> str:
    rows = [[c.title, c.name, c.text] for c in words.checks(report, language)]
    note = say(language, "board.checks_note")
    return _titled(say(language, "board.checks_title"), aligned(rows, left=3), note)
