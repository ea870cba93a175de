r"""Formulas between single dollars, `$n(n+1)$`, as models write them, and not money.

Pandoc's rule is the base: no space behind the first dollar or before the last, and no digit behind
the last; the dollar that comes next must be the last. What reads as money or as a shell's variable
stays text. A pair that is a formula gets `MARK` outside of its dollars, which nobody sees; the
browser takes the two characters together for a delimiter. A formula does not go beyond its line.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

MARK = "\u2063"
"""Invisible, and of no use in a text: the guard takes it away wherever it stands before."""
LEFT, RIGHT = f"{MARK}$", f"${MARK}"

_SINGLE = re.compile(r"(?<![\\$])\$(?!\$)")
_NEVER = re.compile(r"\\[()\[\]]|`|(?<!\\)\$|&#92;|[、。]")
_BRACE = re.compile(r"\\.|[{}]")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
_OPERATORS = frozenset("+-=<>*/≤≥≠±×÷|")
_LAST = frozenset(")]}'!|")
"""What, beside letters and digits, may end a formula that a letter follows, as in `$(n+1)$th`."""
_DIGIT = re.compile(r"\.?\d")
_LETTER = re.compile("[A-Za-z]")
_AMOUNT = re.compile(r"[-+~]?[.,]?\d")
_WORD = re.compile(r"(?<![^\s/(*-])[A-Za-z]{2,}(?![^\s/,.;:)!?*-])")
_NAME = re.compile(r"[A-Za-z]{3,}\w*")
_FUNCTIONS = re.compile(
    "arg|cos|cot|csc|deg|det|dim|exp|gcd|hom|inf|ker|lcm|lim|log|max|min|mod|sec|sin|sup|tan"
)
_PROSE = re.compile(
    "about|after|and|are|as|at|before|but|by|does|each|for|from|has|have|if|in|is|not|of|on|or|"
    "otherwise|per|plus|than|that|the|then|there|this|to|up|vs|was|were|when|where|while|with|"
    "you|US|AU|CA|HK|NT|NZ|SG"
)
_LEAD = re.compile(
    r"(?: {0,3}>[ ]?)*+(?P<indent>[ \t]*+)(?P<item>(?:[-*+]|\d{1,9}[.)])(?=[ \t]|\Z))?(?P<text>\S?)"
)
CODE_INDENT = 4
"""A line that begins so far right is code, except in a list."""


def mark_formulas(text: str) -> str:
    """The text, which is guarded and has no code, with `MARK` around its formulas."""
    found = [match.start() for match in _SINGLE.finditer(text)]
    out: list[str] = []
    at = 0
    for start, stop in pairwise(found):
        if start < at:  # it ended the formula before
            continue
        content = text[start + 1 : stop].replace("&lt;", r"\lt ").replace("!&#91;", "! [")
        if _is_formula(content, text[max(at, start - 1) : start], text[stop + 1 : stop + 3]):
            out += [text[at:start], LEFT, content, RIGHT]
            at = stop + 1
    return "".join([*out, text[at:]])


def _is_formula(content: str, before: str, after: str) -> bool:
    """Whether what stands between two dollars is a formula, given the characters around them."""
    if not content or content[0].isspace() or content[-1].isspace() or _DIGIT.match(after):
        return False
    if before.isdigit() or _LETTER.match(before):  # 5$, US$
        return False
    if _NEVER.search(content) or not _says_something(content):
        return False
    if _LETTER.match(after) and not _goes_on(content):
        return False
    outside = _outside_braces(content)
    return outside is not None and not _is_prose(outside)


def _says_something(content: str) -> bool:
    if any(unicodedata.category(char) == "Sc" for char in content.replace(r"\$", "")):
        return False
    return "\\" in content or any(map(str.isalnum, content)) or _OPERATORS.issuperset(content)


def _goes_on(content: str) -> bool:
    """Whether a letter may follow: `$n$th`, but neither `$5-$n` nor `$HOME/$user`."""
    if not (content[-1].isalnum() or content[-1] in _LAST):
        return False
    return _NAME.fullmatch(content) is None


def _outside_braces(content: str) -> str | None:
    """The content without commands and what is in braces; None where these do not match."""
    out: list[str] = []
    depth = at = 0
    for match in _BRACE.finditer(content):
        if not (brace := match[0]).startswith("\\"):
            if depth == 0:
                out.append(content[at : match.start()])
            depth += 1 if brace == "{" else -1
            if depth < 0:
                return None
            at = match.end()
    return None if depth else _COMMAND.sub("", "".join([*out, content[at:]]))


def _is_prose(outside: str) -> bool:
    """Whether there are words in it; of what begins like an amount, any word is one."""
    words = _WORD.findall(outside)
    if any(map(_PROSE.fullmatch, words)):
        return True
    if not _AMOUNT.match(outside):
        return False
    long = [word for word in words if len(word) > 2 and not word.isupper()]
    if not all(map(_FUNCTIONS.fullmatch, long)):
        return True
    if "**" in outside or " | " in outside or _leaves_a_bracket(outside):
        return True
    return any(unicodedata.category(char) == "Lo" for char in outside)


def _leaves_a_bracket(outside: str) -> bool:
    """Whether a bracket ends in it that begins before it: `(about $5) or (6$)`."""
    depth = 0
    for char in outside:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return True
    return False


class MathsLines:
    """In which lines of a text formulas between single dollars are looked for.

    Not in long ones, in what is most likely a fence or in code by its indent. A fence and a list
    are taken here for what they most likely are: no safety depends on it.

    Args:
        text: the lines.
        listed: the text begins in a list.
        going: of the line that goes on where the text begins, whether it is such a line; None
            where one begins.
        fenced: starts and ends of lines that are most likely in a fence, in order.
        most: a longer line is none.
    """

    def __init__(
        self, text: str, *, listed: bool, going: bool | None, fenced: Sequence[int], most: int
    ) -> None:
        self._starts: list[int] = []
        self._allowed: list[bool] = []
        self._listed: list[bool] = []
        at, before = 0, listed
        for line in text.split("\n"):
            if at == 0 and going is not None:
                allowed = going
            else:
                code, listed = _indented(line, listed=listed)
                allowed = not code and len(line) <= most and not bisect_right(fenced, at) % 2
            self._starts.append(at)
            self._allowed.append(allowed)
            self._listed.append(listed)
            at += len(line) + 1
        self._before = before

    def allow(self, at: int) -> bool:
        """Whether they are looked for in the line of that place."""
        return self._allowed[bisect_right(self._starts, at) - 1]

    def listed(self, at: int) -> bool:
        """Whether a list is open before that place; its line counts where it began before."""
        number = bisect_right(self._starts, at - 1)
        return self._listed[number - 1] if number else self._before


def _indented(line: str, *, listed: bool) -> tuple[bool, bool]:
    """Whether a line is code by its indent, and whether a list is open after it."""
    lead = _LEAD.match(line)
    if lead is None or not (lead["item"] or lead["text"]):
        return False, listed
    indent = len(lead["indent"].expandtabs(CODE_INDENT))
    if indent >= CODE_INDENT and not listed:
        return True, False
    return False, lead["item"] is not None or (listed and indent > 1)
