"""What of a model's Markdown may reach a browser.

An image in an answer is fetched by the visitor's browser (a tracker, and a hint at who wrote it),
and raw HTML can restyle the page. Both are shown as the text they are. Code stays untouched, so
that it can be copied, but only where every reading of the text agrees that it is code; elsewhere
`<b>` becomes `&lt;b>`. The browser's sanitizer and the page's Content-Security-Policy stand behind
this.

The work grows with the text's length alone, and a text that grows is not read again from its
start: see `MarkdownGuard`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from arena.ui.markdown_blocks import (
    FENCE_CHARS,
    PROSE,
    Fences,
    calm,
    may_be_fence,
    same_until,
)
from arena.ui.markdown_dollars import MARK, MathsLines
from arena.ui.markdown_prose import FORMULA_CHARS, LINE_CHARS, URL_CHARS, guard_prose, split_place

# What the end of a text is can depend on what comes next, but no more of it than this.
_UNDECIDED = max(FORMULA_CHARS, LINE_CHARS, FENCE_CHARS) + URL_CHARS
PIECE_CHARS = 2000
"""How much new text is read before other work gets its turn; some milliseconds at the worst."""
_KEPT_TEXTS = 64
OPEN_FORMULAS = 50
"""A text with more formulas that begin and never end has none: the browser would look for each end
from its beginning to the end of the text, and again for each, and so would stand still."""
_FORMULA_BEGINS = ((r"\(", r"\)"), (r"\[", r"\]"))


def safe_markdown(text: str) -> str:
    """The same text with images and raw HTML made visible instead of active, and formulas marked.

    Works on unfinished text too: an open fence runs to the end. Line ends become newlines.
    Applying it to its own result changes nothing more.
    """
    return MarkdownGuard().safe(text)


@dataclass(frozen=True, slots=True)
class _Position:
    """What is known where a line begins, or in the middle of a long one.

    Attributes:
        fences: what may be open.
        ticks: lengths of backtick runs of this paragraph that may have opened code.
        in_code: of the line that goes on here, whether it is trusted code; None where one begins.
        listed: a list is open.
        maths: of the line that goes on here, whether single dollars may be delimiters.
    """

    fences: Fences = field(default_factory=Fences)
    ticks: frozenset[int] = frozenset()
    in_code: bool | None = None
    listed: bool = False
    maths: bool = False


@dataclass(slots=True)
class MarkdownGuard:
    """`safe_markdown` of a text that grows: only what is new, and a bounded end, is read again."""

    _source: str = ""
    _done: int = 0
    _before: str = ""
    _position: _Position = field(default_factory=_Position)
    _shown: str = ""

    def safe(self, text: str) -> str:
        """The guarded text; the same as of a new guard, whatever this one was told before."""
        text = plain_text(text)
        if text == self._source:
            return self._shown
        if text[: self._done] != self._source[: self._done]:
            self._done, self._before, self._position = 0, "", _Position()
        self._source = text
        reader = _Reader(text[self._done :], self._position)
        shown = reader.read()
        self._shown = without_open_formulas(self._before + shown)
        if reader.decided is not None:
            read, written, self._position = reader.decided
            self._done += read
            self._before += shown[:written]
        return self._shown

    def unread(self, text: str) -> int:
        """How many characters of a text it would have to read."""
        known = text[: self._done] == self._source[: self._done]
        return len(text) - self._done if known else len(text)


class GuardedTexts:
    """The guards of one page's texts, by their places; the oldest are forgotten."""

    def __init__(self) -> None:
        self._guards: OrderedDict[str, MarkdownGuard] = OrderedDict()

    def safe(self, text: str, place: str) -> str:
        """The guarded text of a place on the page, e.g. `a1`, the second answer of side a."""
        return self._guard(place).safe(text)

    def _guard(self, place: str) -> MarkdownGuard:
        guard = self._guards.setdefault(place, MarkdownGuard())
        self._guards.move_to_end(place)
        while len(self._guards) > _KEPT_TEXTS:
            self._guards.popitem(last=False)
        return guard

    async def prepare(self, texts: Iterable[tuple[str, str]]) -> None:
        """Read long texts in pieces, so that `safe` has little left to do.

        Args:
            texts: each text and its place.
        """
        for text, place in texts:
            text, guard = plain_text(text), self._guard(place)  # noqa: PLW2901
            unread, piece = guard.unread(text), PIECE_CHARS
            while unread > piece + _UNDECIDED:
                stop = len(text) - unread + piece + _UNDECIDED
                guard.safe(text[:stop])
                await asyncio.sleep(0)
                before, unread = unread, guard.unread(text)
                # A long row of ticks is read as one; what comes behind it is not.
                more = _ticks_at(text, stop) + PIECE_CHARS
                piece = PIECE_CHARS if unread < before else piece + more


def _ticks_at(text: str, at: int) -> int:
    """How many backticks go on there."""
    rest = text[at:]
    return len(rest) - len(rest.lstrip("`"))


def without_open_formulas(text: str) -> str:
    """The text as it is, or without formulas where more than `OPEN_FORMULAS` never end."""
    ends = [(left, text.rfind(right) + 1) for left, right in _FORMULA_BEGINS]
    if all(text.count(left, end) <= OPEN_FORMULAS for left, end in ends):
        return text
    for left, _ in _FORMULA_BEGINS:
        text = text.replace(left, "&#92;" + left[1:])
    return text


