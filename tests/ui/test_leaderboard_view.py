"""The leaderboard's HTML and pictures, without a browser."""

from __future__ import annotations

import json
import re

import pytest

from arena.domain import Mode, ModelName
from arena.leaderboard.names import SIMULATED
from arena.leaderboard.report import make_report
from arena.stats.intervals import Estimate
from arena.stats.vote_table import Contestant
from arena.ui import leaderboard_view as view
from arena.ui import plots
from arena.ui.i18n import LANGUAGES
from tests.boards import DAY, GEM, PHI, QWEN, SMOL, five_hundred, report, votes
from tests.markup import Balance, plain
from tests.stats.arenas import table_of


def whole(rows: list[object], language: str = "en") -> str:
    """All HTML of one report."""
    made = report(rows)  # type: ignore[arg-type]
    html = (
        view.lead_html(made, language)
        + view.table_html(made, language)
        + view.details_html(made, language)
    )
    Balance(html)
    return html


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "rows",
    [
        [],
        votes(PHI, GEM, 1, 0, mode=Mode.OPEN),
        votes(PHI, GEM, 0, 0, 1),
        votes(PHI, GEM, 7, 14, 3, 3),
        five_hundred(),
        [*votes(PHI, GEM, 2, 12), *votes(QWEN, SMOL, 6, 3)],
    ],
)
def test_every_report_is_whole_html(rows: list[object], language: str) -> None:
    """Every tag is closed, and nothing is None or nan."""
    html = whole(rows, language)
    assert "None" not in html
    assert "nan" not in html


def test_numbers_of_two_stand_in_the_table() -> None:
    """The table of two has wins, rate and interval of each, ties, and the test."""
    text = plain(whole(votes(PHI, GEM, 7, 14, 3, 3)))
    assert "27 all votes" in text
    assert re.search(r"1 Phi phi-v1 7 33% \[17, 55\]", text)
    assert re.search(r"2 Gem gem-v1 14 67% \[45, 83\]", text)
    assert "ties 11% [4, 28] 3" in text
    assert "p = 0.19 (binomial test)" in text


def test_ranking_has_rank_ranges_and_votes() -> None:
    """Ratings, rates and votes stand in a row, with all ranks that are possible."""
    text = plain(whole(five_hundred()))
    assert re.search(r"1 Gem gem-v1 \d+ \[\d+, \d+\] \d+% \[\d+, \d+\] 340", text)
    close = plain(whole([*votes(PHI, GEM, 5, 5), *votes(PHI, SMOL, 5, 5)]))
    assert "1–3" in close


def test_one_matrix_has_what_is_expected_and_what_was_seen() -> None:
    """Of 40 wins and 110 losses Phi's share is 27%; the ratings may expect another; a switch."""
    made = report(five_hundred())
    html = view.details_html(made, "en")
    assert html.count('lb-matrix"><h2>') == 1
    assert re.findall(r'value="(\w+)"( checked)?', html) == [
        ("expected", " checked"), ("observed", ""),
    ]  # fmt: skip
    expected, observed = html.split('<div class="observed">')
    expected = expected.split('<div class="expected">')[1]
    assert "27% 150" in plain(observed)
    assert "73% 150" in plain(observed)
    met = made.pair(PHI, GEM)
    assert met is not None
    assert f"% {met.votes}" in plain(expected)
    never = view.details_html(report([*votes(PHI, GEM, 9, 9), *votes(GEM, SMOL, 9, 9)]), "en")
    assert "–" in plain(never.split('<div class="observed">')[1])
    assert "–" not in plain(never.split('<div class="expected">')[1].split("observed")[0])


@pytest.mark.parametrize("language", LANGUAGES)
def test_empty_boards_lead_to_the_arena(language: str) -> None:
    """Where no vote counts there is a button to where votes are cast, and only there."""
    for rows in ([], votes(PHI, GEM, 1, 0, mode=Mode.OPEN)):
        assert 'data-go="arena"' in view.lead_html(report(rows), language)
    assert "data-go" not in whole(votes(PHI, GEM, 1, 0), language)


