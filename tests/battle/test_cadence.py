"""The even pace: what is shown, and when, does not tell which arrival belongs to which text.

The guarantee, in three parts. It holds for all texts and arrivals; the examples are drawn.

1. The order of the sides makes no difference: with the sides swapped, arrivals and all, what is
   sent is the same at the same time, with the panes swapped.
2. Which arrival belongs to which text makes no difference while what is due has arrived: with the
   arrivals alone swapped, what is sent is the same at the same time, and so depends on the two
   texts alone.
3. Where the rest of the longer text is not there when it is due, both panes wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, pairwise
from math import inf

from hypothesis import event, given, settings
from hypothesis import strategies as st

from arena.battle.cadence import (
    EVIDENCE_CHARS,
    LAG_TICKS,
    ROUND_TICKS,
    Cadence,
    Progress,
    cut,
)

LONGEST = 10_000


@dataclass(frozen=True)
class Arrival:
    """How one model writes, whatever its text: its first chunk, and each next one after a gap.

    The chunks repeat; the text ends with its last one.
    """

    first: int
    chunks: tuple[tuple[int, int], ...]

    def progress(self, length: int) -> Iterator[Progress]:
        """How far a text of that length is, tick by tick, for ever."""
        came = 0
        for _ in range(self.first):
            yield Progress(0, ended=False)
        for gap, size in cycle(self.chunks):
            came += size
            if came >= length:
                break
            for _ in range(gap):
                yield Progress(came, ended=False)
        while True:
            yield Progress(length, ended=True)


@dataclass
class Show:
    """What was shown: characters at each tick, until both texts are whole."""

    ticks: list[int]
    awaited: bool = False
    """The rest of the longer text was not there when it was due."""
    unpaced: bool = False
    """The shorter text came too soon to tell a pace."""


def show(one: tuple[Arrival, int], other: tuple[Arrival, int]) -> Show:
    """Two texts by their arrival and length."""
    found, cadence = Show([]), Cadence()
    sides = (who.progress(length) for who, length in (one, other))
    for a, b in zip(*sides, strict=True):
        before = cadence.at
        cadence.step(a, b)
        found.unpaced |= cadence.rest_pace == inf
        if cadence.rest_pace and not cadence.done:
            found.awaited |= cadence.at < before + cadence.rest_pace
        found.ticks.append(cadence.shown)
        if cadence.done:
            return found
        assert len(found.ticks) < LONGEST, "the texts are never shown whole"
    raise AssertionError


gaps = st.tuples(st.integers(1, 30), st.integers(10, 300))
arrivals = st.builds(Arrival, st.integers(0, 60), st.lists(gaps, min_size=1, max_size=4).map(tuple))
lengths = st.integers(0, 900)
EVEN = st.builds(
    Arrival, st.integers(0, 60), st.tuples(st.tuples(st.integers(1, 9), st.integers(3, 90)))
)
SMOOTH = st.builds(
    Arrival, st.integers(0, 60), st.tuples(st.tuples(st.integers(1, 4), st.integers(3, 40)))
)


@given(arrivals, arrivals, lengths, lengths)
def test_the_order_of_the_sides_makes_no_difference(
    one: Arrival, other: Arrival, short: int, long: int
) -> None:
    """The number of characters is a symmetric function of both sides' progress."""
    assert show((one, short), (other, long)) == show((other, long), (one, short))


@settings(max_examples=300)
@given(EVEN | arrivals, EVEN | arrivals, st.integers(EVIDENCE_CHARS, 900), st.integers(0, 900))
def test_which_arrival_belongs_to_which_text_makes_no_difference(
    one: Arrival, other: Arrival, short: int, more: int
) -> None:
    """While the rest is there when it is due, the same is sent at the same time."""
    straight = show((one, short), (other, short + more))
    swapped = show((other, short), (one, short + more))
    if not any(found.awaited or found.unpaced for found in (straight, swapped)):
        event("compared")
        assert straight.ticks == swapped.ticks


@settings(max_examples=100)
@given(SMOOTH, SMOOTH, st.integers(EVIDENCE_CHARS, 900), st.integers(0, 900))
def test_a_model_that_writes_evenly_is_never_waited_for(
    one: Arrival, other: Arrival, short: int, more: int
) -> None:
    """Then the rest is there when it is due, so the second guarantee holds."""
    assert not show((one, short), (other, short + more)).awaited


