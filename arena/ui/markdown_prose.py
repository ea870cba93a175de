"""Markdown outside of fenced code: formulas, code within a line, and all else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from arena.ui.markdown_blocks import calm
from arena.ui.markdown_dollars import MathsLines, mark_formulas

FORMULA_CHARS = 2000
"""A longer formula is text: its end is not looked for any further."""
LINE_CHARS = 2000
"""In a longer line code is not trusted, and single dollars are text."""
URL_CHARS = 500
"""A longer address between `<` and `>` is no link."""

_TICKS = re.compile("`+")
_DELIMITER = re.compile(r"\\[()\[\]]|\$\$")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_AUTOLINK = re.compile(rf"<(https?://[^\s<>]{{1,{URL_CHARS}}})>")
_LINK_END = re.compile(r"[\s>]")
_ONE = re.compile(r"\\[()\[\]]|\$\$|``|!\[|<[A-Za-z/!?]")
_RUNS = "`$"
"""Of what `_ONE` finds, what may come any number of times in a row."""
_FORMULA_ENDS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"))

Span = tuple[int, int]


def guard_prose(
    text: str, ticks: frozenset[int], lines: MathsLines, *, first: bool, last: bool, offset: int = 0
) -> tuple[str, frozenset[int]]:
    """Lines without trusted fences, with images and HTML made visible and formulas marked.

    Args:
        text: the lines; where it ends with a newline, all of them are whole.
        ticks: lengths of backtick runs of this paragraph that may have opened code.
        lines: where single dollars may be delimiters.
        first: whether the first line is whole.
        last: whether the last line is.
        offset: where the text begins in that of `lines`.

    Returns:
        The text, and the lengths that may be open behind it.
    """
    out = []
    at = 0
    for start, stop in formulas(text):
        piece = _Piece(text[at:start], lines, offset + at, first=first, last=False)
        between, ticks = _between(piece, ticks)
        out += [between, _formula(text[start:stop])]
        at, first = stop, False
    between, ticks = _between(_Piece(text[at:], lines, offset + at, first=first, last=last), ticks)
    guarded = "".join([*out, between])
    if "mermaid" in guarded:
        guarded = "\n".join(calm(line) for line in guarded.split("\n"))
    return guarded, ticks


def split_place(text: str, limit: int, *, whole: bool) -> int:
    """The last place up to there where a text can be cut in two that are guarded apart.

    The start of a line where there is one, else behind a formula, or anywhere in a line that is
    long. The text goes on behind `limit` for as long as any formula, line with code or link can be.

    Args:
        text: the lines.
        limit: all before it is decided.
        whole: whether the first line begins there.
    """
    end = text.find("\n")
    long = not whole or (len(text) if end < 0 else end) > LINE_CHARS
    row = text.rfind("\n", 0, limit) + 1
    at, behind = row or (_calm_place(text, limit) if long else 0), 0
    for start, stop in formulas(text):
        if start >= limit:
            break
        if start < at < stop:
            row = text.rfind("\n", 0, start) + 1
            at = row or (_calm_place(text, start) if long else 0)
        if stop <= limit:
            behind = stop
    return at if row else max(at, behind)


def _calm_place(text: str, limit: int) -> int:
    """The last place in a line that nothing spans which is read as one."""
    angle = text.rfind("<", max(0, limit - URL_CHARS - len("<https://")), limit)
    if angle >= 0 and not _LINK_END.search(text, angle, limit):
        limit = angle
    while limit > 0 and _ONE.match(text, limit - 1):
        sign = text[limit - 1]
        limit = len(text[:limit].rstrip(sign)) if sign in _RUNS else limit - 1
    return limit


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text without formulas of two characters' delimiters; `first` and `last` are `guard_prose`'s.

    Attributes:
        offset: where it begins in the text of `lines`.
    """

    text: str
    lines: MathsLines
    offset: int
    first: bool
    last: bool


def _between(piece: _Piece, ticks: frozenset[int]) -> tuple[str, frozenset[int]]:
    """A piece of text, line by line, and the lengths that may be open behind it."""
    text = piece.text
    if "`" not in text and "$" not in text and not ticks:
        return _plain(text), ticks
    lines, at = text.split("\n"), piece.offset
    for number, line in enumerate(lines):
        begins, ends = piece.first or number > 0, number < len(lines) - 1
        # Behind a formula that ends with two dollars a third is none of a pair.
        maths = not ticks and "$" in line and piece.lines.allow(at)
        maths = maths and (begins or line[0] != "$")
        at += len(line) + 1
        if "`" in line:
            whole = begins and (ends or piece.last)
            lines[number], ticks = _code_line(line, ticks, whole=whole, maths=maths)
        elif line.strip():
            lines[number] = _plain(line, maths=maths)
        elif begins and ends:  # no code goes beyond a blank line
            ticks = frozenset()
    return "\n".join(lines), ticks


