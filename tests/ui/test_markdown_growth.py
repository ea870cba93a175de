"""A text that grows is guarded piece by piece, and no piece is long.

What is counted here is characters; `python -m bench markdown` measures the time of each piece.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.ui import markdown, markdown_blocks, markdown_prose
from arena.ui.markdown import PIECE_CHARS, GuardedTexts, MarkdownGuard, safe_markdown
from tests.ui.test_markdown import NASTY, active

# Long enough that a second reading would show.
CHARS = 100_000
GROWN, STEP = 40_000, 200
UNDECIDED = markdown._UNDECIDED
UNITS = [
    r"\(", r"\[", "$$", r"\(\)", "`a|", "<https://a", "![", "> ```\n", "- ```\n", "```\n", "\n",
    " ", "~~~ a", "```a", "\r", "`\n", r"\]\[", "word ", "日本語。\n", "if a<b: `x`\n",
    "$x$ ", "$", "\\$", "$5 `$x", "$x$\n", "- $a\n    $",
]  # fmt: skip
# What may become something else for long, before text that takes time.
ROWS = ["`" * 50_000, "`" * 2500 + "\n", "```\n" + "`" * 30_000 + "\n", "$" * 20_000, "> " * 20_000,
        "1" * 30_000, "~" * 3000 + "\n"]  # fmt: skip


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """All bounds so small that short texts meet them."""
    for name in ("FORMULA_CHARS", "LINE_CHARS", "URL_CHARS"):
        monkeypatch.setattr(markdown_prose, name, 8)
    monkeypatch.setattr(markdown, "LINE_CHARS", 8)
    monkeypatch.setattr(markdown_prose, "_AUTOLINK", re.compile(r"<(https?://[^\s<>]{1,8})>"))
    monkeypatch.setattr(markdown_blocks, "FENCE_CHARS", 12)
    fences = re.compile(r"```|~~~|^[ \t>*+.)\d-]{12}", re.MULTILINE)
    monkeypatch.setattr(markdown_blocks, "_FENCES", fences)
    monkeypatch.setattr(markdown, "_UNDECIDED", 22)


@pytest.mark.usefixtures("small_bounds")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NASTY, st.lists(st.integers(0, 200), max_size=6))
def test_a_growing_text_is_guarded_as_a_whole_one(text: str, stops: list[int]) -> None:
    """After every piece the result is that of the whole text, read at once."""
    guard = MarkdownGuard()
    for stop in [*sorted(stops), len(text)]:
        shown = guard.safe(text[:stop])
        assert shown == at_once(text[:stop])
        assert active(shown) == []


@pytest.mark.parametrize("line", ["`<b>` ", "$n$ ", "a $n$ `<b>` ", r"\(a\) $n$ "])
@pytest.mark.parametrize("chars", [41, 95, 1990, 2001])
def test_a_line_is_read_as_one_wherever_a_piece_ends(line: str, chars: int) -> None:
    """What is decided may end in the middle of a first line, which is short or too long."""
    first = line.ljust(chars, "x")
    for more in range(UNDECIDED - 20, UNDECIDED + 100, 10):
        text = f"{first}\n{'y ' * (more // 2)}"
        assert safe_markdown(text) == at_once(text)


def at_once(text: str) -> str:
    """The guarded text where nothing is decided before all is read."""
    reader = markdown._Reader(markdown.plain_text(text), markdown._Position())
    reader._limit = -1
    return markdown.without_open_formulas(reader.read())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters were read, each time."""
    lengths: list[int] = []
    whole = markdown._Reader.read

    def counted(reader: markdown._Reader) -> str:
        lengths.append(len(reader._text))
        return whole(reader)

    monkeypatch.setattr(markdown._Reader, "read", counted)
    return lengths


@pytest.mark.parametrize("unit", UNITS)
def test_snapshots_read_what_is_new(unit: str, read: list[int]) -> None:
    """Snapshots of a long answer read it about once, and a bounded end each time."""
    text = (unit * GROWN)[:GROWN]
    guard = MarkdownGuard()
    for stop in range(STEP, GROWN + 1, STEP):
        guard.safe(text[:stop])
    assert max(read) <= UNDECIDED + 2 * PIECE_CHARS
    assert guard.safe(text) == at_once(text)


@pytest.mark.parametrize(
    ("row", "unit"), [*(("", unit) for unit in UNITS), *((row, "`\n") for row in ROWS)]
)
async def test_a_long_text_is_read_in_pieces(row: str, unit: str, read: list[int]) -> None:
    """No step between two turns of the event loop reads more than a piece and a bounded end.

    A row of ticks, which costs next to nothing, is one piece.
    """
    text = row + (unit * CHARS)[: CHARS - len(row)]
    ticks = max(map(len, re.findall("`{100,}", text)), default=0)
    texts = GuardedTexts()
    await texts.prepare([(text, "a-0")])
    shown = texts.safe(text, "a-0")
    assert max(read) <= UNDECIDED + 2 * PIECE_CHARS + ticks
    assert sum(read) <= len(text) * (2 + UNDECIDED / PIECE_CHARS) + 2 * ticks
    assert shown == safe_markdown(text)


async def test_other_work_gets_its_turn() -> None:
    """While a long text is prepared, other tasks run between its pieces."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await GuardedTexts().prepare([("word " * (CHARS // 5), "a-0")])
    other.cancel()
    assert turns >= CHARS / PIECE_CHARS - 3


def test_another_text_at_the_same_place_is_read_anew() -> None:
    """Text that does not continue what was there before gets no part of it."""
    texts = GuardedTexts()
    texts.safe("<b>" * CHARS, "a-0")
    for text in ("", "<i>" * CHARS, "<b>"):
        assert texts.safe(text, "a-0") == safe_markdown(text)


def test_the_oldest_places_are_forgotten() -> None:
    """A page keeps a bounded number of guards."""
    texts = GuardedTexts()
    for turn in range(500):
        texts.safe("text", f"a-{turn}")
    assert len(texts._guards) <= 64
