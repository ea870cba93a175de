"""Pictures of the page in each state of a battle, and of the other tabs, to be looked at.

In both languages, light and dark, on a laptop and on a phone: the real app with the embedded model
in a real Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, NAMES, end, serve
from tests.browser.steps import finished, read, ready

LANGUAGES = {"ja": "ja-JP", "en": "en-GB"}
THEMES = ("light", "dark")
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
TABS = ("leaderboard", "models")
TOKENS = 300
WRITTEN_CHARS = 200
WAIT_MS = 180_000


def states(page: Page) -> Iterator[str]:
    """Goes through the page; the name of each state while it lasts."""
    ready(page)
    yield "idle"
    page.evaluate("document.getElementById('preset-coding-for-loop-en').click()")
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    page.locator("#send").click()
    page.wait_for_function(
        f"document.querySelector('#pane-a .md').textContent.length > {WRITTEN_CHARS}"
    )
    yield "writing"
    finished(page)
    yield "vote"
    read(page)
    page.locator("#vote-a").click()
    expect(page.locator("#undo")).to_be_visible()
    yield "pending"
    expect(page.locator("#copy-link")).to_be_visible()
    yield "revealed"
    page.locator("#why summary").click()
    yield "reasons"
    for tab in TABS:
        page.evaluate("(tab) => document.getElementById(`tab-${tab}`).click()", tab)
        expect(page.locator(f"#{tab} .card, #{tab} .lb-funnel").first).to_be_visible()
        page.wait_for_timeout(1500)  # plots are drawn
        yield tab


def opened(browser: Browser, url: str, language: str, theme: str, size: str) -> Page:
    """The page as that visitor has it."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=LANGUAGES[language],
        is_mobile=size == "phone", has_touch=size == "phone",
    )  # fmt: skip
    page = context.new_page()
    page.goto(f"{url}?__theme={theme}")
    page.locator(f"html[lang={language}]").wait_for(state="attached")
    return page


def run(folder: Path, cache: Path) -> str:
    """Take them all; says where they are."""
    expect.set_options(timeout=WAIT_MS)
    folder.mkdir(parents=True, exist_ok=True)
    chromium = next((found for name in NAMES if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as home:
        served = serve(
            Path(home), cache, ARENA_LOCAL_MODEL="embedded", ARENA_MAX_NEW_TOKENS=str(TOKENS),
            ARENA_UNDO_SECONDS="5", ARENA_MAX_BATTLES_PER_MINUTE="100",
        )  # fmt: skip
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                for look in product(LANGUAGES, THEMES, SIZES):
                    page = opened(browser, served.url, *look)
                    page.set_default_timeout(WAIT_MS)
                    for number, state in enumerate(states(page), start=1):
                        page.screenshot(path=folder / f"{'-'.join(look)}-{number}-{state}.png")
                    page.context.close()
                browser.close()
        finally:
            end(served)
    return f"{len(list(folder.glob('*.png')))} pictures in {folder}"
