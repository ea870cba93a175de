"""What may lead to a person is masked, and what only looks like it is not."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.dataset.pii import Masker
from arena.domain import Side
from tests.vote_samples import battles

MASKED = [
    # e-mail
    ("taro@example.co.jp", "[email]"),
    ("連絡先はtaro.yamada+a@example.comです", "連絡先は[email]です"),
    ("taro＠example．jp", "[email]"),
    ("a@b.io, c@d.io", "[email], [email]"),
    # telephones of Japan
    ("03-1234-5678", "[phone]"),
    ("電話は090-1234-5678まで", "電話は[phone]まで"),
    ("09012345678です", "[phone]です"),
    ("０９０－１２３４－５６７８", "[phone]"),
    ("03(1234)5678", "[phone]"),
    ("(03) 1234-5678", "[phone]"),
    ("0120-123-456", "[phone]"),
    ("0312345678", "[phone]"),
    # telephones of other places
    ("+81 90-1234-5678", "[phone]"),
    ("+1 (555) 123-4567", "[phone]"),
    ("Call (555) 123-4567 now", "Call [phone] now"),
    ("555-123-4567", "[phone]"),
    ("1-555-123-4567", "[phone]"),
    ("+442071234567", "[phone]"),
    # addresses
    ("192.168.1.20", "[ip]"),
    ("サーバーは203.0.113.7です", "サーバーは[ip]です"),
    ("203.0.113.7:8080", "[ip]:8080"),
    ("2001:db8::ff00:42:8329", "[ip]"),
    ("fe80::1", "[ip]"),
    # cards: test numbers of the networks
    ("4111 1111 1111 1111", "[card]"),
    ("番号は4111-1111-1111-1111。", "番号は[card]。"),
    ("378282246310005", "[card]"),
    ("４１１１１１１１１１１１１１１１", "[card]"),
    # URLs
    ("https://taro:hunter2@example.com/x", "https://[credentials]@example.com/x"),
    ("postgresql://u:p@db/x", "postgresql://[credentials]@db/x"),
    ("https://ghp_secret@github.com/a/b", "https://[credentials]@github.com/a/b"),
]
KEPT = [
    "2025-06-01 12:30:15",
    "3.14159265358979",
    "1234567890123456",  # the check digit is wrong
    "127.0.0.1:7860 and 0.0.0.0 and ::1",
    "std::vector<int> a::b",
    "999.999.999.999",
    "@decorator",
    "a @ b",
    "https://example.com/a@b",
    "1-2-3",
    "0.12-345-678",
    "偶数は2n、奇数は2n+1です。",
    "x = 100-200-300",
    "ISBN 978-4-00-310101-8",
    "1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144",
    "def f(x): return x[1:2:3]",
    "00:1a:2b:3c:4d:5e",
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_what_may_lead_to_a_person_is_masked(text: str, masked: str) -> None:
    """Telephone numbers, addresses and cards are masked in every usual spelling."""
    masker = Masker()
    assert masker.text(text) == masked
    assert sum(masker.counts.values()) == masked.count("[")


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_it_is_kept(text: str) -> None:
    """Dates, sums and the like stay."""
    masker = Masker()
    assert masker.text(text) == text
    assert not masker.counts


@given(st.lists(st.sampled_from([text for text, _ in MASKED]), min_size=1, max_size=3))
def test_masking_again_changes_nothing(texts: list[str]) -> None:
    """Masking a masked text changes nothing, and places beside each other are all found."""
    masker = Masker()
    once = masker.text("、".join(texts))
    assert masker.text(once) == once
    assert not any(text in once for text in texts)


@settings(deadline=None)  # a machine that is busy with something else is no failure
@given(battles)
def test_masked_battle_keeps_its_form(battle: object) -> None:
    """Turns, failed attempts and their facts stay; only texts change."""
    masked = Masker().battle(battle)  # type: ignore[arg-type]
    for side in Side:
        before, after = battle.conversation(side), masked.conversation(side)  # type: ignore[attr-defined]
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert (one.answer is None) == (other.answer is None)
            assert [a.finished for a in one.failed] == [a.finished for a in other.failed]


@pytest.mark.parametrize(
    "piece", ["1", "1 ", "a", "a.", "a@", "a@a.", "0-", "1.", "1:", "+1 ", "(", "a://", "1-", "０"]
)
def test_hostile_text_takes_no_time(piece: str) -> None:
    """The time grows with the text's length, whatever the text is.

    The processor time is bounded only to end the test: it is hundreds of times what the text takes,
    and a fraction of what it would take by the square of its length.
    """

    def too_long(*_: object) -> None:
        pytest.fail("not linear")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, 30)
    try:
        Masker().text(piece * (200_000 // len(piece)))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
