"""The leaderboard in a real browser: it moves with a vote, draws, and calls nobody."""

from __future__ import annotations

import json
import re
import urllib.request
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, expect

from tests.browser.conftest import Served, end, serve
from tests.browser.steps import Open, ask, finished, read, ready

pytestmark = pytest.mark.browser


def counted(page: Page) -> int:
    """How many votes the opened leaderboard has, whether they count or not."""
    expect(page.locator("#leaderboard .say")).to_be_visible()
    first = page.locator("#leaderboard .lb-funnel li b").first
    return int(first.inner_text().replace(",", "")) if first.count() else 0


def vote(page: Page, text: str, button: str) -> None:
    """Ask, wait for both answers, read and vote."""
    ready(page)
    ask(page, text)
    finished(page)
    read(page)
    page.locator(f"#{button}").click()
    expect(page.locator("#reveal")).to_contain_text("voted")


def test_a_vote_moves_the_leaderboard(app: Served, open_page: Open) -> None:
    """A vote is on the leaderboard when its tab is opened again."""
    page = open_page(app.url)
    page.locator("#tab-leaderboard").click()
    before = counted(page)
    page.locator("#tab-arena").click()
    vote(page, "Name three rivers.", "vote-a")
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard .lb-funnel li b").first).to_have_text(f"{before + 1:,}")
    expect(page.locator("#leaderboard .say")).to_contain_text("SmolLM2-135M")
    rows = len(app.rows("select battle_id from votes"))
    assert counted(page) == rows


def test_pictures_are_drawn_and_nobody_is_called(app: Served, open_page: Open) -> None:
    """A picture is drawn without any request to another server."""
    complaints: list[str] = []
    asked: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def sent(request: Request) -> None:
        if not request.url.startswith((app.url, "data:", "blob:")):
            asked.append(request.url)

    page = open_page(app.url)
    page.on("console", heard)
    page.on("request", sent)
    vote(page, "Name three lakes.", "vote-b")
    page.locator("#tab-leaderboard").click()
    # Two contestants with measured speeds are enough for this one.
    drawn = page.locator("#plot-speed .js-plotly-plot .main-svg").first
    expect(drawn).to_be_visible()
    expect(page.locator("#plot-speed .scatterlayer .point")).to_have_count(2)
    expect(page.locator("#plot-speed h3")).to_have_text(re.compile(r"^Speed and .+ · \d+ votes?$"))
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


def test_board_fits_a_phone(app: Served, open_page: Open) -> None:
    """At 390 px the page is not wider than the screen, and a picture fits its card."""
    page = open_page(app.url, viewport={"width": 390, "height": 844})
    vote(page, "Name three seas.", "vote-a")
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#plot-speed .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#plot-speed").bounding_box()
    svg = page.locator("#plot-speed .main-svg").first.bounding_box()
    assert box is not None
    assert svg is not None
    assert svg["x"] >= box["x"] - 1
    assert svg["x"] + svg["width"] <= box["x"] + box["width"] + 1


def test_votes_can_be_downloaded_where_the_owner_says_so(
    tmp_path: Path, embedded_cache: Path, open_page: Open
) -> None:
    """Where the owner allows it, the votes come as one zip without voters' hashes."""
    served = serve(tmp_path, embedded_cache, ARENA_PUBLIC_EXPORT="1", TMPDIR=str(tmp_path))
    try:
        page = open_page(served.url)
        vote(page, "Name three hills.", "vote-a")
        page.locator("#tab-leaderboard").click()
        expect(page.locator("#export-save")).to_be_hidden()
        page.locator("#export-make").click()
        expect(page.locator("#export-note")).to_contain_text("1 row of 1 battle")
        with page.expect_download() as waited:
            page.locator("#export-save").click()
        assert waited.value.suggested_filename == "arena-votes-arena.jsonl.zip"
        with zipfile.ZipFile(waited.value.path()) as packed:
            (line,) = packed.read("arena-votes-arena.jsonl").decode().splitlines()
            assert "# Votes of an arena" in packed.read("README.md").decode()
        assert json.loads(line)["winner"] == "model_a"
        assert served.rows("select voter from votes")[0][0] not in line
    finally:
        end(served)
    assert list(tmp_path.glob("arena-export-*")) == [], "a stopped app leaves no votes lying about"


def test_votes_are_not_offered_unasked(app: Served, open_page: Open) -> None:
    """By default there is no download."""
    page = open_page(app.url)
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard .say")).to_be_visible()
    expect(page.locator("#export")).to_have_count(0)
    with urllib.request.urlopen(f"{app.url}config") as reply:  # noqa: S310 -- our own address
        assert "export-make" not in reply.read().decode()
