"""Health is whether a vote can be kept, found out by writing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from arena.errors.store import StoreError
from arena.store.store import VoteStore
from arena.ui import health as health_page
from arena.ui.health import FRESH_SECONDS, StoreProbe, health
from arena.ui.i18n import error_line
from arena.ui.status_view import error_notice
from tests.battle.arenas import ANSWER, arena_of
from tests.databases import *  # noqa: F403
from tests.scripted import ScriptedModel
from tests.store_tools import Outside


class Clock:
    """Stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def spoil(file: Path, how: str) -> None:
    """Does that to the file, while the store has it open."""
    if how == "moved":
        file.rename(file.with_name("elsewhere.db"))
    elif how != "read-only":
        file.unlink()
    if how == "replaced by an empty one":
        file.touch()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probe(store: VoteStore, clock: Clock) -> StoreProbe:
    return StoreProbe(store, clock)


async def test_a_store_that_takes_writes_is_well(
    store: VoteStore, probe: StoreProbe, outside: Outside
) -> None:
    """The probe writes, leaves nothing behind, and the page says 200."""
    before = outside.rows("SELECT * FROM meta")
    arena = arena_of(store, ScriptedModel("one", ANSWER), ScriptedModel("two", ANSWER))
    status, body = await health(arena, probe)
    assert (status, body["store"], body["ready"]) == (200, "ok", True)
    assert outside.rows("SELECT * FROM meta") == before


async def test_a_locked_store_is_not_well_until_it_is_free(
    probe: StoreProbe, file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another one holds the lock the answer is `slow`, soon, and from one write."""
    monkeypatch.setattr(health_page, "STORE_SECONDS", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = await asyncio.gather(*(probe.problem() for _ in range(20)))
        tries = {probe._running}
        clock.now += 60
        assert await probe.problem() == "slow"
        assert {*tries, probe._running} == tries
        other.execute("ROLLBACK")
    assert first == ["slow"] * 20
    monkeypatch.setattr(health_page, "STORE_SECONDS", 30)
    assert await probe.problem() is None


@pytest.mark.parametrize("how", ["removed", "moved", "replaced by an empty one", "read-only"])
async def test_a_store_that_is_gone_is_not_well(
    store: VoteStore, probe: StoreProbe, file: Path, clock: Clock, how: str
) -> None:
    """A file that votes can't reach is noticed, although it can still be read."""
    assert await probe.problem() is None
    spoil(file, how)
    if how == "read-only":  # as a failed disk makes it; the rights of a file don't bind root
        with store.database.writer.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only=1")
    clock.now += 2 * FRESH_SECONDS
    assert await probe.problem() == "store"


async def test_many_who_ask_cost_one_write(probe: StoreProbe, clock: Clock) -> None:
    """A result is shared for a moment, and found anew after it."""
    assert await probe.problem() is None
    first = probe._running
    clock.now += FRESH_SECONDS / 2
    assert await probe.problem() is None
    assert probe._running is first
    clock.now += FRESH_SECONDS
    assert await probe.problem() is None
    assert probe._running is not first


async def test_a_closed_store_is_not_well(store: VoteStore, probe: StoreProbe) -> None:
    """A store that was closed is reported, not raised."""
    await store.aclose()
    assert await probe.problem() == "store"


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_visitors_are_not_told_where_the_store_is(
    store: VoteStore, file: Path, language: str
) -> None:
    """The page says that it was not saved; the place is for the log."""
    spoil(file, "removed")
    with pytest.raises(StoreError) as caught:
        await store.set_meta("a", "b")
    shown = error_notice(language, caught.value)
    assert str(file.parent) not in shown
    assert error_line(language, StoreError()) in shown
    assert str(file) in caught.value.detail
