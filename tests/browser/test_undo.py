"""A vote that is taken back, or not, in a real browser with the real app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import READY_S, Served, end, serve, wait_until
from tests.browser.steps import Open, ask, finished, ready

pytestmark = pytest.mark.browser
NEWEST = (
    "select v.winner, v.pending_until is null from battles b join votes v on v.battle_id = b.id"
    " order by b.created_at desc limit 1"
)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, embedded_cache: Path) -> Iterator[Served]:
    """The app with ten minutes to take a vote back: no test waits for their end."""
    folder = tmp_path_factory.mktemp("patient")
    served = serve(
        folder, embedded_cache, ARENA_LOCAL_MODEL="embedded", ARENA_UNDO_SECONDS="600",
        ARENA_MAX_NEW_TOKENS="16",
    )  # fmt: skip
    yield served
    assert end(served) == 0, served.log.read_text(errors="replace")[-3000:]


def votable(app: Served, open_page: Open) -> Page:
    """A page whose answers can be voted on."""
    page = open_page(app.url)
    ready(page)
    ask(page, "Say hello.")
    finished(page)
    expect(page.locator("#undo")).to_be_disabled()
    return page


def voted(app: Served, open_page: Open) -> Page:
    """A page whose vote for A is stored and not final; the app's deadline must be far away."""
    page = votable(app, open_page)
    page.locator("#vote-a").click()
    expect(page.locator("#reveal")).to_contain_text("Saved: A is better. Names in")
    assert app.rows(NEWEST) == [("model_a", 0)], "it is said after the commit"
    return page


def hidden(page: Page) -> bool:
    """Whether no name and no number is shown in the panes."""
    shown = page.locator("#panes").inner_text() + page.locator("#reveal").inner_text()
    return "SmolLM2" not in shown and "tok/s" not in shown


def test_a_vote_is_taken_back_and_cast_anew(patient: Served, open_page: Open) -> None:
    """Nothing moves and no name shows; after the undo the same battle takes the other vote."""
    page = voted(patient, open_page)
    assert hidden(page)
    expect(page.locator("#vote-a")).to_have_class(re.compile("chosen"))
    expect(page.locator("#vote-b")).to_be_disabled()
    votes = page.locator("#votes").bounding_box()
    page.locator("#undo").click()
    expect(page.locator("#reveal")).to_contain_text("Which is better?")
    expect(page.locator(".vote.chosen")).to_have_count(0)
    expect(page.locator("#undo")).to_be_disabled()
    assert page.locator("#votes").bounding_box() == votes
    assert patient.rows(NEWEST) == []
    page.locator("#vote-b").click()
    expect(page.locator("#reveal")).to_contain_text("Saved: B is better.")
    assert patient.rows(NEWEST) == [("model_b", 0)]
    page.locator("#new-battle").click()
    expect(page.locator("#pane-a .md")).to_be_empty()
    expect(page.locator("#undo")).to_be_disabled()
    assert patient.rows(NEWEST) == [("model_b", 1)], "next makes it final"


def test_the_next_question_makes_it_final(patient: Served, open_page: Open) -> None:
    """A prompt after the vote begins a new battle, and ends the time of the old one's vote."""
    page = voted(patient, open_page)
    ask(page, "Say it again.")
    finished(page)
    assert patient.rows("select count(*) from votes where pending_until is not null") == [(0,)]
    expect(page.locator("#question .question span")).to_have_text("Say it again.")
    assert hidden(page)


def test_a_closed_tab_makes_it_final(patient: Served, open_page: Open) -> None:
    """Who closes the page has voted."""
    page = voted(patient, open_page)
    page.close()
    wait_until(lambda: patient.rows(NEWEST) == [("model_a", 1)], READY_S, "the final vote")


def test_names_show_at_the_deadline(tmp_path: Path, embedded_cache: Path, open_page: Open) -> None:
    """Without a click the names show when the time is up; a killed app keeps its pending vote."""
    options = {"ARENA_LOCAL_MODEL": "embedded", "ARENA_MAX_NEW_TOKENS": "16"}
    served = serve(tmp_path, embedded_cache, ARENA_UNDO_SECONDS="600", **options)
    voted(served, open_page)
    served.process.kill()
    served.process.wait(READY_S)
    assert served.rows(NEWEST) == [("model_a", 0)]
    again = serve(tmp_path, embedded_cache, ARENA_UNDO_SECONDS="1", **options)
    try:
        page = votable(again, open_page)
        page.locator("#vote-a").click()
        expect(page.locator("#reveal")).to_contain_text("You voted for A (SmolLM2")
        expect(page.locator("#stats-a")).to_contain_text("tok/s")
        expect(page.locator("#undo")).to_be_disabled()
        assert again.rows(NEWEST) == [("model_a", 1)]
    finally:
        assert end(again) == 0
