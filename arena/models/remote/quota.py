"""What every call passes before it is sent: the day's requests, its money, and the price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arena.domain import Message
from arena.errors.base import ArenaError
from arena.errors.models import PriceUnknown
from arena.models.base import Expenses
from arena.models.remote.budget import Budget, DailyRequests
from arena.models.remote.prices import Price, most_prompt_tokens

PriceOf = Callable[[str], Price | None]


@dataclass(frozen=True, slots=True)
class MeteredCall:
    """One call that was let through.

    Attributes:
        price: of the model that is asked; None where it is not known.
        price_of: what other versions cost.
        budget: pays for it; None where nothing is counted.
        reservation: what was reserved in the budget.
    """

    price: Price | None
    price_of: PriceOf
    budget: Budget | None = None
    reservation: Any = None

    def usd(
        self, served: str, prompt_tokens: int | None, generated_tokens: int | None
    ) -> float | None:
        """US dollars for these counts; None where price or counts are not known.

        Args:
            served: the version that really answered; its own price counts where it is known.
            prompt_tokens: as the provider counted them.
            generated_tokens: the same, thinking included.
        """
        price = self.price_of(served) or self.price
        if price is None or prompt_tokens is None or generated_tokens is None:
            return None
        return price.usd(prompt_tokens, generated_tokens)

    async def settle(self, usd: float | None) -> None:
        """Replace what was reserved by the real cost; None leaves it as it is."""
        if self.budget is not None and usd is not None:
            await self.budget.settle(self.reservation, usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The caps of one contestant.

    Attributes:
        requests: the day's requests; None means that they are not counted.
        budget: the day's money; None means that it is not counted.
        price_of: what a model costs; None where that is not known.
        price_variables: the settings that would say so.
    """

    requests: DailyRequests | None = None
    budget: Budget | None = None
    price_of: PriceOf = lambda _: None
    price_variables: tuple[str, str] = ("", "")

    def refusal(self, model: str) -> ArenaError | None:
        """Why the model cannot be called now, as far as is known; None if it can."""
        for cap in (self.requests, self.budget):
            if cap is not None and (refusal := cap.refusal()) is not None:
                return refusal
        return self._unknown_price(model)

    async def refresh(self) -> None:
        """Read what the day has used, which other processes add to."""
        for cap in (self.requests, self.budget):
            if cap is not None:
                await cap.refresh()

    def expenses(self) -> Expenses | None:
        """What the day has cost; None where that is not counted."""
        return None if self.budget is None else self.budget.expenses()

    async def admit(self, model: str, messages: Sequence[Message], max_tokens: int) -> MeteredCall:
        """Count one request, and reserve the most that it can cost.

        Args:
            model: who will be asked.
            messages: what it will be sent.
            max_tokens: the most tokens that it may generate, thinking included.

        Raises:
            DailyRequestsSpent, BudgetSpent: the day is used up.
            PriceUnknown: there is a budget, and the model's price is not known.
        """
        if (unknown := self._unknown_price(model)) is not None:
            raise unknown
        if self.requests is not None:
            await self.requests.consume()
        price = self.price_of(model)
        if self.budget is None or price is None:
            return MeteredCall(price, self.price_of)
        most_usd = price.usd(most_prompt_tokens(messages), max_tokens)
        reservation = await self.budget.reserve(most_usd)
        return MeteredCall(price, self.price_of, self.budget, reservation)

    def _unknown_price(self, model: str) -> PriceUnknown | None:
        """Why a budget could not be kept for this model; None if it can, or there is none."""
        limited = self.budget is not None and self.budget.limit_usd is not None
        if not limited or self.price_of(model) is not None:
            return None
        into, out = self.price_variables
        return PriceUnknown(model=model, variable=into, variable_in=into, variable_out=out)
