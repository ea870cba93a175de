"""With the sides swapped, every byte that leaves the server is the same, but for the texts.

Gradio's real HTTP traffic under a clock that stands still, of battles that end in every way, of
caps and budgets that are reached, at the pace of the models and at an even one, seen by the voter's
page and by a second one: streams, Models tab, leaderboard, API, health, headers.

Three worlds play the same battles. In `SAME` the left side plays one script, and the local model
has it. In `OTHER_MODELS` the remote model plays that script on that side: every byte must be the
same. In `OTHER_SIDES` each model keeps its script and the sides are swapped: all but the texts of
the panes must be the same, and those must be swapped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import anyio.to_thread
import httpx
import pytest
from gradio.context import Context

from arena.battle.arena import Arena
from arena.battle.limits import Limits
from arena.battle.resume import handle_of
from arena.dataset.columns import ExportShape, FileFormat
from arena.dataset.public import PublicExports
from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message
from arena.errors.models import BudgetSpent, KeyRejected, ModelError, Overloaded
from arena.models.base import Expenses, Ready, StreamEvent, Unavailable
from arena.models.registry import Entry, Registry
from arena.models.throughput import Throughput
from arena.store.store import VoteStore
from arena.ui.page import Page
from tests.environment import settings_from
from tests.scripted import ScriptedModel
from tests.ui.in_process import Browser, browser, serving
from tests.virtual_time import run

# Gradio counts its requests with forms of pandas that pandas calls old.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
VOTER = "0" * 32
# What the server measures of itself, and random names of requests and of the server.
MEASURED = re.compile(
    r'"(app_id|event_id|duration|average_duration|avg_time|cache_duration|eta|rank_eta)":("[^"]*"|[^,}]*)'
)

PANES = ("pane-a", "pane-b")
BATTLE = "[a battle begins] "
Split = tuple[str, list[str], list[str]]
Script = Sequence[str | float | Exception | Finished | Unavailable]
FINE: Script = (1.0, "One ", 1.0, "two.", 1.0)
BLOCKED = Finished(FinishReason.BLOCKED, error_code="content_blocked")
SPENT = BudgetSpent(limit="1.00", label="Gem", until="midnight", variable="X_USD")

# How one answer ends; the other one is fine.
ENDINGS: dict[str, Script] = {
    "fine": FINE,
    "refused": (1.0, KeyRejected(variable="X_KEY")),
    "overloaded midway": (1.0, "One ", 3.0, Overloaded("x")),
    "blocked": (1.0, BLOCKED),
    "budget spent": (1.0, "One ", Unavailable(SPENT), 1.0, "two.", 1.0),
    "stopped": FINE,
    "even": (0.5, "One ", 2.0, "two.", 0.5),
}


class Player(ScriptedModel):
    """Plays its script on the clock; counts as local models do, and costs as remote ones do."""

    sends_to = ""

    def __init__(self, name: str, provider: str) -> None:
        super().__init__(name, (), provider=provider)
        self.script: Script = FINE
        self.prefix = ""
        self.spent = 0.0

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        self.running += 1
        self.spent += 0.25
        try:
            if isinstance(self.state, Unavailable) and self.state.error is SPENT:
                raise SPENT
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, str):
                    yield Delta(step)
                elif isinstance(step, Unavailable):
                    self.state = step
                elif isinstance(step, Finished):
                    yield step
                    return
                else:
                    if isinstance(step, ModelError):  # a lasting refusal
                        self.state = Unavailable(step)
                    raise step
            if isinstance(self.state, Ready):
                self.state = Ready({"served_model": f"{self.slug}@1"}, notice="one_at_a_time")
            yield Finished(FinishReason.STOP, completion_tokens=3, served_model=f"{self.slug}@1")
        finally:
            self.running -= 1


class LocalPlayer(Player):
    """Its running answers are counted."""

    def throughput(self) -> Throughput:
        return Throughput(self.running, 12.5 * self.running, 25.0 * self.spent)


class RemotePlayer(Player):
    """What it has cost today is counted."""

    def expenses(self) -> Expenses:
        return Expenses(self.spent, 100.0)

    async def refresh(self) -> None:
        pass


class Draw(random.Random):
    """Draws the first of all, on the side that the test wants."""

    local_left = True

    def random(self) -> float:
        return 0.0 if self.local_left else 0.9


@dataclass
class World:
    """One server, its two pages, and all that it sent."""

    arena: Arena
    voter: Browser
    again: Browser
    other: Browser
    exports: PublicExports
    sent: list[str] = field(default_factory=list)
    panes: list[Split] = field(default_factory=list)

    def keep(self, what: str, reply: httpx.Response) -> None:
        """Note an answer of the server, headers and all."""
        headers = "".join(f"{k}: {v}\n" for k, v in reply.headers.items() if k != "content-length")
        text = MEASURED.sub(r'"\1":0', reply.text)
        self.note(f"{what} {reply.status_code}\n{headers}\n{text}", self.voter.places(what, PANES))

    def note(self, text: str, panes: Sequence[int] = ()) -> None:
        """Note what left the server."""
        self.sent.append(text)
        self.panes.append(split(text, panes))

    async def ask(
        self, page: Browser, name: str, *inputs: object, event: object = None, index: int = 0
    ) -> None:
        """A listener's work from its call to its end."""
        self.keep(name, await page.join(name, *inputs, event=event, index=index))
        self.keep(name, await page.stream())

    async def look(self) -> None:
        """What a second page and programs can see now."""
        await self.ask(self.other, "Page.on_tick", True)
        await self.ask(self.other, "ModelsTab.on_show", event={"tab": "models"})
        for path in ("/health", "/ready"):
            self.keep(path, await self.other.http.get(path))
        models = await self.other.http.post("/gradio_api/call/models", json={"data": []})
        event = models.json()["event_id"]
        self.keep("models", await self.other.http.get(f"/gradio_api/call/models/{event}"))

    async def look_well(self, battle: str) -> None:
        """What takes longer: the page anew by the battle's link, leaderboard, files, config."""
        client = {"language": "en", "accepts": "en", "battle": battle}
        await self.ask(self.other, "Page.on_load", client)
        filters = ("", "", "", True, False)
        event = {"tab": "leaderboard"}
        await self.ask(self.other, "LeaderboardTab.on_show", *filters, event=event)
        for path in ("/", "/config", "/gradio_api/info"):
            self.keep(path, await self.other.http.get(path))
        file = await self.exports.make(ExportShape.ARENA, FileFormat.JSONL)
        self.note(f"export {file.report.rows} of {file.report.battles}")

    async def take_up(self, page: Browser) -> None:
        """The voter's battle on a page that opens, and what it is sent until nothing changes."""
        (battle_id,) = self.arena._sessions
        client = {"visitor": VOTER, "language": "en", "accepts": "en"}
        await self.ask(page, "Page.on_load", client | {"shown": handle_of(battle_id)})
        await self.ask(page, "Page.on_open")
        assert battle_id not in self.sent[-1] + self.sent[-2]

    async def send(
        self, text: str, *, stop_after: float | None = None, reloaded: bool = False
    ) -> None:
        """Send a prompt, look at it from the other page while it is answered, and to its end."""
        self.keep("send", await self.voter.join("ArenaTab.on_send", text, *SETTINGS))
        async with asyncio.TaskGroup() as group:
            stream = group.create_task(self.voter.stream())
            await asyncio.sleep(1.5)
            await self.look()
            if reloaded:
                await self.take_up(self.again)
            if stop_after is not None:
                await asyncio.sleep(stop_after)
                self.keep("stop", await self.voter.join("ArenaTab.on_stop"))
            await asyncio.sleep(2.0)
            await self.look()
        self.keep("ArenaTab.on_send", stream.result())

    async def battle(self, name: str) -> None:
        """One battle to its end and, where a side failed, through a retry by the right button."""
        self.note(f"{BATTLE}{name}")
        client = {"visitor": VOTER, "language": "en", "accepts": "en"}
        await self.ask(self.voter, "Page.on_load", client)
        admission, roomy = self.arena.admission, self.arena.limits
        self.arena._even = name == "even"
        stop_after = 0.1 if name == "stopped" else None
        await self.send("Why?", stop_after=stop_after, reloaded=name == "overloaded midway")
        await self.take_up(self.voter)
        if name in {"fine", "budget spent"}:
            await self.send("And why that?")
        # Then the visitor's cap is reached: neither another prompt nor a retry is let through.
        admission._limits = roomy.model_copy(update={"battles_per_day": 1})
        if name == "fine":
            await self.ask(self.voter, "ArenaTab.on_send", "Why at all?", *SETTINGS)
        if name == "overloaded midway":
            await self.ask(self.voter, "on_retry", index=1)
        admission._limits = roomy
        if name == "refused":
            await self.look_well(next(iter(self.arena._sessions)))
            await self.ask(self.voter, "Page.on_switch")
        await self.ask(self.voter, "on_retry", index=1)
        # From here on the battle can't be voted on, so nothing of it is hidden any more.
        await self.voter.call("ArenaTab.on_new", "blind")


