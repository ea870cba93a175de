"""When a provider that failed is asked again: a circuit breaker with growing waits."""

from __future__ import annotations

import random
from collections.abc import Callable

FAILURES_IN_A_ROW = 3
"""So many answers that fail for a passing reason open it."""
FIRST_WAIT_S = 2.0
WAIT_FACTOR = 2.0
LONGEST_WAIT_S = 600.0
"""The longest wait of its own; a provider may ask for more."""
LONGEST_ASKED_WAIT_S = 86_400.0
"""The longest wait that a provider can ask for."""
JITTER = 0.2
"""A wait is longer by up to this share, so that several arenas do not ask in one moment."""


class Permit:
    """Leave to send one request."""


class CircuitBreaker:
    """Says whether a provider may be asked now.

    - Closed: it may.
    - Open, after a failure: not before the wait is over. Each failure doubles the next wait.
    - Half open, when the wait is over: one request at a time, until one succeeds.

    It knows of no battle and of no side. Time is the clock's alone: a change of the computer's
    date moves nothing.

    Args:
        clock: seconds that never go back.
        rng: draws the jitter.
    """

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self._openings = 0
        self._until: float | None = None
        self._trial: Permit | None = None

    @property
    def closed(self) -> bool:
        """Whether the last that was heard of the provider is good."""
        return self._until is None

    @property
    def wait_s(self) -> float:
        """Seconds until it is half open; 0 where the wait is over, or there is none."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    @property
    def allows(self) -> bool:
        """Whether a request may be sent now."""
        return self.closed or (self.wait_s == 0.0 and self._trial is None)

    def enter(self) -> Permit | None:
        """Before a request: None if it may not be sent. While half open it is the one trial."""
        if not self.allows:
            return None
        permit = Permit()
        if not self.closed:
            self._trial = permit
        return permit

    def leave(self, permit: Permit) -> None:
        """After the request, however it ended; safe to call twice."""
        if self._trial is permit:
            self._trial = None

    def end_wait(self) -> None:
        """Somebody asks for a try now: half open, unless it is closed."""
        self._until = None if self._until is None else min(self._until, self._clock())

    def succeeded(self) -> None:
        """An answer came: closed, and the waits begin anew."""
        self._failures = self._openings = 0
        self._until = None

    def failed(self, *, at_once: bool, wait_s: float | None = None) -> None:
        """A request failed.

        Args:
            at_once: open at this failure. Otherwise it takes `FAILURES_IN_A_ROW`; while half open
                one is enough.
            wait_s: how long the provider asks to wait; None where it does not say.
        """
        self._failures += 1
        if self.closed and not at_once and self._failures < FAILURES_IN_A_ROW:
            return
        if self.wait_s == 0.0:  # of requests that ran side by side, the first one counts
            self._openings += 1
        own_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * WAIT_FACTOR ** min(self._openings - 1, 64))
        asked_s = min(LONGEST_ASKED_WAIT_S, wait_s or 0.0)
        wait = max(own_s, asked_s) * (1.0 + JITTER * self._rng.random())
        self._until = max(self._until or 0.0, self._clock() + wait)
