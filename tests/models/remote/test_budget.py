"""The owner's money, with the real store as its ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Message, Role
from arena.errors.models import BudgetSpent, DailyRequestsSpent, PriceUnknown
from arena.models.remote.budget import Budget, end_of_day, to_micro
from arena.models.remote.prices import PRICES, Price, most_prompt_tokens, overridden, price_of
from arena.models.remote.quota import Quota
from arena.store.store import Reservation, VoteStore

ASK = (Message(Role.USER, "偶数とは?"),)
PRICE = Price(2.0, 10.0)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 23, 50, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def purse_of(
    store: VoteStore, limit: float | None, clock: Clock | None = None
) -> Budget[Reservation]:
    """A purse whose day is the store's."""
    return Budget(
        store, name="gemini", label="Gemini", limit_usd=limit, variable="GEMINI_DAILY_BUDGET_USD",
        now=clock or Clock(),
    )  # fmt: skip


@given(st.floats(0, 1000, allow_nan=False))
def test_micro_dollars_never_lose_money(usd: float) -> None:
    """Rounded down, a thousand cheap answers would cost nothing."""
    micro = to_micro(usd)
    assert micro >= usd * 1e6 - 1e-5
    assert micro - usd * 1e6 < 1.01


def test_midnight_is_in_utc() -> None:
    """The store counts by UTC days: another midnight would open the purse hours too early."""
    tokyo = datetime.fromisoformat("2026-11-25T08:00:00+09:00")
    assert end_of_day(tokyo) == datetime(2026, 11, 25, tzinfo=UTC)


def test_price_by_date_and_name() -> None:
    """A price that ends on a day must not be used after it."""
    before, after = date(2026, 12, 31), date(2027, 1, 1)
    old, new = price_of("gemini-3.8-flash", before), price_of("models/gemini-3.8-flash", after)
    assert old is not None
    assert new is not None
    assert (old.usd_in, new.usd_in) == (0.75, 1.50)
    assert price_of("gemini-99", before) is None


def test_every_price_says_that_nobody_checked_it() -> None:
    """A figure of hearsay that looks like a fact ends on somebody's bill."""
    for rows in PRICES.values():
        days = [day for day, _ in rows]
        assert days == sorted(days)
        for _, price in rows:
            assert not price.verified
            assert price.source
            assert 0 < price.usd_in < price.usd_out


def test_the_owner_knows_better() -> None:
    """A price that was set must win, and half a price must not become a whole one."""
    assert overridden(PRICE, None, None) is PRICE
    changed = overridden(PRICE, 1.0, None)
    assert changed is not None
    assert (changed.usd_in, changed.usd_out, changed.verified) == (1.0, 10.0, False)
    whole = overridden(None, 1.0, 2.0)
    assert whole is not None
    assert (whole.usd_in, whole.usd_out, whole.verified) == (1.0, 2.0, True)
    assert overridden(None, 1.0, None) is None


def test_thinking_costs_as_output() -> None:
    """Billed tokens that nobody sees were left out of a cost once too often."""
    assert PRICE.usd(1_000_000, 0) == 2.0
    assert PRICE.usd(0, 500_000) == 5.0


@given(st.text(max_size=60))
def test_the_bound_of_a_prompt_holds_for_any_text(text: str) -> None:
    """A reservation below the cost lets the sum pass the budget by more than one call."""
    bound = most_prompt_tokens([Message(Role.USER, text)])
    assert bound >= len(text.encode("utf-8", "replace"))


async def test_the_sum_passes_the_budget_by_one_call_at_most(store: VoteStore) -> None:
    """Fifty calls that look before any of them takes would all go out."""
    purse = purse_of(store, 0.10)
    results = await asyncio.gather(
        *(purse.reserve(0.03) for _ in range(50)), return_exceptions=True
    )
    taken = [r for r in results if not isinstance(r, BaseException)]
    refused = [r for r in results if isinstance(r, BudgetSpent)]
    assert (len(taken), len(refused)) == (4, 46)
    assert await store.spent_today("gemini") == 120_000
    assert isinstance(purse.refusal(), BudgetSpent)
    assert "$0.1" in refused[0].sentence
    assert "GEMINI_DAILY_BUDGET_USD" in refused[0].remedy_text