def test_the_table_comes_before_what_counts() -> None:
    """The sentence, then the table, then which votes it is made of."""
    html = view.table_html(report(five_hundred()), "en")
    assert html.index('class="card lb-ranking"') < html.index('class="lb-funnel"')


def test_the_first_picture_is_that_of_the_table() -> None:
    """Of more than two the ratings, of two the kinds of question; the page shows the first."""
    many = plots.pictures(report(days(measured(five_hundred()))), "en")  # type: ignore[arg-type]
    assert next(iter(many)) == "ratings"
    rows = [*votes(PHI, GEM, 9, 9), *votes(PHI, GEM, 9, 9, language="ja")]
    assert next(iter(plots.pictures(report(rows), "en"))) == "cells"


def test_reasons_stand_in_the_fold() -> None:
    """Votes that do not count are listed with their reasons, where there are any."""
    rows = [*votes(PHI, GEM, 2, 1), *votes(PHI, GEM, 2, 0, mode=Mode.OPEN, voter="x")]
    text = plain(whole(rows))
    assert "Why 2 votes do not count 2 the names were shown (open mode)" in text
    assert "Why" not in plain(whole(votes(PHI, GEM, 2, 1)))


def test_groups_have_their_own_lines() -> None:
    """Each group of contestants begins with a line of its own."""
    html = whole([*votes(PHI, GEM, 2, 12), *votes(QWEN, SMOL, 6, 3)])
    assert html.count('<tr class="group">') == 2
    assert "Group 2" in html
    assert "Group" not in plain(view.table_html(report(five_hundred()), "en"))


def test_small_cells_are_hidden_and_said_so() -> None:
    """Cells with few decisive votes are left out, and their number is said."""
    text = plain(whole([*votes(PHI, GEM, 3, 4, language="ja"), *votes(PHI, GEM, 2, 0)]))
    assert "Math · Japanese 7 43% [16, 75]" in text
    assert "Math · English" not in text
    assert "1 cell with fewer than 6 decisive votes is hidden." in text


EVIL = "<img src=x onerror=alert(1)>&\"'"


def test_labels_are_escaped_everywhere() -> None:
    """Labels and served models are text in HTML and pictures, never markup."""
    evil = Contestant("evil", f"<u>{EVIL}")
    other = Contestant("other", "o")
    rows = [*votes(evil, GEM, 9, 8), *votes(evil, other, 8, 9), *votes(GEM, other, 9, 9)]
    names = {"evil": ModelName(EVIL), "gem": ModelName("Gem"), "other": ModelName("<b>Other</b>")}
    for votes_of in (rows, rows[:17]):
        made = make_report(table_of(votes_of), names)
        for language in LANGUAGES:
            html = (
                view.lead_html(made, language)
                + view.table_html(made, language)
                + view.details_html(made, language)
                + "".join(
                    view.figure_title(p.title) for p in plots.pictures(made, language).values()
                )
            )
            assert "<img" not in html
            assert "<u>" not in html
            assert "<b>Other" not in html
            Balance(html)
            for picture in plots.pictures(made, language).values():
                assert "<img" not in picture.figure


def test_titles_of_pictures_are_escaped() -> None:
    """A picture's title is text."""
    assert "<img" not in view.figure_title(EVIL)


def test_simulated_votes_are_marked_twice() -> None:
    """The mark is in the first line, and at each contestant whose label does not say it."""
    made_up = Contestant("x", f"x {SIMULATED}")
    made = make_report(table_of(votes(PHI, made_up, 4, 3)), {"x": ModelName("X")})
    lead, table = view.lead_html(made, "en"), view.table_html(made, "en")
    assert '<p class="made-up">7 of these votes are simulated' in lead
    assert table.count('<i class="made-up">simulated</i>') == 1
    assert "made-up" not in whole(five_hundred())


@pytest.mark.parametrize(
    ("estimate", "drawn"),
    [
        (Estimate(0.5, 0.25, 0.75), "left:25.0%;width:50.0%"),
        (Estimate(1.0, 0.9, 1.2), "left:90.0%;width:10.0%"),
        (Estimate(None, 0.0, 1.0), ""),
    ],
)
def test_interval_bars_stay_on_their_line(estimate: Estimate, drawn: str) -> None:
    """A bar is cut at the ends of its line."""
    html = view.interval_bar(estimate)
    assert drawn in html
    assert bool(html) == bool(drawn)


