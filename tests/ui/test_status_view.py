"""The lines that say how things are."""

from __future__ import annotations

import pytest

from arena.errors.models import BudgetSpent
from arena.errors.store import StoreError
from arena.models.base import Ready, Unavailable
from arena.models.registry import Entry, Registry
from arena.ui.i18n import error_line, in_line
from arena.ui.status_view import account_html, chips_html, privacy_html
from tests.scripted import ScriptedModel


class FarModel(ScriptedModel):
    """One behind an address."""

    def __init__(self, name: str, host: str) -> None:
        super().__init__(name, ["x"])
        self.sends_to = host


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("engine.example:8000", True), ("10.1.2.3:8000", True), ("localhost:8000", False),
        ("127.0.0.1:8000", False), ("[::1]:8000", False),
    ],
)  # fmt: skip
def test_the_page_says_where_the_text_goes(host: str, said: bool) -> None:  # noqa: FBT001
    """The notice names each host that a text may be sent to."""
    registry = Registry(
        [Entry("x", ScriptedModel("x", ["x"])), Entry("far", FarModel("far", host))]
    )
    text = privacy_html(registry, "en", use_gemini=False)
    assert (host in text) is said
    assert ("Only models on this server answer" in text) is not said


def test_an_engine_that_is_down_gets_nothing() -> None:
    """An engine that is not available is not named: it is not drawn."""
    far = FarModel("far", "engine.example")
    far.state = Unavailable(BudgetSpent(label="Far", limit="1", until="00:00 UTC", variable="V"))
    registry = Registry([Entry("x", ScriptedModel("x", ["x"])), Entry("far", far)])
    assert "engine.example" not in privacy_html(registry, "ja", use_gemini=True)


def test_who_writes_is_told_that_it_may_be_downloaded() -> None:
    """Where votes can be downloaded the notice says so."""
    registry = Registry([Entry("x", ScriptedModel("x", ["x"]))])
    for language, word in (("en", "download"), ("ja", "ダウンロード")):
        public = privacy_html(registry, language, use_gemini=False, public=True)
        assert word in public
        assert word not in privacy_html(registry, language, use_gemini=False)


def test_a_spent_budget_is_on_the_chip() -> None:
    """A spent budget is on the chip, with the time at which it starts again."""
    model = ScriptedModel("gemini", ["x"], provider="google")
    model.state = Unavailable(
        BudgetSpent(
            label="Gemini", limit="2", until="00:00 UTC", variable="GEMINI_DAILY_BUDGET_USD"
        )
    )
    for language in ("ja", "en"):
        text = chips_html(Registry([Entry("gemini", model)]), language)
        assert "00:00 UTC" in text
        assert "$2" not in text
    model.state = Ready()
    assert "00:00" not in chips_html(Registry([Entry("gemini", model)]), "en")


def test_names_of_accounts_are_escaped() -> None:
    """An account's name is text, never HTML."""
    assert "<b>" not in account_html("<b>x", "en", votes_only=True)
    assert 'href="logout' in account_html("x", "en", votes_only=False)
    assert 'href="login/huggingface' in account_html(None, "ja", votes_only=False)


def test_sentences_stand_in_one_line_as_the_language_has_it() -> None:
    """English has a space between two sentences, Japanese none; an empty one leaves no gap."""
    assert in_line("en", "One.", "", "Two.") == "One. Two."
    assert in_line("ja", "一つ。", "", "二つ。") == "一つ。二つ。"
    registry = Registry([Entry("x", ScriptedModel("x", ["x"]))])
    assert "。 " not in privacy_html(registry, "ja", use_gemini=False)
    assert "。 " not in error_line("ja", StoreError())
