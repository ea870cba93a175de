"""How long the guard of the answers' Markdown holds the event loop, at the longest."""

from __future__ import annotations

import asyncio
import time
from unittest import mock

from arena.models.base import ANSWER_CHARS
from arena.ui.markdown import GuardedTexts, MarkdownGuard
from tests.pattern_worker import UNITS as COMMON
from tests.ui.test_markdown_growth import ROWS, UNITS

LIMIT_MS = 20.0
REPEATS = 3
SHOWN = 12


async def steps_of(text: str) -> list[float]:
    """Milliseconds of CPU time of each step, as the page takes them, between which others work."""
    steps: list[float] = []
    whole = MarkdownGuard.safe

    def timed(guard: MarkdownGuard, part: str) -> str:
        began = time.thread_time()
        shown = whole(guard, part)
        steps.append((time.thread_time() - began) * 1000)
        return shown

    texts = GuardedTexts()
    with mock.patch.object(MarkdownGuard, "safe", timed):
        await texts.prepare([(text, "a-0")])
        texts.safe(text, "a-0")
    return steps


def longest(text: str) -> tuple[float, int]:
    """The longest step, without what the machine did beside it, and how many steps there are."""
    runs = [asyncio.run(steps_of(text)) for _ in range(REPEATS)]
    best = [min(same) for same in zip(*runs, strict=True)]
    return max(best), len(best)


def run() -> str:
    """The table."""
    units = list(dict.fromkeys([*UNITS, *(unit for unit in COMMON if unit.isprintable())]))
    rows = [("", unit) for unit in units] + [(row, unit) for row in ROWS for unit in UNITS]
    found = []
    for row, unit in rows:
        text = row + (unit * ANSWER_CHARS)[: ANSWER_CHARS - len(row)]
        name = f"{row[:6]!r} x {len(row)}, then {unit!r}" if row else repr(unit)
        found.append((*longest(text), name))
    found.sort(reverse=True)
    lines = [f"{ms:6.1f} ms at the longest of {steps:3} steps: {n}" for ms, steps, n in found]
    over = sum(ms > LIMIT_MS for ms, *_ in found)
    head = (
        f"{len(found)} texts of {ANSWER_CHARS:,} characters, {over} with a step over {LIMIT_MS} ms"
    )
    return "\n".join([head, *lines[:SHOWN]])
