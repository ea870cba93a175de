"""Visitors who arrive together or one after the other, and what each of them got.

Imports the standard library alone: other environments' Pythons run it, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Wave:
    """So many visitors.

    Attributes:
        stagger: seconds between two arrivals; 0 if all come at once.
    """

    visitors: int
    stagger: float

    @property
    def words(self) -> str:
        """How they arrive."""
        return f"every {self.stagger:g} s" if self.stagger else "together"


@dataclass(frozen=True)
class Question:
    """The same prompt in the forms that engines take."""

    text: str
    ids: list[int]


class Visit:
    """One visitor's answer, as it comes in. Times are seconds since the wave began."""

    def __init__(self, began: float, arrived: float) -> None:
        self._began = began
        self.arrived = arrived
        self.first: float | None = None
        self.end: float | None = None
        self.tokens = 0

    def saw(self, tokens: int) -> None:
        """Something came: so many tokens, or with 0 text whose tokens are counted later."""
        if self.first is None:
            self.first = time.perf_counter() - self._began
        self.tokens += tokens

    def ended(self) -> None:
        """It is whole; the first call counts."""
        if self.end is None:
            self.end = time.perf_counter() - self._began

    def row(self) -> dict[str, Any]:
        """For the other process."""
        return {n: getattr(self, n) for n in ("arrived", "first", "end", "tokens")}


Say = Callable[[Question, int, Visit], None]
"""Writes one answer of so many tokens, and tells the visit of each piece; blocks."""


