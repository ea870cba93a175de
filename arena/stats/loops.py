"""Whether a text that is being written has run into a loop: its end repeats one piece.

Small models, and 4-bit builds of larger ones, fall into this, and never leave it: each repetition
makes the next one likelier. A piece may be a character, a word, a sentence or a paragraph. Its
repetitions are the same but for the spaces between: rows of a table, lines of code and lists differ
somewhere, and what counts on is never called a loop.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_PIECE: Final = 1024
"""Bytes of UTF-8; a repeated piece that is longer is not looked for."""
REPEATS: Final = 5
"""So often a piece stands at the end, at least."""
SHORTEST_LOOP: Final = 1200
"""Bytes that the repetitions take together, at least: a rule of some hundred dashes is none."""
SHORTEST_PICTURES: Final = 480
"""The same for pictures alone: a model may need a token for each byte of one, and then reaches its
budget before the other bound. People write no row of a hundred."""
LOOK_EVERY: Final = 128
"""Bytes of new text between two looks."""

_SCALES: Final = tuple(2**power for power in range(6, LONGEST_PIECE.bit_length()))
_KEPT: Final = max(SHORTEST_LOOP, REPEATS * LONGEST_PIECE)
# Emoji with all that they are put together of, and what became of half a character.
_PICTURES: Final = (
    "\u200d\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55\ufe0f\ufffd"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
_ALL_PICTURES: Final = re.compile(rf"[{_PICTURES}][{_PICTURES}\s]*")
_GAP: Final = re.compile(rf"(?<=[{_PICTURES}])\s+(?=[{_PICTURES}])")
_SPACES: Final = re.compile(r"\s+")
_MEANS: Final = re.compile(rf"[^\W\d_]|[{_PICTURES}]")


class LoopDetector:
    """Reads a text piece by piece; each look costs the same, however long the text is."""

    def __init__(self) -> None:
        self._end = b""
        self._unseen = 0

    def push(self, text: str) -> bool:
        """Take the next part of the text; whether its end is now a loop."""
        new = text.encode("utf-8", "replace")
        self._end = (self._end + new)[-_KEPT:]
        self._unseen += len(new)
        if self._unseen < LOOK_EVERY:
            return False
        self._unseen = 0
        return is_loop(self._end)


def is_loop(end: bytes) -> bool:
    """Whether the end of a text repeats one piece, exactly or but for the spaces between."""
    if period_of(end) is not None:
        return True
    even = evenly_spaced(end)
    period = period_of(even)
    # Signs alone may be a drawing, in which the spaces are what differs.
    return period is not None and _MEANS.search(_piece(even, period)) is not None


def evenly_spaced(end: bytes) -> bytes:
    """The text with one space in place of several, and none between two pictures."""
    return _SPACES.sub(" ", _GAP.sub("", end.decode("utf-8", "ignore"))).encode()


def period_of(end: bytes) -> int | None:
    """The length of the piece that the end of a text repeats, in bytes; None if it is no loop.

    A text that repeats a piece of p bytes is the same when it is moved by p. So the last bytes are
    looked for right before themselves. If there are at least p of them, the nearest place where
    they stand is p away, by the theorem of Fine and Wilf; so one search for each power of two is
    enough.
    """
    backwards = end[::-1]
    # Where even the last few bytes do not come back, nothing is repeated.
    if backwards.find(backwards[: _SCALES[0]], 1, LONGEST_PIECE + _SCALES[0]) < 0:
        return None
    for scale in _SCALES:
        # In all that is kept: in less, `find` would not take its linear algorithm.
        period = backwards.find(backwards[:scale], 1)
        if 0 < period <= scale:
            length = max(_shortest(_piece(end, period)), REPEATS * period)
            if len(end) >= length and backwards.startswith(backwards[period:length]):
                return period
    return None


def _piece(end: bytes, period: int) -> str:
    """All characters of what is repeated; it may begin within one, which then is its last."""
    return end[-period - 3 :].decode("utf-8", "ignore")


def _shortest(piece: str) -> int:
    """Bytes that the repetitions of this piece take together, at least."""
    return SHORTEST_PICTURES if _ALL_PICTURES.fullmatch(piece.lstrip()) else SHORTEST_LOOP
