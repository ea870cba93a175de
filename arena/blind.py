"""What may leave the server of a battle before its vote: nothing that tells the sides apart. Pure.

In blind mode the pool of contestants is public, and which of them plays on which side is not.
With the sides swapped, all that is sent before the vote is the same, but for the answers' own text
and, where it is shown as it comes, its timing. So both sides have one phase, and a failure is the
battle's: one sentence that fits every kind of contestant, one id, and two buttons that do the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from arena.domain import Answer, Battle, FinishReason, Mode, ModelSpec, Side
from arena.errors import models as failures
from arena.errors.base import ArenaError

T = TypeVar("T")

HOLD_S: Final = 600.0
"""How long a change of a model's status is held back at most."""


class Phase(StrEnum):
    """Where one side stands, or both."""

    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class Trouble(StrEnum):
    """Why an answer can't be judged, in kinds that local and remote models have alike."""

    STOPPED = "stopped"
    DECLINED = "declined"
    TOO_LONG = "too_long"
    BUSY = "busy"
    EMPTY = "empty"
    BROKEN = "broken"


_KINDS: Final = {
    Trouble.DECLINED: (
        failures.ContentBlocked, failures.RequestRefused, failures.UnsupportedModel,
    ),
    Trouble.TOO_LONG: (failures.ContextTooLong, failures.CacheTooSmall),
    Trouble.BUSY: (
        failures.Overloaded, failures.RateLimited, failures.OutOfMemory, failures.QuotaSpent,
        failures.DailyRequestsSpent, failures.BudgetSpent,
    ),
    Trouble.EMPTY: (failures.EmptyAnswer, failures.OnlyThoughts),
}  # fmt: skip
_TROUBLE_OF_CODE: Final = {error.code: kind for kind, group in _KINDS.items() for error in group}


def trouble_of(answer: Answer | None) -> Trouble | None:
    """Why that answer can't be judged; None if it can."""
    if answer is None or answer.finished.reason is FinishReason.CANCELLED:
        return Trouble.STOPPED
    if answer.usable:
        return None
    if answer.finished.reason is FinishReason.BLOCKED:
        return Trouble.DECLINED
    if answer.finished.reason is FinishReason.ERROR:
        return _TROUBLE_OF_CODE.get(answer.finished.error_code or "", Trouble.BROKEN)
    return Trouble.EMPTY


def shared_phase(phases: Iterable[Phase], *, written: bool) -> Phase:
    """The one phase of both sides; `written` says whether either has text yet."""
    seen = set(phases)
    if seen & {Phase.WAITING, Phase.WRITING}:
        return Phase.WRITING if written else Phase.WAITING
    return next((bad for bad in (Phase.STOPPED, Phase.FAILED) if bad in seen), Phase.DONE)


class Held(Generic[T]):
    """What the public sees of a value that a hidden battle may have changed.

    A change is held back until every hidden battle that was open then has its vote or is gone, or
    for `HOLD_S` seconds: else who watches it beside a failed answer knows whose answer it was.

    Args:
        value: what it is now.
    """

    def __init__(self, value: T) -> None:
        self._shown = value
        self._holders: frozenset[str] = frozenset()
        self._since: float | None = None

    def see(self, value: T, hidden: frozenset[str], now: float) -> T:
        """What is shown of the value.

        Args:
            value: what it is now.
            hidden: ids of the hidden battles that are open now and could have changed it.
            now: seconds that only grow.
        """
        if value == self._shown:
            self._since = None
            return self._shown
        if self._since is None:
            self._since, self._holders = now, hidden
        self._holders &= hidden
        if not self._holders or now - self._since >= HOLD_S:
            self._shown, self._since = value, None
        return self._shown


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What is known of one side beside its phase and its text.

    Attributes:
        ttft_s: seconds to the first text; None before it.
        elapsed_s: seconds since the request, while it runs.
    """

    answer: Answer | None = None
    error: ArenaError | None = None
    ttft_s: float | None = None
    elapsed_s: float = 0.0


def hides_sides(battle: Battle, *, voted: bool) -> bool:
    """Whether the sides' names, numbers and errors stay on the server."""
    return battle.mode is Mode.BLIND and not voted


def visible_side(
    battle: Battle, side: Side, facts: SideFacts, *, voted: bool
) -> tuple[ModelSpec | None, SideFacts]:
    """What may be shown of one side beside its text; where sides are hidden, nothing."""
    if hides_sides(battle, voted=voted):
        return None, SideFacts()
    return battle.spec(side), facts


def guess_choices(pool: Iterable[ModelSpec]) -> list[tuple[str, str]]:
    """Label and id of all contestants that could be drawn, in the order of the labels.

    A click sends a label: ids tell more of a model, and stay on the server until the vote.
    """
    return sorted((spec.label, spec.id) for spec in pool)


def valid_guess(battle: Battle, guess: str | None) -> str | None:
    """The guessed id, if it is one of the two.

    The page offers the whole pool, since a choice of two would tell who plays. To refuse a vote
    with a guess at a third one would tell it as well: such a guess is left out.
    """
    return guess if guess in [battle.spec(side).id for side in battle.sides] else None
