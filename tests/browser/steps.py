"""What a visitor does, step by step."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from arena.stats.filters import ALWAYS_ENOUGH_S, SHARE_READ, TOP_SPEED

Open = Callable[..., Page]


def ready(page: Page) -> None:
    """Wait until the stand-in answers."""
    expect(page.locator("#status-smollm2-135m.ok")).to_be_attached()


def ask(page: Page, text: str) -> None:
    """Write a question and send it by Enter."""
    page.locator("#prompt textarea").fill(text)
    page.keyboard.press("Enter")


def finished(page: Page) -> None:
    """Wait until the votes are open."""
    expect(page.locator("#vote-a")).to_be_enabled()


def vote(page: Page) -> None:
    """Vote for A and wait until the vote is taken."""
    page.locator("#vote-a").click()
    expect(page.locator("#reveal")).to_contain_text("voted")


def read(page: Page) -> None:
    """Wait for as long as reading both answers takes; a vote before does not count."""
    shown = sum(len(answer) for answer in page.locator("#panes .md").all_inner_texts())
    page.wait_for_timeout(
        200 + 1000 * min(SHARE_READ * shown / min(TOP_SPEED.values()), ALWAYS_ENOUGH_S)
    )


def sized(page: Page, size: tuple[int, int]) -> None:
    """Give the window another size."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
