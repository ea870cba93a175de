"""A collapse of the share of votes that count is told to the owner: log, page, terminal, doctor."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from arena.doctor import _store
from arena.domain import Flag
from arena.leaderboard.cache import LeaderboardCache
from arena.leaderboard.report_json import report_json
from arena.leaderboard.watch import FIRST_LOOK_S, LOOK_EVERY_S, VoteWatch
from arena.stats.filters import FilterReason, Rules
from arena.store.changes import CopyState
from arena.store.queries import Counts
from arena.store.store import VoteStore
from arena.ui.i18n import say
from arena.ui.owner_cards import store_html
from arena.ui.terminal import report_text
from tests.environment import settings_from
from tests.vote_samples import NOON, battle, vote

REASON = FilterReason.PROMPT_CUT


class Stop(Exception):
    """Ends a watch that never ends."""


async def voted(store: VoteStore, day: int, count: int, **changes: Any) -> None:
    """Votes of one day, each of a person of its own."""
    for number in range(count):
        voter = f"{day:032x}{number:032x}"
        made = battle(voter=voter, created_at=NOON + timedelta(days=day), **changes)
        await store.add_battle(made)
        await store.cast_vote(vote(made, "tie", cast_at=NOON + timedelta(days=day)))


async def collapsed(store: VoteStore) -> None:
    for day in range(4):
        await voted(store, day, 6)
    await voted(store, 4, 8, flags=frozenset({Flag.PROMPT_CUT}))


async def watched(store: VoteStore, looks: int) -> tuple[VoteWatch, list[float]]:
    """A watch after so many looks, with a clock that goes on by an hour at each sleep."""
    slept: list[float] = []
    clock = NOON

    async def sleep(seconds: float) -> None:
        nonlocal clock
        slept.append(seconds)
        clock += timedelta(hours=1)
        if len(slept) > looks:
            raise Stop

    watch = VoteWatch(LeaderboardCache(store), Rules(), sleep=sleep, now=lambda: clock)
    with pytest.raises(Stop):
        await watch.run()
    return watch, slept


async def test_the_log_is_told_once_a_day(
    store: VoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first look after the start, and again on the next day."""
    await collapsed(store)
    watch, slept = await watched(store, 14)
    told = [record for record in caplog.records if record.name == "arena.leaderboard.watch"]
    assert slept == [FIRST_LOOK_S, *[LOOK_EVERY_S] * 14]
    assert watch.alarm is not None
    assert [record.levelno for record in told] == [logging.WARNING] * 2, "noon to 3 in the morning"
    assert {record.getMessage() for record in told} == {watch.alarm.sentence}
    assert "0% of the 8 votes" in watch.alarm.sentence
    assert REASON in watch.alarm.sentence


async def test_where_all_is_well_nobody_is_told(
    store: VoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log nor the owner, in any place."""
    for day in range(5):
        await voted(store, day, 6)
    watch, _ = await watched(store, 2)
    assert watch.alarm is None
    assert not caplog.records
    report = await LeaderboardCache(store).report(Rules())
    assert report_json(report)["alarm"] is None
    assert "Check this" not in report_text(report, "en")


async def test_a_store_that_fails_is_looked_at_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch does not end; the log says why nothing was seen."""
    store = VoteStore.open(f"sqlite:///{tmp_path}/votes.db")
    with closing(sqlite3.connect(tmp_path / "votes.db")) as other:
        other.execute("ALTER TABLE votes RENAME TO elsewhere")
    watch, slept = await watched(store, 2)
    assert len(slept) == 3
    assert watch.alarm is None
    assert "could not be looked at" in caplog.text
    await store.aclose()


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_the_owner_sees_it_in_terminal_page_and_doctor(tmp_path: Path, language: str) -> None:
    """In words, with the reason."""
    url = f"sqlite:///{tmp_path}/votes.db"
    store = VoteStore.open(url)
    await collapsed(store)
    report = await LeaderboardCache(store).report(Rules())
    await store.aclose()
    alarm = report.alarm
    assert alarm is not None
    reason = say(language, f"board.reason.{REASON}")
    text = report_text(report, language).splitlines()
    (line,) = [line for line in text if reason in line and "100%" in line]
    card = store_html("x", Counts(1, 1), CopyState(), language, 0.0, alarm=alarm)
    assert line in card
    assert say(language, "store.alarm") in card
    assert say(language, "store.alarm") not in store_html(
        "x", Counts(1, 1), CopyState(), language, 0.0
    )
    assert report_json(report)["alarm"] == {
        "day": "2025-06-05", "days": 1, "cast": 8, "counted": 0, "cast_before": 24,
        "counted_before": 24, "reason": "prompt_cut", "p_value": alarm.p_value,
    }  # fmt: skip
    found = await _store(settings_from({"ARENA_DATABASE_URL": url}))
    assert [(f.name, f.state) for f in found] == [("store", "ok"), ("votes that count", "gap")]
    assert found[1].value == alarm.sentence