def plain_text(text: str) -> str:
    """The text with newlines for line ends of other kinds, and without `MARK`."""
    return text.replace(MARK, "").replace("\r\n", "\n").replace("\r", "\n")


class _Reader:
    """Guards a text from a position on, and notes how much of it is decided.

    Args:
        text: what stands there.
        position: what is known of the place.

    Attributes:
        decided: characters read and written that stay as they are, whatever comes after, and the
            position behind them; None if there are none.
    """

    def __init__(self, text: str, position: _Position) -> None:
        self._text = text
        self._limit = len(text) - _UNDECIDED
        self._fences, self._ticks = position.fences, position.ticks
        self._in_code, self._listed = position.in_code, position.listed
        self._maths = position.maths
        self._out: list[str] = []
        self._written = 0
        # The lines in hand that are no trusted code: where they begin, where the fences change,
        # and the starts and ends of those that are most likely in one.
        self._begin: int | None = None
        self._changes: list[tuple[int, Fences]] = []
        self._fenced: list[int] = []
        self._whole = position.in_code is None  # the first of them begins in this text
        self.decided: tuple[int, int, _Position] | None = None

    def read(self) -> str:
        """The guarded text."""
        text = self._text
        at, begins = 0, self._in_code is None
        while at < len(text):
            end = text.find("\n", at) + 1 or len(text)
            before, code = self._fences, bool(self._in_code)
            after = before
            if begins:
                if (same := same_until(before.worlds, text, at)) > at:
                    code, end = before.worlds != PROSE, same
                else:
                    code, after = before.after(text[at:end].rstrip("\n"))
            if code:
                self._end_region(at)
                self._code(at, end, after, opens=begins and None in before.worlds)
            else:
                self._prose(at, end, before)
            self._fences = after
            at, begins = end, True
        self._end_region(at)
        return "".join(self._out)

    def _prose(self, at: int, end: int, before: Fences) -> None:
        """Lines that are no trusted code."""
        if self._begin is None:
            self._begin, self._changes, self._fenced = at, [], []
        self._changes.append((at, before))
        if before.likely is not None:
            self._fenced += [at - self._begin, end - self._begin]

    def _code(self, at: int, end: int, after: Fences, *, opens: bool) -> None:
        """Lines of trusted code, or one line that begins or goes on there."""
        lines, self._fences = self._text[at:end], after
        self._ticks, self._whole = frozenset(), True
        self._put(calm(lines) if opens else lines)
        if end <= self._limit:
            self._decide(end)
        elif (row := self._text.rfind("\n", at, self._limit) + 1) > at:
            self._decide(row, behind=end)
        elif at < self._limit and not may_be_fence(lines.partition("\n")[0]):
            self._decide(self._limit, behind=end, in_code=True)

    def _put(self, text: str) -> None:
        self._out.append(text)
        self._written += len(text)

    def _decide(self, read: int, *, behind: int | None = None, in_code: bool | None = None) -> None:
        """Note that all is decided up to there; `behind` is where the written text ends."""
        if 0 < read <= self._limit:
            written = self._written - ((read if behind is None else behind) - read)
            state = self._fences, self._ticks, in_code, self._listed, self._maths
            self.decided = (read, written, _Position(*state))

    def _end_region(self, end: int) -> None:
        """Guard the lines that are no trusted code, in two parts where the first is decided."""
        if self._begin is None:
            return
        begin, fences, self._begin = self._begin, self._fences, None
        text, at = self._text[begin:end], 0
        going = None if self._whole else self._maths
        lines = MathsLines(
            text, listed=self._listed, going=going, fenced=self._fenced, most=LINE_CHARS
        )
        if begin < self._limit < end:
            at = self._split(text, self._limit - begin)
        if at:
            begins = text[at - 1] == "\n"
            self._guard(text[:at], lines, last=begins)
            known = [state for offset, state in self._changes if offset <= begin + at]
            later = [state for offset, state in self._changes if offset > begin + at]
            # In the middle of a line, what that line changes is known.
            self._fences = known[-1] if begins else [*later, fences][0]
            self._listed, self._maths = lines.listed(at), lines.allow(at)
            self._decide(begin + at, in_code=None if begins else False)
            self._fences, self._whole = fences, begins
        self._guard(text[at:], lines, last=True, offset=at)
        self._listed, self._whole = lines.listed(len(text)), True
        if end < len(self._text):
            self._decide(end)

    def _split(self, text: str, limit: int) -> int:
        """Where the decided part of such lines ends; 0 if none is."""
        at = split_place(text, limit, whole=self._whole)
        row = text.rfind("\n", 0, at) + 1
        if at > row and (row or self._whole) and may_be_fence(text[row:].partition("\n")[0]):
            return row
        return at

    def _guard(self, text: str, lines: MathsLines, *, last: bool, offset: int = 0) -> None:
        guarded, self._ticks = guard_prose(
            text, self._ticks, lines, first=self._whole, last=last, offset=offset
        )
        self._put(guarded)
