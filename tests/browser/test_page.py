"""What the page is in a real browser: its parts, its languages, its widths, its requests."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Served
from tests.browser.steps import Open, ask, finished, ready

pytestmark = pytest.mark.browser
IDS = (
    "prompt", "send", "stop", "pane-a", "pane-b", "stats-a", "stats-b", "vote-a", "vote-b",
    "vote-tie", "vote-bad", "reveal", "undo", "new-battle", "retry-a", "retry-b", "mode", "model-a",
    "model-b", "use-gemini", "preset-coding-for-loop-ja", "preset-coding-for-loop-en",
    "status-phi-4-mini", "status-smollm2-135m", "status-gemini", "tab-arena",
    "tab-leaderboard", "tab-models",
)  # fmt: skip


def test_every_contracted_id_is_there_from_the_first_paint(app: Served, open_page: Open) -> None:
    """Each contracted element id is there once; what can't be used yet is disabled."""
    page = open_page(app.url)
    for name in IDS:
        expect(page.locator(f"#{name}")).to_have_count(1)
    for name in (
        "vote-a",
        "vote-b",
        "vote-tie",
        "vote-bad",
        "undo",
        "new-battle",
        "retry-a",
        "stop",
    ):
        expect(page.locator(f"#{name}")).to_be_disabled()


def test_enter_of_an_ime_conversion_does_not_send(app: Served, open_page: Open) -> None:
    """The Enter that confirms a conversion such as 変換 does not send; the next one does."""
    page = open_page(app.url, locale="ja-JP")
    ready(page)
    page.locator("#prompt textarea").focus()
    before = len(app.rows("select id from battles"))
    client = page.context.new_cdp_session(page)
    client.send(
        "Input.imeSetComposition", {"text": "しつもん", "selectionStart": 4, "selectionEnd": 4}
    )
    composing = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    client.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **composing})
    client.send("Input.insertText", {"text": "質問"})
    client.send("Input.dispatchKeyEvent", {"type": "keyUp", **composing})
    expect(page.locator("#prompt textarea")).to_have_value("質問")
    expect(page.locator("#send")).to_be_enabled()
    page.evaluate(
        "document.querySelector('#prompt textarea').dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    page.wait_for_timeout(500)
    assert len(app.rows("select id from battles")) == before
    expect(page.locator("#prompt textarea")).to_have_value("質問")
    page.keyboard.press("Enter")
    expect(page.locator("#question .question span")).to_contain_text("質問")


def test_languages_switch_and_are_remembered(app: Served, open_page: Open) -> None:
    """The choice of language reaches every text and survives a reload."""
    page = open_page(app.url, locale="ja-JP")
    expect(page.locator("#send")).to_have_text("送信")
    expect(page.get_by_role("tab", name="リーダーボード")).to_be_visible()
    page.locator("#language").click()
    expect(page.locator("#send")).to_have_text("Send")
    expect(page.locator("#vote-a")).to_have_text("A is better")
    expect(page.get_by_role("tab", name="Leaderboard")).to_be_visible()
    expect(page.locator("#panes .side-a .name")).to_contain_text("hidden until you vote")
    expect(page.locator("#mode label").first).to_have_text("Blind")
    japanese = re.compile(r"[\u3041-\u30ff]")
    visible = page.locator(".gradio-container").inner_text()
    left = [line for line in visible.splitlines() if japanese.search(line)]
    assert set(left) <= {"日本語"}, left
    page.reload()
    expect(page.locator("#send")).to_have_text("Send")


@pytest.mark.parametrize("locale", ["ja-JP", "en-GB"])
def test_laptop_needs_no_scrolling_to_vote(app: Served, open_page: Open, locale: str) -> None:
    """At 1280 x 800 the vote buttons are on the screen."""
    page = open_page(app.url, locale=locale)
    ready(page)
    ask(page, "Say hello.")
    finished(page)
    for name in ("vote-a", "vote-bad", "vote-b", "send", "new-battle"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800, name
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("locale", ["ja-JP", "en-GB"])
def test_phone_width_is_usable(app: Served, open_page: Open, locale: str) -> None:
    """At 390 px nothing is cut off or wider than the screen."""
    phone = {"width": 390, "height": 844}
    page = open_page(app.url, locale=locale, viewport=phone, is_mobile=True, has_touch=True)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#preset-coding-for-loop-en").tap()
    expect(page.locator("#prompt textarea")).to_have_value(re.compile("for loop"))
    page.locator("#send").tap()
    finished(page)
    first, second = (page.locator(f"#vote-{side}").bounding_box() for side in "ab")
    assert first is not None
    assert second is not None
    assert first["y"] == second["y"], "A and B stand side by side"
    page.locator("#vote-a").tap()
    expect(page.locator("#vote-a")).to_have_class(re.compile("chosen"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for side in "bab":
        page.locator(f"#sides [data-side={side}]").tap()
        expect(page.locator(f"#pane-{side}")).to_be_in_viewport(ratio=0.9)
        for name in (f"pane-{side}", "prompt", "send"):
            box = page.locator(f"#{name}").bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 390, name


def test_nothing_is_fetched_from_elsewhere(app: Served, open_page: Open) -> None:
    """The page loads nothing from another server, and its policy blocks foreign images."""
    page = open_page(app.url)
    foreign: list[str] = []
    page.on(
        "request", lambda r: None if r.url.startswith((app.url, "data:")) else foreign.append(r.url)
    )
    page.reload()
    ready(page)
    blocked = page.evaluate(
        """() => new Promise((done) => {
          document.addEventListener('securitypolicyviolation', () => done(true));
          const image = new Image(); image.onload = () => done(false);
          image.src = 'http://127.0.0.1:9/x.png'; setTimeout(() => done(false), 3000);
        })"""
    )
    assert blocked, "the page's policy must keep foreign images out"
    assert [url for url in foreign if "127.0.0.1:9/" not in url] == []


def test_config_tells_no_secret(app: Served, open_page: Open) -> None:
    """/config holds no key, no path and no voter."""
    page = open_page(app.url)
    config = page.request.get(f"{app.url}config").text()
    for word in ("sqlite", "voter_hash", '"voter"', "GOOGLE_API_KEY", str(app.database.parent)):
        assert (word, config.find(word)) == (word, -1)
