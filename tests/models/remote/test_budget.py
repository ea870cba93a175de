"""The caps of a day, counted in a real store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Message, Role
from arena.errors.models import BudgetSpent, DailyRequestsSpent, PriceUnknown
from arena.models.remote.budget import Budget, DailyRequests, end_of_day, to_micro
from arena.models.remote.prices import Price, most_prompt_tokens
from arena.models.remote.quota import Quota
from arena.store.store import VoteStore

ASK = (Message(Role.USER, "偶数とは?"),)
PRICE = Price(2.0, 10.0)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 23, 50, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def budget_of(store: VoteStore, limit: float | None, clock: Clock | None = None) -> Budget:
    """A budget whose day is the store's."""
    return Budget(
        usage=store, name="gemini", label="Gemini", limit_usd=limit,
        variable="GEMINI_DAILY_BUDGET_USD", now=clock or Clock(),
    )  # fmt: skip


@given(st.floats(0, 1000, allow_nan=False))
def test_micro_dollars_never_lose_money(usd: float) -> None:
    """An amount is rounded up to a millionth of a dollar."""
    micro = to_micro(usd)
    assert micro >= usd * 1e6 - 1e-5
    assert micro - usd * 1e6 < 1.01


def test_midnight_is_in_utc() -> None:
    """A day ends at midnight UTC, as the store's days do."""
    tokyo = datetime.fromisoformat("2026-11-25T08:00:00+09:00")
    assert end_of_day(tokyo) == datetime(2026, 11, 25, tzinfo=UTC)


async def test_the_sum_passes_the_budget_by_one_call_at_most(store: VoteStore) -> None:
    """Calls at the same time exceed the budget by one call at most."""
    budget = budget_of(store, 0.10)
    results = await asyncio.gather(
        *(budget.reserve(0.03) for _ in range(50)), return_exceptions=True
    )
    taken = [r for r in results if not isinstance(r, BaseException)]
    refused = [r for r in results if isinstance(r, BudgetSpent)]
    assert (len(taken), len(refused)) == (4, 46)
    assert await store.spent_today("gemini") == 120_000
    assert isinstance(budget.refusal(), BudgetSpent)
    assert "$0.1" in refused[0].sentence
    assert "GEMINI_DAILY_BUDGET_USD" in refused[0].remedy_text


async def test_what_a_call_did_not_cost_is_given_back(store: VoteStore) -> None:
    """Settling replaces the reserved amount by the real one."""
    budget = budget_of(store, 0.10)
    await budget.settle(await budget.reserve(0.09), 0.0004)
    assert await store.spent_today("gemini") == 400
    assert budget.expenses().today_usd == pytest.approx(0.0004)
    await budget.reserve(0.09)


async def test_a_spent_budget_opens_at_midnight(store: VoteStore) -> None:
    """A spent budget is open again at midnight, without another look."""
    clock = Clock()
    budget = budget_of(store, 0.0, clock)
    await budget.refresh()
    assert isinstance(budget.refusal(), BudgetSpent)
    clock.now += timedelta(minutes=11)
    assert budget.refusal() is None


async def test_another_process_spends_from_the_same_budget(store: VoteStore) -> None:
    """All processes share one sum."""
    one, other = budget_of(store, 0.05), budget_of(store, 0.05)
    await one.settle(await one.reserve(0.05), 0.05)
    assert other.refusal() is None
    await other.refresh()
    assert isinstance(other.refusal(), BudgetSpent)


async def test_no_budget_counts_only(store: VoteStore) -> None:
    """Without a limit nothing is refused, and the cost is counted."""
    budget = budget_of(store, None)
    for _ in range(3):
        await budget.settle(await budget.reserve(50.0), 40.0)
    assert budget.refusal() is None
    assert budget.expenses().today_usd == pytest.approx(120.0)
    assert budget.expenses().limit_usd is None


def quota_of(store: VoteStore, clock: Clock, limit: float | None, requests: int = 2) -> Quota:
    """The caps of one cloud model."""
    cap = DailyRequests(
        usage=store, name="gemini", label="Gemini", limit=requests,
        variable="GEMINI_DAILY_REQUESTS", now=clock,
    )  # fmt: skip
    return Quota(
        requests=cap, budget=budget_of(store, limit, clock), price_of={"known": PRICE}.get,
        price_variables=("GEMINI_PRICE_IN", "GEMINI_PRICE_OUT"),
    )  # fmt: skip


async def test_a_call_reserves_the_most_that_it_can_cost(store: VoteStore) -> None:
    """The reservation covers the prompt and all tokens that may be generated."""
    call = await quota_of(store, Clock(), 1.0).admit("known", ASK, max_tokens=1000)
    most = to_micro(PRICE.usd(most_prompt_tokens(ASK), 1000))
    assert await store.spent_today("gemini") == most
    assert call.usd("new-version", 10, 20) == pytest.approx(0.00022)
    await call.settle(call.usd("new-version", 10, 20))
    assert await store.spent_today("gemini") == 220


async def test_an_unknown_cost_keeps_the_reservation(store: VoteStore) -> None:
    """Where the cost is not known the whole reservation counts."""
    call = await quota_of(store, Clock(), 1.0).admit("known", ASK, max_tokens=1000)
    before = await store.spent_today("gemini")
    assert call.usd("known", None, 5) is None
    await call.settle(None)
    assert await store.spent_today("gemini") == before > 0


async def test_a_budget_needs_a_price(store: VoteStore) -> None:
    """A limit refuses a model without a price, and does not count the request."""
    clock = Clock()
    with pytest.raises(PriceUnknown, match="price of new is not known"):
        await quota_of(store, clock, 1.0).admit("new", ASK, 10)
    call = await quota_of(store, clock, None).admit("new", ASK, 10)
    assert call.usd("new", 1, 1) is None
    assert await store.today("gemini") == 1  # the refused one was not counted


async def test_the_day_of_requests_ends_at_midnight(store: VoteStore) -> None:
    """A used-up day is refused in advance, until midnight."""
    clock = Clock()
    quota = quota_of(store, clock, None, requests=1)
    await quota.admit("known", ASK, 10)
    assert quota.refusal("known") is None
    await quota.refresh()
    assert isinstance(quota.refusal("known"), DailyRequestsSpent)
    with pytest.raises(DailyRequestsSpent):
        await quota.admit("known", ASK, 10)
    clock.now += timedelta(minutes=11)
    assert quota.refusal("known") is None
