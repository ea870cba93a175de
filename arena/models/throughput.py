"""How fast a model writes now: tokens over the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 10.0
"""Older tokens do not count."""
SHORTEST_S = 0.5
"""Tokens that came within less time were read at once, and say nothing about speed."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast a model writes.

    Attributes:
        answering: answers that are being written.
        tokens_per_second: of all of them together, over the last seconds; 0 when nothing is.
        fastest: the most of that since the start; None before the first answer.
    """

    answering: int
    tokens_per_second: float
    fastest: float | None


class ThroughputMeter:
    """Counts tokens as they come. Used from event loops and threads; a lost race costs a digit.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._fastest: float | None = None
        self.answering = 0

    def add(self, tokens: int) -> None:
        """Count new tokens."""
        self._seen.append((self._clock(), tokens))
        rate = self._rate()
        if rate > 0:
            self._fastest = max(self._fastest or 0.0, rate)

    def throughput(self) -> Throughput:
        """How fast it is now."""
        return Throughput(self.answering, self._rate(), self._fastest)

    def _rate(self) -> float:
        """Tokens a second between the first and the last ones of the window.

        The first ones only start the clock: when they were begun is not known.
        """
        oldest = self._clock() - WINDOW_S
        while self._seen and self._seen[0][0] < oldest:
            self._seen.popleft()
        if len(self._seen) < 2:
            return 0.0
        took = self._seen[-1][0] - self._seen[0][0]
        counted = sum(n for _, n in self._seen) - self._seen[0][1]
        return counted / took if took >= SHORTEST_S else 0.0
