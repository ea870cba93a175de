"""The real app in a process of its own, and a real Chromium in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The background flags keep Chromium from calling out on its own.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    # A page of the Hub, which a test writes, has a frame of this machine.
    "--disable-features=LocalNetworkAccessChecks",
]  # fmt: skip
# No wait in these tests is a measurement: each ends when it is so, and fails after this time.
READY_S = float(os.environ.get("ARENA_TEST_WAIT_S", "600"))
# An address at which nobody listens.
NOBODY = "http://127.0.0.1:9/"
# On a Space, Gradio puts a header on the page that loads fonts and pictures from elsewhere.
EXPECTED = (NOBODY, "https://fonts.googleapis.com/", "https://huggingface.co/")
OURS = ("ARENA_", "GEMINI_", "GOOGLE_", "GRADIO_", "HF_", "OAUTH_", "SPACE")


@dataclass(frozen=True)
class Served:
    """A running app."""

    url: str
    database: Path
    process: subprocess.Popen[bytes]
    log: Path

    def rows(self, query: str, *values: object) -> list[Any]:
        """What the database holds, read from outside the app."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look ten times a second until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether the page is served."""
    try:
        with urllib.request.urlopen(url, timeout=READY_S) as reply:  # noqa: S310 -- our own address
            return bool(reply.status == 200)
    except OSError:
        return False


def serve(folder: Path, cache: Path, **extra: str) -> Served:
    """Start the app: no Hub, no key unless given, its own database."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env = clean | {
        "ARENA_DATABASE_URL": f"sqlite:///{folder / 'arena.db'}",
        "ARENA_CACHE_DIR": str(cache),
        "ARENA_MAX_NEW_TOKENS": "32",
        "ARENA_MAX_BATTLES_PER_MINUTE": "100",
        "ARENA_UNDO_SECONDS": "0",
        "GRADIO_SERVER_PORT": str(port),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        **extra,
    }
    log = folder / "app.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until(lambda: answers(url) or process.poll() is not None, READY_S, "the page")
        assert process.poll() is None, log.read_text(errors="replace")
    except BaseException:
        process.kill()
        raise
    return Served(url, folder / "arena.db", process, log)


def end(served: Served) -> int:
    """SIGTERM, as a Space sends it; the exit code."""
    served.process.send_signal(signal.SIGTERM)
    try:
        return served.process.wait(READY_S)
    except subprocess.TimeoutExpired:
        served.process.kill()
        raise


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, embedded_cache: Path) -> Iterator[Served]:
    """The app as a first visitor finds it: no key, no Hub."""
    served = serve(tmp_path_factory.mktemp("app"), embedded_cache)
    yield served
    assert end(served) == 0, served.log.read_text(errors="replace")[-3000:]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or Playwright's own."""
    expect.set_options(timeout=READY_S * 1000)
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            message = "NO CHROMIUM HERE: the browser tests do not run. Install 'chromium'."
            if os.environ.get("ARENA_TEST_NO_SKIP"):
                pytest.fail(message)
            pytest.skip(message)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def violations(said: str) -> list[str]:
    """What the page's policy blocked, but for `EXPECTED`."""
    if "Content Security Policy" not in said or any(place in said for place in EXPECTED):
        return []
    return [said]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; a fault of the page's scripts, or what its policy blocks, fails the test."""
    contexts = []
    faults: list[str] = []

    def opened(url: str, init: str = "", *, clock: bool = False, **options: Any) -> Page:
        given = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        context = chromium.new_context(**given)
        contexts.append(context)
        if init:
            context.add_init_script(init)
        page = context.new_page()
        page.set_default_timeout(READY_S * 1000)
        if clock:
            page.clock.install()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.extend(violations(said.text)))
        page.goto(url)
        page.locator("#send").wait_for(state="attached")
        # The page is in the visitor's language when the server has answered the load event.
        language = "en" if str(given["locale"]).startswith("en") else "ja"
        page.locator(f"html[lang={language}]").wait_for(state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
