"""How long the statistics take for a thousand, a hundred thousand and a million votes.

Five contestants, random votes, everything switched on. The peer is evalica given one row a vote,
once; the arena fits the counts of the outcomes by pair, and bootstraps from them.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import evalica
import numpy as np

from arena.leaderboard.report import make_report
from arena.stats.bias.drift import drift
from arena.stats.bias.guesses import guesses
from arena.stats.bias.length import length_bias
from arena.stats.bias.position import position_bias
from arena.stats.bias.voters import voter_concentration
from arena.stats.cells import cells_of
from arena.stats.filters import decide
from arena.stats.intervals import two_models
from arena.stats.outcomes import add_up
from arena.stats.ranking import components_of, rank
from arena.stats.vote_table import (
    CATEGORIES,
    COLUMNS,
    LANGUAGES,
    MODES,
    WINNERS,
    Contestant,
    VoteTable,
)
from arena.store.store import VoteStore
from bench.bootstrap import resampled
from bench.simulated_votes import write

# Battles with their texts are slow to make up, so the store is timed with fewer votes.
STORED = (1_000, 100_000)
SIZES = (1_000, 100_000, 1_000_000)
NAMES = tuple(Contestant(f"model-{number}", "v1") for number in range(5))


def columns(votes: int) -> dict[str, Any]:
    """Random votes as columns of codes."""
    rng = np.random.default_rng(votes)
    a = rng.integers(0, len(NAMES), votes)
    return {
        "a": a,
        "b": (a + rng.integers(1, len(NAMES), votes)) % len(NAMES),
        "winner": rng.integers(0, 4, votes),
        "mode": np.zeros(votes, np.int32),
        "language": rng.integers(0, 3, votes),
        "category": rng.integers(0, 6, votes),
        "voter": rng.integers(0, max(votes // 20, 1), votes),
        "prompt": rng.integers(0, max(votes // 3, 1), votes),
        "cast_at": rng.random(votes) * 1e7,
        "read_seconds": rng.exponential(30.0, votes),
        "chars_a": rng.integers(50, 4000, votes),
        "chars_b": rng.integers(50, 4000, votes),
    }


def in_words(coded: dict[str, Any]) -> dict[str, Any]:
    """The same as a store hands it over: tuples and strings, and None for what is unknown."""
    names = [(who.id, who.served_model) for who in NAMES]
    votes = len(coded["a"])
    rest = dict.fromkeys(COLUMNS, [None] * votes)
    return (
        rest
        | {"signed_in": [False] * votes, "flags": [0] * votes}
        | coded
        | {
            "a": [names[code] for code in coded["a"].tolist()],
            "b": [names[code] for code in coded["b"].tolist()],
            "winner": [WINNERS[code].value for code in coded["winner"].tolist()],
            "mode": [MODES[code].value for code in coded["mode"].tolist()],
            "language": [LANGUAGES[code] for code in coded["language"].tolist()],
            "category": [CATEGORIES[code].value for code in coded["category"].tolist()],
            "voter": [f"{code:064x}" for code in coded["voter"].tolist()],
            "prompt": [f"{code:064x}" for code in coded["prompt"].tolist()],
        }
    )


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median of some rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)


def steps(votes: int) -> dict[str, Callable[[], object]]:
    """What is timed, by the words of the table."""
    coded = columns(votes)
    words = in_words(coded)
    table = VoteTable.from_columns(words)
    counted = table.take(decide(table).mask)
    outcomes = add_up(counted)
    busiest = max(outcomes.counts.tolist(), key=sum)
    pair = NAMES[0], NAMES[1]
    kinds = [evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.Draw]
    xs, ys = coded["a"].tolist(), coded["b"].tolist()
    winners = [kinds[code] for code in coded["winner"].tolist()]
    return {
        "columns into a table": lambda: VoteTable.from_columns(words),
        "which votes count": lambda: decide(table),
        "adding up by pair": lambda: add_up(counted),
        "two contestants": lambda: two_models(*busiest),
        "ratings": lambda: rank(outcomes),
        "bootstrap of 1,000": lambda: [resampled(part) for part in components_of(outcomes)],
        "peer: evalica once, a row a vote": lambda: evalica.bradley_terry(xs, ys, winners),
        "cells": lambda: cells_of(counted, pair),
        "position": lambda: position_bias(counted),
        "length": lambda: length_bias(counted),
        "voters": lambda: voter_concentration(counted, pair),
        "drift": lambda: drift(counted, pair),
        "guesses": lambda: guesses(counted),
        "the whole report": lambda: make_report(table, {}),
    }


async def from_store(votes: int) -> dict[str, float]:
    """Seconds of the first reading of that many votes, which looks for names, and of the next."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arena.db"
        await write(path, len(NAMES), votes, seed=1)
        store = await asyncio.to_thread(VoteStore.open, f"sqlite:///{path}")
        taken = {}
        for name in ("first reading from the store (once)", "next reading from the store"):
            began = time.perf_counter()
            await store.vote_table()
            taken[name] = time.perf_counter() - began
        await store.aclose()
    return taken


def run(rounds: int) -> str:
    """The table, in milliseconds."""
    table = {}
    for votes in SIZES:
        for name, work in steps(votes).items():
            table[name, votes] = seconds(work, rounds) * 1000
    for votes in STORED:
        for name, taken in asyncio.run(from_store(votes)).items():
            table[name, votes] = taken * 1000
    names = list(dict.fromkeys(name for name, _ in table))
    lines = [
        f"| median of {rounds}, ms, {os.cpu_count()} cores | "
        + " | ".join(f"{votes:,} votes" for votes in SIZES)
        + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    lines += [
        f"| {name} | " + " | ".join(_shown(table.get((name, votes))) for votes in SIZES) + " |"
        for name in names
    ]
    peer, own = "peer: evalica once, a row a vote", "bootstrap of 1,000"
    ratio = table[own, SIZES[-1]] / table[peer, SIZES[-1]]
    lines.append(f"\nA bootstrap of {SIZES[-1]:,} votes takes {ratio:.2f} of the peer's one fit.")
    return "\n".join(lines)


def _shown(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:,.1f}"
