"""A place for each battle that runs, and a line for those who wait. First come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from arena.errors.battle import ArenaBusy


class Slot:
    """A place, or a number in the line. Whoever took it leaves it.

    Attributes:
        taken: a battle has it, and gives it back.
    """

    def __init__(self, room: ConcurrencyQueue) -> None:
        self._room = room
        self.taken = False

    @property
    def position(self) -> int:
        """0: it has a place. Otherwise how many are before it, itself included."""
        return self._room.position(self)

    async def moved(self) -> None:
        """Wait until somebody has left."""
        await self._room.moved()

    def leave(self) -> None:
        """Give the place, or the number, to the next one; safe to call twice."""
        self._room.leave(self)


class ConcurrencyQueue:
    """Places and the line before them. For one event loop.

    Args:
        places: how many may be inside at once.
        waiting: how many may stand in the line.
    """

    def __init__(self, places: int, waiting: int) -> None:
        self._places = places
        self._waiting = waiting
        self._inside: set[Slot] = set()
        self._line: deque[Slot] = deque()
        self._moved: asyncio.Event | None = None

    def enter(self) -> Slot:
        """A place if one is free, else a number in the line; a free place has no line before it.

        Raises:
            ArenaBusy: the line is full.
        """
        ticket = Slot(self)
        if len(self._inside) < self._places:
            self._inside.add(ticket)
        elif len(self._line) < self._waiting:
            self._line.append(ticket)
        else:
            raise ArenaBusy(limit=self._places, waiting=len(self._line))
        return ticket

    def position(self, ticket: Slot) -> int:
        """See `Ticket.position`.

        Raises:
            ValueError: the ticket was given back.
        """
        return 0 if ticket in self._inside else self._line.index(ticket) + 1

    def leave(self, ticket: Slot) -> None:
        """See `Ticket.leave`."""
        if ticket in self._line:
            self._line.remove(ticket)
        self._inside.discard(ticket)
        while self._line and len(self._inside) < self._places:
            self._inside.add(self._line.popleft())
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def moved(self) -> None:
        """Wait until somebody has left."""
        if self._moved is None:
            self._moved = asyncio.Event()
        await self._moved.wait()

    @property
    def inside(self) -> int:
        """How many places are taken."""
        return len(self._inside)

    @property
    def in_line(self) -> int:
        """How many wait."""
        return len(self._line)
