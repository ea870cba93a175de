"""The benchmark of blindness, counted: the page's handlers, models that arrive by the same draws.

A virtual clock, so that the figures are the same on any machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from arena.battle.cadence import REACH_CHARS
from arena.domain import Side
from arena.store.store import VoteStore
from bench.blindness import SEED, Interval, Trace, auc, features, interval, remote_pace, told
from bench.blindness import battles as played
from tests.battle.arenas import arena_of
from tests.scripted import ScriptedModel, Step
from tests.ui.pages import OpenPage
from tests.virtual_time import run

BATTLES = 60
WORDS = ("the", "sea", "is", "wide", "and", "a", "lamp", "turns", "over", "bread", "in", "old")


def text_of(rng: random.Random) -> str:
    """Of either model: the texts tell nothing."""
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(20, 90))) + "."


def local_script(rng: random.Random) -> list[Step]:
    """A local model: it begins soon, and writes evenly in small pieces."""
    text, pace = text_of(rng), rng.uniform(0.02, 0.04)
    steps: list[Step] = [rng.uniform(0.1, 0.4)]
    for at in range(0, len(text), 8):
        steps += [text[at : at + 8], pace]
    return steps


def remote_script(rng: random.Random) -> list[Step]:
    """As the benchmark's stand-in of Gemini."""
    return [step for pair in remote_pace(rng, text_of(rng)) for step in pair]


async def battles(store: VoteStore, *, even: bool) -> list[Trace]:
    """What a page is sent of each battle."""
    rng = random.Random(SEED)
    local, remote = ScriptedModel("x", []), ScriptedModel("y", [])
    arena = arena_of(store, local, remote, even=even)
    page = OpenPage(arena)
    found = []
    for _ in range(BATTLES):
        local.scripts, remote.scripts = [local_script(rng)], [remote_script(rng)]
        page.reload()
        trace, counts = Trace(), {"pane-a": 0, "pane-b": 0}
        for when, parts in await page.read(page.send("Why?")):
            for name in counts.keys() & parts.keys():
                counts[name] = len(parts[name])
            trace.sent.append((when, *counts.values()))
            trace.ended = when
        trace.remote_left = page.session.battle.spec(Side.A).id == "y"
        found.append(trace)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoteStore]:
    opened = VoteStore.open(f"sqlite:///{tmp_path_factory.mktemp('blindness') / 'arena.db'}")
    yield opened
    run(opened.aclose())


def test_at_an_even_pace_no_time_tells_which_side_is_which(store: VoteStore) -> None:
    """No feature and no classifier beats guessing, and the wait is about a second longer."""
    live, even = (run(battles(store, even=even)) for even in (False, True))
    seen = told(live)
    assert seen["first text"].low > 0.95, "live tells, and the features see it"
    assert seen["classifier of all times"].low > 0.95
    hidden = told(even)
    told_by = [name for name, found in hidden.items() if not found.low <= 0.5 <= found.high]
    assert told_by == []
    assert hidden["first text"] == Interval(0.5, 0.5, 0.5)
    wait = np.median([trace.ended for trace in even]) - np.median([trace.ended for trace in live])
    assert 0 < wait < 2


@pytest.mark.slow
def test_real_battles_at_an_even_pace_reach_their_vote(embedded_cache: Path) -> None:
    """Through Gradio, the embedded model against a paced stand-in of a remote one.

    No update is refused, no pane is ahead by more than what a cut may leave out, both are whole.
    """
    for trace in played("even", 3, minutes=10, cache=embedded_cache, warm_up=0):
        _, *whole = trace.sent[-1]
        assert min(whole) > 0
        for _, *counts in trace.sent:
            if counts[0] < whole[0] and counts[1] < whole[1]:
                assert abs(counts[0] - counts[1]) <= REACH_CHARS


def test_the_area_under_the_curve() -> None:
    """Of scores that separate, that do not, and that are all alike; its interval holds it."""
    labels = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3.0, 2.0, 1.0]), labels) == 1
    assert auc(np.array([1.0, 4.0, 2.0, 3.0]), labels) == 0.5
    assert auc(np.zeros(4), labels) == 0.5
    rng = np.random.default_rng(1)
    many = rng.random(400) < 0.5
    found = interval(many + rng.normal(0, 1, 400), many, rng)
    assert found.low < 0.76 < found.high, "the normal distribution's value for one deviation"


def test_what_is_seen_of_a_pane() -> None:
    """First and last text, updates and pace of each side, and the longer one's rest."""
    sent = [(0.1, 0, 0), (0.5, 10, 0), (1.0, 20, 30), (1.5, 20, 60), (2.0, 20, 70)]
    seen = features(Trace(True, sent, ended=2.5))
    assert seen["first text"] == -0.5
    assert seen["updates"] == -1
    assert seen["largest update"] == -20
    assert seen["time of the whole"] == -2.5, "the right side is the longer one"
    assert seen["wait before the rest"] == -0.5
