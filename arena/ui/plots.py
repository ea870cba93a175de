"""The leaderboard's pictures, by plotly. The only place that knows it; pure: a report in, JSON out.

The page draws them with the plotly.js that Gradio brings, so nothing is loaded from other servers.
Text, grid and hover boxes take the page's colours from `style.css`, which knows light and dark; the
colours here are those of the data, in the middle between both, so that they stand out on either.
A picture that has too little to show is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from arena.leaderboard.report import LeaderboardReport, Standing
from arena.stats.bias.base import CheckVerdict
from arena.stats.intervals import Estimate, Verdict
from arena.ui import leaderboard_words as words
from arena.ui.i18n import say
from arena.ui.leaderboard_words import many

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE: Final = "#4a83bd"
CLAY: Final = "#c4764a"
GREY: Final = "#8b8b93"
FONT: Final = "Hiragino Sans, Noto Sans CJK JP, Noto Sans JP, Yu Gothic UI, system-ui, sans-serif"
ROW_PX: Final = 34
LINE_PX: Final = 16
# The browser decides about sizes; fingers scroll the page, not the picture.
CONFIG: Final = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
# Days below which a line over time shows nothing.
FEWEST_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure.

    Attributes:
        title: what it shows, and of how many votes.
        figure: JSON as plotly.js takes it, with its `config`.
    """

    title: str
    figure: str


def pictures(report: LeaderboardReport, language: str) -> dict[str, Picture]:
    """Those that have enough data, by name in the order of `NAMES`. Slow the first time."""
    made = {name: make(report, language) for name, make in _MAKERS.items()}
    return {name: picture for name, picture in made.items() if picture is not None}


def _picture(figure: go.Figure, title: str, votes: int, language: str) -> Picture:
    import json

    whole = json.loads(figure.to_json())
    whole["config"] = CONFIG
    counted = many(language, "votes", votes)
    return Picture(f"{title} · {counted}", json.dumps(whole))


def _figure(traces: Sequence[Any], height: int, **layout: object) -> go.Figure:
    """A figure without any colour of its own but that of the data."""
    import plotly.graph_objects as go

    clear = "rgba(0,0,0,0)"
    figure = go.Figure(traces)
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 6, "b": 8},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font={"family": FONT, "size": 12.5},
        showlegend=False,
        dragmode=False,
        hoverlabel={"font": {"family": FONT, "size": 12.5}},
        **layout,
    )
    title = {"standoff": 8, "font": {"size": 12.5}}
    axis = {"fixedrange": True, "automargin": True, "zeroline": False, "title": title}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def _half() -> dict[str, Any]:
    """A line at one half: equally good."""
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1,
        "line": {"color": GREY, "width": 1, "dash": "dot"}, "layer": "below",
    }  # fmt: skip


