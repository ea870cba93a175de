"""The Models tab in a real browser: explanations by mouse, key and tap, and what stays unfolded."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.steps import Open, ready

pytestmark = pytest.mark.browser


def opened(open_page: Open, url: str, **options: object) -> Page:
    """The tab with the cards of models that are ready."""
    page = open_page(f"{url}?tab=models", **options)
    ready(page)
    page.reload()
    expect(page.locator("#models .kv").first).to_be_visible()
    return page


def test_an_explanation_opens_by_mouse_and_by_key(app: Served, open_page: Open) -> None:
    """It is there while the term has the pointer or the focus, and Escape closes it."""
    page = opened(open_page, app.url)
    term = page.locator("#models .kv .term").first
    button, tip = term.locator("button"), term.locator(".tip")
    expect(tip).to_be_hidden()
    button.hover()
    expect(tip).to_be_visible()
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    button.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_an_explanation_opens_by_tap_within_a_small_phone(app: Served, open_page: Open) -> None:
    """Every explanation lies within the window, whichever term it belongs to."""
    page = opened(open_page, app.url, viewport={"width": 320, "height": 640}, has_touch=True)
    for fold in page.locator("#models summary").all():
        fold.tap()
    terms = page.locator("#models .term")
    assert terms.count() > 5
    terms.first.locator("button").tap()
    expect(terms.first.locator(".tip")).to_be_visible()
    for left, right in page.evaluate(
        "[...document.querySelectorAll('#models .tip')].map((tip) => tip.getBoundingClientRect())"
        ".map((box) => [box.left, box.right])"
    ):
        assert left >= 0
        assert right <= 320
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_what_is_unfolded_and_focused_outlives_new_cards(app: Served, open_page: Open) -> None:
    """The cards in another language are made anew; the fold stays open."""
    page = opened(open_page, app.url)
    fold = page.locator("#models .card details").first
    fold.locator("summary").click()
    expect(fold.locator("dt", has_text="Licence")).to_be_visible()
    page.locator("#language").click()
    expect(fold.locator("dt", has_text="ライセンス")).to_be_visible()
    expect(page.locator("#models .card details").last).not_to_have_attribute("open", "")
