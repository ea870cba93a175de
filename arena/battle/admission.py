"""Who may begin a battle now: slots, the queue before them, and how often. The caps: limits.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import datetime

from arena.battle.limits import (
    Visitor,
    address_hash,
    erasure_windows,
    rate_error,
    rate_windows,
    wait_for,
)
from arena.errors.battle import ArenaBusy, ErasureTooOften
from arena.settings import Limits
from arena.store.store import VoteStore, voter_hash

POLL_SECONDS = 0.25


class Slot:
    """Room for one running battle, or a position in the queue for it; release it when done.

    Attributes:
        in_use: a battle holds it, and releases it at its end.
    """

    def __init__(self, queue: ConcurrencyQueue) -> None:
        self._queue = queue
        self.in_use = False

    @property
    def queue_position(self) -> int:
        """0 when a battle may use it; otherwise the number of slots before it, itself included.

        Raises:
            ValueError: it was released.
        """
        return max(0, self._queue.slots.index(self) - self._queue.limit + 1)

    def release(self) -> None:
        """Let the next one in; safe to call twice."""
        if self in self._queue.slots:
            self._queue.slots.remove(self)
            self._queue.moved.set()
            self._queue.moved = asyncio.Event()


class ConcurrencyQueue:
    """Slots for running battles and a queue for them, first come, first served.

    For one event loop.

    Args:
        limit: how many battles run at once.
        max_waiting: how many may wait.

    Attributes:
        slots: all slots in the order in which they came; the first `limit` of them may run.
        moved: set when a slot is released, and then replaced by a new event.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit = limit
        self.slots: list[Slot] = []
        self.moved = asyncio.Event()
        self._max_waiting = max_waiting

    def acquire(self) -> Slot:
        """A slot, or a position in the queue if all slots are taken.

        Raises:
            ArenaBusy: the queue is full.
        """
        if len(self.slots) >= self.limit + self._max_waiting:
            raise ArenaBusy(limit=self.limit, waiting=self.waiting)
        slot = Slot(self)
        self.slots.append(slot)
        return slot

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return min(len(self.slots), self.limit)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self.slots) - self.running


class Admission:
    """Decides whether a prompt may be sent now.

    Slots and their queue belong to this process, since they stand for its models. Rates are
    counted in the store: a visitor has one allowance over all processes.

    Args:
        limits: the owner's caps.
        store: counts the rates.
        now: the wall clock, UTC.
        salt: of the visitors' hashes; None takes the one that the store keeps.
    """

    def __init__(
        self, limits: Limits, store: VoteStore, now: Callable[[], datetime], salt: str | None
    ) -> None:
        self.queue = ConcurrencyQueue(limits.battles, limits.waiting)
        self._limits = limits
        self._store = store
        self._now = now
        self._salt = salt

    async def visitor(self, identity: str, address: str, *, signed_in: bool = False) -> Visitor:
        """The visitor as one-way hashes.

        Args:
            identity: of an account, or the browser's random id.
            address: of the network, as the server believes it; empty where it is not known.
            signed_in: the identity is of an account.
        """
        if self._salt is None:
            self._salt = await self._store.salt()
        voter = voter_hash(self._salt, identity)
        return Visitor(voter, address_hash(self._salt, address, self._now()), signed_in)

    async def queue_positions(self, slot: Slot) -> AsyncGenerator[int, None]:
        """The position of a slot, at least every `POLL_SECONDS`, until it may be used."""
        while position := slot.queue_position:
            yield position
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.queue.moved.wait(), POLL_SECONDS)

    @contextlib.contextmanager
    def use_slot(self, slot: Slot | None) -> Iterator[Slot]:
        """A slot for a battle: the given one, or a free one. Released if the work in it fails.

        Raises:
            ArenaBusy: the slot must wait, or none is free.
        """
        slot = slot or self.queue.acquire()
        slot.in_use = True
        if slot.queue_position:
            busy = ArenaBusy(limit=self.queue.limit, waiting=self.queue.waiting)
            slot.release()
            raise busy
        try:
            yield slot
        except BaseException:
            slot.release()
            raise

    async def count(self, visitor: Visitor) -> None:
        """Count one prompt against the visitor's rates.

        Raises:
            RateExceeded, DayUsedUp: they say when to come back.
            StoreError: the store did not count.
        """
        refusal = await self._store.consume(rate_windows(visitor, self._limits))
        if refusal is not None:
            raise rate_error(refusal, self._now())

    async def count_erasure(self, visitor: Visitor) -> None:
        """Count one look at a visitor's own texts, or their removal.

        Raises:
            ErasureTooOften: it says when to come back.
            StoreError: the store did not count.
        """
        refusal = await self._store.consume(erasure_windows(visitor, self._limits))
        if refusal is not None:
            raise ErasureTooOften(wait=wait_for(refusal, self._now()))
