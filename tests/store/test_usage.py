"""Caps hold to the unit, from any number of processes, and start again when they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from arena.store import usage
from arena.store.schema import uses
from arena.store.store import VoteStore
from arena.store.usage import FullError, RateWindow, Refusal, Reservation
from tests.store_tools import Outside
from tests.vote_samples import NOON

DAY = 86_400
_example = count()


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncIterator[VoteStore]:
    """The test's store, by a clock that the test moves."""
    opened = VoteStore.open(url, clock=clock)
    yield opened
    await opened.aclose()


async def test_windows_stand_still_and_say_when_they_end(store: VoteStore, clock: Clock) -> None:
    """Windows are aligned to the epoch in UTC, and a refusal says when one ends."""
    minute, day = RateWindow("v", 60, 2), RateWindow("v", DAY, 3)
    clock.now = datetime.fromisoformat("2025-06-01T23:58:59.900+00:00")
    assert await store.consume([minute, day]) is None
    clock.now = datetime.fromisoformat("2025-06-02T08:59:00+09:00")  # 23:59:00 UTC
    assert await store.consume([minute, day]) is None
    assert await store.consume([minute, day]) is None
    midnight = datetime(2025, 6, 2, tzinfo=UTC)
    full = await store.consume([minute])
    assert full == Refusal(minute, midnight)
    clock.now = midnight - timedelta(microseconds=1)
    assert await store.consume([day]) == Refusal(day, midnight)
    clock.now = midnight
    assert await store.consume([minute, day]) is None


async def test_refused_use_counts_nowhere(store: VoteStore, outside: Outside) -> None:
    """A use that one window refuses is counted in none."""
    mine, shared = RateWindow("mine", 60, 1), RateWindow("shared", 60, 100)
    assert await store.consume([shared, mine]) is None
    for _ in range(3):
        refused = await store.consume([shared, mine])
        assert refused is not None
        assert refused.window == mine
    rows = outside.rows("SELECT key, count FROM uses ORDER BY key")
    assert rows == [("mine", 1), ("shared", 1)]


async def test_first_full_window_in_the_given_order_is_named(store: VoteStore) -> None:
    """Of several full windows the first one given is named."""
    day, minute = RateWindow("z", DAY, 1), RateWindow("a", 60, 1)
    assert await store.consume([day, minute]) is None
    for order in ([day, minute], [minute, day]):
        refused = await store.consume(order)
        assert refused is not None
        assert refused.window == order[0]


async def test_odd_windows(store: VoteStore) -> None:
    """No windows, a limit of 0, and windows that are errors."""
    assert await store.consume([]) is None
    assert await store.consume([RateWindow("v", 60, 0)]) is not None
    assert await store.consume([RateWindow("k" * 80, 1, 1)]) is None
    with pytest.raises(ValueError, match="same key"):
        await store.consume([RateWindow("v", 60, 1), RateWindow("v", 60, 2)])
    for wrong in ({"seconds": 0}, {"key": ""}, {"key": "k" * 81}):
        with pytest.raises(ValueError, match="window"):
            replace(RateWindow("v", 60, 1), **wrong)


async def test_ended_windows_are_removed(store: VoteStore, clock: Clock, outside: Outside) -> None:
    """Windows that ended more than a day ago are removed, and no others."""
    windows = [RateWindow("v", 60, 9), RateWindow("v", DAY, 9)]
    await store.consume(windows)
    clock.now = NOON + timedelta(days=1)
    await store.consume(windows)
    everything = "SELECT seconds, count FROM uses ORDER BY seconds, starts"
    assert outside.rows(everything) == [(60, 1), (60, 1), (DAY, 1), (DAY, 1)]
    clock.now += timedelta(minutes=2)
    await store.consume(windows)
    assert outside.rows(everything) == [(60, 1), (60, 1), (DAY, 1), (DAY, 2)]
    clock.now += timedelta(days=5)
    await store.consume([RateWindow("other", 60, 9)])
    assert outside.rows("SELECT key FROM uses") == [("other",)]


