"""Which requests are admitted, and when."""

from __future__ import annotations

from arena.models.local.transformers.semaphore import WeightedSemaphore


def test_the_oldest_goes_first_even_when_a_smaller_one_would_fit() -> None:
    """A large weight is not overtaken by small ones."""
    semaphore = WeightedSemaphore(10, slots=9)
    first = semaphore.acquire(8)
    large, small = semaphore.acquire(9), semaphore.acquire(1)
    assert first.done()
    assert not large.done()
    assert not small.done()
    semaphore.release(8, first)
    assert large.done()
    assert small.done()


def test_a_waiter_that_leaves_takes_nothing() -> None:
    """Releasing before it is held only ends the wait."""
    semaphore = WeightedSemaphore(4, slots=9)
    inside = semaphore.acquire(4)
    for _ in range(3):
        semaphore.release(4, semaphore.acquire(4))
    semaphore.release(4, inside)
    assert semaphore.acquire(4).done()


def test_a_waiter_that_leaves_does_not_block_those_behind() -> None:
    """The next one is admitted at once if it fits."""
    semaphore = WeightedSemaphore(4, slots=9)
    inside = semaphore.acquire(3)
    head, next_one = semaphore.acquire(4), semaphore.acquire(1)
    assert not next_one.done()
    semaphore.release(4, head)
    assert next_one.done()
    semaphore.release(3, inside)
    assert semaphore.acquire(3).done()


def test_slots_are_limited_whatever_the_weights() -> None:
    """The batch's tensors have room for a fixed number of requests."""
    semaphore = WeightedSemaphore(100, slots=2)
    permits = [semaphore.acquire(1) for _ in range(3)]
    assert [permit.done() for permit in permits] == [True, True, False]
    semaphore.release(1, permits[0])
    assert permits[2].done()
