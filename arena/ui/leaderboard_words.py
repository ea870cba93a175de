"""The leaderboard's sentences and figures as plain text, for the page and the terminal alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arena.leaderboard.report import Headline, LeaderboardReport
from arena.stats.alarm import ShareAlarm
from arena.stats.bias.base import CheckResult, CheckVerdict, Figure
from arena.stats.cells import FEWEST, Cell
from arena.stats.filters import FilterReason
from arena.stats.intervals import Estimate, TwoModels, Verdict
from arena.stats.ranking import Rating
from arena.ui.i18n import say, say_or

UNKNOWN = "–"


def many(language: str, key: str, number: int, **values: object) -> str:
    """A number with its noun, such as `1 vote` or `2 votes`."""
    form = "one" if number == 1 else "many"
    return say(language, f"board.n.{key}.{form}", n=f"{number:,}", **values)


def percent(share: float | None) -> str:
    """Such as 41%."""
    return UNKNOWN if share is None else f"{_rounded(100 * share)}%"


def share(estimate: Estimate) -> str:
    """Such as 41% [33, 49]."""
    if estimate.value is None:
        return UNKNOWN
    low, high = _rounded(100 * estimate.low), _rounded(100 * estimate.high)
    return f"{percent(estimate.value)} [{low}, {high}]"


def points(estimate: Estimate) -> str:
    """Such as 1012 [987, 1037]."""
    value = estimate.value
    if value is None:
        return UNKNOWN
    return f"{_rounded(value)} [{_rounded(estimate.low)}, {_rounded(estimate.high)}]"


def _rounded(number: float) -> int:
    """To the nearest whole number, halves up, as people expect it."""
    return math.floor(number + 0.5)


def about(number: int) -> int:
    """Two figures of a number: more would claim more than an estimate knows."""
    if number < 100:
        return number
    step: int = 10 ** (len(str(number)) - 2)
    return _rounded(number / step) * step


def ranks(rating: Rating) -> str:
    """Such as 2, or 2-3 where both cannot be ruled out."""
    if rating.best_rank == rating.worst_rank:
        return str(rating.best_rank)
    return f"{rating.best_rank}–{rating.worst_rank}"


def speed(value: float | None) -> str:
    """Tokens a second."""
    return UNKNOWN if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def seconds(value: float | None) -> str:
    """A duration."""
    return UNKNOWN if value is None else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def dollars(value: float | None) -> str:
    """An amount, small ones with as many figures as they need."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "$0"
    return f"${value:.2f}" if value >= 0.1 else f"${value:.2g}" if value >= 1e-4 else "<$0.0001"


def number(value: float | None) -> str:
    """A whole number."""
    return UNKNOWN if value is None else f"{_rounded(value):,}"


def p_value(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.2g}" if value < 1 else "1"


def listed(language: str, names: Sequence[str]) -> str:
    """Names in a sentence."""
    if len(names) < 2:
        return "".join(names)
    head = say(language, "board.comma").join(names[:-1])
    return f"{head}{say(language, 'board.and')}{names[-1]}"


def sentence(report: LeaderboardReport, language: str) -> str:
    """What a person wants to know first."""
    kind = report.headline
    if kind is Headline.EMPTY:
        part = report.selection.narrow
        return say(language, "board.say.empty_part" if part else "board.say.empty")
    if kind is Headline.NONE_COUNTS:
        return say(language, "board.say.none_counts", votes=many(language, "votes", report.votes))
    if report.ranking is not None:
        return _about_many(report, language)
    return _about_two(report, language)


def _about_two(report: LeaderboardReport, language: str) -> str:
    shown = report.shown_pair
    assert shown is not None  # noqa: S101 -- every headline about two has them
    result = shown.result
    a, b, rate = report.name(shown.first), report.name(shown.second), result.rate
    if result.verdict is Verdict.SECOND:
        a, b, rate = b, a, _turned(rate)
    return say(
        language,
        f"board.say.{report.headline}",
        a=a,
        b=b,
        rate=share(rate),
        wins=result.wins_first,
        votes=many(language, "votes", result.votes),
        decisive=many(language, "decisive", result.decisive),
        more=many(language, "more", about(result.more_votes or 0)),
    )


def _turned(rate: Estimate) -> Estimate:
    """The same seen from the other one."""
    value = None if rate.value is None else 1.0 - rate.value
    return Estimate(value, 1.0 - rate.high, 1.0 - rate.low)


