"""What leaves the server at an even pace, and when, to the byte: real handlers, a virtual clock.

The arrivals are written by models of the tests. The guarantees are those of `test_cadence`.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.battle.limits import Visitor
from arena.domain import FinishReason, Flag, Side, Winner
from arena.errors.battle import VoteTooEarly
from arena.errors.models import Overloaded
from arena.store.store import VoteStore
from tests.battle.arenas import arena_of
from tests.scripted import ScriptedModel, Step
from tests.ui.pages import OpenPage, Sent
from tests.virtual_time import run

Scripts = Sequence[Sequence[Step]]

# Arrivals are between two ticks of the display's clock.
TICK, OFFSET = 0.1, 0.05
SEED = 2
"""Puts the first model on the left."""


@dataclass(frozen=True)
class Arrival:
    """Silence, then chunks of characters with gaps, in ticks; then its end, or an error."""

    first: int
    chunks: tuple[tuple[int, int], ...]
    fails: bool = False

    def script(self, text: str) -> list[Step]:
        """As a model of the tests says it."""
        steps: list[Step] = [OFFSET + self.first * TICK]
        rest = text
        for gap, size in cycle(self.chunks):
            if not rest:
                break
            steps.append(rest[:size])
            rest = rest[size:]
            if rest:
                steps.append(gap * TICK)
        return [*steps, Overloaded("words of the provider")] if self.fails else steps


texts = st.text("ab \n灯台👍🏽*`", max_size=120)
chunks = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 90)), min_size=1, max_size=3)
arrivals = st.builds(Arrival, st.integers(0, 40), chunks.map(tuple), st.booleans())
smooth = st.builds(
    Arrival, st.integers(0, 40), st.tuples(st.tuples(st.integers(1, 3), st.integers(3, 12)))
)


def plain(sent: Sent) -> Sent:
    """Without the letters of the sides, and without what is drawn for each battle."""

    def bare(value: Any) -> str:
        return re.sub(
            r"dot [ab]|name-[ab]|(?<=Answer )[AB]|>[AB]<|error [0-9a-f]{8}|shown=\"[0-9a-f]{32}\"",
            "",
            str(value),
        )

    return [(when, {name: bare(value) for name, value in found.items()}) for when, found in sent]


def mirrored(sent: Sent) -> Sent:
    """With the panes swapped."""
    other = {"a": "b", "b": "a"}
    panes = ("head", "earlier", "pane", "stats", "retry")

    def swapped(name: str) -> str:
        kind, _, side = name.rpartition("-")
        return f"{kind}-{other[side]}" if kind in panes else name

    return [(when, {swapped(name): value for name, value in found.items()}) for when, found in sent]


class Stage:
    """Battles of two models on one page and store, each with a clock of its own."""

    def __init__(self, store: VoteStore) -> None:
        self.store = store
        self.x, self.y = ScriptedModel("x", []), ScriptedModel("y", [])
        self.open = run(self._build())

    async def _build(self) -> OpenPage:  # on a loop: Gradio makes one if there is none
        return OpenPage(arena_of(self.store, self.x, self.y))

    def page(self, x: Scripts, y: Scripts, *, even: bool = True) -> OpenPage:
        """The page, on which the first model will be on the left."""
        self.x.scripts, self.y.scripts = list(x), list(y)
        arena = self.open.arena
        arena._even, arena._rng = even, random.Random(SEED)
        self.open.reload()
        return self.open

    async def play(self, a: Sequence[Step], b: Sequence[Step], *, even: bool = True) -> Sent:
        """All that is sent of one battle with these sides."""
        page = self.page([a], [b], even=even)
        return plain(await page.read(page.send("Why?")))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For all tests: a page takes a second to build."""
    store = VoteStore.open(f"sqlite:///{tmp_path_factory.mktemp('stage') / 'arena.db'}")
    yield Stage(store)
    run(store.aclose())


@settings(max_examples=20)
@given(arrivals, arrivals, texts, texts)
def test_with_the_sides_swapped_the_same_leaves_at_the_same_time(
    stage: Stage, one: Arrival, other: Arrival, text: str, more: str
) -> None:
    """Whatever comes when, fails, ends early or says nothing: only the panes are swapped."""
    straight = run(stage.play(one.script(text), other.script(more)))
    swapped = run(stage.play(other.script(more), one.script(text)))
    assert straight == mirrored(swapped)


@settings(max_examples=12)
@given(smooth, smooth, st.integers(200, 300), st.integers(0, 300))
def test_what_leaves_depends_on_the_two_texts_alone(
    stage: Stage, one: Arrival, other: Arrival, short: int, more: int
) -> None:
    """Whichever of the two arrivals belongs to which text, the same leaves at the same time."""
    text, longer = "short words " * 25, "the longer answer " * 40
    text, longer = text[:short], longer[: short + more]
    straight = run(stage.play(one.script(text), other.script(longer)))
    swapped = run(stage.play(other.script(text), one.script(longer)))
    assert straight == swapped


@pytest.mark.parametrize("even", [False, True])
@settings(max_examples=15)
@given(arrivals, arrivals, texts)
def test_no_update_is_empty(
    stage: Stage, even: bool, one: Arrival, other: Arrival, text: str,  # noqa: FBT001
) -> None:  # fmt: skip
    """Gradio ends an event at an empty update, and the page stays as it was for good."""
    silent: list[Step] = [0.2, "", 0.2]  # what changes nothing on the page
    *before, last = one.script(text)
    sent = run(stage.play([*before, *silent, last], other.script(text), even=even))
    assert all(found for _, found in sent)
    assert "True" in sent[-1][1]["send"]


