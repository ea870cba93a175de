"""The leaderboard for programs: the whole report as JSON, under keys that stay.

A key may be added; one that is here keeps its name and its meaning. `version` is raised when that
cannot be kept. Shares are 0 to 1, times are in seconds, money is in US dollars, moments are in ISO
8601 in UTC; null is what is unknown. An estimate is {"value", "low", "high"}, a contestant is
{"id", "served_model"}.

    version         of this layout
    votes           how many votes count
    all_votes       how many there are in the selection
    imported, simulated
                    how many of those that count were brought here, or made up by a program
    newest_vote     when the newest one was cast
    selection       {"category", "language", "pair"}; null is all
    rules           which votes stay out, by rule: true leaves them out
    funnel          a list of {"step", "left", "removed": {reason: votes}}
    headline        empty, none_counts, not_decisive, open, even, separated, leads or shared_lead
    contestants     best first: who, label, votes, wins, losses, ties, both_bad, win_rate, `rating`
                    (null with two contestants; else also best_rank, worst_rank, group,
                    held_by_prior, approximate), and median tokens_per_second, first_text_s, chars,
                    mean cost_usd, simulated
    pairs           first, second, wins_first, wins_second, ties, both_bad, and what they say: rate,
                    tie_rate, both_bad_rate, p_value, p_any_time, verdict, more_votes
    expected        how often each contestant is expected to beat each other, in the order of
                    `contestants`; null with two, and between groups that never met
    cells           first, second, category, language, wins_first, wins_second, ties, both_bad,
                    shown, rate, shrunk, adjusted_p, verdict
    checks          position, length, voters, drift, guesses: each with `verdict` and its numbers,
                    which `arena/stats/bias/` explains; all are null where it could not be computed
    days            a list of {"day", "votes", "counted"}
    alarm           the share of votes that count has collapsed: day, days, cast, counted,
                    cast_before, counted_before, reason, p_value; null if it has not
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from arena.leaderboard.report import LeaderboardReport, PairResult, Standing
from arena.stats.alarm import ShareAlarm
from arena.stats.bias.base import CheckResult, CheckVerdict, PairCheckResult
from arena.stats.cells import Cell
from arena.stats.intervals import Estimate
from arena.stats.outcomes import Pair
from arena.stats.vote_table import Contestant

Json = dict[str, Any]
VERSION: Final = 1


def report_json(report: LeaderboardReport) -> Json:
    """Everything the report says, as values that JSON knows."""
    selection = report.selection
    return {
        "version": VERSION,
        "votes": report.counted,
        "all_votes": report.votes,
        "imported": report.imported,
        "simulated": report.simulated,
        "newest_vote": report.newest.isoformat() if report.newest else None,
        "selection": {
            "category": selection.category.value if selection.category else None,
            "language": selection.language,
            "pair": _pair(selection.pair),
        },
        "rules": asdict(report.rules),
        "funnel": [
            {
                "step": step.name.value,
                "left": step.left,
                "removed": {why.value: number for why, number in step.removed_by_reason.items()},
            }
            for step in report.funnel
        ],
        "headline": report.headline.value,
        "contestants": [_standing(standing) for standing in report.standings],
        "pairs": [
            {"first": _who(pair.first), "second": _who(pair.second), **asdict(pair.result)}
            for pair in report.pairs
        ],
        "expected": _expected(report),
        "cells": _cells(report.cells, report.shown_pair),
        "checks": {found.name: _check(found) for found in report.checks},
        "days": [
            {"day": day.day.isoformat(), "votes": day.votes, "counted": day.counted}
            for day in report.days
        ],
        "alarm": _alarm(report.alarm),
    }


def _alarm(alarm: ShareAlarm | None) -> Json | None:
    return None if alarm is None else asdict(alarm) | {"day": alarm.day.isoformat()}


def _who(who: Contestant) -> Json:
    return {"id": who.id, "served_model": who.served_model}


def _pair(pair: Pair | None) -> list[Json] | None:
    return None if pair is None else [_who(who) for who in pair]


def _estimate(estimate: Estimate | None) -> Json | None:
    return None if estimate is None else asdict(estimate)


def _standing(standing: Standing) -> Json:
    rating = standing.rating
    return {
        **_who(standing.contestant),
        "label": standing.name.label,
        "votes": standing.votes,
        "wins": standing.wins,
        "losses": standing.losses,
        "ties": standing.ties,
        "both_bad": standing.both_bad,
        "win_rate": _estimate(standing.win_rate),
        "rating": None
        if rating is None
        else {
            **asdict(rating.rating),
            "best_rank": rating.best_rank,
            "worst_rank": rating.worst_rank,
            "group": rating.component + 1,
            "held_by_prior": rating.held_by_prior,
            "approximate": rating.approximate,
        },
        "tokens_per_second": standing.speed,
        "first_text_s": standing.first_text,
        "chars": standing.chars,
        "cost_usd": standing.cost,
        "simulated": standing.simulated,
    }


def _expected(report: LeaderboardReport) -> list[list[Json | None]] | None:
    if report.ranking is None:
        return None
    return [[_estimate(rate) for rate in row] for row in report.ranking.win_rates]


def _cells(cells: tuple[Cell, ...], shown: PairResult | None) -> list[Json]:
    return [
        {
            "first": _who(shown.first),
            "second": _who(shown.second),
            "category": cell.category.value,
            "language": cell.language,
            "wins_first": cell.result.wins_first,
            "wins_second": cell.result.wins_second,
            "ties": cell.result.ties,
            "both_bad": cell.result.both_bad,
            "shown": cell.shown,
            "rate": _estimate(cell.result.rate),
            "shrunk": _estimate(cell.shrunk),
            "adjusted_p": cell.adjusted_p,
            "verdict": cell.verdict.value,
        }
        for cell in cells
        if shown is not None
    ]


def _check(found: CheckResult) -> Json:
    """Verdict, pair where it is about one, how many votes, and the check's own figures."""
    pair = {"pair": _pair(found.pair)} if isinstance(found, PairCheckResult) else {}
    told = {"verdict": found.verdict.value, **pair, found.counted: found.n, **found.figures()}
    if found.verdict is CheckVerdict.FAILED:
        return dict.fromkeys(told)
    return {
        name: _estimate(value) if isinstance(value, Estimate) else value
        for name, value in told.items()
    }