def _code_line(
    line: str, ticks: frozenset[int], *, whole: bool, maths: bool
) -> tuple[str, frozenset[int]]:
    """A line with backticks: spans that every reading takes for code stay as they are.

    Behind a backtick that is of no such span single dollars are text: all may be code.
    """
    runs = [match.span() for match in _TICKS.finditer(line)]
    spans: list[Span] = []
    single = {n for start, stop in runs for n in (stop - start, stop - start - 1)}
    if whole and len(line) <= LINE_CHARS and not _DELIMITER.search(line) and not single & ticks:
        spans, single = _code_spans(line, runs)
        if "|" in line:  # a table's cell ends code, a paragraph's bar does not
            cells, more = _code_spans(line, runs, bars=True)
            both = set(cells)
            spans, single = [span for span in spans if span in both], single | more
    out, at = [], 0
    for start, stop in [*spans, (len(line), len(line))]:
        out += [_plain(line[at:start], maths=maths), line[start:stop]]
        maths = maths and "`" not in line[at:start]
        at = stop
    return "".join(out), ticks | single


def _code_spans(line: str, runs: list[Span], *, bars: bool = False) -> tuple[list[Span], set[int]]:
    """Code spans of a line as CommonMark pairs them, and the lengths of runs without a partner.

    A run ends code that a run of the same length has begun; a backslash before it takes its first
    tick away where it would begin code. With `bars`, no span holds a bar.
    """
    partner: dict[int, tuple[int, int]] = {}
    later: dict[int, int] = {}
    nearest = len(line)
    for number in range(len(runs) - 1, -1, -1):
        start, stop = runs[number]
        if bars and line.find("|", stop, nearest) >= 0:
            later.clear()
        nearest = start
        escaped = (start - len(line[:start].rstrip("\\"))) % 2
        if (length := stop - start - escaped) in later:
            partner[number] = (start + escaped, later[length])
        later[stop - start] = number
    spans: list[Span] = []
    single: set[int] = set()
    number = 0
    while number < len(runs):
        start, stop = runs[number]
        if number in partner:
            begin, number = partner[number]
            spans.append((begin, runs[number][1]))
        else:
            single |= {stop - start, stop - start - 1}
        number += 1
    return spans, single


class _Pairs:
    """The formulas of one kind of delimiters, found from left to right in linear time."""

    def __init__(self, text: str, left: str, right: str) -> None:
        self._text, self._left, self._right = text, left, right
        self._closer = self._tick = -1
        self.start = self.stop = -1

    def advance(self, at: int) -> None:
        """Find the first formula from there on; `start` is behind the text if there is none."""
        text = self._text
        while (at := text.find(self._left, at)) >= 0:
            if self._closer < at + 2:
                self._closer = text.find(self._right, at + 2)
                if self._closer < 0:
                    break
            if self._tick < at:
                self._tick = text.find("`", at)
                self._tick = len(text) if self._tick < 0 else self._tick
            if self._tick < self._closer:
                at = self._tick + 1
            elif self._closer - at > FORMULA_CHARS - 2:
                at = self._closer - FORMULA_CHARS + 2
            else:
                self.start, self.stop = at, self._closer + 2
                return
        self.start = self.stop = len(text)


def formulas(text: str) -> Iterator[Span]:
    r"""Start and end of each `\(…\)`, `\[…\]` and `$$…$$`, from left to right.

    No formula has a backtick: beside code, the readings of the two would differ.
    """
    kinds = [_Pairs(text, left, right) for left, right in _FORMULA_ENDS if left in text]
    at = 0
    while kinds:
        for kind in kinds:
            if kind.start < at:
                kind.advance(at)
        found = min(kinds, key=lambda kind: kind.start)
        if found.start >= len(text):
            return
        at = found.stop
        yield found.start, found.stop


def _formula(text: str) -> str:
    r"""KaTeX knows \lt; an entity would be printed as its letters."""
    return _TAG.sub(r"\\lt ", text).replace("![", "! [")


def _plain(text: str, *, maths: bool = False) -> str:
    """Text without code, up to its first backtick; with `maths` its formulas are marked."""
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub("&lt;", text)
    # An entity, since a backslash before the bracket would open a formula.
    text = text.replace("![", "!&#91;")
    if not maths:
        return text
    before, tick, behind = text.partition("`")
    return mark_formulas(before) + tick + behind