def _about_many(report: LeaderboardReport, language: str) -> str:
    ranking = report.ranking
    assert ranking is not None  # noqa: S101 -- the caller looked
    group = [rating for rating in ranking.ratings if rating.component == 0]
    first, others = group[0], group[1:]
    if report.headline is Headline.LEADS:
        named = many(language, "models", len(others))
    else:
        near = [r for r in others if r.rating.high >= first.rating.low]
        names = [report.name(r.contestant) for r in near]
        named = listed(language, names) if len(near) < 4 else many(language, "models", len(near))
    return say(
        language,
        f"board.say.{report.headline}",
        a=report.name(first.contestant),
        rating=points(first.rating),
        others=named,
    )


def notes(report: LeaderboardReport, language: str) -> list[str]:
    """What must be known of the sentence, each in a line of its own."""
    found = []
    if report.simulated:
        found.append(many(language, "simulated", report.simulated))
    if report.imported:
        found.append(many(language, "imported", report.imported))
    if report.rules.not_signed_in:
        found.append(say(language, "board.note.signed_in"))
    ranking = report.ranking
    if ranking is not None:
        groups = len(ranking.components)
        if groups > 1:
            found.append(say(language, "board.note.groups", groups=groups))
        if ranking.approximate:
            found.append(say(language, "board.note.approximate"))
        if any(rating.held_by_prior for rating in ranking.ratings):
            found.append(say(language, "board.note.prior"))
    return found


def alarm_words(alarm: ShareAlarm, language: str) -> str:
    """For the owner: since when hardly any vote counts, and why."""
    return say(
        language, "board.alarm", share=f"{alarm.share:.0%}", cast=f"{alarm.cast:,}",
        days=alarm.days, day=alarm.day.isoformat(), before=f"{alarm.share_before:.0%}",
        reason=say(language, f"board.reason.{alarm.reason}"),
    )  # fmt: skip


def reasons(report: LeaderboardReport) -> list[tuple[FilterReason, int]]:
    """Why votes do not count, most frequent first."""
    found = [item for step in report.funnel for item in step.removed_by_reason.items()]
    return sorted(found, key=lambda item: -item[1])


def language_name(language: str, code: str) -> str:
    """How the page calls a language."""
    return say(language, f"board.language.{code}")


def cell_name(cell: Cell, language: str) -> str:
    """Which questions a cell is about."""
    return (
        f"{say(language, f'category.{cell.category}')} · {language_name(language, cell.language)}"
    )


def cell_notes(report: LeaderboardReport, language: str) -> list[str]:
    """How many cells are compared, and how many are hidden."""
    shown = sum(cell.shown for cell in report.cells)
    hidden = len(report.cells) - shown
    found = []
    if shown:
        found.append(say(language, "board.cells_note", compared=shown))
    if hidden:
        found.append(many(language, "hidden", hidden, fewest=FEWEST))
    return found


def verdict(report: LeaderboardReport, found: Verdict, language: str) -> str:
    """What the votes of a cell say."""
    shown = report.shown_pair
    a, b = (report.name(shown.first), report.name(shown.second)) if shown else ("", "")
    text = say(language, f"board.verdict.{found}")
    return text.format(a=a, b=b)


def two_words(result: TwoModels, language: str) -> str:
    """The test behind a verdict on two."""
    return say(
        language,
        "board.p_value",
        p=p_value(result.p_value),
        p_any_time=p_value(result.p_any_time),
    )


@dataclass(frozen=True, slots=True)
class CheckWords:
    """One check: what it looks at, what it found in a word, and in a sentence."""

    name: str
    state: CheckVerdict
    title: str
    text: str


def checks(report: LeaderboardReport, language: str) -> list[CheckWords]:
    """All checks, each by its name: `board.check.NAME`."""
    return [
        CheckWords(
            say(language, f"board.check.{found.name}"),
            found.verdict,
            say(language, f"board.check.state.{found.verdict}"),
            _check_text(found, report, language),
        )
        for found in report.checks
    ]


def _check_text(found: CheckResult, report: LeaderboardReport, language: str) -> str:
    """The check's own text of what it found, or that of all checks, filled with its figures."""
    common = f"board.check.{found.sentence}"
    own = f"board.check.{found.name}.{found.sentence}"
    text = say_or(language, own, "") or say(language, common)
    shown = report.shown_pair
    return text.format(
        n=many(language, found.counted, found.n),
        need=found.needed,
        a=report.name(shown.first) if shown else "",
        **{name: _FigureText(figure) for name, figure in found.figures().items()},
    )


@dataclass(frozen=True, slots=True)
class _FigureText:
    """A figure in a text: `{name}` with its interval, `{name:%}` as a percentage alone."""

    figure: Figure

    def __format__(self, form: str) -> str:
        if isinstance(self.figure, Estimate):
            return percent(self.figure.value) if form else share(self.figure)
        return percent(self.figure) if form else str(self.figure)