def run_wave(
    say: Say, questions: Sequence[Question], stagger: float, tokens: int
) -> list[dict[str, Any]]:
    """Let them come, each in a thread of its own; a row for each.

    Raises:
        RuntimeError: an answer failed, or had no text.
    """
    began = time.perf_counter()
    visits = [Visit(began, number * stagger) for number in range(len(questions))]
    faults: list[BaseException] = []

    def come(question: Question, visit: Visit) -> None:
        time.sleep(max(0.0, began + visit.arrived - time.perf_counter()))
        try:
            say(question, tokens, visit)
        except BaseException as error:  # noqa: BLE001 -- raised below, in the caller's thread
            faults.append(error)
        visit.ended()

    threads = [
        threading.Thread(target=come, args=pair) for pair in zip(questions, visits, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(f"{type(faults[0]).__name__}: {faults[0]}") from faults[0]
    if any(visit.first is None or not visit.tokens for visit in visits):
        raise RuntimeError("an answer had no text")
    return [visit.row() for visit in visits]


@dataclass(frozen=True)
class Figures:
    """What one wave gave.

    Attributes:
        total: tokens a second over all visitors, from the first arrival to the last end.
        each: tokens a second of the visitor in the middle, their wait included.
        first: seconds from arrival to the first text, for who was served first.
        last: the same for who was served last.
        tokens: of all answers.
        memory_mib: resident at the worst moment, child processes included.
    """

    total: float
    each: float
    first: float
    last: float
    tokens: int
    memory_mib: float


def figures(rows: Sequence[dict[str, Any]], memory_mib: float) -> Figures:
    """Of one wave's rows."""
    waits = [(row["first"], row["first"] - row["arrived"]) for row in rows]
    tokens = sum(row["tokens"] for row in rows)
    span = max(row["end"] for row in rows) - min(row["arrived"] for row in rows)
    return Figures(
        total=tokens / span,
        each=median(row["tokens"] / (row["end"] - row["arrived"]) for row in rows),
        first=min(waits)[1],
        last=max(waits)[1],
        tokens=tokens,
        memory_mib=memory_mib,
    )


@dataclass(frozen=True)
class Measured:
    """One contestant's wave in one pair."""

    contestant: str
    wave: Wave
    pair: int
    figures: Figures

    def row(self) -> dict[str, Any]:
        """For a program."""
        return {
            "contestant": self.contestant,
            **asdict(self.wave),
            "pair": self.pair,
            **asdict(self.figures),
        }


def middle(found: Sequence[Figures]) -> Figures:
    """The median of each figure; memory is the worst of all."""
    return Figures(
        total=median(one.total for one in found),
        each=median(one.each for one in found),
        first=median(one.first for one in found),
        last=median(one.last for one in found),
        tokens=round(median(one.tokens for one in found)),
        memory_mib=max(one.memory_mib for one in found),
    )


def ratio(measured: Sequence[Measured], name: str, peer: str, wave: Wave) -> float | None:
    """Median over the pairs of its speed in total by the peer's; None without the peer."""
    speeds = {(one.contestant, one.pair): one.figures.total for one in measured if one.wave == wave}
    within = [
        speed / speeds[peer, pair]
        for (contestant, pair), speed in speeds.items()
        if contestant == name and (peer, pair) in speeds
    ]
    return median(within) if within else None


def table(
    measured: Sequence[Measured], titles: dict[str, str], peers: Sequence[str], bound: Bound = None
) -> str:
    """Markdown: one line for each contestant and wave, in the order in which they are named.

    Args:
        measured: all pairs.
        titles: words for each contestant.
        peers: those that the others are divided by.
        bound: most tokens a second that the device's memory allows, for a wave.
    """
    present = [peer for peer in peers if any(one.contestant == peer for one in measured)]
    heads = [
        "contestant", "visitors", "arrive", "tok/s in total", "tok/s each", "first text, s",
        "last one's, s", "peak MiB", *(f"x {peer}" for peer in present),
        *(["bound, tok/s", "share"] if bound else []),
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    waves = list(dict.fromkeys(one.wave for one in measured))
    for name, title in titles.items():
        for wave in waves:
            found = [o.figures for o in measured if o.contestant == name and o.wave == wave]
            if not found:
                continue
            mid = middle(found)
            cells = [
                title, str(wave.visitors), wave.words, f"{mid.total:.1f}", f"{mid.each:.1f}",
                f"{mid.first:.2f}", f"{mid.last:.2f}", f"{mid.memory_mib:.0f}",
            ]  # fmt: skip
            for peer in present:
                times = ratio(measured, name, peer, wave)
                cells.append("" if times is None else f"{times:.2f}")
            if bound:
                most = bound(wave)
                cells += [f"{most:.0f}", f"{mid.total / most:.0%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


Bound = Callable[[Wave], float] | None


def order(names: Sequence[str], pair: int) -> list[str]:
    """Who is measured after whom: every second pair the other way round."""
    return list(names) if pair % 2 == 0 else list(reversed(names))


def waves(visitors: Sequence[int], stagger: float) -> list[Wave]:
    """Each number together, then staggered; one visitor alone is neither."""
    found = [Wave(count, 0.0) for count in visitors]
    if stagger:
        found += [Wave(count, stagger) for count in visitors if count > 1]
    return sorted(found, key=lambda wave: (wave.visitors, wave.stagger))


def worst_gap(times: Sequence[float], since: float, until: float) -> float:
    """Longest wait for a piece within that time, the waits that only begin or end in it included.

    Raises:
        ValueError: nothing came before, or nothing after: there is no wait to tell.
    """
    gaps = [after - before for before, after in pairwise(times) if after > since and before < until]
    if not gaps or times[0] > since or times[-1] < until:
        raise ValueError("the running answer did not outlast the long prompt")
    return max(gaps)


def bound_tokens_per_s(
    *, weights_bytes: float, kv_bytes_per_token: float, visitors: int, held: float,
    bytes_per_s: float,
) -> float:  # fmt: skip
    """Most tokens a second that memory allows.

    For each step all weights are read once, whoever is served, and each visitor's keys and values.

    Args:
        weights_bytes: of all weights that a step reads.
        kv_bytes_per_token: keys and values of one token.
        visitors: served in one step.
        held: tokens that each of them holds, on the average over the answer.
        bytes_per_s: what the memory gives.
    """
    step = weights_bytes + visitors * held * kv_bytes_per_token
    return visitors * bytes_per_s / step
