"""What stands between a contestant and a call that costs: the day's requests and its money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from arena.domain import Message
from arena.errors.base import ArenaError
from arena.errors.models import DailyRequestsSpent, PriceUnknown
from arena.models.base import Expenses
from arena.models.remote.budget import Budget, MoneyReservation, end_of_day
from arena.models.remote.prices import Price, most_prompt_tokens

Reserve = Callable[[int], Awaitable[bool]]
PriceOf = Callable[[str], Price | None]
MIDNIGHT = "00:00 UTC"


class DailyCount:
    """Counts requests by UTC day in this process's memory: the `Reserve` of last resort."""

    def __init__(self, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._today = today
        self._day: date | None = None
        self._used = 0

    async def __call__(self, limit: int) -> bool:
        """Count one request, and say whether it was within the limit."""
        if (day := self._today()) != self._day:
            self._day, self._used = day, 0
        if self._used >= limit:
            return False
        self._used += 1
        return True


class MeteredCall:
    """One call that was let through."""

    def __init__(
        self, price: Price | None, price_of: PriceOf, reserved: MoneyReservation[Any] | None
    ) -> None:
        self._price = price
        self._price_of = price_of
        self._reserved = reserved

    def usd(
        self, served: str, prompt_tokens: int | None, generated_tokens: int | None
    ) -> float | None:
        """US dollars for these counts; None where price or counts are not known.

        Args:
            served: the version that really answered; its own price counts where it is known.
            prompt_tokens: as the provider counted them.
            generated_tokens: the same, thinking included.
        """
        price = self._price_of(served) or self._price
        if price is None or prompt_tokens is None or generated_tokens is None:
            return None
        return price.usd(prompt_tokens, generated_tokens)

    async def settle(self, usd: float | None) -> None:
        """Put the real cost in the place of what was reserved; None leaves that as it is."""
        if self._reserved is not None and usd is not None:
            await self._reserved.settle(usd)


class Quota:
    """The caps of one contestant.

    Args:
        label: the contestant, for people.
        requests: how many a day (UTC) are allowed; None means that nobody counts.
        requests_variable: the setting that holds the number.
        reserve: gets the number, counts one request and says whether it was still allowed.
        used: how many requests today has had, over all processes; None where only `reserve` knows.
        purse: the day's money; None where nothing is paid.
        price_of: what a model costs; None where that is not known.
        price_variables: the settings that would say so.
        now: the wall clock, UTC.
    """

    def __init__(
        self,
        *,
        label: str,
        requests: int | None = None,
        requests_variable: str = "",
        reserve: Reserve | None = None,
        used: Callable[[], Awaitable[int]] | None = None,
        purse: Budget[Any] | None = None,
        price_of: PriceOf = lambda _: None,
        price_variables: tuple[str, str] = ("", ""),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._label = label
        self._requests = requests
        self._requests_variable = requests_variable
        self._reserve = reserve or DailyCount()
        self._used = used
        self.purse = purse
        self.price_of = price_of
        self._price_variables = price_variables
        self._now = now
        self._full_until: datetime | None = None

    def refusal(self) -> ArenaError | None:
        """Why no call is allowed now, as far as is known; None if calls are."""
        if self._full_until is not None and self._now() < self._full_until:
            return self._requests_spent()
        return None if self.purse is None else self.purse.refusal()

    async def refresh(self) -> None:
        """Look at what the day has used, which other processes add to."""
        if self._used is not None and self._requests is not None:
            full = await self._used() >= self._requests
            self._full_until = end_of_day(self._now()) if full else None
        if self.purse is not None:
            await self.purse.refresh()

    def expenses(self) -> Expenses | None:
        """What the day has cost; None where nothing is paid."""
        return None if self.purse is None else self.purse.expenses()

    def unknown_price(self, model: str) -> PriceUnknown | None:
        """Why a budget could not be kept for this model; None if it can, or there is none."""
        if self.purse is None or not self.purse.limited or self.price_of(model) is not None:
            return None
        into, out = self._price_variables
        return PriceUnknown(model=model, variable=into, variable_in=into, variable_out=out)

    async def admit(self, model: str, messages: Sequence[Message], most_output: int) -> MeteredCall:
        """Count one request, and take the most that it can cost.

        Args:
            model: the model that will be asked.
            messages: what it will be sent.
            most_output: the most tokens it may generate, thinking included.

        Raises:
            DailyRequestsSpent, BudgetSpent: the day is used up.
            PriceUnknown: there is a budget, and nobody knows what this model costs.
        """
        if (unknown := self.unknown_price(model)) is not None:
            raise unknown
        if self._requests is not None and not await self._reserve(self._requests):
            self._full_until = end_of_day(self._now())
            raise self._requests_spent()
        price = self.price_of(model)
        if self.purse is None or price is None:
            return MeteredCall(price, self.price_of, None)
        most = price.usd(most_prompt_tokens(messages), most_output)
        return MeteredCall(price, self.price_of, await self.purse.reserve(most))

    def _requests_spent(self) -> DailyRequestsSpent:
        return DailyRequestsSpent(
            limit=self._requests,
            label=self._label,
            until=MIDNIGHT,
            variable=self._requests_variable,
        )
