"""When answers are shown at an even pace, so that no side tells its own timing. Pure.

The clock ticks ten times a second, and at each tick the same number of characters of both texts is
shown. That number follows from what is the same with the sides swapped:

- While both are being written, from the shorter of the two texts so far: the slower side leads,
  and the display is half a second behind it. Nothing is shown until both have text.
- Where the shorter answer has ended, the longer one goes on at nine tenths of the pace until then,
  although it may be there already. If it is not, the display waits for it.
- Where that came too soon to tell a pace, or one side has no text at all (it failed, or the other
  one was asked alone), the rest is shown at once when both have ended.

So if the rest has arrived when it is due, what is sent and when is the same whichever of the two
arrivals belongs to which text. An answer's end is shown, like its error, when both are shown whole.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass

TICK_SECONDS = 0.1
LAG_TICKS = 5
"""How far the display is behind the slower side; chunks of less than that are smoothed out."""
PAUSE_TICKS = 10
"""A pause longer than this does not slow down what comes after it."""
REST_SHARE = 0.9
"""Slower than before, so that a longer text that is the slower one too does not run dry."""
EVIDENCE_CHARS = 40
EVIDENCE_TICKS = 3
"""An answer that is shorter than this, or came sooner, does not tell a pace."""
ROUND_TICKS = 20
"""Where one side has no text, the end comes at a multiple of this: it is the other one's alone."""
REACH_CHARS = 32
"""How much of a text a cut may leave out to be at a good place."""
_MARKS = frozenset("\\`*_~$!<[#|")
_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one side is; a side that is not asked has ended without text."""

    length: int = 0
    ended: bool = True


class Cadence:
    """How much is shown of both texts, tick by tick.

    Attributes:
        at: characters; the fraction is due at the next tick.
        ticks: since the prompt was sent.
        rest_pace: characters per tick past the shorter answer's end; 0 until then.
        done: both are shown whole.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self.ticks = 0
        self.rest_pace = 0.0
        self.done = False
        # The length of each text at each tick since it began, without its long pauses.
        self._lengths: tuple[list[int], list[int]] = ([], [])

    @property
    def shown(self) -> int:
        """How many characters of each text are shown."""
        return int(self.at)

    def step(self, one: Progress, other: Progress) -> None:
        """One tick; the order of the two makes no difference."""
        self.ticks += 1
        for side, lengths in zip((one, other), self._lengths, strict=True):
            if side.length and lengths[-PAUSE_TICKS:] != [side.length] * PAUSE_TICKS:
                lengths.append(side.length)
        shortest = min(one.length, other.length)
        final = any(side.ended and side.length == shortest for side in (one, other))
        # The last character waits: what follows it may be a part of it.
        common = max(0, shortest - 1)
        if self.rest_pace or (final and self.at >= common):
            self._show_rest(one, other)
        else:
            backlog = common - self.at
            chunk = backlog / LAG_TICKS
            if final:
                chunk = max(chunk, self._pace(shortest))
            self.at += min(chunk, backlog)

    def _pace(self, length: int) -> float:
        """Of the slower side until it had that much; infinite where that came too soon to tell."""
        paces = [math.inf]
        for lengths in self._lengths:
            ticks = bisect_left(lengths, length)
            if length >= EVIDENCE_CHARS and ticks >= EVIDENCE_TICKS:
                paces.append(REST_SHARE * (length - lengths[0]) / ticks)
        return min(paces)

    def _show_rest(self, one: Progress, other: Progress) -> None:
        """The end of the longer text, at a pace that does not depend on it."""
        shortest, longest = sorted((one.length, other.length))
        ended = one.ended and other.ended
        if not self.rest_pace:
            pace = self._pace(shortest)
            early = not ended or (shortest == 0 and self.ticks % ROUND_TICKS > 0)
            if pace == math.inf and early:
                return
            self.rest_pace = pace
        arrived = longest if ended else longest - 1
        self.at = max(self.at, min(self.at + self.rest_pace, arrived))
        self.done = ended and self.at >= longest


def cut(text: str, count: int) -> str:
    """At most `count` characters from the beginning of a text; all of a text that has no more.

    The cut is not within what is read as one character (an emoji of several code points, a letter
    with its accents), nor, within reach, in a word or behind a mark of Markdown, which alone would
    be shown as itself. It depends on the first `count + 1` characters only, and never goes back
    when `count` grows.
    """
    if count >= len(text):
        return text
    places = range(count, max(0, count - REACH_CHARS), -1)
    good = next((at for at in places if _good_cut(text, at)), None)
    if good is None and count > REACH_CHARS:
        good = next((at for at in places if not _one_character(text, at)), count)
    return text[: good or 0]


def _good_cut(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    in_word = before.isalnum() and after.isalnum() and max(before, after) < "\u2e80"
    return not (in_word or before in _MARKS or _one_character(text, at))


def _one_character(text: str, at: int) -> bool:
    """Whether the code points on both sides of that place are read as one character."""
    before, after = text[at - 1], text[at]
    if after < "\u0300":
        return before == "\r" and after == "\n"
    extends = (
        unicodedata.category(after)[0] == "M"
        or after in (_JOINER, "\uff9e", "\uff9f")
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    )
    return extends or before == _JOINER or _one_flag(text, at) or _one_syllable(before, after)


def _one_flag(text: str, at: int) -> bool:
    """A flag is two letters of its own alphabet; in a row of them the place must be an odd one."""
    if not _flag_letter(text[at]):
        return False
    start = at
    while start > max(0, at - REACH_CHARS) and _flag_letter(text[start - 1]):
        start -= 1
    return (at - start) % 2 == 1


def _flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _one_syllable(before: str, after: str) -> bool:
    """Korean that is written as single letters."""
    if "\u1160" <= after <= "\u11ff":
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    leading = "\u1100" <= before <= "\u115f"
    return leading and ("\u1100" <= after <= "\u115f" or "\uac00" <= after <= "\ud7a3")
