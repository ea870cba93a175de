"""Whether a text that is being written has run into a loop: its end repeats one piece exactly.

Small models, and 4-bit builds of larger ones, fall into this, and never leave it: each repetition
makes the next one likelier. A piece may be a character, a word, a sentence or a paragraph. Exact
repetition alone counts: the rows of a table, lines of code and lists differ somewhere.
"""

from __future__ import annotations

from typing import Final

LONGEST_PIECE: Final = 1024
"""Bytes of UTF-8; a repeated piece that is longer is not looked for."""
REPEATS: Final = 5
"""So often a piece stands at the end, at least."""
SHORTEST_LOOP: Final = 1200
"""Bytes that the repetitions take together, at least: a rule of some hundred dashes is none."""
LOOK_EVERY: Final = 256
"""Bytes of new text between two looks."""

_SCALES: Final = tuple(2**power for power in range(6, LONGEST_PIECE.bit_length()))
_KEPT: Final = max(SHORTEST_LOOP, REPEATS * LONGEST_PIECE)


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
        return period_of(self._end) is not None


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
            length = max(SHORTEST_LOOP, REPEATS * period)
            if len(end) >= length and backwards.startswith(backwards[period:length]):
                return period
    return None
