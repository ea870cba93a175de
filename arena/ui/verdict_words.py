"""Whether a vote counts, in words. Pure."""

from __future__ import annotations

from arena.stats.verdict import Verdict
from arena.ui.i18n import say, say_or


def counting_line(verdict: Verdict | None, language: str) -> str:
    """The sentence, as text; empty where nothing is known, and before a vote that will count."""
    if verdict is None:
        return ""
    if verdict.reason is None:
        return say(language, "vote.counts") if verdict.cast else ""
    likely = "vote.counts_wont" if verdict.certain else "vote.counts_maybe"
    way = "vote.counts_not" if verdict.cast else likely
    default = say(language, f"board.reason.{verdict.reason}")
    return say(language, way, why=say_or(language, f"{way}.{verdict.reason}", default))