def phases(sent: Sent) -> list[tuple[float, str, str]]:
    """When the line under a pane changed, and what it said."""
    return [
        (when, name, re.sub("<[^>]*>", "", str(found[name])))
        for when, found in sent
        for name in ("stats-a", "stats-b")
        if name in found
    ]


def test_both_sides_have_one_phase_and_one_end(stage: Stage) -> None:
    """First text, end and error of one side are shown when both have them."""
    quick: list[Step] = [0.05, "This comes at once. " * 10, Overloaded("words")]
    slow: list[Step] = [3.05, *(["seven m "] * 2 + [0.1]) * 15]
    sent = run(stage.play(quick, slow))
    found = phases(sent)
    assert [(name, text) for _, name, text in found] == [
        ("stats-a", "Thinking…"), ("stats-b", "Thinking…"),
        ("stats-a", "Writing…"), ("stats-b", "Writing…"),
        ("stats-a", ""), ("stats-b", ""),
    ]  # fmt: skip
    assert found[2][0] == found[3][0] > 3
    assert found[4][0] == found[5][0] == sent[-1][0] > 3 + 1.5
    assert "Overloaded" not in str(sent)


def test_stop_ends_both_sides_alike(stage: Stage) -> None:
    """The side that was complete already looks, and is recorded, like the one that was not."""

    async def battle() -> None:
        whole = ["All of it was here at once. " * 30]
        again, also = [0.05, "A second try. " * 10], [0.35, "Once more, then. " * 10]
        slow = [1.05, *(["a part "] * 2 + [0.1]) * 90]
        page = stage.page([[0.05, *whole], again], [slow, also])
        reading = asyncio.create_task(page.read(page.send("Why?")))
        await asyncio.sleep(3)
        me = Visitor(page.session.battle.voter)
        with pytest.raises(VoteTooEarly):
            await page.arena.vote(page.session.battle.id, Winner.TIE, me)
        stopped = asyncio.get_running_loop().time()
        await page.tab.on_stop(page.state)
        sent = await reading
        assert asyncio.get_running_loop().time() == stopped, "at once"
        assert stage.y.running == 0
        last = sent[-1][1]
        assert last["stats-a"] == last["stats-b"]
        assert "stopped" in last["reveal"].lower()
        assert last["retry-a"] == last["retry-b"] == {"interactive": True, "__type__": "update"}
        texts = page.texts()
        assert 30 < len(texts[Side.A]) < 300
        assert abs(len(texts[Side.A]) - len(texts[Side.B])) < 20
        record = await stage.store.get_battle(page.session.battle.id)
        assert record is not None
        answers = [record.conversation(side)[-1].answer for side in Side]
        assert [a.finished.reason for a in answers if a] == [FinishReason.CANCELLED] * 2
        kept = {side: a.text for side, a in zip(Side, answers, strict=True) if a is not None}
        assert kept == texts, "what was shown can be judged, and no more"
        assert record.flags == {Flag.STOPPED}
        assert record.votable
        assert all(last[f"vote-{name}"]["interactive"] for name in ("a", "b", "tie", "bad"))

        await page.read(page.retry(Side.A))
        assert page.texts() == {Side.A: again[1], Side.B: also[1]}, "both are asked again"
        assert page.session.battle.flags == {Flag.RETRIED}

    run(battle())


def test_a_retry_tells_neither_first_text_nor_speed(stage: Stage) -> None:
    """The answer comes whole at a round time, and the other pane stays as it is."""

    async def battle(first: float, gap: float) -> Sent:
        again: list[Step] = [first, *(["some words "] * 2 + [gap]) * 8]
        page = stage.page([[Overloaded("words")], again], [[0.25, "It is so. " * 20]])
        await page.read(page.send("Why?"))
        return plain(await page.read(page.retry(Side.A)))

    sent = run(battle(0.25, 0.05))
    assert sent == run(battle(1.05, 0.01))
    assert [when for when, _ in sent] == [0.0, 2.0]
    assert set(sent[-1][1]) >= {"pane-a", "stats-a", "vote-a"}
    assert "pane-b" not in sent[-1][1]


def test_a_page_that_closes_its_battle_stops_both_sides(stage: Stage) -> None:
    """Also while all has been written and not all is shown; a vote on that is marked."""

    async def battle(text: list[Step]) -> None:
        page = stage.page([text], [[0.05, "And this, too. " * 20]])
        reading = asyncio.create_task(page.read(page.send("Why?")))
        await asyncio.sleep(1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        session = page.session
        assert session.running, "a reader that leaves stops nothing"
        await page.arena.pages.close("tab")
        assert (stage.x.running, stage.y.running, session.running) == (0, 0, False)
        me = Visitor(session.battle.voter)
        voted = await page.arena.vote(session.battle.id, Winner.TIE, me)
        assert voted.flags == {Flag.STOPPED}

    run(battle([0.05, *["some of it ", 0.1] * 90]))
    run(battle([0.05, *["some of it ", 0.1] * 5, "the rest at once " * 90]))


def test_another_language_shows_no_more_than_before(stage: Stage) -> None:
    """The page that is drawn anew in the middle has what was shown, not what has come."""

    async def battle() -> None:
        whole, slow = "It was all here at once. " * 20, ["a few ", 0.1] * 50
        page = stage.page([[0.05, whole]], [[0.05, *slow]])
        reading = asyncio.create_task(page.read(page.send("Why?")))
        await asyncio.sleep(2)
        anew = page.tab.relabel(page.state)
        shown = anew[page.tab.panes[Side.A].answer]
        assert len(shown) < 130
        await reading

    run(battle())
