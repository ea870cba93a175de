"""The Models tab: what visitors see, and what is the owner's alone."""

from __future__ import annotations

from html import escape

import pytest

from arena.errors.models import KeyMissing, KeyRejected
from arena.models.base import Expenses, Unavailable
from arena.models.registry import Entry, Registry
from arena.models.throughput import Throughput
from arena.store.changes import CopyState
from arena.store.queries import Counts
from arena.ui.i18n import LANGUAGES, say
from arena.ui.model_cards import models_html, store_html, votes_html
from tests.scripted import ScriptedModel


class BusyModel(ScriptedModel):
    """One that counts tokens and money."""

    answering = 0
    spent = 0.0

    def throughput(self) -> Throughput:
        return Throughput(self.answering, 12.5, 31.25)

    def expenses(self) -> Expenses:
        return Expenses(self.spent, 2.0)

    async def refresh(self) -> None:
        pass


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_moves_with_a_battle_is_on_the_owners_cards_alone(language: str) -> None:
    """Running answers and the day's cost change no byte that a visitor sees."""
    model = BusyModel("x", ["x"])
    registry = Registry([Entry("x", model)])
    before = models_html(registry, language)
    model.answering, model.spent = 2, 0.75
    assert models_html(registry, language) == before
    assert "12.5" not in before
    assert "31.2" not in before
    owners = models_html(registry, language, owner=True)
    reserved = escape(say(language, "money.reserved"))
    for told in ("12.5 tok/s", "31.2 tok/s", "$0.7500", "$2", reserved):
        assert told in owners


def test_remedies_are_the_owners() -> None:
    """What a variable should be set to is on the owner's card, not on a visitor's."""
    model = ScriptedModel("gemini", ["x"])
    model.state = Unavailable(KeyRejected(variable="GEMINI_API_KEY"))
    registry = Registry([Entry("gemini", model)])
    assert "GEMINI_API_KEY" not in models_html(registry, "en")
    assert "GEMINI_API_KEY" in models_html(registry, "en", owner=True)


def test_another_try_is_offered_where_it_can_help() -> None:
    """A key that was refused may be good again; one that is not set is read at the next start."""
    model = ScriptedModel("gemini", ["x"])
    registry = Registry([Entry("gemini", model)])
    model.state = Unavailable(KeyRejected(variable="GEMINI_API_KEY"))
    assert 'data-slug="gemini"' in models_html(registry, "en", owner=True)
    assert "data-slug" not in models_html(registry, "en")
    model.state = Unavailable(KeyMissing(label="Gemini", variable="GEMINI_API_KEY"))
    assert "data-slug" not in models_html(registry, "en", owner=True)


def test_a_battle_without_a_vote_is_no_public_number() -> None:
    """Visitors read how many votes there are; battles, place and copy are the owner's."""
    assert "7" in votes_html(7, "en")
    owners = store_html("/srv/arena.db", Counts(9, 7), CopyState(), "en", 0.0)
    for told in ("9", "7", "/srv/arena.db"):
        assert told in owners
