"""The short form of `python -m bench durability`: the same code and the same seed."""

from __future__ import annotations

from bench.durability import VISITORS, killed
from tests.databases import *  # noqa: F403

DATABASES = ("sqlite",)
ROUNDS = 3


def test_no_acknowledged_vote_is_lost_or_doubled_by_a_kill(url: str) -> None:
    """After kills under concurrent votes, each acknowledged vote is there once, as it was cast."""
    found = killed(url, ROUNDS)
    assert found.acknowledged > 0
    assert (found.lost, found.doubled) == (0, 0)
    assert found.unheard <= VISITORS * ROUNDS
