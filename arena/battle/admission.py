"""The door: who may begin, who waits, and how often. The caps stand in `guard/limits.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import datetime

from arena.battle.limits import Limits, Visitor, address_hash, rates_of, refused
from arena.battle.queue import ConcurrencyQueue, Slot
from arena.errors.battle import ArenaBusy
from arena.store.store import RateWindow, VoteStore, voter_hash

POLL_SECONDS = 0.25


class Admission:
    """Lets prompts in.

    Places and the line before them are this process's own, since they stand for its models; the
    rates are counted in the store, so that a visitor has them once, however many processes serve.

    Args:
        limits: the owner's caps.
        store: counts.
        now: the wall clock, UTC.
        salt: of the visitors' hashes; None takes the one that the store keeps.
    """

    def __init__(
        self, limits: Limits, store: VoteStore, now: Callable[[], datetime], salt: str | None
    ) -> None:
        self.limits = limits
        self.room = ConcurrencyQueue(limits.battles, limits.waiting)
        self._store = store
        self._now = now
        self._salt = salt

    async def visitor(self, identity: str, address: str, *, signed_in: bool = False) -> Visitor:
        """Who asks, as hashes that lead back to nobody.

        Args:
            identity: of an account, or the browser's random id.
            address: of the network, as the server believes it; empty where it is not known.
            signed_in: the identity is of an account.
        """
        if self._salt is None:
            self._salt = await self._store.salt()
        voter = voter_hash(self._salt, identity)
        return Visitor(voter, address_hash(self._salt, address, self._now()), signed_in)

    def enter(self) -> Slot:
        """A place, or a number in the line.

        Raises:
            ArenaBusy: the line is full.
        """
        return self.room.enter()

    async def line(self, ticket: Slot) -> AsyncGenerator[int, None]:
        """The ticket's position, again and again, until it is its turn."""
        while position := ticket.position:
            yield position
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ticket.moved(), POLL_SECONDS)

    @contextlib.contextmanager
    def place(self, ticket: Slot | None) -> Iterator[Slot]:
        """A place for a battle: the ticket's, or a free one. Given back when the work fails.

        Raises:
            ArenaBusy: it is not the ticket's turn, or no place is free.
        """
        place = ticket or self.enter()
        place.taken = True
        try:
            self._check_turn(place)
            yield place
        except BaseException:
            place.leave()
            raise

    def _check_turn(self, place: Slot) -> None:
        if place.position:
            raise ArenaBusy(limit=self.limits.battles, waiting=self.room.in_line)

    async def count(self, visitor: Visitor) -> None:
        """Count one prompt against the visitor's rates.

        Raises:
            TooFast, DayUsedUp: they say when to come back.
            StoreError: the store did not count.
        """
        rates = rates_of(visitor, self.limits)
        refusal = await self._store.take([RateWindow(r.key, r.seconds, r.limit) for r in rates])
        if refusal is not None:
            full = refusal.window
            rate = next(r for r in rates if (r.key, r.seconds) == (full.key, full.seconds))
            raise refused(rate, refusal.until, self._now())
