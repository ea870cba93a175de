"""Which lines of a Markdown text are fenced code, by every reading.

A fence inside a list item ends with the item, and where an item ends depends on what stands above
it. So all states that a parser may be in are kept ("worlds"), and a line is code only if it is
code in all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKED = re.compile(
    r"\A(?P<lead>[ \t]*+(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*+)*+)(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)"
)
_UNFINISHED = re.compile(r"\A[ \t]*+(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*+)*+(?:[`~]*|\d+)")
_BULLET = re.compile(r" {0,3}[-*+] {1,4}")
_MOST_WORLDS = 6
FENCE_CHARS = 2000
"""A longer line that may be a fence is too much to think about: nothing is trusted from there."""
_FENCES = re.compile(rf"```|~~~|^[ \t>*+.)\d-]{{{FENCE_CHARS}}}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fence:
    """An open fence.

    Attributes:
        mark: its characters; a line of at least as many ends it.
        indent: columns before it.
        owned: it belongs to a list item whose text begins at that column; else the item, if there
            is one, begins there or further left.
    """

    mark: str
    indent: int
    owned: bool = False


Worlds = frozenset[Fence | None]
PROSE: Worlds = frozenset({None})
# Too many readings: nothing is trusted any more.
_LOST: Worlds = frozenset({None, Fence("```", -1)})


def may_be_fence(line: str) -> bool:
    """Whether a line opens a fence or ends one, or may yet as it grows."""
    return len(line) <= FENCE_CHARS and _may_be_fence(line)


def _may_be_fence(line: str) -> bool:
    return _fence_of(line) is not None or _UNFINISHED.fullmatch(line) is not None


def next_worlds(worlds: Worlds, line: str) -> tuple[bool, Worlds]:
    """Whether a line is code in every world, and what may be open after it."""
    too_long = len(line) > FENCE_CHARS and _may_be_fence(line[:FENCE_CHARS])
    if too_long or worlds == _LOST:
        return False, _LOST
    code, after = True, set[Fence | None]()
    begins = _in_prose(line)
    for world in worlds:
        trusted, more = begins if world is None else _in_fence(world, line, begins)
        code = code and trusted
        after |= more
    return code, frozenset(after) if len(after) <= _MOST_WORLDS else _LOST


@dataclass(frozen=True, slots=True)
class Fences:
    """What may be open before a line.

    Attributes:
        worlds: the fences of all readings; None is none.
        likely: the one that most likely is.
    """

    worlds: Worlds = PROSE
    likely: Fence | None = None

    def after(self, line: str) -> tuple[bool, Fences]:
        """Whether a line is code in every world, and what may be open after it."""
        code, worlds = next_worlds(self.worlds, line)
        if len(worlds) == 1:
            return code, Fences(worlds, *worlds)
        likely = self.likely
        if likely is not None:
            likely = None if _ends(likely, line.strip(" \t")) else likely
        elif len(line) <= FENCE_CHARS and (found := _fence_of(line)):
            likely = Fence(found["mark"], 0)
        return code, Fences(worlds, likely)


def same_until(worlds: Worlds, text: str, at: int) -> int:
    """Up to which line's start, from that line's on, nothing can open or end a fence.

    Lines before it are code or not as the worlds say; `at` where that is not so simple.
    """
    (world,) = worlds if len(worlds) == 1 else (Fence("", -1),)
    if world is not None and world.indent:
        return at
    if world is None:
        found = _FENCES.search(text, at)
        mark = -1 if found is None else found.start()
    else:
        mark = text.find(world.mark, at)
    return len(text) if mark < 0 else max(at, text.rfind("\n", at, mark) + 1)


def calm(line: str) -> str:
    """The same line, but no drawing: a browser would run a block of `mermaid`."""
    found = _MARKED.match(line) if "mermaid" in line else None
    if found is None or found["mark"] != "```" or not found["info"].startswith("mermaid"):
        return line
    return f"{line[: found.end('mark')]} {line[found.end('mark') :]}"


def _fence_of(line: str) -> re.Match[str] | None:
    """The fence that a line opens where none is open."""
    found = _MARKED.match(line)
    ticks = found is not None and found["mark"][0] == "`" and "`" in found["info"]
    return None if ticks else found


def _in_prose(line: str) -> tuple[bool, set[Fence | None]]:
    found = _fence_of(line) if "```" in line or "~~~" in line else None
    if found is None:
        return False, {None}
    lead = found["lead"]
    columns = len(lead.expandtabs(4))
    opened = Fence(found["mark"], columns)
    if not lead.strip(" "):
        return (True, {opened}) if columns <= 3 else (False, {None, opened})
    opened = Fence(found["mark"], columns, owned=True)
    return (True, {opened}) if _BULLET.fullmatch(lead) else (False, {None, opened})


def _in_fence(
    fence: Fence, line: str, outside: tuple[bool, set[Fence | None]]
) -> tuple[bool, set[Fence | None]]:
    """A line in a fence; `outside` is what it is where none is open."""
    text = line.expandtabs(4) if "\t" in line else line
    stripped = text.strip(" ")
    if not stripped:
        return True, {fence}
    indent = len(text) - len(text.lstrip(" "))
    if indent < fence.indent:  # the item, if it had one, may have ended
        if fence.owned:
            return outside
        return False, outside[1] | {fence} | ({None} if _ends(fence, stripped) else set())
    if not _ends(fence, stripped) or indent > fence.indent + 3:
        return True, {fence}
    # An item further left would have its text, and so the end of its code, further left as well.
    certain = fence.owned or indent <= 3 or fence.indent == 0
    return True, {None} if certain else {None, fence}


def _ends(fence: Fence, stripped: str) -> bool:
    return len(stripped) >= len(fence.mark) and not stripped.strip(fence.mark[0])
