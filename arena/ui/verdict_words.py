"""Whether a vote counts, and what its voter has voted so far, in words. Pure."""

from __future__ import annotations

from arena.battle.own_record import OwnRecord
from arena.stats.verdict import Verdict
from arena.ui.i18n import say, say_or
from arena.ui.leaderboard_words import many


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


def record_line(record: OwnRecord | None, language: str) -> str:
    """How one contestant fared in the voter's own votes, as text; empty where nothing is said."""
    if record is None:
        return ""
    tally = record.tally
    parts = [many(language, "own_wins", tally.wins, model=record.label)]
    parts += [many(language, "own_losses", tally.losses), many(language, "own_ties", tally.ties)]
    if tally.both_bad:
        parts.append(many(language, "own_both_bad", tally.both_bad))
    votes = many(language, "votes", tally.votes)
    gap = say(language, "vote.record.gap")
    return say(language, "vote.record", votes=votes, tally=gap.join(parts))
