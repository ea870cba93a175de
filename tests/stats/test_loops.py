"""A text that repeats itself is noticed soon; one that is merely regular is not."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.stats.loops import (
    LONGEST_PIECE,
    LOOK_EVERY,
    REPEATS,
    SHORTEST_LOOP,
    SHORTEST_PICTURES,
    LoopDetector,
    is_loop,
    period_of,
)

BEFORE = "この文は繰り返しの前にあります。 Some words before it. "
PARAGRAPH = " ".join(f"This is sentence {n} of the paragraph." for n in range(20)) + "\n\n"


# Of one code point, of two, of a skin, of a family, a flag, half of a character.
PICTURES = ["😀", "❤️", "👍🏽", "👨‍👩‍👧", "🇯🇵", "🟦", "\ufffd"]
SPACES = st.sampled_from(["", " ", "\n", "  ", " \n\n", "\t", "\u3000"])


def shortest(piece: str) -> int:
    """Bytes that a loop of this piece takes, at least."""
    return SHORTEST_PICTURES if piece[0] in "".join([*PICTURES, "🎉"]) else SHORTEST_LOOP


def noticed(text: str, part: int = 9) -> int | None:
    """Bytes that were written when the loop was noticed; None if it never was."""
    detector = LoopDetector()
    for begin in range(0, len(text), part):
        if detector.push(text[begin : begin + part]):
            return len(text[: begin + part].encode())
    return None


@pytest.mark.parametrize(
    "piece",
    ["!", "-", "。", "ha ", "です。", "The capital is Paris. ", "東京は日本の首都です。", "abcabd",
     "-" * 200 + "title\n", "| a | b |\n", "```\nprint(1)\n```\n", PARAGRAPH, *PICTURES,
     "😀 ", "😀😂", "🎉🎊 \n"],
)  # fmt: skip
def test_a_loop_is_noticed(piece: str) -> None:
    """Of a character, a word, a sentence, a paragraph; after so much of it and not before."""
    size = len(piece.encode())
    needed = max(shortest(piece), REPEATS * size)
    begin = len(BEFORE.encode())
    seen = noticed(BEFORE + piece * (2 * needed // size))
    assert seen is not None
    # A part of nine characters may have 36 bytes; the text before may end like the piece.
    assert needed - size <= seen - begin <= needed + LOOK_EVERY + 36
    assert noticed(BEFORE + piece * (needed // size - 1)) is None


@pytest.mark.parametrize(
    "text",
    [
        "ha ha ha ha ha! " * 5,
        "-" * 800,
        "=" * 79 + "\nTitle\n" + "=" * 79,
        "あ" * 300,
        "|---" * 100 + "|\n" + "|   " * 100 + "|",
        "\n".join(f"| {n} | value | {n * n} |" for n in range(400)),
        "\n".join(f"{n}. An item of the list" for n in range(400)),
        "\n".join(f"    self.value_{n} = value_{n}" for n in range(400)),
        "\n".join(str(n) for n in range(3000)),
        ", ".join(str(n % 10) + "," for n in range(300)),
        "\n".join("#" * n for n in range(1, 90)),
        ("    " * 8 + "}\n") * 20,
        "0" * 1000,
        "─" * 390,
        "█" * 200 + "░" * 200,
        "\n".join(f"| 2026-{n // 28 + 1:02}-{n % 28 + 1:02} | ✅ |" for n in range(300)),
        "\n".join(f"{n}. ⭐" for n in range(300)),
        "⬜" * 100 + "\n" + ("⬜" * 4 + "🟥" * 12 + "⬜" * 4 + "\n") * 5,
        "".join(chr(0x1F600 + n % 60) + " " * (n % 3) for n in range(59)) * 4,
        "\n".join(" " * (20 - n) + "* " * n for n in range(1, 41)),
        "\n".join("-" * (n * n % 37) + "   +  " * (n % 5) + "|" for n in range(400)),
        "Row, row, row your boat, gently down the stream. " * 4,
    ],
)
def test_regular_text_is_no_loop(text: str) -> None:
    """Rules, tables, lists, code, counting, a chorus."""
    assert noticed(text) is None


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=300).filter(
        lambda piece: len(piece.encode()) <= LONGEST_PIECE
    ),
    st.text(max_size=500),
)
def test_the_piece_is_found_wherever_the_text_stops(piece: str, before: str) -> None:
    """Any piece, after any text: what is found is a length that repeats, and none is missed."""
    repeats = max(SHORTEST_LOOP, REPEATS * len(piece.encode())) // len(piece.encode()) + 1
    end = (before.encode("utf-8", "replace") + (piece * repeats).encode())[-8192:]
    period = period_of(end)
    assert period is not None
    assert period <= len(piece.encode())
    tail = end[-max(SHORTEST_LOOP, REPEATS * period) :]
    assert tail[period:] == tail[:-period]


@given(
    st.sampled_from([*PICTURES, "ha", "です。", "The end.", "no one"]), st.lists(SPACES, min_size=1)
)
def test_uneven_spaces_hide_no_loop(piece: str, spaces: list[str]) -> None:
    """The same piece again and again, whatever stands between."""
    if piece not in PICTURES:
        spaces = [space or " " for space in spaces]
    size = len(piece.encode()) + (piece not in PICTURES)
    number = shortest(piece) // size + 2
    text = "".join(piece + spaces[n % len(spaces)] for n in range(number))
    assert is_loop(text.rstrip().encode())
    assert not is_loop(text[: len(text) // 3].encode())


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "So"]), min_size=1, max_size=9)
LINES = {
    "numbers": "{n}",
    "list": "{n}. {word}",
    "table": "| {n} | {word} |   |",
    "code": "    {word}[{n}] = {word}.{word}({n})  ",
    "checks": "- [x] {n} ✅",
    "pictures": "{n}\u20e3 😀 😀 😀",
    "fields": '  "{word}": {{"id": {n}, "ok": true}},',
}


@given(st.sampled_from(sorted(LINES)), WORDS, st.integers(0, 10**6), st.integers(1, 1000))
def test_what_counts_is_no_loop(kind: str, word: str, begin: int, by: int) -> None:
    """Lists, tables, code: each line is like the one before it, but for a number."""
    lines = (LINES[kind].format(n=n, word=word) for n in range(begin, begin + 300 * by, by))
    assert noticed("\n".join(lines), part=50) is None


@given(st.lists(WORDS, min_size=60, max_size=60, unique=True), st.integers(0, 2**32))
def test_prose_is_no_loop(words: list[str], seed: int) -> None:
    """The same few words in ever another order, pictures among them."""
    draw = random.Random(seed)
    text = " ".join(draw.choice(words) + draw.choice(["", ".", "\n"]) for _ in range(1500))
    assert noticed(text, part=50) is None


@given(st.text(st.sampled_from("ab \n"), max_size=3000))
def test_what_is_called_a_loop_repeats(text: str) -> None:
    """Nothing else is ever called one."""
    period = period_of(text.encode())
    if period is not None:
        end = text.encode()[-max(SHORTEST_LOOP, REPEATS * period) :]
        assert end == (end[:period] * len(end))[: len(end)]


@pytest.mark.parametrize(
    "text",
    [
        ("-" * 63 + "x") * 1600,
        "".join(random.Random(1).choice("ab") for _ in range(100_000)),
        ("a" * 900 + "b" + "a" * 100 + "c") * 100,
        "".join(f"{'a' * (n % 700)}b" for n in range(300)),
    ],
    ids=["rules", "letters", "runs", "growing"],
)
def test_a_look_is_quick(text: str) -> None:
    """No look at a text made to be hard takes as long as 20 ms of the processor."""
    detector, longest = LoopDetector(), 0.0
    for begin in range(0, len(text), LOOK_EVERY):
        before = time.thread_time()
        detector.push(text[begin : begin + LOOK_EVERY])
        longest = max(longest, time.thread_time() - before)
    assert longest < 0.02
