"""Gemini beside the local model, and what a curious visitor could find out before the vote.

Gemini is the loopback server of its wire format; the app, its SDK and the browser are real.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import READY_S, Served, end, serve, wait_until
from tests.browser.steps import Open
from tests.models.remote.gemini_server import GeminiServer, chunk, fails, running_server, says
from tests.models.remote.loopback import Pause, Reply

pytestmark = pytest.mark.browser
# Keeps a copy of all that the server sends, streams included.
TAP = """
window.tapped = '';
const original = window.fetch;
window.fetch = async (...given) => {
  const reply = await original(...given);
  if (!reply.body) return reply;
  const [one, two] = reply.body.tee();
  (async () => {
    const reader = two.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) { const {done, value} = await reader.read(); if (done) break; window.tapped += value; }
  })().catch(() => {});
  return new Response(one, {status: reply.status, headers: reply.headers});
};
"""


GUESSES = [rf"data-kind=\"guess\" data-value=\"{label}\"" for label in ("Gemini", "SmolLM2-135M")]


@dataclass(frozen=True)
class Both:
    """The app and the Gemini that it talks to."""

    app: Served
    gemini: GeminiServer


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, embedded_cache: object) -> Iterator[Both]:
    """The app with a key."""
    with running_server() as gemini:
        served = serve(
            tmp_path_factory.mktemp("both"), embedded_cache, GEMINI_API_KEY="test-key-of-nobody",
            GEMINI_BASE_URL=gemini.url, ARENA_LOCAL_MODEL="embedded",
        )  # fmt: skip
        yield Both(served, gemini)
        assert end(served) == 0


def ready(page: Page) -> None:
    """Wait until both models are."""
    expect(page.locator("#status-smollm2-135m.ok")).to_be_attached()
    expect(page.locator("#status-gemini.ok")).to_be_attached()


def ask(page: Page, text: str) -> None:
    """Write a question and send it."""
    page.locator("#prompt textarea").fill(text)
    page.locator("#send").click()


def test_nothing_that_is_sent_tells_the_sides_apart(both: Both, open_page: Open) -> None:
    """Before the vote nothing that is sent to the browser names a side's model."""
    page = open_page(both.app.url, init=TAP)
    ready(page)
    both.gemini.script(says("Bonjour ", "le monde."))
    page.evaluate("window.tapped = ''")
    ask(page, "Say hello in French.")
    expect(page.locator("#vote-a")).to_be_enabled()
    sent = page.evaluate("window.tapped")
    assert "Bonjour" in sent, "the tap must see the streams"
    for word in ("gemini-pro-latest", "smollm2-135m-int4", "onnxruntime", "google", "tok/s"):
        assert (word, sent.find(word)) == (word, -1)
    # The chips and the guess name the whole pool, in an order that says nothing.
    assert all(whole in sent for whole in GUESSES)
    for whole in (r'"value":"<div class=.{0,2}chips.*?</div>', r"<div class=.{0,2}extra.*?</div>"):
        sent = re.sub(whole, "", sent)
    for word in ("Gemini", "SmolLM2"):
        assert (word, sent.find(word)) == (word, -1)
    page.locator("#vote-a").click()
    expect(page.locator("#reveal")).to_contain_text("Gemini")
    assert "google-genai" in page.evaluate("window.tapped"), "the tap must see names when they come"


def test_formulas_are_drawn_and_money_is_text(both: Both, open_page: Open) -> None:
    """What stands between single dollars is a formula, and prices and code stay as they are."""
    page = open_page(both.app.url)
    ready(page)
    answer = r"整数$n$は \(k\) times $n(n+1)$, so $a<b$. It costs $5 and $10; `echo $a$` \[2^n\]"
    both.gemini.script(says(answer[:20], answer[20:]))
    ask(page, "Formulas, please.")
    expect(page.locator("#vote-a")).to_be_enabled()
    drawn = page.locator("#panes .katex annotation").all_text_contents()
    assert drawn == ["n", "k", "n(n+1)", r"a\lt b", "2^n"]
    expect(page.locator("#panes")).to_contain_text("It costs $5 and $10; echo $a$")
    expect(page.locator("#panes code")).to_have_text("echo $a$")


def test_failed_gemini_says_nothing_about_itself(both: Both, open_page: Open) -> None:
    """A blind failure shows its kind and id for the battle; Retry answers and opens the vote."""
    page = open_page(both.app.url, init=TAP)
    ready(page)
    both.gemini.script(fails(400, "secret words of the provider"))
    page.evaluate("window.tapped = ''")
    ask(page, "Say hello.")
    expect(page.locator("#reveal")).to_contain_text("An answer was refused")
    expect(page.locator("#reveal")).to_contain_text("error")
    expect(page.locator(".stats .failed")).to_have_count(0)
    sent = page.evaluate("window.tapped")
    assert "secret words" not in sent
    assert "provider" not in sent
    expect(page.locator("#vote-a")).to_be_disabled()
    assert "secret words" in both.app.log.read_text(errors="replace"), "the log has the details"
    assert "test-key-of-nobody" not in both.app.log.read_text(errors="replace")
    both.gemini.script(says("Hello."))
    expect(page.locator("#retry-a:enabled, #retry-b:enabled")).to_have_count(2)
    page.locator("#retry-a").click()
    expect(page.locator("#vote-a")).to_be_enabled()
    page.locator("#vote-tie").click()
    expect(page.locator("#reveal")).to_contain_text("tie")


def test_switch_leaves_gemini_out(both: Both, open_page: Open) -> None:
    """With the switch off nothing is sent to Gemini, and the notice says so."""
    page = open_page(both.app.url)
    ready(page)
    expect(page.locator("#use-gemini input")).to_be_checked()
    expect(page.locator("#privacy")).to_contain_text("Google")
    page.locator("#use-gemini input").uncheck()
    expect(page.locator("#privacy")).to_contain_text("Only models on this server answer")
    ask(page, "A private question.")
    expect(page.locator("#vote-a")).to_be_enabled()
    assert all("private" not in str(request.body) for request in both.gemini.requests)
    page.locator("#vote-b").click()
    expect(page.locator("#reveal")).to_contain_text("step by step")
    assert "Gemini" not in page.locator("#reveal").inner_text()


def test_closed_tab_closes_a_silent_connection_to_gemini(both: Both, open_page: Open) -> None:
    """A closed page closes its connection to a silent Gemini at once.

    While Gemini is silent no snapshot goes out, so only the page's own goodbye can stop it.
    """
    page = open_page(both.app.url)
    ready(page)
    both.gemini.script(Reply((chunk("Once upon"), Pause())))
    arrival = both.gemini.arrival(len(both.gemini.asked))
    ended = "select 1 from battles where finish_a is not null or finish_b is not null"
    before = len(both.app.rows(ended))
    ask(page, "Tell me a long story.")
    request = arrival.result(READY_S)
    # The local side has ended, which the page does not tell.
    wait_until(lambda: len(both.app.rows(ended)) > before, READY_S, "the local side's end")
    page.close()
    request.connection.closed.result(READY_S)
