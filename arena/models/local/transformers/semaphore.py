"""Admits requests, oldest first, while what all of them need is free."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future


class WeightedSemaphore:
    """A fair semaphore: each holder takes one slot, and a weight of what all of them share.

    Waiters may belong to several event loops.

    Args:
        capacity: sum of the weights that may be held.
        slots: holders at a time.
    """

    def __init__(self, capacity: int, slots: int) -> None:
        self.free_capacity = capacity
        self.free_slots = slots
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._lock = threading.Lock()

    def acquire(self, weight: int) -> Future[None]:
        """A future that is done once it is held; give it back with `release`."""
        permit: Future[None] = Future()
        with self._lock:
            self._waiting.append((weight, permit))
        self._admit()
        return permit

    def release(self, weight: int, permit: Future[None]) -> None:
        """Give it back, or stop waiting for it."""
        with self._lock:
            if not permit.cancel():
                self.free_capacity += weight
                self.free_slots += 1
        self._admit()

    def _admit(self) -> None:
        with self._lock:
            while self._waiting:
                weight, permit = self._waiting[0]
                if not permit.cancelled():
                    if weight > self.free_capacity or self.free_slots == 0:
                        return
                    if permit.set_running_or_notify_cancel():
                        self.free_capacity -= weight
                        self.free_slots -= 1
                        permit.set_result(None)
                self._waiting.popleft()