async def test_what_a_call_did_not_cost_is_given_back(store: VoteStore) -> None:
    """A reservation that stays shuts the purse at a tenth of the budget."""
    purse = purse_of(store, 0.10)
    taken = await purse.reserve(0.09)
    await taken.settle(0.0004)
    assert await store.spent_today("gemini") == 400
    assert purse.expenses().today_usd == pytest.approx(0.0004)
    await purse.reserve(0.09)


async def test_a_spent_purse_opens_at_midnight(tmp_path: object, store: VoteStore) -> None:
    """A chip that says `spent` until somebody starts the arena again costs a day of votes."""
    clock = Clock()
    purse = purse_of(store, 0.0, clock)
    await purse.refresh()
    assert isinstance(purse.refusal(), BudgetSpent)
    clock.now += timedelta(minutes=11)
    assert purse.refusal() is None


async def test_another_process_spends_from_the_same_purse(store: VoteStore) -> None:
    """Two replicas with a purse each spend twice the budget."""
    one, other = purse_of(store, 0.05), purse_of(store, 0.05)
    await (await one.reserve(0.05)).settle(0.05)
    assert other.refusal() is None
    await other.refresh()
    assert isinstance(other.refusal(), BudgetSpent)


async def test_no_budget_counts_only(store: VoteStore) -> None:
    """Without a budget nothing may be refused, and the cost is shown all the same."""
    purse = purse_of(store, None)
    for _ in range(3):
        await (await purse.reserve(50.0)).settle(40.0)
    assert purse.refusal() is None
    assert purse.expenses().today_usd == pytest.approx(120.0)
    assert purse.expenses().limit_usd is None


def meter_of(store: VoteStore, clock: Clock, limit: float | None, requests: int = 2) -> Quota:
    """A meter of one cloud model."""
    return Quota(
        label="Gemini", requests=requests, requests_variable="GEMINI_DAILY_REQUESTS",
        reserve=lambda most: store.count_today("gemini", most),
        used=lambda: store.today("gemini"), purse=purse_of(store, limit, clock),
        price_of={"known": PRICE}.get, price_variables=("GEMINI_PRICE_IN", "GEMINI_PRICE_OUT"),
        now=clock,
    )  # fmt: skip


async def test_a_call_reserves_the_most_that_it_can_cost(store: VoteStore) -> None:
    """Prompt and thinking are part of the bill."""
    charge = await meter_of(store, Clock(), 1.0).admit("known", ASK, most_output=1000)
    most = to_micro(PRICE.usd(most_prompt_tokens(ASK), 1000))
    assert await store.spent_today("gemini") == most
    assert charge.usd("new-version", 10, 20) == pytest.approx(0.00022)
    await charge.settle(charge.usd("new-version", 10, 20))
    assert await store.spent_today("gemini") == 220


async def test_an_unknown_cost_keeps_the_reservation(store: VoteStore) -> None:
    """What is billed of a broken stream is not told: nothing may be given back for it."""
    charge = await meter_of(store, Clock(), 1.0).admit("known", ASK, most_output=1000)
    before = await store.spent_today("gemini")
    assert charge.usd("known", None, 5) is None
    await charge.settle(None)
    assert await store.spent_today("gemini") == before > 0


async def test_a_budget_needs_a_price(store: VoteStore) -> None:
    """A budget over a model without a price would never be spent."""
    clock = Clock()
    with pytest.raises(PriceUnknown, match="price of new is not known"):
        await meter_of(store, clock, 1.0).admit("new", ASK, 10)
    charge = await meter_of(store, clock, None).admit("new", ASK, 10)
    assert charge.usd("new", 1, 1) is None
    assert await store.today("gemini") == 1  # the refused one was not counted


async def test_the_day_of_requests_ends_at_midnight(store: VoteStore) -> None:
    """The chip must say so before a battle is lost to it, and stop saying so in time."""
    clock = Clock()
    meter = meter_of(store, clock, None, requests=1)
    await meter.admit("known", ASK, 10)
    assert meter.refusal() is None
    await meter.refresh()
    assert isinstance(meter.refusal(), DailyRequestsSpent)
    with pytest.raises(DailyRequestsSpent):
        await meter.admit("known", ASK, 10)
    clock.now += timedelta(minutes=11)
    assert meter.refusal() is None
