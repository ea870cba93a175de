"""Caps and languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors import ArenaBusy, EmptyPrompt, PromptTooLong, TooManyTurns
from arena.guard.language import prompt_language
from arena.guard.limits import Limits, check_prompt, check_room, check_system_prompt, check_turns

LIMITS = Limits(prompt_chars=10, turns=2, battles=3)


@given(st.text(max_size=30))
def test_prompt_is_clean_or_refused(text: str) -> None:
    """An empty or endless prompt must never reach a model that the owner pays for."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not plain:
        with pytest.raises(EmptyPrompt):
            check_prompt(text, LIMITS)
    elif len(plain) > 10:
        with pytest.raises(PromptTooLong, match=f"{len(plain)} characters"):
            check_prompt(text, LIMITS)
    else:
        assert check_prompt(text, LIMITS) == plain


def test_system_prompt_may_be_empty() -> None:
    """An empty box means none, not an empty system message."""
    assert check_system_prompt("  ", LIMITS) is None
    assert check_system_prompt(None, LIMITS) is None
    with pytest.raises(PromptTooLong):
        check_system_prompt("x" * 11, LIMITS)


def test_turns_and_room_stop_at_their_number() -> None:
    """Off by one here is one paid request more, or one visitor turned away."""
    check_turns(1, LIMITS)
    with pytest.raises(TooManyTurns):
        check_turns(2, LIMITS)
    check_room(2, LIMITS)
    with pytest.raises(ArenaBusy):
        check_room(3, LIMITS)


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
    """Statistics by language are wrong when code words make a Japanese prompt English."""
    assert prompt_language(text, page) == language
