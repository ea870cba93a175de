"""What a visitor does, in a real browser, with the real embedded model and the real database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import READY_S, Served, end, serve, wait_until

pytestmark = pytest.mark.browser
SLOW = READY_S * 1000
Open = Callable[..., Page]
IDS = (
    "prompt", "send", "stop", "pane-a", "pane-b", "stats-a", "stats-b", "vote-a", "vote-b",
    "vote-tie", "vote-bad", "reveal", "new-battle", "retry-a", "retry-b", "mode", "model-a",
    "model-b", "use-gemini", "preset-coding-for-loop-ja", "preset-coding-for-loop-en",
    "status-phi-4-mini", "status-smollm2-135m", "status-gemini", "tab-arena",
    "tab-leaderboard", "tab-models",
)  # fmt: skip


def ready(page: Page) -> None:
    """Wait until the stand-in answers."""
    expect(page.locator("#status-smollm2-135m.ok")).to_be_attached(timeout=SLOW)


def ask(page: Page, text: str) -> None:
    """Write a question and send it by Enter."""
    page.locator("#prompt textarea").fill(text)
    page.keyboard.press("Enter")


def finished(page: Page) -> None:
    """Wait until the votes are open."""
    expect(page.locator("#vote-a")).to_be_enabled(timeout=SLOW)


def test_every_contracted_id_is_there_from_the_first_paint(app: Served, open_page: Open) -> None:
    """Scripts and tests of others find parts by these ids; they are disabled, not missing."""
    page = open_page(app.url)
    for name in IDS:
        assert page.locator(f"#{name}").count() == 1, name
    for name in ("vote-a", "vote-b", "vote-tie", "vote-bad", "new-battle", "retry-a", "stop"):
        expect(page.locator(f"#{name}")).to_be_disabled()


def test_preset_two_streams_vote_reveal_row(app: Served, open_page: Open) -> None:
    """The main job on the very first run, without a key: if this breaks, nothing else matters."""
    page = open_page(app.url)
    expect(page.locator("#banner")).to_contain_text("Phi-4-mini is not available", timeout=SLOW)
    ready(page)
    page.locator("#preset-coding-for-loop-en").click()
    expect(page.locator("#prompt textarea")).to_have_value(re.compile("for loop"))
    before = len(app.rows("select id from battles"))
    page.locator("#send").click()
    expect(page.locator("#pane-a .bot")).not_to_be_empty(timeout=SLOW)
    expect(page.locator("#pane-b .bot")).not_to_be_empty(timeout=SLOW)
    finished(page)
    assert "SmolLM2" not in page.locator("#panes").inner_text()
    assert "tok/s" not in page.locator("#panes").inner_text()
    page.locator("#vote-b").click()
    expect(page.locator("#reveal")).to_contain_text("You voted for B", timeout=SLOW)
    expect(page.locator("#vote-b")).to_have_class(re.compile("chosen"))
    expect(page.locator("#vote-a")).to_be_disabled()
    expect(page.locator("#panes")).to_contain_text("step by step")
    expect(page.locator("#stats-a")).to_contain_text("tok/s")
    rows = app.rows(
        "select b.id, b.preset_id, b.model_a, b.model_b, b.conversation_a, v.winner from battles b"
        " join votes v on v.battle_id = b.id order by b.created_at desc limit 1"
    )
    assert len(app.rows("select id from battles")) == before + 1
    _, preset, model_a, model_b, conversation, winner = rows[0]
    assert (preset, winner) == ("coding-for-loop-en", "model_b")
    assert {model_a, model_b} == {"smollm2-135m-int4", "smollm2-135m-int4-steps"}
    written = json.loads(conversation)[0]["answer"]["text"]
    words = re.findall(r"[A-Za-z]{4,}", re.sub(r"```\w*", "", written))
    assert words
    assert words[0] in page.locator("#pane-a .bot").inner_text()
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard")).to_contain_text("step by step", timeout=SLOW)
    page.locator("#tab-models").click()
    expect(page.locator("#models")).to_contain_text("Apache-2.0", timeout=SLOW)


def test_keyboard_alone_is_enough(app: Served, open_page: Open) -> None:
    """Enter sends and 1 to 4 vote, without a touch of the mouse in between."""
    page = open_page(app.url)
    ready(page)
    page.keyboard.press("/")
    page.keyboard.type("Name a colour 4 times, as 1234.")
    expect(page.locator("#prompt textarea")).to_have_value("Name a colour 4 times, as 1234.")
    page.keyboard.press("Enter")
    finished(page)
    page.keyboard.press("2")
    expect(page.locator("#vote-tie")).to_have_class(re.compile("chosen"), timeout=SLOW)
    page.locator("#new-battle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pane-a .bot")).to_have_count(0, timeout=SLOW)
    expect(page.locator("#vote-tie")).to_be_disabled()


def test_stop_ends_both_and_keeps_the_text(app: Served, open_page: Open) -> None:
    """A Stop that only hides the text leaves the model writing for nobody."""
    page = open_page(app.url)
    ready(page)
    ask(page, "Write a long story about the sea.")
    expect(page.locator("#pane-a .bot")).not_to_be_empty(timeout=SLOW)
    page.locator("#stop").click()
    expect(page.locator("#stats-a")).to_contain_text("Stopped", timeout=5000)
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#vote-a")).to_be_disabled()
    finishes = app.rows("select finish_a, finish_b from battles order by created_at desc limit 1")
    assert "cancelled" in finishes[0]
    expect(page.locator("#retry-a")).to_be_enabled()


def test_closed_tab_stops_the_answers(app: Served, open_page: Open) -> None:
    """Abandoned battles must not keep the model busy for the next visitor."""
    page = open_page(app.url)
    ready(page)
    ask(page, "Write another long story about the hills.")
    expect(page.locator("#pane-a .user")).to_be_visible(timeout=SLOW)
    expect(page.locator("#stop")).to_be_enabled(timeout=SLOW)
    newest = "select finish_a from battles order by created_at desc limit 1"
    page.close()
    wait_until(lambda: app.rows(newest)[0][0] == "cancelled", 10, "the cancelled battle")


def test_follow_up_and_single_mode(app: Served, open_page: Open) -> None:
    """A conversation goes on until the vote; one model can be used alone."""
    page = open_page(app.url)
    ready(page)
    page.locator("#mode label").nth(2).click()
    expect(page.locator("#pane-b")).to_be_hidden(timeout=SLOW)
    expect(page.locator("#model-a input")).to_be_visible(timeout=SLOW)
    ask(page, "Say hello.")
    expect(page.locator("#new-battle")).to_be_enabled(timeout=SLOW)
    expect(page.locator("#stats-a")).to_contain_text("tok/s")
    ask(page, "Once more.")
    expect(page.locator("#pane-a .user")).to_have_count(2, timeout=SLOW)
    expect(page.locator("#new-battle")).to_be_enabled(timeout=SLOW)
    mode, talk = app.rows(
        "select mode, conversation_a from battles order by created_at desc limit 1"
    )[0]
    assert mode == "single"
    assert [turn["prompt"] for turn in json.loads(talk)] == ["Say hello.", "Once more."]


def test_open_mode_shows_names_from_the_start(app: Served, open_page: Open) -> None:
    """In open mode the visitor chooses, and sees what was chosen."""
    page = open_page(app.url)
    ready(page)
    page.locator("#mode label").nth(1).click()
    expect(page.locator("#model-b input")).to_be_visible(timeout=SLOW)
    ask(page, "Say hello.")
    expect(page.locator("#panes .side-a .name")).to_contain_text("SmolLM2", timeout=SLOW)
    finished(page)
    expect(page.locator("#stats-b")).to_contain_text("tok/s")


def test_enter_of_an_ime_conversion_does_not_send(app: Served, open_page: Open) -> None:
    """The Enter that confirms 変換 is pressed dozens of times in one Japanese question."""
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
    expect(page.locator("#pane-a .user")).to_contain_text("質問", timeout=SLOW)


def test_languages_switch_and_are_remembered(app: Served, open_page: Open) -> None:
    """The choice must reach every text, and survive a reload."""
    page = open_page(app.url, locale="ja-JP")
    expect(page.locator("#send")).to_have_text("送信")
    expect(page.get_by_role("tab", name="リーダーボード")).to_be_visible()
    page.locator("#language").click()
    expect(page.locator("#send")).to_have_text("Send", timeout=SLOW)
    expect(page.locator("#vote-a")).to_have_text("A is better")
    expect(page.get_by_role("tab", name="Leaderboard")).to_be_visible()
    expect(page.locator("#panes .side-a .name")).to_contain_text("hidden until you vote")
    expect(page.locator("#mode label").first).to_have_text("Blind")
    japanese = re.compile(r"[\u3041-\u30ff]")
    visible = page.locator(".gradio-container").inner_text()
    left = [line for line in visible.splitlines() if japanese.search(line)]
    assert set(left) <= {"日本語"}, left
    page.reload()
    expect(page.locator("#send")).to_have_text("Send", timeout=SLOW)


@pytest.mark.parametrize("locale", ["ja-JP", "en-GB"])
def test_laptop_needs_no_scrolling_to_vote(app: Served, open_page: Open, locale: str) -> None:
    """A vote button below the fold is a vote that is not cast."""
    page = open_page(app.url, locale=locale)
    ready(page)
    ask(page, "Say hello.")
    finished(page)
    for name in ("vote-a", "vote-bad", "send", "new-battle"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800, name
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("locale", ["ja-JP", "en-GB"])
def test_phone_width_is_usable(app: Served, open_page: Open, locale: str) -> None:
    """At 390 px nothing may be cut off or wider than the screen."""
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
    expect(page.locator("#vote-a")).to_have_class(re.compile("chosen"), timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("pane-a", "pane-b", "prompt", "send"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390, name


def test_nothing_is_fetched_from_elsewhere(app: Served, open_page: Open) -> None:
    """A font or an image from another server tells it who reads which answer."""
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
    """Everything in /config is public."""
    page = open_page(app.url)
    config = page.request.get(f"{app.url}config").text()
    for word in ("sqlite", "voter_hash", '"voter"', "GOOGLE_API_KEY", str(app.database.parent)):
        assert (word, config.find(word)) == (word, -1)


def test_page_is_up_while_the_model_still_converts(tmp_path: Path, open_page: Open) -> None:
    """The page must not wait for the model; a prompt sent meanwhile waits, visibly, and runs."""
    served = serve(tmp_path, tmp_path / "empty-cache")
    try:
        page = open_page(served.url)
        expect(page.locator("#status-smollm2-135m.wait")).to_be_attached(timeout=SLOW)
        ask(page, "Say hello.")
        expect(page.locator("#notice")).to_contain_text("Waiting for", timeout=10_000)
        finished(page)
        expect(page.locator("#notice .notice")).to_have_count(0)
    finally:
        assert end(served) == 0


def test_sigterm_in_the_middle_of_answers_loses_nothing(
    tmp_path: Path, embedded_cache: Path, open_page: Open
) -> None:
    """A Space is restarted whenever its owner pushes; what was written so far must be on disk."""
    long = {"ARENA_LOCAL_MODEL": "embedded", "ARENA_MAX_NEW_TOKENS": "4096"}
    served = serve(tmp_path, embedded_cache, **long)
    page = open_page(served.url)
    ready(page)
    ask(page, "Tell me a very long story about a lighthouse.")
    expect(page.locator("#pane-a .bot")).not_to_be_empty(timeout=SLOW)
    assert end(served) == 0  # within ten seconds
    ((finish_a, finish_b, talk),) = served.rows(
        "select finish_a, finish_b, conversation_a from battles"
    )
    assert (finish_a, finish_b) == ("cancelled", "cancelled")
    assert json.loads(talk)[0]["answer"]["text"].strip()