# --- the pictures -------------------------------------------------------------------------------


def days(rows: list[object]) -> list[object]:
    """The same votes, one an hour."""
    from dataclasses import replace

    return [
        replace(row, cast_at=number * DAY / 24, chars_a=100 + number, chars_b=200)  # type: ignore[type-var]
        for number, row in enumerate(rows)
    ]


def measured(rows: list[object]) -> list[object]:
    """The same votes with speeds and costs that differ by contestant."""
    from dataclasses import replace

    speed = {PHI: 4.0, GEM: 2.0, SMOL: 1.0}
    cost = {PHI: 0.0, GEM: 0.01, SMOL: 0.0}
    return [
        replace(
            row, tokens_a=101, ttft_a=0.5, total_a=0.5 + speed[row.a], cost_a=cost[row.a],
            tokens_b=101, ttft_b=0.5, total_b=0.5 + speed[row.b], cost_b=cost[row.b],
            read_seconds=60,
        )  # type: ignore[attr-defined,type-var]
        for row in rows
    ]  # fmt: skip


def test_pictures_need_enough_data() -> None:
    """A picture with too little to show is left out."""
    assert plots.pictures(report([]), "en") == {}
    assert plots.pictures(report(votes(PHI, GEM, 1, 0)), "en") == {}
    full = plots.pictures(report(days(measured(five_hundred()))), "en")  # type: ignore[arg-type]
    assert set(full) <= set(plots.NAMES)
    assert set(full) >= {"ratings", "speed", "cost", "checks", "days"}
    assert "cells" not in full, "one kind of question is nothing to compare"
    two = plots.pictures(report(days(measured(votes(PHI, GEM, 20, 30)))), "en")  # type: ignore[arg-type]
    assert set(two) == {"speed", "cost", "checks", "days"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_pictures_are_plain_json_and_say_their_votes(language: str) -> None:
    """plotly.js gets numbers only: no address, no template of colours, no button bar."""
    rows = days(measured([*five_hundred(), *votes(PHI, GEM, 9, 9, language="ja")]))
    made = report(rows)  # type: ignore[arg-type]
    found = plots.pictures(made, language)
    assert "cells" not in found or made.shown_pair is not None
    for name, picture in found.items():
        figure = json.loads(picture.figure)
        assert "http" not in picture.figure, name
        assert figure["config"]["displayModeBar"] is False
        assert figure["layout"]["dragmode"] is False
        assert figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
        assert re.search(r" · [\d,]+ (votes?|票)$", picture.title), picture.title


def test_rating_picture_has_the_ratings_of_the_report() -> None:
    """The picture has the values and intervals of the table."""
    made = report(five_hundred())
    figure = json.loads(plots.pictures(made, "en")["ratings"].figure)
    ratings = [standing.rating.rating for standing in made.standings if standing.rating]
    assert numbers(figure["data"][0]["x"]) == pytest.approx([r.value for r in ratings])
    error = figure["data"][0]["error_x"]
    assert numbers(error["array"]) == pytest.approx([r.high - (r.value or 0) for r in ratings])
    assert numbers(error["arrayminus"]) == pytest.approx([(r.value or 0) - r.low for r in ratings])
    assert figure["layout"]["yaxis"]["ticktext"][0] == "Gem (340)"


def numbers(column: object) -> list[float]:
    """A column of plotly's, which may come packed."""
    assert isinstance(column, list), column
    return [float(value) for value in column]


def test_names_of_close_points_do_not_cover_each_other() -> None:
    """Names of neighbours stand above and below each other."""
    places = plots._text_places([34.0, 38.0, 90.0], [1019.0, 1005.0, 830.0])
    assert places == ["top right", "bottom right", "middle left"]
    assert plots._text_places([12.6, 13.5], [0.5, 0.5]) == ["bottom left", "top left"]
