"""The leaderboard's HTML. Pure: a report in, text out; no Gradio, no I/O.

Every value that comes from outside (labels, served models) goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from arena.leaderboard.names import SIMULATED
from arena.leaderboard.report import LeaderboardReport, Standing
from arena.stats.bias.base import CheckVerdict
from arena.stats.cells import Cell
from arena.stats.intervals import Estimate, TwoModels, Verdict
from arena.ui import leaderboard_words as words
from arena.ui.i18n import in_line, say
from arena.ui.leaderboard_words import many

StandingColumn = tuple[str, Callable[[Standing], str]]
LIGHTS = {
    CheckVerdict.NONE_SEEN: "ok",
    CheckVerdict.SEEN: "warn",
    CheckVerdict.TOO_FEW: "off",
    CheckVerdict.FAILED: "warn",
}


def lead_html(report: LeaderboardReport, language: str) -> str:
    """The sentence a person wants first, and what must be known of it."""
    notes = "".join(
        f'<p class="{"made-up" if report.simulated and not number else "note"}">{escape(note)}</p>'
        for number, note in enumerate(words.notes(report, language))
    )
    sentence = escape(words.sentence(report, language))
    return f'<p class="say {report.headline}">{sentence}</p>{notes}{_way_out(report, language)}'


def _way_out(report: LeaderboardReport, language: str) -> str:
    """Where no vote counts yet: to where votes are cast."""
    if report.standings:
        return ""
    text = escape(say(language, "board.to_arena"))
    return f'<p><button type="button" class="to-arena" data-go="arena">{text}</button></p>'


def more_html(language: str) -> str:
    """Unfolds what stands below the first picture; the style sheet knows what that is."""
    return (
        f'<details id="lb-more"><summary>{escape(say(language, "board.more"))}</summary></details>'
    )


def loading_html(language: str) -> str:
    """What stands there until the votes are counted."""
    return f'<p class="empty">{escape(say(language, "board.counting"))}</p>'


def table_html(report: LeaderboardReport, language: str) -> str:
    """The table, everything that belongs to it, and which votes count."""
    if not report.votes:
        return ""
    table = ""
    if report.standings:
        table = _two(report, language) if report.ranking is None else _ranking(report, language)
    return table + _funnel(report, language)


def details_html(report: LeaderboardReport, language: str) -> str:
    """What is folded at first: the matrix, the cells, the checks."""
    if not report.standings:
        return ""
    parts = []
    if report.ranking is not None:
        parts.append(_matrix(report, language))
    parts += [_cells(report, language), _checks(report, language)]
    return "".join(part for part in parts if part)


def figure_title(title: str) -> str:
    """The line over a picture: text of the page, so that it wraps on a phone."""
    return f"<h2>{escape(title)}</h2>"


def _section(name: str, title: str, body: str) -> str:
    return f'<section class="card lb-{name}"><h2>{escape(title)}</h2>{body}</section>'


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _table(head: Sequence[str], rows: Sequence[str], *, numbers: bool = True) -> str:
    """A table that scrolls by itself where the page is narrower."""
    cells = "".join(f"<th>{text}</th>" for text in head)
    shape = "board figures" if numbers else "board"
    return (
        f'<div class="scroll" tabindex="0"><table class="{shape}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _funnel(report: LeaderboardReport, language: str) -> str:
    """From all votes to those that count, as a row of numbers."""
    steps = "".join(
        f"<li><b>{step.left:,}</b><span>{escape(say(language, f'board.step.{step.name}'))}</span>"
        "</li>"
        for step in report.funnel
    )
    reasons = words.reasons(report)
    fold = ""
    if reasons:
        lines = "".join(
            f"<li><b>{number:,}</b> {escape(say(language, f'board.reason.{reason}'))}</li>"
            for reason, number in reasons
        )
        out = many(language, "votes", report.votes - report.counted)
        fold = _fold(say(language, "board.why_not", votes=out), f"<ul>{lines}</ul>")
    title = say(language, "board.votes_title")
    return f'<div class="lb-funnel"><ol aria-label="{escape(title)}">{steps}</ol>{fold}</div>'


def _model(report: LeaderboardReport, standing: Standing, language: str) -> str:
    made_up = say(language, "board.made_up")
    told = SIMULATED in standing.name.label or not standing.simulated
    tag = "" if told else f' <i class="made-up">{escape(made_up)}</i>'
    label = escape(standing.name.label)
    served = escape(standing.contestant.served_model)
    small = f"<small>{served}</small>" if served and served != standing.name.label else ""
    return f"<b>{label}</b>{tag}{small}"


def interval_bar(estimate: Estimate, *, low: float = 0.0, high: float = 1.0) -> str:
    """An interval drawn on a line from `low` to `high`, with a mark in the middle of the line."""
    if estimate.value is None or high <= low:
        return ""
    ends = (estimate.low, estimate.high, estimate.value)
    left, right, at = (min(1.0, max(0.0, (end - low) / (high - low))) * 100 for end in ends)
    return (
        '<span class="ci" aria-hidden="true">'
        f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
        f'<b style="left:{at:.1f}%"></b></span>'
    )


def _measures(language: str, report: LeaderboardReport) -> list[StandingColumn]:
    """The columns about speed and cost; the cost is left out where nothing costs anything."""
    columns: list[StandingColumn] = [
        ("speed", lambda s: words.speed(s.speed)),
        ("first_text", lambda s: words.seconds(s.first_text)),
    ]
    if any(s.cost for s in report.standings):
        columns.append(("cost", lambda s: words.dollars(s.cost)))
    columns.append(("chars", lambda s: words.number(s.chars)))
    return columns


def _rows(
    report: LeaderboardReport,
    columns: Sequence[StandingColumn],
    language: str,
    mark: Callable[[int], str],
) -> list[str]:
    rows = []
    for number, standing in enumerate(report.standings):
        cells = "".join(f'<td class="num">{make(standing)}</td>' for _, make in columns)
        name = _model(report, standing, language)
        rows.append(f"<tr><td>{mark(number)}{name}</td>{cells}</tr>")
    return rows


def _head(columns: Sequence[StandingColumn], language: str) -> list[str]:
    names = ["model", *(name for name, _ in columns)]
    return [escape(say(language, f"board.col.{name}")) for name in names]


def _rate_cell(standing: Standing) -> str:
    return f"{words.share(standing.win_rate)}{interval_bar(standing.win_rate)}"


def _two(report: LeaderboardReport, language: str) -> str:
    """Two contestants: one bar with all votes, and a row for each."""
    shown = report.shown_pair
    assert shown is not None  # noqa: S101 -- there are standings, so the two have met
    columns: list[StandingColumn] = [
        ("wins", lambda s: f"{s.wins:,}"),
        ("win_rate", _rate_cell),
        *_measures(language, report),
    ]
    dots = ('<span class="dot">1</span>', '<span class="dot b">2</span>')
    rows = _rows(report, columns, language, lambda number: dots[number])
    names = (report.name(shown.first), report.name(shown.second))
    test = f'<p class="note">{escape(words.two_words(shown.result, language))}</p>'
    body = _bar(shown.result, names, language) + _table(_head(columns, language), rows) + test
    return _section("two", say(language, "board.two_title"), body + _how(language))


def _bar(result: TwoModels, names: tuple[str, str], language: str) -> str:
    """All votes of a pair as one bar: the first's, ties, both bad, the second's."""
    parts = (
        ("first", result.wins_first, say(language, "board.wins_of", model=names[0])),
        ("ties", result.ties, _with_share("ties", result.tie_rate, language)),
        ("bad", result.both_bad, _with_share("both_bad", result.both_bad_rate, language)),
        ("second", result.wins_second, say(language, "board.wins_of", model=names[1])),
    )
    bars = "".join(
        f'<i class="{name}" style="flex-grow:{number}">{number:,}</i>'
        for name, number, _ in parts
        if number
    )
    keys = "".join(
        f'<li><i class="{name}"></i>{escape(text)} <b>{number:,}</b></li>'
        for name, number, text in parts
    )
    return f'<div class="lb-bar" aria-hidden="true">{bars}</div><ul class="lb-keys">{keys}</ul>'


def _with_share(name: str, estimate: Estimate, language: str) -> str:
    return f"{say(language, f'board.{name}')} {words.share(estimate)}"


def _ranking(report: LeaderboardReport, language: str) -> str:
    """Three and more: by rating, a table for each group that votes connect."""
    ranking = report.ranking
    assert ranking is not None  # noqa: S101 -- the caller looked
    low = min(rating.rating.low for rating in ranking.ratings)
    high = max(rating.rating.high for rating in ranking.ratings)

    def rating_cell(standing: Standing) -> str:
        rating = standing.rating
        if rating is None:
            return words.UNKNOWN
        bar = interval_bar(rating.rating, low=low, high=high)
        return f"{words.points(rating.rating)}{bar}"

    columns: list[StandingColumn] = [
        ("rating", rating_cell),
        ("win_rate", lambda s: words.share(s.win_rate)),
        ("votes", lambda s: f"{s.votes:,}"),
        *_measures(language, report),
    ]
    places = [words.ranks(s.rating) if s.rating else "" for s in report.standings]
    rows = _rows(
        report, columns, language, lambda number: f'<em class="rank">{places[number]}</em>'
    )
    if not ranking.comparable:
        rows = _in_groups(report, rows, len(columns) + 1, language)
    body = _table(_head(columns, language), rows) + _how(language)
    return _section("ranking", say(language, "board.table_title"), body)


def _in_groups(
    report: LeaderboardReport, rows: Sequence[str], width: int, language: str
) -> list[str]:
    """The same rows with a line before each group, since ranks begin at 1 there."""
    grouped: list[str] = []
    before: int | None = None
    for standing, row in zip(report.standings, rows, strict=True):
        group = standing.rating.component if standing.rating else None
        if group is not None and group != before:
            title = escape(say(language, "board.group", number=group + 1))
            grouped.append(f'<tr class="group"><td colspan="{width}">{title}</td></tr>')
        before = group
        grouped.append(row)
    return grouped


def _how(language: str) -> str:
    text = f"<p>{escape(say(language, 'board.how.text'))}</p>"
    return _fold(say(language, "board.how"), text)


def _matrix(report: LeaderboardReport, language: str) -> str:
    """How often each beats each other: as the ratings expect it, or as it was seen."""
    ranking = report.ranking
    assert ranking is not None  # noqa: S101 -- the caller looked
    who = range(len(report.standings))
    expected = [[_expected(report, i, j, ranking.win_rates[i][j]) for j in who] for i in who]
    observed = [[_observed(report, i, j) for j in who] for i in who]
    choices, tables = "", ""
    for name, shares in (("expected", expected), ("observed", observed)):
        label, note = (escape(say(language, f"board.matrix.{name}{n}")) for n in ("", ".note"))
        checked = " checked" if name == "expected" else ""
        choices += (
            f'<label><input type="radio" name="lb-matrix" value="{name}"{checked}>'
            f"<span>{label}</span></label>"
        )
        table = _matrix_table(report, shares)
        tables += f'<div class="{name}"><p class="note">{note}</p>{table}</div>'
    title = say(language, "board.matrix_title")
    switch = f'<fieldset><legend class="ar-unseen">{escape(title)}</legend>{choices}</fieldset>'
    return _section("matrix", title, switch + tables)


# A share of wins, and the votes that it stands on; None where there is none.
MatrixCell = tuple[float, int] | None


def _expected(report: LeaderboardReport, i: int, j: int, rate: Estimate | None) -> MatrixCell:
    """What the ratings say, with all votes between the two."""
    if i == j or rate is None or rate.value is None:
        return None
    met = report.pair(report.standings[i].contestant, report.standings[j].contestant)
    return rate.value, met.votes if met else 0


def _observed(report: LeaderboardReport, i: int, j: int) -> MatrixCell:
    """What was seen: the share of the decisive votes, and how many these are."""
    if i == j:
        return None
    met = report.pair(report.standings[i].contestant, report.standings[j].contestant)
    return (met.rate.value, met.decisive) if met and met.rate.value is not None else None


def _matrix_table(report: LeaderboardReport, shares: Sequence[Sequence[MatrixCell]]) -> str:
    head = ["", *(str(number) for number in range(1, len(shares) + 1))]
    rows = []
    for i, (standing, row) in enumerate(zip(report.standings, shares, strict=True)):
        cells = "".join(_matrix_cell(cell, itself=i == j) for j, cell in enumerate(row))
        name = f'<em class="rank">{i + 1}</em><b>{escape(standing.name.label)}</b>'
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    return _table(head, rows)


def _matrix_cell(cell: MatrixCell, *, itself: bool) -> str:
    if cell is None:
        return f'<td class="num">{"" if itself else words.UNKNOWN}</td>'
    share, votes = cell
    side, strength = ("up", share - 0.5) if share >= 0.5 else ("down", 0.5 - share)
    return (
        f'<td class="num {side}" style="--s:{min(1.0, 2 * strength):.2f}">'
        f"{words.percent(share)}<small>{votes:,}</small></td>"
    )


def _cells(report: LeaderboardReport, language: str) -> str:
    """The pair by kind of question, without reading patterns into noise."""
    shown, found = report.shown_pair, report.cells
    if shown is None or not found:
        return ""
    names = {"a": report.name(shown.first), "b": report.name(shown.second)}
    columns = ("cell", "decisive", "own_rate", "shrunk", "verdict")
    head = [escape(say(language, f"board.col.{name}").format(**names)) for name in columns]
    rows = [_cell_row(report, cell, language) for cell in found if cell.shown]
    notes = words.cell_notes(report, language)
    if len(report.standings) > 2:
        notes.append(say(language, "board.cells_note_pair"))
    note = f'<p class="note">{escape(in_line(language, *notes))}</p>'
    table = _table(head, rows) if rows else ""
    return _section("cells", say(language, "board.cells_title", **names), table + note)


def _cell_row(report: LeaderboardReport, cell: Cell, language: str) -> str:
    rate = cell.result.rate
    shrunk = words.share(cell.shrunk) if cell.shrunk else words.UNKNOWN
    decided = cell.verdict in (Verdict.FIRST, Verdict.SECOND)
    verdict = escape(words.verdict(report, cell.verdict, language))
    return (
        f"<tr><td>{escape(words.cell_name(cell, language))}</td>"
        f'<td class="num">{cell.result.decisive:,}</td>'
        f'<td class="num">{words.share(rate)}{interval_bar(rate)}</td>'
        f'<td class="num">{shrunk}</td>'
        f'<td class="{"decided" if decided else "dim"}">{verdict}</td></tr>'
    )


def _checks(report: LeaderboardReport, language: str) -> str:
    """What else may have moved the votes, each with a plain verdict."""
    items = "".join(
        f'<li><span class="chip {LIGHTS[c.state]}">'
        f"<i></i>{escape(c.title)}</span> <b>{escape(c.name)}</b><span>{escape(c.text)}</span></li>"
        for c in words.checks(report, language)
    )
    note = f'<p class="note">{escape(say(language, "board.checks_note"))}</p>'
    title = say(language, "board.checks_title")
    return _section("checks", title, f'<ul class="lb-list">{items}</ul>{note}')
