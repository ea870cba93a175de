"""A collapse of the share of votes that count is noticed soon; bad days are no collapse."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from arena.domain import Mode, Winner
from arena.stats.alarm import WINDOWS, chance_of_so_few, share_alarm
from arena.stats.filters import FilterReason, decide
from arena.stats.vote_table import VoteFlag
from tests.stats.arenas import VoteRow, row, table_of

DAY = 86_400.0
START = 20_000 * DAY + 3600.0


def day_of(number: int, good: int, bad: int, flags: VoteFlag = VoteFlag.LEAK_A) -> list[VoteRow]:
    """Votes of one day, each of a person and a prompt of its own."""
    votes = [*[VoteFlag(0)] * good, *[flags] * bad]
    return [
        row(Winner.TIE, cast_at=START + number * DAY + n, voter=f"v{number}-{n}", flags=flag)
        for n, flag in enumerate(votes)
    ]


def alarm_of(rows: list[VoteRow]):  # type: ignore[no-untyped-def]
    table = table_of(rows)
    return share_alarm(table, decide(table))


def healthy(days: int, good: int = 9, bad: int = 1) -> list[VoteRow]:
    return [vote for number in range(days) for vote in day_of(number, good, bad)]


def test_a_day_without_any_vote_that_counts() -> None:
    """The next morning the owner knows how many, since when, and why."""
    alarm = alarm_of([*healthy(20), *day_of(20, 0, 10, VoteFlag.LEAK_PROMPT)])
    assert alarm is not None
    assert (alarm.days, alarm.cast, alarm.counted) == (1, 10, 0)
    assert (alarm.cast_before, alarm.counted_before) == (200, 180)
    assert alarm.reason is FilterReason.NAMED_IN_PROMPT
    assert alarm.day == datetime.fromtimestamp(START + 20 * DAY, UTC).date()
    assert "0% of the 10 votes" in alarm.sentence
    assert "90%" in alarm.sentence


@pytest.mark.parametrize("a_day", [2, 5, 20])
def test_half_of_the_votes_missing_is_noticed_within_weeks(a_day: int) -> None:
    """And for a month it stays: nobody has to look on the right day."""
    rows = healthy(30, good=a_day, bad=0)
    noticed = []
    for day in range(30, 65):
        rows += day_of(day, a_day // 2, a_day - a_day // 2)
        if alarm_of(rows) is not None:
            noticed.append(day - 29)
    assert noticed[0] <= 28
    assert len(noticed) >= 14


@pytest.mark.parametrize(
    "rows",
    [
        [],
        day_of(0, 0, 40),
        [*healthy(1, good=5, bad=0), *day_of(1, 0, 30)],
        healthy(60),
        [*healthy(20), *day_of(20, 6, 4)],
        [*healthy(20), *day_of(20, 0, 2)],
        healthy(40, good=0, bad=5),
    ],
    ids=["none", "first-day", "few-before", "even", "worse", "two", "never-counted"],
)
def test_no_alarm(rows: list[VoteRow]) -> None:
    """Nothing to compare with, too few votes, or a share that is only somewhat lower."""
    assert alarm_of(rows) is None


def test_healthy_arenas_are_left_alone() -> None:
    """Two hundred arenas over thirty days: busy or not, steady or with days of one bad voter."""
    rng = np.random.default_rng(3)
    alarms = looks = 0
    for number in range(200):
        share, mean, spread = (
            rng.uniform(0.5, 0.98),
            rng.choice([1, 5, 30]),
            (0.01, 0.08)[number % 2],
        )
        size = 1 / spread - 1
        cast = rng.poisson(mean, 58)
        counted = rng.binomial(cast, rng.beta(share * size, (1 - share) * size, 58))
        for today in range(28, 58):
            for days in WINDOWS[:2]:
                recent = slice(today - days + 1, today + 1)
                before = slice(max(0, today - days - 27), today - days + 1)
                if cast[recent].sum() and cast[before].sum() >= 10:
                    looks += 1
                    alarms += (
                        chance_of_so_few(
                            int(counted[recent].sum()), int(cast[recent].sum()),
                            counted[before].astype(float), cast[before].astype(float),
                        ) < 0.0005
                    )  # fmt: skip
    assert looks > 8000
    assert alarms / looks < 0.002


def test_only_one_kind_of_vote_ever_came() -> None:
    """All of them counted: no spread can be seen, and a few that don't are no alarm."""
    assert alarm_of([*healthy(20, 10, 0), *day_of(20, 8, 2)]) is None
    assert alarm_of([*healthy(20, 10, 0), *day_of(20, 0, 8)]) is not None
    opened = [row(mode=Mode.OPEN, cast_at=START + 20 * DAY + n, voter=f"o{n}") for n in range(12)]
    alarm = alarm_of([*healthy(20), *opened])
    assert alarm is not None
    assert alarm.reason is FilterReason.NAMES_SHOWN
