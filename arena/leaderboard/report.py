"""The leaderboard as data: every number that the page, the terminal and programs show. Pure.

Words, tables and pictures of it are made elsewhere; nothing there computes another number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np

from arena.domain import Category, ModelName
from arena.leaderboard.names import SIMULATED, tell_apart
from arena.stats.alarm import ShareAlarm, share_alarm
from arena.stats.bias.base import CheckResult
from arena.stats.bias.run import run_checks
from arena.stats.cells import Cell, cells_of
from arena.stats.filters import MAIN_RULES, Rules, Step, decide
from arena.stats.intervals import Estimate, TwoModels, Verdict, two_models, wilson
from arena.stats.outcomes import Outcomes, Pair, add_up
from arena.stats.ranking import Ranking, Rating, rank
from arena.stats.vote_table import (
    CATEGORIES,
    LANGUAGES,
    Bools,
    Contestant,
    Floats,
    VoteFlag,
    VoteTable,
)

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the votes is looked at; None is all of them."""

    category: Category | None = None
    language: str | None = None
    pair: Pair | None = None

    @property
    def narrow(self) -> bool:
        """Whether it leaves anything out."""
        return self != EVERYTHING


EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant: the votes on it that count, and what it was like in those battles.

    Attributes:
        win_rate: share of the decisive votes, with Wilson's interval, against all others.
        rating: None with only two contestants: their win rate says it all.
        speed: median decoding speed, tokens a second.
        first_text: median seconds to the first visible text.
        cost: mean US dollars of an answer; None where unknown.
        chars: median characters of an answer.
        simulated: made up by a program.
    """

    contestant: Contestant
    name: ModelName
    votes: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    win_rate: Estimate
    rating: Rating | None
    speed: float | None
    first_text: float | None
    cost: float | None
    chars: float | None

    @property
    def simulated(self) -> bool:
        """Whether it is made up."""
        return self.contestant.served_model.endswith(SIMULATED)


@dataclass(frozen=True, slots=True)
class PairResult:
    """Two contestants and what the votes between them say, seen from the first."""

    first: Contestant
    second: Contestant
    result: TwoModels

    @property
    def swapped(self) -> PairResult:
        """The same seen from the second."""
        seen = self.result
        result = two_models(seen.wins_second, seen.wins_first, seen.ties, seen.both_bad)
        return PairResult(self.second, self.first, result)


@dataclass(frozen=True, slots=True)
class Day:
    """The votes of one day in UTC."""

    day: date
    votes: int
    counted: int


class Headline(StrEnum):
    """Which sentence a person wants first."""

    EMPTY = "empty"
    NONE_COUNTS = "none_counts"
    NOT_DECISIVE = "not_decisive"
    OPEN = "open"
    EVEN = "even"
    SEPARATED = "separated"
    LEADS = "leads"
    SHARED_LEAD = "shared_lead"


@dataclass(frozen=True, slots=True)
class LeaderboardReport:
    """Everything the leaderboard says.

    Attributes:
        votes: those of the selection, whether they count or not.
        counted: those that count.
        imported, simulated: how many of those that count were brought here, or made up.
        newest: when the newest vote of the selection was cast.
        met: all pairs that have votes in any selection, to choose from.
        standings: best first; with two contestants the local one first.
        pairs: every pair with votes that count, seen from the one that stands higher, best first.
        ranking: for three and more.
        shown_pair: the two that the sentence, the cells and some checks are about: the only pair,
            or the two best that met.
        cells: the shown pair by kind of question.
        checks: what else than the better answer may have moved the votes.
        days: every day that has votes, in order.
        alarm: the share of votes that count has collapsed; None if it has not.
    """

    selection: Selection
    rules: Rules
    votes: int
    counted: int
    imported: int
    simulated: int
    newest: datetime | None
    funnel: tuple[Step, ...]
    met: tuple[Pair, ...]
    names: Mapping[Contestant, ModelName]
    headline: Headline
    standings: tuple[Standing, ...]
    pairs: tuple[PairResult, ...]
    ranking: Ranking | None
    shown_pair: PairResult | None
    cells: tuple[Cell, ...]
    checks: tuple[CheckResult, ...]
    days: tuple[Day, ...]
    alarm: ShareAlarm | None

    def name(self, who: Contestant) -> str:
        """How the page calls that contestant."""
        return self.names[who].label

    def pair(self, first: Contestant, second: Contestant) -> TwoModels | None:
        """The votes between two, seen from the first; None if none counts."""
        for found in self.pairs:
            if (found.first, found.second) == (first, second):
                return found.result
            if (found.first, found.second) == (second, first):
                return found.swapped.result
        return None


def make_report(
    votes: VoteTable,
    names: Mapping[str, ModelName],
    *,
    rules: Rules = MAIN_RULES,
    selection: Selection = EVERYTHING,
) -> LeaderboardReport:
    """All numbers of the leaderboard.

    Args:
        votes: all of them.
        names: how models are called, by id; one that is missing is called by its id.
        rules: which votes count.
        selection: which part of the votes is looked at. A pair that is not in the table has no
            votes.
    """
    labels = tell_apart(votes.contestants, names)
    met = _all_pairs(votes, labels)
    votes = votes.take(_selected(votes, selection))
    decision = decide(votes, rules)
    counted = votes.take(decision.mask)
    made_up = _simulated(counted)
    outcomes = add_up(counted)
    ranking = rank(outcomes) if len(outcomes.contestants) > 2 else None
    standings = _standings(counted, outcomes, ranking, labels)
    place = {standing.contestant: number for number, standing in enumerate(standings)}
    results = (_pair_result(pair, counts, place) for pair, counts in outcomes.by_pair())
    pairs = tuple(sorted(results, key=lambda pair: (place[pair.first], place[pair.second])))
    shown = pairs[0] if pairs else None
    both = None if shown is None else (shown.first, shown.second)
    return LeaderboardReport(
        selection=selection,
        rules=rules,
        votes=len(votes),
        counted=decision.counted,
        imported=int((counted.has(VoteFlag.IMPORTED) & ~made_up).sum()),
        simulated=int(made_up.sum()),
        newest=datetime.fromtimestamp(votes.cast_at.max(), UTC) if len(votes) else None,
        funnel=decision.funnel,
        met=met,
        names=labels,
        headline=_headline(len(votes), shown, ranking),
        standings=standings,
        pairs=pairs,
        ranking=ranking,
        shown_pair=shown,
        cells=cells_of(counted, both),
        checks=run_checks(counted, both),
        days=_days(votes, decision.mask),
        alarm=share_alarm(votes, decision),
    )


def _order(
    names: Mapping[Contestant, ModelName],
) -> Callable[[Contestant], tuple[bool, Contestant]]:
    """The order of two in a sentence: the local one first, then by id."""
    return lambda who: (not names[who].local, who)


def _all_pairs(votes: VoteTable, names: Mapping[Contestant, ModelName]) -> tuple[Pair, ...]:
    found = [sorted(pair, key=_order(names)) for pair, _ in add_up(votes).by_pair()]
    return tuple((first, second) for first, second in sorted(found))


def _selected(votes: VoteTable, selection: Selection) -> Bools:
    chosen = np.ones(len(votes), np.bool_)
    if selection.category is not None:
        chosen &= votes.category == CATEGORIES.index(selection.category)
    if selection.language is not None:
        chosen &= votes.language == LANGUAGES.index(selection.language)
    if selection.pair is not None:
        codes = [n for n, who in enumerate(votes.contestants) if who in selection.pair]
        chosen &= np.isin(votes.a, codes) & np.isin(votes.b, codes) & (votes.a != votes.b)
    return chosen


def _simulated(votes: VoteTable) -> Bools:
    made_up = [who.served_model.endswith(SIMULATED) for who in votes.contestants]
    table = np.array(made_up or [False], np.bool_)
    return np.asarray(table[votes.a] | table[votes.b])


def _standings(
    votes: VoteTable,
    outcomes: Outcomes,
    ranking: Ranking | None,
    names: Mapping[Contestant, ModelName],
) -> tuple[Standing, ...]:
    """By rank, or with two contestants the local one first."""
    rated = {} if ranking is None else {r.contestant: r for r in ranking.ratings}
    order = list(rated) or sorted(outcomes.contestants, key=_order(names))
    code = {who: number for number, who in enumerate(votes.contestants)}
    tallies = outcomes.by_contestant()
    who = np.concatenate([votes.a, votes.b])
    tokens, total = _both(votes, "tokens"), _both(votes, "total")
    ttft, cost, chars = (_both(votes, name) for name in ("ttft", "cost", "chars"))
    seconds = np.where(total - ttft > 0.001, total - ttft, np.nan)
    speed = np.where(tokens > 1, (tokens - 1) / seconds, np.nan)
    found = []
    for contestant in order:
        own = who == code[contestant]
        wins, losses, ties, both_bad = tallies[contestant]
        found.append(
            Standing(
                contestant=contestant,
                name=names[contestant],
                votes=wins + losses + ties + both_bad,
                wins=wins,
                losses=losses,
                ties=ties,
                both_bad=both_bad,
                win_rate=wilson(wins, wins + losses),
                rating=rated.get(contestant),
                speed=_known(np.median, speed[own]),
                first_text=_known(np.median, ttft[own]),
                cost=_known(np.mean, cost[own]),
                chars=_known(np.median, chars[own]),
            )
        )
    return tuple(found)


def _both(votes: VoteTable, name: str) -> Floats:
    """A measure of the left side, then of the right side; shape (2n,)."""
    left, right = getattr(votes, f"{name}_a"), getattr(votes, f"{name}_b")
    return np.concatenate([left, right])


def _known(summary: Callable[[Floats], object], values: Floats) -> float | None:
    """The summary of what is known; None if nothing is."""
    known = values[~np.isnan(values)]
    return float(summary(known)) if len(known) else None  # type: ignore[arg-type]


def _pair_result(pair: Pair, counts: Sequence[int], place: Mapping[Contestant, int]) -> PairResult:
    """The votes of a pair, seen from the one that stands higher."""
    result = PairResult(*pair, two_models(*counts))
    return result if place[result.first] < place[result.second] else result.swapped


def _headline(votes: int, shown: PairResult | None, ranking: Ranking | None) -> Headline:
    if not votes:
        return Headline.EMPTY
    if shown is None:
        return Headline.NONE_COUNTS
    if ranking is not None:
        group = [rating for rating in ranking.ratings if rating.component == 0]
        return Headline.LEADS if group[0].worst_rank == 1 else Headline.SHARED_LEAD
    if shown.result.verdict is Verdict.NO_VOTES:
        return Headline.NOT_DECISIVE
    if shown.result.verdict is not Verdict.NOT_SEPARATED:
        return Headline.SEPARATED
    return Headline.EVEN if shown.result.more_votes is None else Headline.OPEN


def _days(votes: VoteTable, counted: Bools) -> tuple[Day, ...]:
    if not len(votes):
        return ()
    day = np.floor(votes.cast_at / _DAY_S).astype(np.int64)
    days, index, cast = np.unique(day, return_inverse=True, return_counts=True)
    kept = np.bincount(index[counted], minlength=len(days))
    return tuple(
        Day(date(1970, 1, 1) + timedelta(days=number), *numbers)
        for number, *numbers in zip(days.tolist(), cast.tolist(), kept.tolist(), strict=True)
    )