# Mode, Gemini, the two models, temperature, top_p, tokens, seed, system prompt.
SETTINGS = ("blind", True, None, None, 0.7, 1.0, 64, "1", "")


async def played(folder: Path, *, local_left: bool, swapped: bool) -> World:
    """All battles in one world.

    Args:
        folder: of the store and the files.
        local_left: the local model is on the left side.
        swapped: the right side plays the left one's script, and the left one that of the right.
    """
    # One row of numbers a length: other threads draw names of files.
    numbers: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)

    store = VoteStore.open(f"sqlite:///{folder / 'arena.db'}", clock=lambda: NOON)
    local, remote = LocalPlayer("phi", "local"), RemotePlayer("gem", "google")
    registry = Registry([Entry("phi", local), Entry("gem", remote)])
    dice = Draw(7)
    dice.local_left = local_left
    limits = Limits(battles_per_minute=1000, battles_per_day=1000)
    arena = Arena(registry, store, limits, rng=dice, salt="s" * 16, now=lambda: NOON)
    exports = PublicExports(store, on=True, folder=folder)
    settings = settings_from({"ARENA_PUBLIC_EXPORT": "1"})
    Context.id = 0  # components are numbered over all pages of a process
    page = Page(arena, [], settings, exports)
    with (
        mock.patch("secrets.token_hex", lambda length: f"{next(numbers[length]):0{2 * length}x}"),
        mock.patch.object(anyio.to_thread, "run_sync", _in_thread),
    ):
        async with (
            serving(page) as app,
            browser(app, "voter") as voter,
            browser(app, "again") as again,
            browser(app, "other") as other,
        ):
            # It looks for work a thousand times a second, which are all played.
            app.get_blocks()._queue.sleep_when_free = 0.05
            world = World(arena, voter, again, other, exports)
            left, right = (local, remote) if local_left else (remote, local)
            if swapped:
                left, right = right, left
            for name, ending in ENDINGS.items():
                left.script, right.script = ending, FINE
                local.state = remote.state = Ready()
                await world.battle(name)
    await arena.aclose()
    await exports.aclose()
    await store.aclose()
    return world


