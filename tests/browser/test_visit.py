"""A battle from the first click to the last, in a real browser: real model, real database."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import expect

from arena.models.local.embedded import ensure_dense, ensure_onnx
from tests.browser.conftest import READY_S, Served, end, serve, wait_until
from tests.browser.steps import Open, ask, finished, read, ready

pytestmark = pytest.mark.browser


# The model's end of text, and another token of as many characters: a file's size is checked.
ENDS = (
    ("genai_config.json", '"eos_token_id": 2,', '"eos_token_id": 6,'),
    ("tokenizer_config.json", '"eos_token": "<|im_end|>"', '"eos_token": "<filename>"'),
)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, embedded_cache: Path) -> Iterator[Served]:
    """The app with a model that knows no end of text: its answers run until they are stopped."""
    folder = tmp_path_factory.mktemp("endless")
    made = ensure_onnx(embedded_cache, lambda *_: None).path
    copy = shutil.copytree(made, folder / "cache" / made.name, copy_function=os.link)
    for name, end_of_text, other in ENDS:
        text = (copy / name).read_text(encoding="utf-8")
        assert end_of_text in text
        (copy / name).unlink()
        (copy / name).write_text(text.replace(end_of_text, other), encoding="utf-8")
    served = serve(
        folder, folder / "cache", ARENA_LOCAL_MODEL="embedded", ARENA_MAX_NEW_TOKENS="4096",
        ARENA_PAGE_GRACE_SECONDS="1",
    )  # fmt: skip
    yield served
    if served.process.poll() is None:
        assert end(served) == 0, served.log.read_text(errors="replace")[-3000:]


def test_preset_two_streams_vote_reveal_row(app: Served, open_page: Open) -> None:
    """Without a key: example, two streams, vote, names, and the row in the database."""
    page = open_page(app.url)
    expect(page.locator("#banner")).to_contain_text("Phi-4-mini is not available")
    ready(page)
    page.locator("#preset-coding-for-loop-en").click()
    expect(page.locator("#prompt textarea")).to_have_value(re.compile("for loop"))
    before = len(app.rows("select id from battles"))
    page.locator("#send").click()
    expect(page.locator("#pane-a .md")).not_to_be_empty()
    expect(page.locator("#pane-b .md")).not_to_be_empty()
    finished(page)
    assert "SmolLM2" not in page.locator("#panes").inner_text()
    assert "tok/s" not in page.locator("#panes").inner_text()
    read(page)
    page.locator("#vote-b").click()
    expect(page.locator("#reveal")).to_contain_text("You voted for B")
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
    assert words[0] in page.locator("#pane-a .md").inner_text()
    page.locator("#tab-leaderboard").click()
    expect(page.locator("#leaderboard")).to_contain_text("step by step")
    page.locator("#tab-models").click()
    expect(page.locator("#models")).to_contain_text("Apache-2.0")


def test_keyboard_alone_is_enough(app: Served, open_page: Open) -> None:
    """Enter sends and 1 to 4 vote, without the mouse."""
    page = open_page(app.url)
    ready(page)
    page.keyboard.press("/")
    page.keyboard.type("Name a colour 4 times, as 1234.")
    expect(page.locator("#prompt textarea")).to_have_value("Name a colour 4 times, as 1234.")
    page.keyboard.press("Enter")
    finished(page)
    page.wait_for_timeout(1001)  # a key votes when nothing was typed for a second
    page.keyboard.press("2")
    expect(page.locator("#vote-tie")).to_have_class(re.compile("chosen"))
    page.locator("#new-battle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pane-a .md")).to_be_empty()
    expect(page.locator("#vote-tie")).to_be_disabled()


def test_stop_ends_both_and_keeps_the_text(endless: Served, open_page: Open) -> None:
    """Stop ends both answers, stores them as cancelled, and asks for a vote on what is there."""
    page = open_page(endless.url)
    ready(page)
    ask(page, "Write a long story about the sea.")
    for side in "ab":
        expect(page.locator(f"#pane-{side} .md")).to_have_text(re.compile(r"\S.{30}", re.DOTALL))
    page.locator("#stop").click()
    expect(page.locator("#reveal")).to_contain_text("Stopped. Which is better so far?")
    expect(page.locator("#reveal")).to_contain_text("Will not count")
    expect(page.locator("#pane-a .md")).not_to_be_empty()
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#vote-a")).to_be_enabled()
    finishes = endless.rows(
        "select finish_a, finish_b from battles order by created_at desc limit 1"
    )
    assert "cancelled" in finishes[0]
    expect(page.locator("#retry-a")).to_be_enabled()


def test_closed_tab_stops_the_answers(endless: Served, open_page: Open) -> None:
    """A closed page stops its answers."""
    page = open_page(endless.url)
    ready(page)
    ask(page, "Write another long story about the hills.")
    expect(page.locator("#question .question span")).to_be_visible()
    expect(page.locator("#stop")).to_be_enabled()
    newest = "select finish_a from battles order by created_at desc limit 1"
    page.close()
    wait_until(lambda: endless.rows(newest)[0][0] == "cancelled", READY_S, "the cancelled battle")


def test_follow_up_and_single_mode(app: Served, open_page: Open) -> None:
    """Single mode has one pane, no vote, and follow-ups."""
    page = open_page(app.url)
    ready(page)
    page.locator("#mode label").nth(2).click()
    expect(page.locator("#pane-b")).to_be_hidden()
    expect(page.locator("#model-a input")).to_be_visible()
    ask(page, "Say hello.")
    expect(page.locator("#new-battle")).to_be_enabled()
    expect(page.locator("#stats-a")).to_contain_text("tok/s")
    ask(page, "Once more.")
    expect(page.locator("#question .question span")).to_have_text("Once more.")
    page.locator("[data-earlier]").click()
    expect(page.locator(".side-a .block.earlier")).to_contain_text("Say hello.")
    expect(page.locator("#new-battle")).to_be_enabled()
    mode, talk = app.rows(
        "select mode, conversation_a from battles order by created_at desc limit 1"
    )[0]
    assert mode == "single"
    assert [turn["prompt"] for turn in json.loads(talk)] == ["Say hello.", "Once more."]


def test_open_mode_shows_names_from_the_start(app: Served, open_page: Open) -> None:
    """In open mode names and numbers are shown from the start."""
    page = open_page(app.url)
    ready(page)
    page.locator("#mode label").nth(1).click()
    expect(page.locator("#model-b input")).to_be_visible()
    ask(page, "Say hello.")
    expect(page.locator("#panes .side-a .name")).to_contain_text("SmolLM2")
    finished(page)
    expect(page.locator("#stats-b")).to_contain_text("tok/s")


def test_page_is_up_while_the_model_still_converts(
    tmp_path: Path, embedded_cache: Path, open_page: Open
) -> None:
    """The page is served while a model is converted; a prompt waits visibly, then runs."""
    dense = ensure_dense(embedded_cache, lambda *_: None).path
    shutil.copytree(dense, tmp_path / "cache" / dense.name, copy_function=os.link)
    built = ensure_onnx(embedded_cache, lambda *_: None).path
    second_step = tmp_path / "cache" / built.name
    lock = FileLock(f"{second_step}.lock")
    lock.acquire()  # as another process that converts would hold it
    served = serve(tmp_path, tmp_path / "cache")
    try:
        page = open_page(served.url)
        expect(page.locator("#status-smollm2-135m.wait")).to_be_attached()
        ask(page, "Say hello.")
        expect(page.locator("#notice")).to_contain_text("Waiting for")
        shutil.copytree(built, second_step, copy_function=os.link)
        lock.release()
        finished(page)
        expect(page.locator("#notice .notice")).to_have_count(0)
    finally:
        lock.release(force=True)
        assert end(served) == 0


def test_sigterm_in_the_middle_of_answers_loses_nothing(endless: Served, open_page: Open) -> None:
    """SIGTERM ends the app within ten seconds, and what was written is in the database."""
    page = open_page(endless.url)
    ready(page)
    ask(page, "Tell me a very long story about a lighthouse.")
    expect(page.locator("#pane-a .md")).not_to_be_empty()
    assert end(endless) == 0
    ((finish_a, finish_b, talk),) = endless.rows(
        "select finish_a, finish_b, conversation_a from battles order by created_at desc limit 1"
    )
    assert (finish_a, finish_b) == ("cancelled", "cancelled")
    assert json.loads(talk)[0]["answer"]["text"].strip()
