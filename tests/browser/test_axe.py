"""Everybody can use the page: by a screen reader, by the keyboard, by a thumb, enlarged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.access import grave_faults, small_targets
from tests.browser.conftest import Served
from tests.browser.steps import Open, ask, finished, ready, sized

pytestmark = pytest.mark.browser
LAPTOP, PHONE = (1280, 800), (390, 844)
Look = Callable[[str], None]


def visit(page: Page, look: Look) -> None:
    """Every tab, every state of a battle and every sheet, each looked at."""
    look("idle")
    for name, opener in (("examples", "#preset-all"), ("status", "#status summary")):
        page.locator(opener).click()
        look(name)
        page.keyboard.press("Escape")
    ask(page, "Name a colour.")
    page.locator("#stage.s-writing").wait_for()
    look("writing")
    finished(page)
    look("vote")
    page.locator("#why summary").click()
    look("guess")
    page.keyboard.press("Escape")
    page.locator("#vote-a").click()
    expect(page.locator("#copy-link")).to_be_visible()
    page.locator("#why summary").click()
    look("reasons")
    page.keyboard.press("Escape")
    look("revealed")
    page.evaluate("document.getElementById('tab-leaderboard').click()")
    expect(page.locator("#leaderboard .say")).to_be_visible()
    look("leaderboard")
    page.evaluate("document.getElementById('tab-models').click()")
    expect(page.locator("#models .card").first).to_be_visible()
    look("models")


def open_menu(page: Page, look: Look) -> None:
    """The menu of a phone and the settings in it; both are closed again."""
    page.locator("#menu").click()
    look("menu")
    page.locator("#settings > button").click()
    look("settings")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")


@pytest.mark.parametrize(("theme", "locale"), [("light", "ja-JP"), ("dark", "en-GB")])
def test_axe_finds_nothing_grave(app: Served, open_page: Open, theme: str, locale: str) -> None:
    """On a laptop; settings and menu are looked at on a phone, where the menu holds both."""
    # Without movement each state is there at once.
    page = open_page(f"{app.url}?__theme={theme}", locale=locale, reduced_motion="reduce")
    ready(page)
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        if faults := grave_faults(page):
            found[name] = faults

    sized(page, PHONE)
    open_menu(page, look)
    sized(page, LAPTOP)
    visit(page, look)
    sized(page, PHONE)
    page.evaluate("document.getElementById('tab-arena').click()")
    look("revealed on a phone")
    assert found == {}


def test_a_thumb_reaches_every_control(app: Served, open_page: Open) -> None:
    """On a phone each control is at least 44 px high and wide."""
    page = open_page(
        app.url, viewport=dict(zip(("width", "height"), PHONE, strict=True)), has_touch=True,
        reduced_motion="reduce",
    )  # fmt: skip
    ready(page)
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        if small := small_targets(page):
            found[name] = small

    open_menu(page, look)
    visit(page, look)
    assert found == {}


def focused(page: Page) -> str:
    """The id of what has the focus, or its kind."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_the_focus_is_never_lost(app: Served, open_page: Open) -> None:
    """By the keyboard alone: a sheet, a battle, its vote, and the next battle."""
    page = open_page(app.url)
    ready(page)
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#prompt textarea")).to_be_focused()
    for opener in ("#preset-all", "#status summary", "#settings > button"):
        page.locator(opener).focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.locator(opener)).to_be_focused()
    page.locator("#prompt textarea").focus()
    ask(page, "Name a colour.")
    finished(page)
    expect(page.locator("#panel-arena")).to_be_focused()
    page.locator("#vote-tie").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#copy-link")).to_be_visible()
    expect(page.locator("#dock")).to_be_focused()
    page.locator("#why summary").focus()
    page.keyboard.press("Enter")
    page.locator("#why .tag").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#why .tag").first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#why .tag").first).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("#new-battle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#prompt textarea")).to_be_focused()


def test_a_box_that_is_made_anew_keeps_the_focus(app: Served, open_page: Open) -> None:
    """The server's answer may replace the box; the Enter after it presses no button."""
    page = open_page(app.url)
    ready(page)
    page.locator("#prompt textarea").focus()
    page.evaluate(
        "() => { const old = document.querySelector('#prompt textarea');"
        " old.replaceWith(old.cloneNode()); }"
    )
    expect(page.locator("#prompt textarea")).to_be_focused()


def test_everything_is_reached_at_twice_the_size(app: Served, open_page: Open) -> None:
    """On a laptop at 200 %: sheets are in the window, and an answer is read beside its votes."""
    page = open_page(
        app.url, viewport={"width": 640, "height": 400}, device_scale_factor=2,
        reduced_motion="reduce",
    )  # fmt: skip
    ready(page)
    page.locator("#menu").click()
    page.locator("#settings > button").click()
    page.locator("#system-prompt textarea").scroll_into_view_if_needed()
    for name in ("#settings [data-testid=accordion-content]", "#system-prompt textarea"):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    for name in ("#preset-dice", "#preset-all", "#erase-ask"):
        page.locator(name).scroll_into_view_if_needed()
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
    ask(page, "Name a colour.")
    finished(page)
    for name in ("#pane-a", "#vote-a", "#vote-b", "#new-battle", "#send"):
        expect(page.locator(name)).to_be_in_viewport()
    page.locator("#why summary").click()
    expect(page.locator("#why .sheet")).to_be_in_viewport(ratio=1)