def _error_bars(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """The intervals as plotly draws them."""
    values = [estimate.value or 0.0 for estimate in estimates]
    return {
        "type": "data", "symmetric": False, "thickness": 2, "width": 0, "color": GREY,
        "array": [e.high - value for e, value in zip(estimates, values, strict=True)],
        "arrayminus": [value - e.low for e, value in zip(estimates, values, strict=True)],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One line of a picture with intervals."""

    name: str
    estimate: Estimate
    text: str
    colour: str = BLUE


def _intervals(rows: Sequence[IntervalRow], **layout: object) -> go.Figure:
    """Points with their intervals, the first row on top."""
    import plotly.graph_objects as go

    values = [row.estimate.value or 0.0 for row in rows]
    trace = go.Scatter(
        x=values,
        y=list(range(len(rows))),
        mode="markers",
        marker={"size": 10, "color": [row.colour for row in rows]},
        error_x=_error_bars([row.estimate for row in rows]),
        customdata=[row.text for row in rows],
        hovertemplate="%{customdata}<extra></extra>",
    )
    lines = max(row.name.count("<br>") + 1 for row in rows)
    figure = _figure([trace], height=60 + (ROW_PX + LINE_PX * (lines - 1)) * len(rows), **layout)
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[row.name for row in rows],
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def _share_intervals(rows: Sequence[IntervalRow]) -> go.Figure:
    """Shares with their intervals, on an axis that always shows one half, with a line there."""
    low, high = _span([row.estimate for row in rows])
    figure = _intervals(rows, shapes=[_half()])
    ends = [min(low, 0.45) - 0.03, max(high, 0.55) + 0.03]
    figure.update_xaxes(range=ends, tickformat=".0%")
    return figure


def _plain(text: str) -> str:
    """Text that plotly shows as it is: it knows a little HTML, and labels are others' words."""
    return escape(text, quote=False)


def _wrapped(text: str, width: int = 18) -> str:
    """A label in lines of about that many columns, so that a phone has room for the data."""
    lines = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "<br>".join(_plain(line) for line in lines)


def _cells(report: LeaderboardReport, language: str) -> Picture | None:
    shown = report.shown_pair
    cells = [cell for cell in report.cells if cell.shown]
    if shown is None or len(cells) < 2:
        return None
    rows = []
    for cell in cells:
        name, n = words.cell_name(cell, language), cell.result.decisive
        rows.append(
            IntervalRow(
                f"{_plain(name)} ({n})",
                cell.result.rate,
                f"{_plain(name)}: {words.share(cell.result.rate)}",
                _side(cell.verdict),
            )
        )
    figure = _share_intervals(rows)
    names = {"a": report.name(shown.first), "b": report.name(shown.second)}
    title = say(language, "board.plot.cells", **names)
    return _picture(figure, title, sum(cell.result.votes for cell in cells), language)


def _side(verdict: Verdict) -> str:
    """The colour of the one who is ahead, or of neither."""
    return {Verdict.FIRST: BLUE, Verdict.SECOND: CLAY}.get(verdict, GREY)


def _span(estimates: Sequence[Estimate]) -> tuple[float, float]:
    return min(e.low for e in estimates), max(e.high for e in estimates)


def _ratings(report: LeaderboardReport, language: str) -> Picture | None:
    rated = [s for s in report.standings if s.rating is not None]
    if not rated:
        return None
    rows = [
        IntervalRow(
            _wrapped(f"{standing.name.label} ({standing.votes:,})"),
            standing.rating.rating,
            f"{_plain(standing.name.label)}: {words.points(standing.rating.rating)}",
        )
        for standing in rated
        if standing.rating is not None
    ]
    title = say(language, "board.plot.ratings")
    return _picture(_intervals(rows), title, report.counted, language)


def _days(report: LeaderboardReport, language: str) -> Picture | None:
    import plotly.graph_objects as go

    if len(report.days) < FEWEST_DAYS:
        return None
    days = [day.day.isoformat() for day in report.days]
    parts = (
        ("board.step.counted", [day.counted for day in report.days], BLUE),
        ("board.plot.others", [day.votes - day.counted for day in report.days], GREY),
    )
    traces = [
        go.Bar(
            x=days, y=numbers, name=say(language, key), marker={"color": colour},
            hovertemplate="%{x|%Y-%m-%d}: %{y:,}<extra>" + _plain(say(language, key)) + "</extra>",
        )
        for key, numbers, colour in parts
        if any(numbers)
    ]  # fmt: skip
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
    figure = _figure(traces, 260, barmode="stack", legend=legend)
    figure.update_layout(showlegend=len(traces) > 1, margin={"t": 30})
    figure.update_yaxes(rangemode="tozero", tickformat=",d")
    if max(day.votes for day in report.days) < 6:
        figure.update_yaxes(dtick=1)  # there are no half votes
    figure.update_xaxes(
        type="date", tickformat="%m-%d", title={"text": say(language, "board.plot.day")},
        showgrid=False,
    )  # fmt: skip
    return _picture(figure, say(language, "board.plot.days"), report.votes, language)


def _checks(report: LeaderboardReport, language: str) -> Picture | None:
    rows = []
    for found in report.checks:
        estimate = found.figures().get(found.pictured)
        if isinstance(estimate, Estimate) and found.verdict is not CheckVerdict.TOO_FEW:
            name = _plain(say(language, f"board.check.{found.name}.picture"))
            text = f"{name}: {words.share(estimate)}"
            colour = GREY if estimate.holds(0.5) else CLAY
            rows.append(IntervalRow(f"{name} ({found.n:,})", estimate, text, colour))
    if not rows:
        return None
    return _picture(
        _share_intervals(rows), say(language, "board.plot.checks"), report.counted, language
    )


def _trade_off(
    report: LeaderboardReport, language: str, name: str, measure: Callable[[Standing], float | None]
) -> Picture | None:
    """What a contestant takes against how much it is liked."""
    import plotly.graph_objects as go

    values = [(standing, measure(standing)) for standing in report.standings]
    known = [(standing, value) for standing, value in values if value is not None]
    if len(known) < 2 or len({value for _, value in known}) < 2:
        return None
    liked = [s.rating.rating if s.rating else s.win_rate for s, _ in known]
    heights = [estimate.value or 0.0 for estimate in liked]
    rated = known[0][0].rating is not None
    trace = go.Scatter(
        x=[value for _, value in known],
        y=heights,
        mode="markers+text",
        text=[_wrapped(s.name.label, 14) for s, _ in known],
        textposition=_text_places([v for _, v in known], heights),
        marker={"size": 11, "color": [BLUE if s.name.local else CLAY for s, _ in known]},
        error_y=_error_bars(liked),
        hovertemplate="%{x:,.3~g} · %{y:.3~g}<extra>%{text}</extra>",
        cliponaxis=False,
    )
    figure = _figure([trace], 320)
    figure.update_xaxes(
        title={"text": say(language, f"board.plot.{name}_axis")}, rangemode="tozero"
    )
    low, high = _span(liked)
    room = 0.15 * (high - low)  # for the names over and under the points
    figure.update_yaxes(range=[low - room, high + room])
    if not rated:
        figure.update_yaxes(tickformat=".0%")
    liking = say(language, "board.plot.rating" if rated else "board.plot.win_rate")
    title = say(language, f"board.plot.{name}", liking=liking)
    return _picture(figure, title, report.counted, language)


def _text_places(xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    """Names stand where there is room: to the middle, and above or below a close neighbour."""
    wide, high = max(*xs, 1e-9), max(max(ys) - min(ys), 1e-9)
    order = [(y, number) for number, y in enumerate(ys)]  # equal heights have one too
    places = []
    for x, mine in zip(xs, order, strict=True):
        near = [other for a, other in zip(xs, order, strict=True) if abs(a - x) < 0.75 * wide]
        close = [o for o in near if o != mine and abs(o[0] - mine[0]) < 0.2 * high]
        row = "middle"
        if close and not min(close) < mine < max(close):
            row = "top" if mine > max(close) else "bottom"
        places.append(f"{row} {'left' if x > wide / 2 else 'right'}")
    return places


# The first that has enough data stands beside the table; the others are folded.
_MAKERS: Final[Mapping[str, Callable[[LeaderboardReport, str], Picture | None]]] = {
    "ratings": _ratings,
    "cells": _cells,
    "speed": partial(_trade_off, name="speed", measure=lambda s: s.speed),
    "cost": partial(
        _trade_off, name="cost", measure=lambda s: None if s.cost is None else 1000.0 * s.cost
    ),
    "days": _days,
    "checks": _checks,
}
NAMES: Final = tuple(_MAKERS)
