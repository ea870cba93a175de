"""Failures of remote models: waits, and texts without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors.models import StreamBroken
from arena.models.remote.failure import RemoteFailure, is_sendable, redacted, retry_wait, shortened

KEY = "sk-a-key-used-nowhere-0123456789"


@given(st.text(max_size=40), st.text(max_size=3000))
def test_secrets_are_cut_out_before_the_text_is_shortened(before: str, after: str) -> None:
    """No part of a secret is left, wherever the text is cut."""
    text = redacted("x" * 1990 + before + KEY + after, "sk-", "", KEY)

    assert KEY[:5] not in text
    assert KEY[8:16] not in text
    assert len(text) <= 2000


def test_a_longer_secret_is_cut_out_whole() -> None:
    """A secret that contains another one is replaced whole."""
    assert redacted(f"a {KEY} b", "sk-a", KEY, "") == "a [key] b"


@given(st.text())
def test_a_sendable_key_is_a_header(key: str) -> None:
    """A key that may be sent is printable ASCII without spaces."""
    if is_sendable(key):
        assert key == key.strip()
        assert all("!" <= char <= "~" for char in key)


@pytest.mark.parametrize(
    ("failure", "retries", "waited", "wait"),
    [
        (RemoteFailure(StreamBroken, "", again=True), 0, 0.0, 0.5),
        (RemoteFailure(StreamBroken, "", again=True), 1, 0.5, 1.5),
        (RemoteFailure(StreamBroken, "", again=True), 2, 2.0, None),
        (RemoteFailure(StreamBroken, "", again=True, wait_s=7.9), 0, 0.0, 7.9),
        (RemoteFailure(StreamBroken, "", again=True, wait_s=5.0), 1, 5.0, None),
        (RemoteFailure(StreamBroken, ""), 0, 0.0, None),
    ],
)
def test_waits_are_bounded(
    failure: RemoteFailure, retries: int, waited: float, wait: float | None
) -> None:
    """Two repeated requests, and a limit on all waits together."""
    assert retry_wait(failure, retries=retries, waited=waited) == wait


def test_long_lists_are_shortened() -> None:
    """A few names, and how many more."""
    names = [f"m{number}" for number in range(8)]

    assert shortened(names) == "m0, m1, m2, m3, m4, m5 … (+2)"
    assert shortened(names[:2]) == "m0, m1"
    assert shortened([]) == ""