def consumed(store: VoteStore, windows: list[RateWindow], now: datetime) -> Refusal | None:
    """As `store.consume`, for a test that is not async."""
    try:
        store.database.transact(store.database.writer, usage.consume, now, windows)
    except FullError as full:
        return full.refusal
    return None


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(st.integers(0, 40), st.sets(st.integers(0, 3), max_size=3))))
def test_windows_count_like_a_dictionary(
    store: VoteStore, steps: list[tuple[int, set[int]]]
) -> None:
    """Windows count exactly, in any order of uses, refusals and moments."""
    name = next(_example)  # the store is the same for all examples
    kinds = [RateWindow(f"{name}/{n}", seconds, n + 1) for n, seconds in enumerate((10, 10, 60, 7))]
    counted: Counter[tuple[str, int]] = Counter()
    now = NOON
    for seconds, chosen in steps:
        now += timedelta(seconds=seconds)
        windows = [kinds[n] for n in chosen]
        places = {w: (w.key, int(now.timestamp()) // w.seconds) for w in windows}
        full = [w for w in windows if counted[places[w]] >= w.limit]
        refusal = consumed(store, windows, now)
        if refusal is None:
            counted.update(places.values())
            assert full == []
        else:
            assert refusal.window == full[0]
            assert now < refusal.until <= now + timedelta(seconds=full[0].seconds)


async def test_sixteen_at_once_take_what_there_is(store: VoteStore, url: str) -> None:
    """Uses that race get exactly the limit, and never wait for each other in a ring."""
    second = VoteStore.open(url, clock=lambda: NOON)
    windows = [RateWindow("a", 60, 5), RateWindow("b", DAY, 100)]
    racing = [
        (store, second)[n % 2].consume(windows if n % 3 else windows[::-1]) for n in range(16)
    ]
    results = await asyncio.gather(*racing)
    await second.aclose()
    assert results.count(None) == 5
    assert {result.window for result in results if result is not None} == {windows[0]}
    with store.database.reader.connect() as connection:
        assert sorted(connection.scalars(select(uses.c.count))) == [5, 5]


async def test_windows_hold_across_processes(
    url: str, outside: Outside, two: Callable[..., list[str]]
) -> None:
    """Two processes together get exactly the limit."""
    assert sum(map(int, two("take", url, "13"))) == 13
    assert outside.rows("SELECT count FROM uses") == [(13,), (13,)]


async def test_budget_is_passed_by_one_request_at_most(store: VoteStore) -> None:
    """A reservation is refused once the sum has reached the limit."""
    assert await store.reserve_spend("gemini", 60, 100) == Reservation("gemini", NOON.date(), 60)
    assert await store.reserve_spend("gemini", 60, 100) is not None  # 60 < 100 before it
    assert await store.reserve_spend("gemini", 0, 100) is None
    assert await store.spent_today("gemini") == 120
    assert await store.reserve_spend("gemini", 5, None) is not None
    assert await store.reserve_spend("other", 1, 0) is None
    assert await store.reserve_spend("exact", 100, 100) is not None
    assert await store.reserve_spend("exact", 1, 100) is None
    assert [await store.spent_today(name) for name in ("gemini", "other", "exact", "none")] == [
        125, 0, 100, 0,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="negative"):
        await store.reserve_spend("gemini", -1, None)


async def test_settling_gives_back_what_was_not_spent(store: VoteStore) -> None:
    """Settling replaces the reserved amount by the actual one."""
    first = await store.reserve_spend("gemini", 100, 100)
    assert first is not None
    assert await store.reserve_spend("gemini", 100, 100) is None
    await store.settle_spend(first, 30)
    assert await store.spent_today("gemini") == 30
    second = await store.reserve_spend("gemini", 100, 100)
    assert second is not None
    await store.settle_spend(second, 250)  # dearer than was thought
    assert await store.spent_today("gemini") == 280
    with pytest.raises(ValueError, match="negative"):
        await store.settle_spend(second, -1)


async def test_money_belongs_to_the_day_on_which_it_was_reserved(
    store: VoteStore, clock: Clock, outside: Outside
) -> None:
    """A request over midnight is settled on the day of its reservation."""
    clock.now = datetime.fromisoformat("2025-06-02T08:59:59+09:00")  # still June 1 in UTC
    late = await store.reserve_spend("gemini", 100, 1000)
    assert late is not None
    clock.now += timedelta(seconds=2)
    await store.reserve_spend("gemini", 7, 1000)
    await store.settle_spend(late, 40)
    assert await store.spent_today("gemini") == 7
    rows = outside.rows("SELECT day, micro_usd FROM spending ORDER BY day")
    assert [(str(day), amount) for day, amount in rows] == [("2025-06-01", 40), ("2025-06-02", 7)]


async def test_settling_counts_even_if_the_day_is_gone(store: VoteStore) -> None:
    """Settling where the day has no row any more counts the actual cost."""
    await store.settle_spend(Reservation("gemini", NOON.date(), 100), 40)
    assert await store.spent_today("gemini") == 40


async def test_large_sums_fit(store: VoteStore) -> None:
    """A day's sum may be larger than 32 bits."""
    assert await store.reserve_spend("gemini", 3 * 10**12, None) is not None
    assert await store.spent_today("gemini") == 3 * 10**12


async def test_sixteen_reservations_at_once(store: VoteStore, url: str) -> None:
    """Reservations that race pass the limit by one request at most."""
    second = VoteStore.open(url, clock=lambda: NOON)
    racing = [(store, second)[n % 2].reserve_spend("gemini", 100, 450) for n in range(16)]
    results = await asyncio.gather(*racing)
    await second.aclose()
    assert sum(result is not None for result in results) == 5
    assert await store.spent_today("gemini") == 500


async def test_budget_holds_across_processes(
    store: VoteStore, url: str, two: Callable[..., list[str]]
) -> None:
    """Two replicas each spent the whole budget.

    Each request reserves 100 and costs 60, so both together stop between 1000 and 1100 and what
    is counted is what was spent.
    """
    got = sum(map(int, two("spend", url, "1000")))
    assert await store.spent_today("gemini") == 60 * got
    assert 1000 <= 60 * got < 1100
