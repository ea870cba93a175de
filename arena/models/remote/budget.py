"""The owner's caps of one day (UTC): a number of requests, and money.

Both are counted in the store, so that all processes share them. Money is reserved before a call
and settled after it. A reservation is the most that the call can cost; it is granted while the sum
before it is below the budget, so the budget is exceeded by at most one call. A process that dies
in between leaves its reservation behind: the sum is never too low.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from arena.errors.base import ArenaError
from arena.errors.models import BudgetSpent, DailyRequestsSpent
from arena.models.base import Expenses

log = logging.getLogger(__name__)

MICRO = 1_000_000
MIDNIGHT = "00:00 UTC"


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def to_micro(usd: float) -> int:
    """Millionths of a dollar, rounded up, so that rounding never makes a call free."""
    return math.ceil(usd * MICRO - 1e-6)


def end_of_day(now: datetime) -> datetime:
    """The next midnight, UTC."""
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, datetime.min.time(), UTC)


class UsageStore(Protocol):
    """What the store counts of one day; see `VoteStore`.

    Reservations are the store's own objects and only passed back to it.
    """

    async def count_today(self, name: str, limit: int) -> bool:
        """Count one request of today; False, and nothing counted, when none is left."""
        ...

    async def today(self, name: str) -> int:
        """How many requests today has had."""
        ...

    async def reserve_spend(self, name: str, micro_usd: int, limit_micro_usd: int | None) -> Any:  # noqa: ANN401
        """Add it to the day's sum if that was below the limit; None if it was not."""
        ...

    async def settle_spend(self, reservation: Any, actual_micro_usd: int) -> None:  # noqa: ANN401
        """Replace the reserved amount by the actual one."""
        ...

    async def spent_today(self, name: str) -> int:
        """The day's sum in millionths of a dollar."""
        ...


@dataclass(kw_only=True)
class DailyCap(ABC):
    """A cap of one contestant for one day.

    Attributes:
        usage: where it is counted.
        name: of the count; all processes use the same.
        label: the contestant, for people.
        variable: the setting that holds the cap.
        now: the wall clock, UTC.
    """

    usage: UsageStore
    name: str
    label: str
    variable: str
    now: Callable[[], datetime] = utc_now
    _spent_until: datetime | None = field(default=None, init=False)

    @abstractmethod
    def spent(self) -> ArenaError:
        """The error of a call that is over the cap."""

    def refusal(self) -> ArenaError | None:
        """Why no more calls are allowed now, as far as is known; None if they are."""
        if self._spent_until is None or self.now() >= self._spent_until:
            return None
        return self.spent()

    def _remember(self, *, spent: bool) -> None:
        self._spent_until = end_of_day(self.now()) if spent else None


@dataclass(kw_only=True)
class DailyRequests(DailyCap):
    """How many requests a day may have."""

    limit: int

    def spent(self) -> DailyRequestsSpent:
        """See `DailyCap`."""
        return DailyRequestsSpent(
            limit=self.limit, label=self.label, until=MIDNIGHT, variable=self.variable
        )

    async def refresh(self) -> None:
        """Read the day's count, which other processes add to."""
        self._remember(spent=await self.usage.today(self.name) >= self.limit)

    async def consume(self) -> None:
        """Count one request.

        Raises:
            DailyRequestsSpent: none was left.
        """
        if not await self.usage.count_today(self.name, self.limit):
            self._remember(spent=True)
            raise self.spent()


@dataclass(kw_only=True)
class Budget(DailyCap):
    """What a day may cost, in US dollars; None counts only."""

    limit_usd: float | None
    _today_usd: float = field(default=0.0, init=False)

    def spent(self) -> BudgetSpent:
        """See `DailyCap`."""
        limit = f"{self.limit_usd:g}"
        return BudgetSpent(label=self.label, limit=limit, until=MIDNIGHT, variable=self.variable)

    def expenses(self) -> Expenses:
        """The day's sum when it was last read, and the limit."""
        return Expenses(self._today_usd, self.limit_usd)

    async def refresh(self) -> None:
        """Read the day's sum, which other processes add to."""
        micro_usd = await self.usage.spent_today(self.name)
        self._today_usd = micro_usd / MICRO
        self._remember(spent=self.limit_usd is not None and micro_usd >= to_micro(self.limit_usd))

    async def reserve(self, most_usd: float) -> Any:  # noqa: ANN401 - only the store looks inside
        """Reserve the most that a call can cost.

        Raises:
            BudgetSpent: the day's budget is spent; nothing was reserved.
        """
        limit = None if self.limit_usd is None else to_micro(self.limit_usd)
        reservation = await self.usage.reserve_spend(self.name, to_micro(most_usd), limit)
        if reservation is None:
            await self.refresh()
            raise self.spent()
        return reservation

    async def settle(self, reservation: Any, usd: float) -> None:  # noqa: ANN401
        """Replace what was reserved for a call by what it really cost."""
        try:
            await self.usage.settle_spend(reservation, to_micro(usd))
            await self.refresh()
        except ArenaError as error:
            # The answer is good all the same, and the sum is too high rather than too low.
            log.warning("%s: the cost of an answer is not settled: %s", self.name, error.detail)
