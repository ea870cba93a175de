"""The Models tab: what visitors see, and what is the owner's alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

import pytest

from arena.errors.models import KeyMissing, KeyRejected
from arena.models.base import Expenses, Ready, Unavailable
from arena.models.registry import Entry, Registry
from arena.models.throughput import Throughput
from arena.store.changes import CopyState
from arena.store.queries import Counts
from arena.ui.cards import value_words
from arena.ui.i18n import LANGUAGES, say, table
from arena.ui.model_cards import models_html, votes_html
from arena.ui.owner_cards import store_html
from tests.markup import Balance, plain
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


PHI = {
    "device": "cpu", "parameters": "3836021856", "layers": "32", "heads": "24", "kv_heads": "8",
    "context": "131072", "original_context": "4096", "kv_bytes_per_token": "131072",
    "memory_mib": "7316", "load_seconds": "12.4", "revision": "0123456", "other": "<b>x</b>",
}  # fmt: skip


class Contestant(ScriptedModel):
    """One with any spec, that may send questions away."""

    sends_to = ""

    def __init__(self, slug: str, facts: dict[str, str], **spec: object) -> None:
        super().__init__(slug, ["x"])
        self._spec = replace(self._spec, **spec)  # type: ignore[arg-type]
        self.state = Ready(facts)


def shown(*models: Contestant, language: str = "en", owner: bool = False) -> str:
    """The tab of these models."""
    entries = [Entry(model.slug, model) for model in models]
    html = models_html(Registry(entries), language, owner=owner)
    Balance(html)
    return html


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_person_asks_comes_before_the_facts(language: str) -> None:
    """Sentence, state, place, price and memory stand outside of the fold, in this order."""
    html = shown(Contestant("phi", PHI, label="Phi"), language=language)
    first, rest = html.split("<details")
    names = [say(language, f"models.{name}") for name in ("where", "price", "memory")]
    places = [first.index(mark) for mark in ('class="what"', 'class="light ok"')]
    places += [first.index(f">{name}<") for name in names]
    assert places == sorted(places)
    assert 'class="kv"' in first
    for key in ("layers", "heads", "revision", "context"):
        name = f">{say(language, f'fact.{key}')}<"
        assert name in rest
        assert name not in first


def test_numbers_have_units_and_separators() -> None:
    """Numbers are written as people read them; free-form facts stay text."""
    text = plain(shown(Contestant("phi", PHI, label="Phi")))
    for told in ("3.8 billion", "3,836,021,856", "131,072 tokens", "7,316 MiB", "12.4 s",
                 "7.14 GiB, and 128 KiB for each token"):  # fmt: skip
        assert told in text
    assert "38 億" in plain(shown(Contestant("phi", PHI), language="ja"))
    # A commit that has digits only is no number of things.
    assert value_words("fact.revision", "0123456", "en") == "0123456"
    assert "<b>x" not in shown(Contestant("phi", PHI))


def test_terms_are_explained_where_they_stand() -> None:
    """Each explained term is a button that names its explanation; no id is there twice."""
    models = [Contestant(slug, PHI, label=slug) for slug in ("phi", "smol")]
    html = shown(*models, owner=True)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    described = re.findall(r'aria-describedby="([^"]+)"', html)
    assert described
    assert set(described) <= set(ids)
    for name in ("kv.cache", "fact.kv_heads", "fact.context", "fact.original_context"):
        assert escape(say("en", f"term.{name}")) in html


def test_every_explanation_belongs_to_a_name() -> None:
    """No text explains a row that is not there."""
    for language in LANGUAGES:
        texts = table(language)
        told = [key.removeprefix("term.") for key in texts if key.startswith("term.")]
        assert told
        assert [key for key in told if key not in texts] == []


def test_where_it_runs_and_what_it_costs() -> None:
    """Google, another machine and an engine on this one are told apart; so are free and unknown."""
    google = Contestant("gem", {}, provider="google", price_in=0.3, price_out=2.5)
    far = Contestant("far", {}, provider="openai-compatible", price_in=None)
    far.sends_to = "vllm.example.org:8000"
    near = Contestant("near", {}, provider="openai-compatible")
    near.sends_to = "127.0.0.1:8000"
    variant = Contestant("phi-steps", PHI, variant_of="phi", system_prompt="Think.", id="steps")
    cards = [plain(part) for part in shown(
        google, far, near, Contestant("phi", PHI, label="Phi"), variant
    ).split("<section")[1:]]  # fmt: skip
    for card, told in zip(cards, (
        ("at Google; your question is sent there", "in $0.3 / out $2.5 per million tokens"),
        ("at vllm.example.org:8000; your question is sent there", "not known"),
        ("in an engine on this machine", "Price A provider counts tokens"),
        ("on this machine: CPU", "nothing; it runs here"),
        ("Phi again, told by a system prompt how to answer.", "shared with Phi"),
    ), strict=True):  # fmt: skip
        for text in told:
            assert text in card


def test_the_owners_part_is_the_owners() -> None:
    """It is there for the owner, says that nothing is to be done, and no visitor gets any of it."""
    model = Contestant("phi", PHI)
    owners = shown(model, owner=True)
    assert owners.count("data-owner") == 1
    assert say("en", "owner.nothing") in owners
    visitors = shown(model)
    assert owners.endswith(visitors)
    assert "data-owner" not in visitors
    assert say("en", "owner.title") not in visitors
