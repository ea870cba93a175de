"""Nothing is lost: cuts, reloads, a restart, a frame of another site, in a real browser.

The server is the real page over models of the tests, so that an answer stops where a test wants it.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.line import Host
from tests.browser.steps import Open, ask, finished

pytestmark = pytest.mark.browser
DRAFT = "half a thought"
# The strip, in the page's language.
STRIP = {"en-GB": "The connection is cut.", "ja-JP": "接続が切れました。"}


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A server for all tests: each is a visitor of its own."""
    host = Host(tmp_path_factory.mktemp("resume"))
    yield host
    host.close()


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    """The server with its line whole and its models quick."""
    shared_host.plays("A whole ", "answer.")
    yield shared_host
    shared_host.line.mend()


def votes(host: Host) -> int:
    """How many there are in the store."""
    with closing(sqlite3.connect(host.database)) as connection:
        return int(connection.execute("select count(*) from votes").fetchone()[0])


def writing(host: Host, page: Page) -> asyncio.Event:
    """The page shows half of both answers; the event lets them go on."""
    gate = asyncio.Event()
    host.plays("The first half, ", gate, "the second half.")
    ask(page, "Why is the sky blue?")
    for pane in ("#pane-a", "#pane-b"):
        expect(page.locator(pane)).to_contain_text("The first half,")
    return gate


def shows(page: Page | FrameLocator, text: str, question: str = "Why is the sky blue?") -> None:
    """The page is back, whole: the question, both answers, no strip."""
    expect(page.locator("#cut")).to_have_count(0)
    expect(page.locator("#question")).to_contain_text(question)
    for pane in ("#pane-a", "#pane-b"):
        expect(page.locator(pane)).to_contain_text(text)


def blind(page: Page | FrameLocator) -> None:
    """No name of a model is near the answers."""
    expect(page.locator("#panes")).not_to_contain_text(re.compile("Xylo|Yuzu"))


def cut_for(host: Host, page: Page, seconds: float, locale: str = "en-GB") -> None:
    """The network goes, the strip says so, and it comes back; long cuts are the page's clock."""
    host.line.cut()
    expect(page.locator("#cut")).to_contain_text(STRIP[locale])
    expect(page.locator(".toast-wrap")).not_to_be_visible()
    page.clock.fast_forward(int(1000 * seconds))
    host.line.mend()


@pytest.mark.parametrize("seconds", [0.5, 3, 30])
def test_a_cut_while_it_is_written(host: Host, open_page: Open, seconds: float) -> None:
    """The same battle goes on where it was, with the draft of the next question."""
    page = open_page(host.line.url, clock=True)
    gate = writing(host, page)
    page.locator("#prompt textarea").fill(DRAFT)
    cut_for(host, page, seconds)
    shows(page, "The first half,")
    expect(page.locator("#prompt textarea")).to_have_value(DRAFT)
    expect(page.locator("#stop")).to_be_enabled()
    blind(page)
    host.page.release(gate)
    shows(page, "The first half, the second half.")
    finished(page)


@pytest.mark.parametrize("locale", STRIP)
def test_a_cut_when_it_is_finished(host: Host, open_page: Open, locale: str) -> None:
    """The answers are back, and the vote is taken."""
    page = open_page(host.line.url, clock=True, locale=locale)
    ask(page, "Why?")
    finished(page)
    before = votes(host)
    cut_for(host, page, 30, locale)
    shows(page, "A whole answer.", "Why?")
    blind(page)
    finished(page)
    page.locator("#vote-a").click()
    expect(page.locator("#vote-a")).to_have_class(re.compile("chosen"))
    assert votes(host) == before + 1


def test_a_vote_without_network_is_sent_once(host: Host, open_page: Open) -> None:
    """It is kept until the page is back; another reload sends no second one."""
    page = open_page(host.line.url, clock=True)
    ask(page, "Why?")
    finished(page)
    before = votes(host)
    host.line.cut()
    expect(page.locator("#cut")).to_be_visible()
    page.locator("#vote-b").click()
    expect(page.locator("#cut")).to_contain_text("Your vote is kept")
    assert votes(host) == before
    host.line.mend()
    expect(page.locator("#vote-b")).to_have_class(re.compile("chosen"))
    expect(page.locator("#reveal")).to_contain_text("You voted for B")
    page.reload()
    expect(page.locator("#vote-b")).to_have_class(re.compile("chosen"))
    expect(page.locator("#reveal")).to_contain_text("You voted for B")
    assert votes(host) == before + 1


