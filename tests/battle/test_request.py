"""What is written down of a battle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arena.battle.request import battle_flags, cost_usd, messages_for, prompt_language
from arena.domain import (
    Answer,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    Mode,
    ModelSpec,
    Side,
)
from tests.vote_samples import battle

SPEC = ModelSpec("m", "M", "cloud", "m", price_in=2.0, price_out=10.0)
DONE = Finished(
    FinishReason.STOP, prompt_tokens=1000, completion_tokens=200, thinking_tokens=300, total_s=1.0
)


def test_cost_counts_thinking_as_output() -> None:
    """1000 x 2 + (200 + 300) x 10 dollars per million: thinking is billed as output."""
    assert cost_usd(SPEC, DONE) == pytest.approx(0.007)
    assert cost_usd(SPEC, replace(DONE, thinking_tokens=None)) == pytest.approx(0.004)


def test_unknown_cost_is_not_zero() -> None:
    """An unknown price or count makes the cost unknown; a local model costs 0."""
    assert cost_usd(replace(SPEC, price_in=None), DONE) is None
    assert cost_usd(SPEC, replace(DONE, prompt_tokens=None)) is None
    local = replace(SPEC, price_in=0.0, price_out=0.0)
    assert cost_usd(local, replace(DONE, prompt_tokens=None)) == 0.0


def test_only_whole_answers_are_sent_back_as_the_models_words() -> None:
    """Only usable answers are sent back as the model's own."""
    whole = Answer("whole", DONE)
    half = Answer("half", Finished(FinishReason.CANCELLED))
    talk = (Exchange("1", whole), Exchange("2", half), Exchange("3"))
    fought = battle(conversation_a=talk, conversation_b=())
    assert [m.content for m in messages_for(fought, Side.A)] == ["1", "whole", "2", "3"]
    assert messages_for(fought, Side.B) == ()


def test_flags_say_what_the_statistics_must_know() -> None:
    """Each circumstance that the statistics filter on sets its flag."""
    stand_in = replace(SPEC, id="s", stand_in=True)
    variant = replace(SPEC, id="v", variant_of="m")
    flags = battle_flags(Mode.OPEN, {Side.A: stand_in, Side.B: variant}, "Be brief.", edited=True)
    assert flags == {
        Flag.OPEN_MODE, Flag.STAND_IN, Flag.VARIANT, Flag.SYSTEM_PROMPT, Flag.PRESET_EDITED,
    }  # fmt: skip
    assert battle_flags(Mode.BLIND, {Side.A: SPEC, Side.B: SPEC}, None, edited=False) == set()


@pytest.mark.parametrize(
    ("text", "page", "language"),
    [
        ("forループの使い方", "en", "ja"),
        ("Explain for loops", "ja", "en"),
        ("証明", "ja", "ja"),
        ("证明", "en", "other"),
        ("Объясни", "en", "other"),
        ("2+2=?", "ja", "other"),
        ("café au lait", "en", "en"),
    ],
)
def test_language_of_a_prompt(text: str, page: str, language: str) -> None:
    """The script decides, whatever English words a Japanese prompt holds."""
    assert prompt_language(text, page) == language
