"""The embedded model through the page (Chromium, server, battle, store) against the bare engine.

Both run in turn on the same machine, greedy, the same prompt and the same number of tokens, one
answer at a time. The browser runs on the same cores, as it does on a laptop.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from playwright.sync_api import Page, sync_playwright

from arena.domain import Finished, GenerationParams, Message, Role
from arena.models.base import Ready
from arena.models.local.embedded import embedded_config
from arena.models.local.model import LocalModel
from tests.browser.conftest import FLAGS, NAMES, end, serve

PROMPT = "Write a long story about a lighthouse keeper and the sea."
T = TypeVar("T")
CACHE = Path.home() / ".cache" / "phi4-mini-arena"


async def bare(model: LocalModel, tokens: int) -> Finished:
    """One answer straight from the model."""
    params = GenerationParams(temperature=0.0, max_new_tokens=tokens, seed=1)
    last: Finished | None = None
    async for event in model.stream([Message(Role.USER, PROMPT)], params):
        if isinstance(event, Finished):
            last = event
    assert last is not None
    return last


def through_page(page: Page, database: Path) -> tuple[float, float, int]:
    """One answer in single mode; seconds to the first text seen, to the end, and its tokens."""
    page.locator("#prompt textarea").fill(PROMPT)
    began = time.perf_counter()
    page.locator("#send").click()
    page.locator("#pane-a .md > *").first.wait_for()
    first = time.perf_counter() - began
    page.locator("#new-battle:enabled").wait_for()
    total = time.perf_counter() - began
    page.locator("#new-battle").click()
    page.locator("#stage.s-idle").wait_for()
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "select json_extract(conversation_a, '$[0].answer.finished.completion_tokens')"
            " from battles order by created_at desc limit 1"
        )
        (tokens,) = connection.execute(query).fetchone()
    return first, total, int(tokens)


def open_single(page: Page, url: str, tokens: int) -> None:
    """The page in single mode, greedy, with that budget."""
    page.set_default_timeout(180_000)
    page.goto(url)
    page.locator("html[lang=en]").wait_for(state="attached")
    page.locator("#status-smollm2-135m.ok").wait_for(state="attached")
    page.locator("#mode label").nth(2).click()
    page.locator("#model-a input").wait_for()
    page.locator("#settings button").first.click()
    for name, value in (("temperature", "0"), ("max-new-tokens", str(tokens))):
        box = page.locator(f"#{name} input[type=number]")
        box.fill(value)
        box.press("Tab")


def run(pairs: int, tokens: int) -> str:
    """Measure in pairs, after one that warms up; a Markdown table."""
    chromium = next((found for name in NAMES if (found := shutil.which(name))), None)
    # Playwright keeps an event loop in this thread, so the engine's runs in another.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def wait(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    with tempfile.TemporaryDirectory() as folder:
        model = LocalModel(embedded_config(CACHE))
        wait(model.start())
        assert isinstance(model.status(), Ready), model.status()
        served = serve(
            Path(folder), CACHE, ARENA_MAX_NEW_TOKENS="1024", ARENA_LOCAL_MODEL="embedded"
        )
        alone: list[Finished] = []
        paged: list[tuple[float, float, int]] = []
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                page = browser.new_page(locale="en-GB")
                open_single(page, served.url, tokens)
                for _ in range(pairs + 1):
                    alone.append(wait(bare(model, tokens)))
                    paged.append(through_page(page, served.database))
                browser.close()
        finally:
            end(served)
            wait(model.aclose())
            loop.call_soon_threadsafe(loop.stop)
    return table(alone[1:], paged[1:])


def table(alone: list[Finished], paged: list[tuple[float, float, int]]) -> str:
    """Medians, and the ratio within the pairs."""
    bare_speeds = [(done.completion_tokens or 0) / done.total_s for done in alone]
    page_speeds = [tokens / total for _, total, tokens in paged]
    bare_first = median(done.ttft_s or 0.0 for done in alone)
    page_first = median(first for first, _, _ in paged)
    ratio = median(page / bare for page, bare in zip(page_speeds, bare_speeds, strict=True))
    return "\n".join(
        [
            "| SmolLM2-135M, f32, one answer | tok/s | first text | ratio |",
            "|---|---|---|---|",
            f"| bare engine | {median(bare_speeds):.1f} | {bare_first:.2f} s | 1 |",
            f"| through the page | {median(page_speeds):.1f} | {page_first:.2f} s | {ratio:.2f} |",
        ]
    )
