"""The owner's money: reserved in the store before a call, settled after it.

The sum of a day is kept in the store, so that all processes spend from one purse. A reservation
takes the most that the call can cost; it is let through while the sum before it is below the
budget, so the overshoot is at most that of one call. A process that dies in between leaves its
reservation behind: the sum is never too low.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from arena.errors.base import ArenaError
from arena.errors.models import BudgetSpent
from arena.models.base import Expenses

log = logging.getLogger(__name__)

MICRO = 1_000_000
R = TypeVar("R")


def to_micro(usd: float) -> int:
    """Millionths of a dollar, rounded up: a cost of nothing must not come from rounding."""
    return math.ceil(usd * MICRO - 1e-6)


def end_of_day(now: datetime) -> datetime:
    """The next midnight, UTC."""
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, datetime.min.time(), UTC)


class Ledger(Protocol[R]):
    """What the store keeps of the money; see `VoteStore`."""

    async def reserve_spend(
        self, name: str, micro_usd: int, limit_micro_usd: int | None
    ) -> R | None:
        """Add it to the day's sum if that was below the limit; None if it was not."""
        ...

    async def settle_spend(self, reservation: R, actual_micro_usd: int) -> None:
        """Put what it really cost in its place."""
        ...

    async def spent_today(self, name: str) -> int:
        """The day's sum in millionths of a dollar."""
        ...


class UsageStore(Ledger[R], Protocol[R]):
    """What the store counts of one day, money and requests; see `VoteStore`."""

    async def count_today(self, name: str, limit: int) -> bool:
        """Count one of what may be done today; False when none is left."""
        ...

    async def today(self, name: str) -> int:
        """How many of today are used."""
        ...


class Budget(Generic[R]):
    """One contestant's money.

    Args:
        ledger: where the sums are kept.
        name: of the sum; all processes use the same.
        label: the contestant, for people.
        limit_usd: the day's budget; None counts only.
        variable: the setting that holds the budget.
        now: the wall clock, UTC.
    """

    def __init__(
        self,
        ledger: Ledger[R],
        *,
        name: str,
        label: str,
        limit_usd: float | None,
        variable: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._label = label
        self.limit_usd = limit_usd
        self._variable = variable
        self._now = now
        self._spent_until: datetime | None = None
        self._today_usd = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a budget to keep."""
        return self.limit_usd is not None

    def expenses(self) -> Expenses:
        """The day's sum when it was last looked at, and the budget."""
        return Expenses(self._today_usd, self.limit_usd)

    def refusal(self) -> ArenaError | None:
        """Why no more calls are allowed now, as far as is known; None if they are."""
        if self._spent_until is None or self._now() >= self._spent_until:
            return None
        return BudgetSpent(
            label=self._label,
            limit=f"{self.limit_usd:g}",
            until="00:00 UTC",
            variable=self._variable,
        )

    async def refresh(self) -> None:
        """Look at the day's sum, which other processes add to."""
        spent = await self._ledger.spent_today(self._name)
        self._today_usd = spent / MICRO
        over = self.limit_usd is not None and spent >= to_micro(self.limit_usd)
        self._spent_until = end_of_day(self._now()) if over else None

    async def reserve(self, most_usd: float) -> MoneyReservation[R]:
        """Take the most that a call can cost.

        Raises:
            BudgetSpent: the day's budget is spent; nothing was taken.
        """
        limit = None if self.limit_usd is None else to_micro(self.limit_usd)
        taken = await self._ledger.reserve_spend(self._name, to_micro(most_usd), limit)
        if taken is None:
            await self.refresh()
            # The day may have turned since: then the next call is allowed again.
            raise self.refusal() or BudgetSpent(
                label=self._label,
                limit=f"{self.limit_usd:g}",
                until="00:00 UTC",
                variable=self._variable,
            )
        return MoneyReservation(self, taken)

    async def settle(self, reservation: R, usd: float) -> None:
        """Put what a call really cost in the place of what was taken for it."""
        try:
            await self._ledger.settle_spend(reservation, to_micro(usd))
            await self.refresh()
        except ArenaError as error:
            # The answer is good all the same, and the sum is too high rather than too low.
            log.warning("%s: the cost of an answer is not settled: %s", self._name, error.detail)


class MoneyReservation(Generic[R]):
    """Money that was taken for one call."""

    def __init__(self, purse: Budget[R], reservation: R) -> None:
        self._purse = purse
        self._reservation = reservation

    async def settle(self, usd: float) -> None:
        """Give back what the call did not cost."""
        await self._purse.settle(self._reservation, usd)
