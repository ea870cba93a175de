"""What of a model's Markdown may reach a browser.

An image in an answer is fetched by the visitor's browser (a tracker, and a hint at who wrote it),
and raw HTML can restyle the page. Both are shown as the text they are. Code stays untouched, so
that it can be copied. The page's Content-Security-Policy stands behind this: a place that this
module and the browser's parser read differently still cannot load a foreign image.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
# A code span is trusted only within one line and one table cell, where all parsers agree on it.
_SPAN = re.compile(
    r"(?P<code>(?<![`\\])(?P<ticks>`+)(?!`)[^|\n]*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<math>\\\((?:.|\n)*?\\\)|\\\[(?:.|\n)*?\\\]|\$\$(?:.|\n)*?\$\$)"
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_AUTOLINK = re.compile(r"<(https?://[^\s<>]+)>")


def safe_markdown(text: str) -> str:
    """The same text with images and raw HTML made visible instead of active.

    Works on unfinished text too: an open fence runs to the end. Applying it to its own result
    changes nothing more.
    """
    out: list[str] = []
    prose: list[str] = []
    fence = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence:
            out.append(line)
            if match and _closes(match, fence):
                fence = ""
        elif match and not (match[1][0] == "`" and "`" in match[2]):
            out.extend(_flush(prose))
            out.append(line)
            fence = match[1]
        else:
            prose.append(line)
    out.extend(_flush(prose))
    return "\n".join(out)


def _closes(match: re.Match[str], fence: str) -> bool:
    """A closing fence has the same character, at least the same length, and nothing after."""
    return match[1][0] == fence[0] and len(match[1]) >= len(fence) and not match[2].strip()


def _flush(prose: list[str]) -> list[str]:
    if not prose:
        return []
    text = _neutral("\n".join(prose))
    prose.clear()
    return [text]


def _neutral(text: str) -> str:
    """Prose with its code spans kept, its formulas and its rest made harmless."""
    out: list[str] = []
    at = 0
    for match in _SPAN.finditer(text):
        out.append(_plain(text[at : match.start()]))
        out.append(match[0] if match["code"] else _formula(match[0]))
        at = match.end()
    out.append(_plain(text[at:]))
    return "".join(out)


def _formula(text: str) -> str:
    r"""KaTeX knows \lt; an entity would be printed as its letters."""
    return _TAG.sub(r"\\lt ", text).replace("![", "! [")


def _plain(text: str) -> str:
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub("&lt;", text)
    # An entity, since a backslash before the bracket would open a formula.
    return text.replace("![", "!&#91;")