@given(arrivals, arrivals, lengths, lengths)
def test_nothing_is_shown_that_has_not_come(
    one: Arrival, other: Arrival, short: int, long: int
) -> None:
    """No text is ahead of its side; it never goes back, and both ends come when both have ended."""
    ticks = show((one, short), (other, long)).ticks
    assert ticks == sorted(ticks)
    assert ticks[-1] == max(short, long)
    for who, length in ((one, short), (other, long)):
        for count, came in zip(ticks, who.progress(length), strict=False):
            assert min(count, length) <= came.length, "what has not come"
            assert min(count, length) < came.length or came.ended or not count, "half a character"
        assert came.ended


@given(EVEN, st.integers(1, 900))
def test_a_side_alone_is_shown_whole_at_a_round_time(who: Arrival, length: int) -> None:
    """A retry, or a side whose other one wrote nothing: neither first text nor speed shows."""
    ticks = show((who, length), (Arrival(0, ((1, 1),)), 0)).ticks
    assert set(ticks[:-1]) <= {0}
    assert len(ticks) % ROUND_TICKS == 0
    came = [progress.ended for progress, _ in zip(who.progress(length), ticks, strict=False)]
    assert came.index(True) >= len(ticks) - ROUND_TICKS, "no later than needed"


def test_the_wait_is_half_a_second_behind_the_slower_side() -> None:
    """The display follows a steady slower side, and the rest goes on at nearly its pace."""
    slow, fast = Arrival(10, ((1, 8),)), Arrival(2, ((3, 90),))
    ticks = show((slow, 400), (fast, 1000)).ticks
    came = [progress.length for progress, _ in zip(slow.progress(400), ticks, strict=False)]
    behind = [came[tick] - ticks[tick] for tick in range(30, 50)]
    assert max(behind) <= 8 * (LAG_TICKS + 1)
    rest = [b - a for a, b in pairwise(ticks) if a > 400][:-1]
    assert set(rest) <= {6, 7, 8}, "nine tenths of eight, less what the start took"


WHOLE = ("か\u3099", "e\u0301", "👍🏽", "👨\u200d👩\u200d👧", "🇯🇵", "❤️", "각",
         "🏴\U000e0067\U000e0062\U000e007f", "ｶﾞ")  # fmt: skip
PIECES = st.sampled_from(
    [*WHOLE, "a", "word", " ", "\n", "\r\n", "日", "が", "**", "`", "$", "\\(", "![", "<"]
)


@given(st.lists(PIECES, max_size=60))
def test_a_cut_is_between_characters_and_never_goes_back(pieces: list[str]) -> None:
    """No emoji, accent, flag or syllable is halved, whatever the count; nothing is taken back."""
    text = "".join(pieces)
    ends = {len("".join(pieces[:number])) for number in range(len(pieces) + 1)}
    inner = {
        end for number, piece in enumerate(pieces) if piece in WHOLE
        for end in range(len("".join(pieces[:number])) + 1, len("".join(pieces[: number + 1])))
    }  # fmt: skip
    assert inner.isdisjoint(ends)
    before = 0
    for count in range(len(text) + 2):
        shown = cut(text, count)
        assert text.startswith(shown)
        assert before <= len(shown) <= count
        assert len(shown) not in inner
        assert shown == cut(text[: count + 1], count), "what comes later makes no difference"
        before = len(shown)
    assert shown == text


def test_a_cut_leaves_words_and_marks_whole() -> None:
    """A half word waits, and so does a mark of Markdown, which alone would be shown as itself."""
    text = "A lighthouse **stands** alone."
    assert [cut(text, count) for count in (8, 12, 13, 15, 16, 22)] == [
        "A ", "A lighthouse", "A lighthouse ", "A lighthouse ", "A lighthouse ",
        "A lighthouse **stands",
    ]  # fmt: skip
    assert cut("x" * 100, 50) == "x" * 50, "a word without an end is no reason to wait"
    assert cut("灯台は", 2) == "灯台"
