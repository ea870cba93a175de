"""Slots, and the queue before them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.admission import ConcurrencyQueue, Slot
from arena.errors.battle import ArenaBusy


def test_first_come_first_served() -> None:
    """A later visitor who is let in first makes the others wait for ever."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    first, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    assert [slot.queue_position for slot in (first, second, third)] == [0, 1, 2]
    first.release()
    assert [slot.queue_position for slot in (second, third)] == [0, 1]


def test_who_gives_up_lets_the_others_move() -> None:
    """A closed tab that keeps its number blocks everybody behind it."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    _, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    second.release()
    assert third.queue_position == 1
    second.release()
    assert (queue.running, queue.waiting) == (1, 1)


def test_a_full_line_sends_away_with_its_numbers() -> None:
    """A line without an end is a page that never answers."""
    queue = ConcurrencyQueue(limit=1, max_waiting=1)
    queue.acquire()
    queue.acquire()
    with pytest.raises(ArenaBusy, match="1 battles are running, and 1 visitors wait"):
        queue.acquire()


def test_nobody_jumps_the_line() -> None:
    """A place that has just become free belongs to the first of the line."""
    queue = ConcurrencyQueue(limit=2, max_waiting=2)
    slots = [queue.acquire() for _ in range(3)]
    slots[0].release()
    assert queue.acquire().queue_position == 1
    assert slots[2].queue_position == 0


async def test_whoever_waits_hears_of_each_move() -> None:
    """A position that is only read once stays wrong on the page."""
    queue = ConcurrencyQueue(limit=1, max_waiting=3)
    first, second, third = queue.acquire(), queue.acquire(), queue.acquire()
    waits = [asyncio.create_task(queue.moved.wait()) for _ in (second, third)]
    await asyncio.sleep(0)
    first.release()
    await asyncio.wait_for(asyncio.gather(*waits), 1)
    again = asyncio.create_task(queue.moved.wait())
    await asyncio.sleep(0)
    second.release()
    await asyncio.wait_for(again, 1)
    assert third.queue_position == 0


@given(st.lists(st.integers(0, 9), max_size=60))
def test_places_are_never_more_than_there_are(steps: list[int]) -> None:
    """A place that is counted twice or lost ends as an arena that lets nobody in."""
    queue = ConcurrencyQueue(limit=2, max_waiting=3)
    held: list[Slot] = []
    for step in steps:
        if step < 6:
            try:
                held.append(queue.acquire())
            except ArenaBusy:
                assert (queue.running, queue.waiting) == (2, 3)
        elif held:
            held.pop(step % len(held)).release()
        assert queue.running <= 2
        assert queue.running + queue.waiting == len(held)
        assert queue.waiting == 0 or queue.running == 2
        assert sorted(slot.queue_position for slot in held if slot.queue_position) == list(
            range(1, queue.waiting + 1)
        )
