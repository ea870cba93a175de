"""Processes are killed with SIGKILL while many votes are cast: what was acknowledged is kept, once.

A vote is acknowledged when `VoteStore.cast_vote` has returned: only then is the voter's page told
that it is saved. The process writes each acknowledgement to a pipe, one line at once; a line that
came out of the pipe was acknowledged, whatever happens to the process afterwards.

Each round is a new process (`tests/store/vote_worker.py load`) on the same database, with several
visitors at once who also count rates and money. It is killed at a moment that the seed chooses.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.store_tools import Outside, Worker

SEED = 20261129
VISITORS = 8
MOST_LINES = 60
"""A round is killed after 1 to so many acknowledgements of any kind."""


@dataclass(frozen=True)
class Tally:
    """What all rounds together gave.

    Attributes:
        rounds: processes that were killed.
        acknowledged: votes whose voter was told.
        lost: of those, how many are not in the database, or with another winner.
        doubled: battles with more than one vote.
        unheard: votes in the database that were not acknowledged any more; at most one a visitor
            and round.
    """

    rounds: int
    acknowledged: int
    lost: int
    doubled: int
    unheard: int


def killed_round(url: str, name: int, lines: int) -> dict[str, str]:
    """One process, killed after so many lines; its acknowledged votes with their winners."""
    worker = Worker("load", url, str(name), str(VISITORS))
    try:
        if worker.line() != "ready":
            raise RuntimeError("the process did not start")
        worker.go()
        said = [worker.line() for _ in range(lines)]
        said += worker.kill()
    finally:
        worker.close()
    votes = [line.split() for line in said if line.startswith("vote ")]
    # The last line may have been cut by the kill: it was not heard in full.
    return {words[1]: words[2] for words in votes if len(words) == 3 and len(words[1]) == 32}


def killed(url: str, rounds: int, seed: int = SEED) -> Tally:
    """So many rounds on one database, which has the tables; then the count of its rows."""
    rng = random.Random(seed)  # noqa: S311 -- when to kill, nothing secret
    told: dict[str, str] = {}
    for number in range(rounds):
        told |= killed_round(url, number, rng.randint(1, MOST_LINES))
    rows = Outside(url).rows("SELECT battle_id, winner FROM votes")
    stored = dict(rows)
    return Tally(
        rounds=rounds,
        acknowledged=len(told),
        lost=sum(stored.get(battle) != winner for battle, winner in told.items()),
        doubled=sum(number > 1 for number in Counter(row[0] for row in rows).values()),
        unheard=len(stored.keys() - told.keys()),
    )


def run(rounds: int) -> str:
    """The figures on SQLite, as a sentence."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = killed(f"sqlite:///{Path(folder) / 'arena.db'}", rounds)
    return (
        f"{found.rounds} rounds of kill -9 under {VISITORS} visitors at once, seed {SEED}: "
        f"{found.acknowledged} votes acknowledged, {found.lost} lost, {found.doubled} doubled, "
        f"{found.unheard} stored without being acknowledged, {time.monotonic() - started:.0f} s"
    )
