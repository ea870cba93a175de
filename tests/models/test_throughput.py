"""How fast a model writes now."""

from __future__ import annotations

from arena.models.throughput import ThroughputMeter


class Clock:
    """Seconds that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_speed_is_that_of_the_last_seconds() -> None:
    """An average since the start hides that the machine has become slow."""
    clock = Clock()
    pace = ThroughputMeter(clock)
    for _ in range(11):
        pace.add(5)
        clock.now += 0.1
    assert abs(pace.pulse().tokens_per_second - 50.0) < 0.1
    for _ in range(200):
        pace.add(1)
        clock.now += 0.1
    assert abs(pace.pulse().tokens_per_second - 10.0) < 0.2
    fastest = pace.pulse().fastest
    assert fastest is not None
    assert abs(fastest - 50.0) < 0.5


def test_silence_is_no_speed() -> None:
    """A number that stays after the last token says that somebody is still served."""
    clock = Clock()
    pace = ThroughputMeter(clock)
    assert pace.pulse().fastest is None
    for _ in range(20):
        pace.add(1)
        clock.now += 0.1
    clock.now += 11
    assert pace.pulse().tokens_per_second == 0.0


def test_a_burst_says_nothing() -> None:
    """Tokens that waited together and were read at once are no 10,000 tokens a second."""
    clock = Clock()
    pace = ThroughputMeter(clock)
    for _ in range(100):
        pace.add(10)
        clock.now += 0.001
    assert pace.pulse().tokens_per_second == 0.0
