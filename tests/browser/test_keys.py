"""Text that is typed never votes; a digit votes where it can only mean a vote."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from arena.domain import Winner
from tests.browser.conftest import Served
from tests.browser.steps import Open, ask, finished, ready

pytestmark = pytest.mark.browser
KEYS = {"1": Winner.MODEL_A, "2": Winner.TIE, "3": Winner.BOTH_BAD, "4": Winner.MODEL_B}


def box(page: Page) -> str:
    """What is in the prompt box."""
    return page.locator("#prompt textarea").input_value()


def played(app: Served, open_page: Open) -> Page:
    """A finished battle, long after the last key."""
    page = open_page(app.url)
    page.clock.install()
    ready(page)
    ask(page, "Name a colour.")
    finished(page)
    page.clock.run_for(2000)
    return page


def press_and_read(app: Served, page: Page, digit: str) -> Winner:
    """Vote by a key, outside of any field and after a pause; what the newest battle's vote is.

    A battle has one vote, the first: an earlier one by mistake is what is found.
    """
    page.keyboard.press("Escape")
    page.clock.run_for(1001)
    page.keyboard.press(digit)
    page.clock.run_for(1000)
    expect(page.locator(".vote.chosen")).to_have_count(1)
    ((winner,),) = app.rows(
        "select v.winner from battles b join votes v on v.battle_id = b.id"
        " order by b.created_at desc limit 1"
    )
    return Winner(winner)


def typed_after_an_enter_that_sent_nothing(page: Page) -> None:
    """Enter in the empty box, then a question that begins with a digit."""
    page.locator("#prompt textarea").click()
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("There is no question yet")
    page.clock.run_for(2000)
    page.keyboard.type("1 plus 1?")
    assert box(page) == "1 plus 1?"


def typed_after_the_question_was_sent(page: Page) -> None:
    """The next question is typed where the focus was left by sending."""
    page.keyboard.type("Give me 3 of 4.")
    assert box(page) == "Give me 3 of 4."


def typed_with_a_digit_first(page: Page) -> None:
    """No field has the focus, and the text begins with a digit."""
    page.keyboard.type("1 plus 2?")
    assert box(page) == "1 plus 2?"


def pressed_on_other_tabs(page: Page) -> None:
    """Digits on tabs that do not show the battle."""
    for tab in ("leaderboard", "models"):
        page.locator(f"#tab-{tab}").click()
        page.clock.run_for(1001)
        page.keyboard.press("1")
        page.clock.run_for(1000)
    page.locator("#tab-arena").click()


def pressed_out_of_sight(page: Page) -> None:
    """Digits in a window that is too low for the buttons."""
    page.set_viewport_size({"width": 1280, "height": 120})
    page.clock.run_for(1001)
    page.keyboard.press("1")
    page.clock.run_for(1000)
    page.set_viewport_size({"width": 1280, "height": 800})


def pressed_right_after_typing(page: Page) -> None:
    """Focus leaves the box in the midst of typing."""
    page.keyboard.type("and")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("1")
    page.clock.run_for(500)
    page.keyboard.press("Control+1")
    page.clock.run_for(1000)


@pytest.mark.parametrize(
    "typing",
    [
        typed_after_an_enter_that_sent_nothing,
        typed_after_the_question_was_sent,
        typed_with_a_digit_first,
        pressed_on_other_tabs,
        pressed_out_of_sight,
        pressed_right_after_typing,
    ],
)
def test_what_is_typed_never_votes(
    app: Served, open_page: Open, typing: Callable[[Page], None]
) -> None:
    """After each way of typing the battle has no vote yet, and a vote key gives it one."""
    page = played(app, open_page)
    typing(page)
    assert press_and_read(app, page, "4") is Winner.MODEL_B


@pytest.mark.parametrize("digit", KEYS)
def test_each_key_votes(app: Served, open_page: Open, digit: str) -> None:
    """A digit outside of any field, after a pause, is that vote."""
    assert press_and_read(app, played(app, open_page), digit) is KEYS[digit]


def test_what_is_typed_while_the_question_is_on_its_way_is_kept(
    app: Served, open_page: Open
) -> None:
    """The server empties the box of what it took, not of what came after it."""
    page = open_page(app.url)
    ready(page)
    held: list[Route] = []
    released = False

    def hold(route: Route) -> None:
        if released:
            route.continue_()
        else:
            held.append(route)

    page.route("**/queue/join*", hold)
    ask(page, "Name a colour.")
    page.keyboard.type(" And 3 more?")
    released = True
    for route in held:
        route.continue_()
    finished(page)
    expect(page.locator("#question .question span")).to_have_text("Name a colour.")
    expect(page.locator("#prompt textarea")).to_have_value(" And 3 more?")
    expect(page.locator("#prompt textarea")).to_be_focused()
