"""The leaderboard in a real browser: it moves with a vote, draws, and calls nobody."""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import closing

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect

from tests.browser.conftest import READY_S, Served
from tests.browser.steps import Open, ask, finished, read, ready, vote

pytestmark = pytest.mark.browser


def counted(page: Page) -> int:
    """How many votes the opened leaderboard has, whether they count or not."""
    expect(page.locator("#leaderboard .say")).to_be_visible()
    first = page.locator("#leaderboard .lb-funnel li b").first
    return int(first.inner_text().replace(",", "")) if first.count() else 0


@pytest.fixture(scope="module")
def voted(app: Served, chromium: Browser) -> Served:
    """The app with a vote that counts: both answers were on the page long enough to be read."""
    with closing(chromium.new_context(locale="en-GB")) as context:
        page = context.new_page()
        page.set_default_timeout(READY_S * 1000)
        page.goto(app.url)
        ready(page)
        ask(page, "Name three lakes.")
        finished(page)
        read(page)
        vote(page)
    return app


def test_a_vote_moves_the_leaderboard(voted: Served, open_page: Open) -> None:
    """A vote is on the leaderboard when its tab is opened again."""
    page = open_page(voted.url)
    page.locator("#tab-leaderboard").click()
    before = counted(page)
    page.locator("#tab-arena").click()
    ready(page)
    ask(page, "Name three rivers.")
    finished(page)
    vote(page)
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard .lb-funnel li b").first).to_have_text(f"{before + 1:,}")
    expect(page.locator("#leaderboard .say")).to_contain_text("SmolLM2-135M")
    rows = len(voted.rows("select battle_id from votes"))
    assert counted(page) == rows


def test_pictures_are_drawn_and_nobody_is_called(voted: Served, open_page: Open) -> None:
    """A picture is drawn without any request to another server."""
    complaints: list[str] = []
    asked: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def sent(request: Request) -> None:
        if not request.url.startswith((voted.url, "data:", "blob:")):
            asked.append(request.url)

    page = open_page(voted.url)
    page.on("console", heard)
    page.on("request", sent)
    page.locator("#tab-leaderboard").click()
    # Two contestants with measured speeds are enough for this one.
    drawn = page.locator("#plot-speed .js-plotly-plot .main-svg").first
    expect(drawn).to_be_visible()
    expect(page.locator("#plot-speed .scatterlayer .point")).to_have_count(2)
    expect(page.locator("#plot-speed h2")).to_have_text(re.compile(r"^Speed and .+ · \d+ votes?$"))
    expect(page.locator("#plot-ratings")).to_have_count(0)
    assert complaints == []
    assert asked == []


def test_language_and_filters_reach_the_board(app: Served, open_page: Open) -> None:
    """Filters and the page's language change an opened leaderboard."""
    page = open_page(app.url)
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard .say")).to_be_visible()
    page.locator("#board-category input").click()
    page.get_by_role("option", name="Tools").click()
    expect(page.locator("#leaderboard .say")).to_have_text("No votes of this kind yet.")
    page.locator("#language").click()
    expect(page.locator("#leaderboard .say")).to_have_text("この条件の投票はまだありません。")
    expect(page.locator("#refresh")).to_have_text("更新")


def test_an_addressed_tab_waits_for_the_pages_language(voted: Served, chromium: Browser) -> None:
    """The board is asked for when the page knows its language, and is shown in that one."""
    held: list[Route] = []
    asked: list[str] = []

    def joined(route: Route) -> None:
        sent = route.request.post_data or ""
        if '"accepts"' in sent and not held:
            held.append(route)
            return
        if '"leaderboard"' in sent:
            asked.append(sent)
        route.continue_()

    with closing(chromium.new_context(locale="en-GB")) as context:
        page = context.new_page()
        page.set_default_timeout(READY_S * 1000)
        page.route("**/queue/join*", joined)
        with page.expect_request("**/queue/join*"):
            page.goto(f"{voted.url}?tab=leaderboard")
        expect(page.locator("#leaderboard")).to_be_visible()
        page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")
        assert held
        assert not asked
        held[0].continue_()
        expect(page.locator("#leaderboard .say")).to_be_visible()
        expect(page.locator("#leaderboard .lb-two h2")).to_have_text("Head to head")
        listeners = [json.loads(sent)["fn_index"] for sent in asked]
        assert len(listeners) == len(set(listeners)), "each listener of the tabs is asked once"


def test_more_is_folded_and_drawn_as_wide_as_its_card(voted: Served, open_page: Open) -> None:
    """One picture at first; the others and the checks come with one click, without overflow."""
    page = open_page(voted.url)
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#plot-speed .main-svg").first).to_be_visible()
    checks = page.locator("#leaderboard .lb-checks")
    expect(checks).to_be_hidden()
    page.locator("#lb-more summary").click()
    expect(checks).to_be_visible()
    for card in page.locator(".lb-figure:visible").all():
        expect(card.locator(".main-svg").first).to_be_visible()
        page.wait_for_function(
            "(id) => { const card = document.getElementById(id);"
            " return card.querySelector('.main-svg').getBoundingClientRect().right"
            " <= card.getBoundingClientRect().right + 1; }",
            arg=card.get_attribute("id"),
        )


def test_an_empty_board_leads_to_the_arena(app: Served, open_page: Open) -> None:
    """The button of a board without votes opens the arena, also where the tabs are in a menu."""
    page = open_page(app.url, viewport={"width": 390, "height": 844})
    page.evaluate("document.getElementById('tab-leaderboard').click()")
    expect(page.locator("#leaderboard .say")).to_be_visible()
    page.locator("#board-category input").click()
    page.get_by_role("option", name="Tools").click()
    page.locator("#leaderboard .to-arena").click()
    expect(page.locator("#panel-arena")).to_be_visible()
    expect(page.locator("#panel-leaderboard")).to_be_hidden()


def test_board_fits_a_phone(voted: Served, open_page: Open) -> None:
    """At 390 px the page is not wider than the screen, and a picture fits its card."""
    page = open_page(voted.url, viewport={"width": 390, "height": 844})
    page.locator("#menu").click()
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#plot-speed .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#plot-speed").bounding_box()
    svg = page.locator("#plot-speed .main-svg").first.bounding_box()
    assert box is not None
    assert svg is not None
    assert svg["x"] >= box["x"] - 1
    assert svg["x"] + svg["width"] <= box["x"] + box["width"] + 1


def test_votes_are_not_offered_unasked(app: Served, open_page: Open) -> None:
    """By default there is no download."""
    page = open_page(app.url)
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard .say")).to_be_visible()
    expect(page.locator("#export")).to_have_count(0)
    with urllib.request.urlopen(f"{app.url}config") as reply:  # noqa: S310 -- our own address
        assert "export-make" not in reply.read().decode()
