"""The faults of `fault_table.py` in the queue, the store, the copy and the clock.

The store is the real one, and SQLite itself refuses. The local model's faults are played in
`tests/models/local/test_faults.py`.
"""

from __future__ import annotations

import asyncio
import html
import random
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from arena.battle.arena import Arena
from arena.battle.session import Phase
from arena.dataset.hub import HubDataset
from arena.domain import Side, Winner
from arena.errors.battle import ArenaBusy, VoteTooEarly
from arena.errors.store import StoreError
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from arena.ui.owner_cards import store_html
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of
from tests.battle.ends import ended, forgotten, readable
from tests.battle.fault_table import HUB_DOWN, STORE_FAULTS
from tests.dataset.hub_server import DATASET, TOKEN, Hub, serving
from tests.dataset.hub_space import NEVER, wait_for_threads
from tests.scripted import ScriptedModel
from tests.store_tools import Outside

# ---------------------------------------------------------------- the queue


async def test_all_places_are_taken(store: VoteStore) -> None:
    """A battle that finds no place and no queue asks no model; later there is one."""
    gate = asyncio.Event()
    x, y = ScriptedModel("x", [gate, "x"]), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(battles=1, waiting=0, battles_per_minute=1000))
    session = await arena.begin(REQUEST)
    with pytest.raises(ArenaBusy) as caught:
        await arena.begin(REQUEST)
    readable(caught.value, "arena_busy")
    assert len(y.asked) <= 1
    gate.set()
    for side in Side:
        await ended(session, side)
    await arena.begin(REQUEST)
    await arena.aclose()


# ---------------------------------------------------------------- the store


class StoreTrouble:
    """Makes SQLite itself refuse, on all connections of a store, until `mend`."""

    def __init__(self, store: VoteStore, path: Path) -> None:
        self.path = path
        self.away = path.with_suffix(".away")
        self._pragmas: tuple[str, ...] = ()
        self._outside = Outside(f"sqlite:///{path}")
        self._lock: AbstractContextManager[None] | None = None
        event.listen(store.database._engine, "checkout", self._set)

    def _set(self, connection: Any, *_: Any) -> None:
        for pragma in self._pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def strike(self, name: str) -> None:
        """The fault of that name."""
        if name == "disk full":  # as many pages as there are, as a full disk would have it
            pages = self._outside.rows("PRAGMA page_count")[0][0]
            self._pragmas = (f"max_page_count={pages}",)
        elif name == "read-only":
            self._pragmas = ("query_only=ON",)
        elif name == "locked":
            self._pragmas = ("busy_timeout=20",)
            self._lock = self._outside.holding()
            self._lock.__enter__()
        else:
            self.path.rename(self.away)

    def mend(self) -> None:
        """All is as before."""
        self._pragmas = ("max_page_count=1073741823", "query_only=OFF", "busy_timeout=10000")
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None
        if self.away.exists():
            self.away.replace(self.path)


LONG = "Why? " * 1500


@pytest.mark.parametrize("name", STORE_FAULTS)
async def test_the_store_fails(store: VoteStore, tmp_path: Path, name: str) -> None:
    """At the beginning, when answers are stored, and at the vote: typed, and nothing is lost."""
    x, y = ScriptedModel("x", ["x" * 20_000]), ScriptedModel("y", ["y" * 20_000])
    arena = arena_of(store, x, y, limits=Limits(battles=1, battles_per_minute=1000))
    trouble = StoreTrouble(store, tmp_path / "arena.db")
    request = replace(REQUEST, text=LONG)

    trouble.strike(name)
    with pytest.raises(StoreError) as caught:
        await arena.begin(request)
    readable(caught.value, "store")
    assert (x.asked, y.asked, arena.admission.queue.slots) == ([], [], [])
    trouble.mend()

    gate = asyncio.Event()
    x.scripts, y.scripts = [[gate, "x" * 20_000]], [[gate, "y" * 20_000]]
    session = await arena.begin(request)
    trouble.strike(name)
    gate.set()
    for side in Side:
        await ended(session, side)
    snapshot = session.snapshot()
    assert {view.phase for view in snapshot.sides.values()} == {Phase.DONE}
    assert (snapshot.saved, snapshot.votable) == (False, False)
    assert snapshot.retryable(Side.A)
    with pytest.raises(StoreError) as caught:
        await arena.retry(session, Side.A, VISITOR)
    readable(caught.value, "store")
    trouble.mend()
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    await arena.retry(session, Side.A, VISITOR)
    assert session.snapshot().votable
    assert (len(x.asked), len(y.asked)) == (1, 1), "nobody is asked again"
    assert await store.get_battle(session.battle.id) == session.battle

    if "vote" in STORE_FAULTS[name]:
        trouble.strike(name)
        with pytest.raises(StoreError) as caught:
            await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
        readable(caught.value, "store")
        trouble.mend()
        assert await store.get_vote(session.battle.id) is None
    await arena.vote(session.battle.id, Winner.MODEL_B, VISITOR)
    vote = await store.get_vote(session.battle.id)
    assert vote is not None
    assert vote.winner is Winner.MODEL_B
    assert (x.running, y.running) == (0, 0)
    await forgotten(arena, session)


# ---------------------------------------------------------------- the copy


async def test_the_hub_is_down(store: VoteStore, tmp_path: Path) -> None:
    """No visitor notices: battles and votes go on, the owner reads why, and the copy follows."""
    hub = Hub()
    with serving(hub):
        port = int(hub.url.rsplit(":", 1)[1])
    copy = HubDataset(
        store, DATASET, TOKEN, tmp_path / "cache",
        endpoint=hub.url, every_minutes=NEVER, retry_s=0.01,
    )  # fmt: skip
    await copy.start()
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    for begun in range(2):
        session = await arena.begin(REQUEST)
        for side in Side:
            await ended(session, side)
        assert session.snapshot().votable
        await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
        assert (await store.counts()).votes == begun + 1
    await asyncio.to_thread(hub.until, lambda: store.copy_state().error)
    state = store.copy_state()
    assert state.unpushed >= 2
    said = readable(state.error, HUB_DOWN.owner)
    card = store_html(store.place, await store.counts(), state, "en", now=0.0)
    assert html.escape(said) in card
    with serving(hub, port):
        async with asyncio.timeout(60):
            await copy.settled.wait()
        assert len(hub.votes()) == 2
        assert (store.copy_state().error, store.copy_state().unpushed) == (None, 0)
    await copy.aclose()
    await arena.aclose()
    await asyncio.to_thread(wait_for_threads)


# ---------------------------------------------------------------- the clock


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
async def test_the_clock_jumps(store: VoteStore, jump: timedelta) -> None:
    """A battle goes on, is stored, and takes its vote, wherever the wall clock goes."""
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    gate = asyncio.Event()
    models = [ScriptedModel("x", ["a", gate, "b"]), ScriptedModel("y", ANSWER)]
    registry = Registry([Entry(model.slug, model) for model in models])
    limits = Limits(battles=1, battles_per_minute=1000)
    arena = Arena(registry, store, limits, rng=random.Random(7), now=lambda: now)
    session = await arena.begin(REQUEST)
    now += jump
    gate.set()
    for side in Side:
        await ended(session, side)
    assert session.snapshot().votable
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    assert await store.get_vote(session.battle.id) is not None
    await arena.begin(REQUEST)
    await arena.aclose()
