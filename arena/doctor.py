"""Says what this machine has for the arena, and what to do for each gap."""

from __future__ import annotations

import asyncio
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from arena.errors.base import ArenaError
from arena.models import probe
from arena.models.probe import Finding
from arena.presets import load_presets
from arena.settings import Settings
from arena.store.store import VoteStore

LIBRARIES = (
    "gradio",
    "torch",
    "transformers",
    "accelerate",
    "google-genai",
    "openai",
    "SQLAlchemy",
    "alembic",
)
MARKS = {"ok": "ok ", "gap": "gap", "bad": "BAD"}
PROMPTS = Path(__file__).parent.parent / "prompts"


async def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it is printed."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    found = [Finding("Python", "ok", python)]
    found += probe.libraries(LIBRARIES)
    if all(finding.state == "ok" for finding in found):
        found += await asyncio.to_thread(probe.hardware, settings)
        weights = await asyncio.to_thread(probe.local_weights, settings)
        stand_in = await asyncio.to_thread(probe.embedded, settings)
        found += [weights, stand_in]
        if weights.state != "ok" and stand_in.state != "ok":
            found.append(Finding("a local model", "bad", "none can be had", stand_in.remedy))
        found.append(await probe.gemini(settings))
    found += [await _store(settings), _prompts()]
    return found


async def _store(settings: Settings) -> Finding:
    try:
        store = await asyncio.to_thread(VoteStore.open, settings.database_url)
    except ArenaError as error:
        return Finding("store", "bad", f"{error.sentence} {error.detail}", error.remedy_text)
    try:
        counts = await store.counts()
    finally:
        await store.aclose()
    value = f"{settings.database_url}: {counts.battles} battles, {counts.votes} votes"
    return Finding("store", "ok", value)


def _prompts() -> Finding:
    try:
        presets = load_presets(PROMPTS)
    except ArenaError as error:
        return Finding("prompts", "bad", error.sentence, error.remedy_text)
    return Finding("prompts", "ok", f"{len(presets)} examples")


def report(findings: Sequence[Finding]) -> str:
    """The table, with the remedy under each gap, and a last line that says what follows."""
    width = max(_width(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        pad = " " * (width - _width(finding.name))
        lines.append(f"{MARKS[finding.state]}  {finding.name}{pad}  {finding.value}")
        if finding.remedy and finding.state != "ok":
            lines.append(f"     {' ' * width}  -> {finding.remedy}")
    lines.append("")
    if can_run(findings):
        lines.append("The arena can run: a local model answers, and votes are kept.")
    else:
        lines.append("The arena can't run yet: see the lines marked BAD.")
    return "\n".join(lines)


def can_run(findings: Sequence[Finding]) -> bool:
    """Whether a battle and a vote are possible."""
    return all(finding.state != "bad" for finding in findings)


def _width(text: str) -> int:
    """Columns in a terminal: a full-width character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
