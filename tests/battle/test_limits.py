"""Caps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.limits import (
    DAY,
    MINUTE,
    UNKNOWN,
    Visitor,
    address_hash,
    check_own,
    check_prompt,
    check_system_prompt,
    check_tokens,
    check_turns,
    estimated_tokens,
    rate_error,
    rate_windows,
)
from arena.domain import Message, Role
from arena.errors import battle as errors
from arena.settings import Limits
from arena.store.usage import Refusal

LIMITS = Limits(prompt_chars=10, turns=2, battles=3, prompt_tokens=8, visitor_battles=2)
NOW = datetime(2026, 11, 24, 22, 30, 15, tzinfo=UTC)


@given(st.text(max_size=30))
def test_prompt_is_clean_or_refused(text: str) -> None:
    """A prompt is stripped with plain newlines, or refused as empty or too long."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not plain:
        with pytest.raises(errors.EmptyPrompt):
            check_prompt(text, LIMITS)
    elif len(plain) > 10:
        with pytest.raises(errors.PromptTooLong, match=f"{len(plain)} characters"):
            check_prompt(text, LIMITS)
    else:
        assert check_prompt(text, LIMITS) == plain


def test_system_prompt_may_be_empty() -> None:
    """An empty system prompt is none."""
    assert check_system_prompt("  ", LIMITS) is None
    assert check_system_prompt(None, LIMITS) is None
    with pytest.raises(errors.PromptTooLong):
        check_system_prompt("x" * 11, LIMITS)


def test_turns_and_room_stop_at_their_number() -> None:
    """Each cap allows exactly its number."""
    check_turns(1, LIMITS)
    with pytest.raises(errors.TooManyTurns):
        check_turns(2, LIMITS)
    check_own(1, LIMITS)
    with pytest.raises(errors.OneAtATime):
        check_own(2, LIMITS)


def test_tokens_are_estimated_for_both_scripts() -> None:
    """Japanese counts a token a character, Latin text one for four characters."""
    assert estimated_tokens("") == 0
    assert estimated_tokens("abcde") == 2
    assert estimated_tokens("偶数と偶数") == 5
    turns = [Message(Role.USER, "偶数と偶数"), Message(Role.ASSISTANT, "abcdefgh")]
    check_tokens([*turns, Message(Role.USER, "a")], LIMITS)
    with pytest.raises(errors.TooManyTokens, match="about 9 tokens; at most 8"):
        check_tokens([*turns, Message(Role.USER, "abcde")], LIMITS)


def test_a_prompt_counts_for_the_visitor_and_for_an_address() -> None:
    """A prompt counts for its visitor, and for an address with a larger allowance."""
    limits = Limits(battles_per_minute=3, battles_per_day=40, visitors_per_address=5)
    shared = rate_windows(Visitor("v" * 64, "a" * 64), limits)
    caps = [(MINUTE, 3), (DAY, 40), (MINUTE, 15), (DAY, 200)]
    assert [(r.seconds, r.limit) for r in shared] == caps
    unknown = rate_windows(Visitor("v" * 64), limits)
    assert [(r.seconds, r.limit) for r in unknown] == caps
    other = rate_windows(Visitor("w" * 64), limits)
    assert [r.key for r in other[2:]] == [r.key for r in unknown[2:]] != [r.key for r in shared[2:]]
    assert len({(r.key, r.seconds) for r in shared}) == 4
    assert all(len(r.key) <= 80 for r in shared)


def test_each_refusal_says_when_to_come_back() -> None:
    """A full minute is told in seconds, a full day in hours and as a time of day."""
    minute, day, *_ = rate_windows(Visitor("v" * 64), LIMITS)
    soon = rate_error(Refusal(minute, NOW + timedelta(seconds=44.2)), NOW)
    assert isinstance(soon, errors.RateExceeded)
    assert "45 s" in soon.remedy_text
    late = rate_error(Refusal(day, datetime(2026, 11, 25, tzinfo=UTC)), NOW)
    assert isinstance(late, errors.DayUsedUp)
    assert "1 h 30 min" in late.remedy_text
    assert "00:00 UTC" in late.remedy_text


def test_an_address_leads_back_to_nobody() -> None:
    """An address's hash depends on the salt and the day."""
    salt = "s" * 32
    one = address_hash(salt, "8.8.8.8", NOW)
    assert len(one) == 64
    assert one != address_hash(salt, "8.8.4.4", NOW)
    assert one != address_hash("t" * 32, "8.8.8.8", NOW)
    assert one != address_hash(salt, "8.8.8.8", NOW + timedelta(days=1))
    assert one == address_hash(salt, "8.8.8.8", NOW + timedelta(minutes=5))


@pytest.mark.parametrize("address", ["", "testclient", "8.8.8.8, 1.1.1.1", "8.8.8", "\U0001f600"])
def test_what_is_no_address_is_one_address(address: str) -> None:
    """All who have no address share one, so a client can't escape the caps by having none."""
    assert address_hash("s" * 32, address, NOW) == UNKNOWN


def test_a_private_address_counts_as_one() -> None:
    """A machine of the same network, and this machine itself, is an address like any other."""
    machines = ("127.0.0.1", "10.16.3.80", "::1", "fe80::1", "fe80::2", "203.0.113.9")
    hashes = {address_hash("s" * 32, address, NOW) for address in machines}
    assert len(hashes - {UNKNOWN}) == len(machines)
    mapped = address_hash("s" * 32, "::ffff:8.8.8.8", NOW)
    assert mapped == address_hash("s" * 32, "8.8.8.8", NOW)


def test_a_household_is_one_address() -> None:
    """Of an IPv6 address the first 64 bits count."""
    first = address_hash("s" * 32, "2a00:1450:4001:82a::200e", NOW)
    assert first
    assert first == address_hash("s" * 32, "2a00:1450:4001:82a:ffff::1", NOW)
    assert first != address_hash("s" * 32, "2a00:1450:4001:82b::200e", NOW)
