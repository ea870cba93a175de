"""Places, and the line before them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.queue import ConcurrencyQueue, Slot
from arena.errors.battle import ArenaBusy


def test_first_come_first_served() -> None:
    """A later visitor who is let in first makes the others wait for ever."""
    room = ConcurrencyQueue(places=1, waiting=3)
    first, second, third = room.enter(), room.enter(), room.enter()
    assert [t.position for t in (first, second, third)] == [0, 1, 2]
    first.leave()
    assert [t.position for t in (second, third)] == [0, 1]


def test_who_gives_up_lets_the_others_move() -> None:
    """A closed tab that keeps its number blocks everybody behind it."""
    room = ConcurrencyQueue(places=1, waiting=3)
    _, second, third = room.enter(), room.enter(), room.enter()
    second.leave()
    assert third.position == 1
    second.leave()
    assert (room.inside, room.in_line) == (1, 1)


def test_a_full_line_sends_away_with_its_numbers() -> None:
    """A line without an end is a page that never answers."""
    room = ConcurrencyQueue(places=1, waiting=1)
    room.enter()
    room.enter()
    with pytest.raises(ArenaBusy, match="1 battles are running, and 1 visitors wait"):
        room.enter()


def test_nobody_jumps_the_line() -> None:
    """A place that has just become free belongs to the first of the line."""
    room = ConcurrencyQueue(places=2, waiting=2)
    tickets = [room.enter() for _ in range(3)]
    tickets[0].leave()
    assert room.enter().position == 1
    assert tickets[2].position == 0


async def test_whoever_waits_hears_of_each_move() -> None:
    """A position that is only read once stays wrong on the page."""
    room = ConcurrencyQueue(places=1, waiting=3)
    first, second, third = room.enter(), room.enter(), room.enter()
    waits = [asyncio.create_task(t.moved()) for t in (second, third)]
    await asyncio.sleep(0)
    first.leave()
    await asyncio.wait_for(asyncio.gather(*waits), 1)
    again = asyncio.create_task(third.moved())
    await asyncio.sleep(0)
    second.leave()
    await asyncio.wait_for(again, 1)
    assert third.position == 0


@given(st.lists(st.integers(0, 9), max_size=60))
def test_places_are_never_more_than_there_are(steps: list[int]) -> None:
    """A place that is counted twice or lost ends as an arena that lets nobody in."""
    room = ConcurrencyQueue(places=2, waiting=3)
    held: list[Slot] = []
    for step in steps:
        if step < 6:
            try:
                held.append(room.enter())
            except ArenaBusy:
                assert (room.inside, room.in_line) == (2, 3)
        elif held:
            held.pop(step % len(held)).leave()
        assert room.inside <= 2
        assert room.inside + room.in_line == len(held)
        assert room.in_line == 0 or room.inside == 2
        assert sorted(t.position for t in held if t.position) == list(range(1, room.in_line + 1))