def test_a_reload_brings_back_what_a_new_tab_does_not_take(host: Host, open_page: Open) -> None:
    """A second tab of the visitor begins empty, also with an own battle; each keeps its own."""
    page = open_page(host.line.url)
    gate = writing(host, page)
    other = page.context.new_page()
    other.goto(host.line.url)
    other.locator("html[lang=en]").wait_for(state="attached")
    expect(other.locator("#question")).to_be_empty()
    host.plays("Quick.")
    ask(other, "And the sea?")
    finished(other)
    for _ in range(2):
        page.reload()
        other.reload()
        shows(page, "The first half,")
        shows(other, "Quick.", "And the sea?")
    host.page.release(gate)
    shows(page, "The first half, the second half.")
    finished(page)


def test_a_closed_tab_leaves_its_battle_to_the_next_one(host: Host, open_page: Open) -> None:
    """Closed by mistake: a new tab has the battle, its text, and its draft."""
    page = open_page(host.line.url)
    gate = writing(host, page)
    page.locator("#prompt textarea").fill(DRAFT)
    context = page.context
    page.close()
    again = context.new_page()
    again.goto(host.line.url)
    shows(again, "The first half,")
    expect(again.locator("#prompt textarea")).to_have_value(DRAFT)
    host.page.release(gate)
    finished(again)


def test_back_and_forward(host: Host, open_page: Open) -> None:
    """Another page and back: the battle is there, and an empty page stays empty after “next”."""
    page = open_page(host.line.url)
    ask(page, "Why?")
    finished(page)
    page.goto("about:blank")
    page.go_back()
    shows(page, "A whole answer.", "Why?")
    finished(page)
    page.locator("#vote-a").click()
    page.locator("#new-battle").click()
    expect(page.locator("#question")).to_be_empty()
    page.reload()
    page.locator("html[lang=en]").wait_for(state="attached")
    expect(page.locator("#question")).to_be_empty()


def test_a_restart_with_a_finished_battle_on_the_screen(tmp_path: Path, open_page: Open) -> None:
    """The new process has it from the store: blind, with the draft, and it takes the vote."""
    host = Host(tmp_path)
    page = open_page(host.line.url)
    ask(page, "Why?")
    finished(page)
    page.locator("#prompt textarea").fill(DRAFT)
    host.stop()
    expect(page.locator("#cut")).to_contain_text(STRIP["en-GB"])
    host.start()
    host.line.mend()
    shows(page, "A whole answer.", "Why?")
    expect(page.locator("#prompt textarea")).to_have_value(DRAFT)
    blind(page)
    page.locator("#vote-tie").click()
    expect(page.locator("#vote-tie")).to_have_class(re.compile("chosen"))
    assert votes(host) == 1
    host.close()


BLOCKED = """
for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new DOMException("", "SecurityError"); } });
"""


@pytest.mark.parametrize("init", ["", BLOCKED], ids=["storage", "no storage"])
def test_in_a_frame_of_another_site(host: Host, open_page: Open, init: str) -> None:
    """As on a Space, whose page is a frame of the Hub's; also where a frame has no storage."""
    page = open_page(host.line.url)
    if init:
        page.context.add_init_script(init)
    body = f'<iframe src="{host.line.url}" style="width:1200px;height:760px"></iframe>'
    page.route(
        "https://huggingface.co/**", lambda r: r.fulfill(body=body, content_type="text/html")
    )
    page.goto("https://huggingface.co/spaces/someone/arena")
    frame = page.frame_locator("iframe")
    frame.locator("#shown [data-lost]").wait_for(state="attached")
    frame.locator("#prompt textarea").fill("Why?")
    frame.locator("#prompt textarea").press("Enter")
    expect(frame.locator("#vote-a")).to_be_enabled()
    frame.locator("#prompt textarea").fill(DRAFT)
    host.line.cut()
    expect(frame.locator("#cut")).to_be_visible()
    host.line.mend()
    shows(frame, "A whole answer.", "Why?")
    expect(frame.locator("#prompt textarea")).to_have_value(DRAFT)
    frame.locator("#vote-a").click()
    expect(frame.locator("#vote-a")).to_have_class(re.compile("chosen"))
