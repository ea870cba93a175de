"""How fast a model writes now."""

from __future__ import annotations

from arena.models.throughput import ThroughputMeter


class Clock:
    """Seconds that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_speed_is_that_of_the_last_seconds() -> None:
    """Older tokens do not count; the fastest rate is kept."""
    clock = Clock()
    meter = ThroughputMeter(clock)
    for _ in range(11):
        meter.add(5)
        clock.now += 0.1
    assert abs(meter.throughput().tokens_per_second - 50.0) < 0.1
    for _ in range(200):
        meter.add(1)
        clock.now += 0.1
    assert abs(meter.throughput().tokens_per_second - 10.0) < 0.2
    fastest = meter.throughput().fastest
    assert fastest is not None
    assert abs(fastest - 50.0) < 0.5


def test_silence_is_no_speed() -> None:
    """With no token in the window the rate is 0."""
    clock = Clock()
    meter = ThroughputMeter(clock)
    assert meter.throughput().fastest is None
    for _ in range(20):
        meter.add(1)
        clock.now += 0.1
    clock.now += 11
    assert meter.throughput().tokens_per_second == 0.0


def test_a_burst_says_nothing() -> None:
    """Tokens that were read at once give no rate."""
    clock = Clock()
    meter = ThroughputMeter(clock)
    for _ in range(100):
        meter.add(10)
        clock.now += 0.001
    assert meter.throughput().tokens_per_second == 0.0