async def _in_thread(function: Any, *args: Any, **_options: object) -> Any:
    """As anyio does it, where the clock waits for the thread."""
    return await asyncio.to_thread(function, *args)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """What was sent in each world."""
    make = tmp_path_factory.mktemp
    return {
        "same": run(played(make("same"), local_left=True, swapped=False)),
        "other models": run(played(make("models"), local_left=False, swapped=False)),
        "other sides": run(played(make("sides"), local_left=False, swapped=True)),
    }


def test_who_plays_on_a_side_changes_no_byte(worlds: dict[str, World]) -> None:
    """The left side ends in the same way, written by the other model: the same bytes."""
    one, two = worlds["same"].sent, worlds["other models"].sent
    for first, second in zip(one, two, strict=True):
        assert first == second
    everything = "".join(one)
    assert everything.count("Later") == 0
    assert "One two." in everything
    assert "An answer was refused" in everything
    battles = dict(zip(ENDINGS, everything.split(BATTLE)[1:], strict=True))
    for name in ("fine", "overloaded midway"):
        assert "battles are used up" in battles[name]
    for name, text in battles.items():
        busy = "there is too much to do at the moment" in text
        assert busy is (name in {"overloaded midway", "budget spent"}), name
    for hidden in ("phi@1", "gem@1", "tok/s", "$0.", "export 1", "$1.", "midnight"):
        assert hidden not in everything


def test_swapped_sides_swap_the_texts_of_the_panes_alone(worlds: dict[str, World]) -> None:
    """The same models write the same, on the other side: only the texts have changed sides."""
    pairs = zip(worlds["same"].panes, worlds["other sides"].panes, strict=True)
    for (first, left, right), (second, other_left, other_right) in pairs:
        assert first == second
        assert (left, right) == (other_right, other_left)


def split(text: str, panes: Sequence[int]) -> Split:
    """What was sent, without the panes' texts, and these by side.

    Args:
        text: of one answer of the server.
        panes: the places of the left and of the right pane among the updates; none if empty.
    """
    rest: list[str] = []
    texts: tuple[list[str], list[str]] = ([], [])
    for line in text.splitlines():
        told = json.loads(line[6:]) if line.startswith("data: {") else {}
        data = told.get("output", {}).get("data", [])
        if not panes or len(data) <= max(panes):
            rest.append(line)
            continue
        for place, pane in enumerate(panes):
            texts[place].append(json.dumps(data[pane]))
            data[pane] = None
        rest.append(json.dumps(told))
    return "\n".join(rest), *texts
