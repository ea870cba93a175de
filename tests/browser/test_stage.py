"""The battle stage: header, panes and dock on the height of the window; nothing moves by itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.steps import Open, ask, finished, read, ready

LONG = "Write a long story about a lighthouse, with a table and code."
pytestmark = pytest.mark.browser
SIZES = {"laptop": (1280, 800, 0.70), "large": (1440, 900, 0.70), "phone": (390, 844, 0.65)}


def box(page: Page, selector: str) -> dict[str, float]:
    found: Any = page.locator(selector).bounding_box()
    assert found is not None, selector
    return dict(found)


def parts(page: Page) -> list[dict[str, float]]:
    """What must stand still: the header, the question, a pane and the composer."""
    return [box(page, name) for name in (".header", "#asked", ".pane.side-a", "#ask")]


@pytest.mark.parametrize("size", SIZES)
def test_only_the_dock_changes(app: Served, open_page: Open, size: str) -> None:
    """The panes have most of the window, in the same place in every state of a battle."""
    width, height, share = SIZES[size]
    page = open_page(app.url, viewport={"width": width, "height": height})
    ready(page)
    ask(page, LONG)
    expect(page.locator("#stage")).to_have_class(re.compile("s-writing"))
    places = parts(page)
    assert places[2]["height"] >= share * height
    finished(page)
    assert parts(page) == places
    page.locator("#vote-a").click()
    expect(page.locator("#copy-link")).to_be_visible()
    assert parts(page) == places
    assert page.evaluate("document.documentElement.scrollHeight") <= height


@pytest.mark.parametrize("width", [320, 390, 640, 1280])
def test_nothing_is_wider_than_the_window(app: Served, open_page: Open, width: int) -> None:
    """On the empty page, with a battle, and on the other tabs."""
    page = open_page(f"{app.url}?tab=models", viewport={"width": width, "height": 800})
    ready(page)
    expect(page.locator("#models .card").first).to_be_visible()
    for tab in ("models", "leaderboard", "arena"):
        page.evaluate(f"document.getElementById('tab-{tab}').click()")
        expect(page.locator(f"#panel-{tab}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    ask(page, "x" * 300)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_pane_stays_where_its_reader_is(app: Served, open_page: Open) -> None:
    """A pane begins at the top of its answer, and what is written below does not move it."""
    page = open_page(app.url, viewport={"width": 1280, "height": 400})
    ready(page)
    page.evaluate(
        "window.seen = new Set(); document.querySelector('.side-a .pane-body')"
        ".addEventListener('scroll', (e) => seen.add(e.target.scrollTop))"
    )
    ask(page, LONG)
    finished(page)
    assert page.evaluate("[...window.seen]") == []
    text = "line\n" * 400
    page.evaluate("(t) => { document.querySelector('#pane-a .md').innerText = t; }", text)
    expect(page.locator(".side-a.more .pill-more")).to_be_visible()
    page.locator(".side-a .pill-more").click()
    assert page.evaluate("document.querySelector('.side-a .pane-body').scrollTop") > 0
    assert page.evaluate("document.querySelector('.side-b .pane-body').scrollTop") == 0


def test_a_page_at_rest_asks_for_nothing(app: Served, open_page: Open) -> None:
    """In a minute without an event no request leaves the page, on any tab."""
    page = open_page(app.url, clock=True)
    ready(page)
    page.clock.run_for(20_000)
    asked: list[str] = []
    # The stream of an event's answers is opened after the event; it asks for nothing new.
    page.on("request", lambda r: None if "queue/data" in r.url else asked.append(r.url))
    for tab in ("leaderboard", "models", "arena"):
        page.locator(f"#tab-{tab}").click()
        expect(page.locator(f"#panel-{tab}")).to_be_visible()
        page.wait_for_timeout(1000)
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == [], tab


def test_tabs_have_addresses(app: Served, open_page: Open) -> None:
    """A tab is opened by its address, and Back returns to the one before."""
    page = open_page(f"{app.url}?tab=leaderboard")
    expect(page.locator("#leaderboard")).to_be_visible()
    page.locator("#tab-models").click()
    expect(page).to_have_url(re.compile("tab=models"))
    expect(page.locator("#models .card").first).to_be_visible()
    page.go_back()
    expect(page.locator("#panel-leaderboard")).to_be_visible()
    page.locator("#tab-arena").click()
    expect(page).not_to_have_url(re.compile("tab="))
    expect(page.locator("#prompt")).to_be_visible()


def test_a_battle_takes_three_keys(app: Served, open_page: Open) -> None:
    """Enter sends, a digit votes, N brings the next example; a screen reader is told when."""
    page = open_page(app.url)
    ready(page)
    ask(page, "Name a colour.")
    for _ in range(2):
        finished(page)
        expect(page.locator("#spoken")).to_contain_text("Which is better?")
        read(page)
        page.wait_for_timeout(1001)  # keys act when nothing was typed for a second
        page.keyboard.press("2")
        expect(page.locator("#copy-link")).to_be_visible()
        page.wait_for_timeout(1001)
        page.keyboard.press("n")
        expect(page.locator("#prompt textarea")).not_to_have_value("")
        expect(page.locator("#prompt textarea")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#stage")).to_have_class(re.compile("s-writing"))
