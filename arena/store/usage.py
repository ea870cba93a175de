"""Caps in SQL: what was used and spent. Every limit is checked in the statement that counts.

No process looks first and counts later, so any number of them together keep a limit exactly. Each
function is one step in a transaction of the caller's, at the moment `now`; days are those of UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import Connection, and_, delete, select, tuple_, update

from arena.store.database import inserting
from arena.store.schema import daily_counts, spending, uses

_KEEP_S: Final = 86_400
_PRUNED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `limit` uses of a key in each stretch of time.

    The stretches are aligned to the epoch in UTC, so that 86,400 seconds are a UTC day.

    Attributes:
        key: what is counted, e.g. a hash of a visitor; at most 80 characters.
        seconds: the length of a stretch.
        limit: uses in a stretch; 0 allows none.
    """

    key: str
    seconds: int
    limit: int

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError(f"a window has at least one second, not {self.seconds}")
        if not 0 < len(self.key) <= 80:
            raise ValueError("a window's key has 1 to 80 characters")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The window that is full, and the moment (UTC) from which there is room again."""

    window: RateWindow
    until: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money that is counted as spent until `settle_spend` says what it really was.

    Attributes:
        day: the UTC day on whose sum it is.
        micro_usd: millionths of a dollar.
    """

    name: str
    day: date
    micro_usd: int


class FullError(Exception):
    """A window is full. Raised so that the transaction is rolled back."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.window.seconds)


def consume(connection: Connection, now: datetime, windows: Sequence[RateWindow]) -> None:
    """Counts one use in every window.

    Raises:
        FullError: with the first window that was full; none may be counted then.
        ValueError: two windows have the same key and length.
    """
    second = int(now.timestamp())
    used: dict[tuple[str, int], int] = {}
    # One order for all, so that two visitors with the same windows never deadlock.
    for window in sorted(windows, key=lambda w: (w.key, w.seconds)):
        place = (window.key, window.seconds)
        if place in used:
            raise ValueError(f"two windows of {window.seconds} s with the same key")
        used[place] = _count_use(connection, window, second)
    for window in windows:
        if used[window.key, window.seconds] > window.limit:
            ends = _start(window, second) + window.seconds
            raise FullError(Refusal(window, datetime.fromtimestamp(ends, UTC)))
    # Only a new window makes the table longer.
    if 1 in used.values():
        _prune(connection, second)


def _start(window: RateWindow, second: int) -> int:
    return second - second % window.seconds


def _count_use(connection: Connection, window: RateWindow, second: int) -> int:
    """Counts one use; how many there are now. Its row is locked until the transaction ends."""
    starts = _start(window, second)
    first = inserting(connection, uses).values(
        key=window.key, seconds=window.seconds, starts=starts, count=1
    )
    counted = first.on_conflict_do_update(
        index_elements=[uses.c.key, uses.c.seconds, uses.c.starts],
        set_={"count": uses.c.count + 1},
    )
    return int(connection.execute(counted.returning(uses.c.count)).scalar_one())


def _prune(connection: Connection, second: int) -> None:
    """Removes windows that ended more than a day ago, some at a time."""
    oldest = second - _KEEP_S
    columns = (uses.c.key, uses.c.seconds, uses.c.starts)
    # The second condition implies the first, which is the one with an index.
    ended = and_(uses.c.starts < oldest, uses.c.starts + uses.c.seconds < oldest)
    # Rows that another process is removing are skipped: waiting for it could be a deadlock.
    chosen = select(*columns).where(ended).limit(_PRUNED_AT_ONCE)
    rows = connection.execute(chosen.with_for_update(skip_locked=True)).all()
    if rows:
        connection.execute(delete(uses).where(tuple_(*columns).in_([tuple(row) for row in rows])))


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()


def count_today(connection: Connection, now: datetime, name: str, limit: int) -> bool:
    """Counts one of what may be done today; False when none is left."""
    day = _day(now)
    first = inserting(connection, daily_counts).values(name=name, day=day, count=0)
    connection.execute(first.on_conflict_do_nothing())
    today = and_(daily_counts.c.name == name, daily_counts.c.day == day)
    counted = update(daily_counts).where(today, daily_counts.c.count < limit)
    return connection.execute(counted.values(count=daily_counts.c.count + 1)).rowcount == 1


def today(connection: Connection, now: datetime, name: str) -> int:
    """How many of what may be done today are counted."""
    chosen = and_(daily_counts.c.name == name, daily_counts.c.day == _day(now))
    return connection.scalar(select(daily_counts.c.count).where(chosen)) or 0


def reserve_spend(
    connection: Connection, now: datetime, name: str, micro_usd: int, limit_micro_usd: int | None
) -> Reservation | None:
    """Counts an amount as spent today if what was spent before is below the limit.

    So all processes together pass the limit by one request at most. The caller settles the
    reservation; a crash before that leaves it, so that the sum is never too small.

    Args:
        connection: in a transaction that writes.
        now: the moment; its UTC day has the sum.
        name: of the budget, e.g. a provider's.
        micro_usd: the most that the request can cost, in millionths of a dollar.
        limit_micro_usd: the day's budget; None counts without a limit.

    Returns:
        What to settle, or None when the budget is spent.

    Raises:
        ValueError: the amount is negative.
    """
    if micro_usd < 0:
        raise ValueError("an amount is not negative")
    day = _day(now)
    first = inserting(connection, spending).values(name=name, day=day, micro_usd=0)
    connection.execute(first.on_conflict_do_nothing())
    added = update(spending).where(spending.c.name == name, spending.c.day == day)
    if limit_micro_usd is not None:
        added = added.where(spending.c.micro_usd < limit_micro_usd)
    done = connection.execute(added.values(micro_usd=spending.c.micro_usd + micro_usd))
    return Reservation(name, day, micro_usd) if done.rowcount == 1 else None


def settle_spend(connection: Connection, reservation: Reservation, actual_micro_usd: int) -> None:
    """Puts what was really spent in the place of a reservation, on the reservation's own day.

    Call it once for each reservation.

    Raises:
        ValueError: the amount is negative.
    """
    if actual_micro_usd < 0:
        raise ValueError("an amount is not negative")
    first = inserting(connection, spending).values(
        name=reservation.name, day=reservation.day, micro_usd=actual_micro_usd
    )
    connection.execute(
        first.on_conflict_do_update(
            index_elements=[spending.c.name, spending.c.day],
            set_={"micro_usd": spending.c.micro_usd + (actual_micro_usd - reservation.micro_usd)},
        )
    )


def spent_today(connection: Connection, now: datetime, name: str) -> int:
    """What is spent or reserved today, in millionths of a dollar."""
    chosen = and_(spending.c.name == name, spending.c.day == _day(now))
    return connection.scalar(select(spending.c.micro_usd).where(chosen)) or 0
