"""What Gemini costs, and that a budget holds over many battles and processes.

Gemini is the loopback server of its wire format; the SDK and the store are real.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.request import BattleRequest
from arena.battle.session import BattleSession, Snapshot
from arena.domain import Finished, GenerationParams, Message, Mode, Role, Side
from arena.errors.base import ArenaError
from arena.errors.models import BudgetSpent, PriceUnknown
from arena.models.base import Ready, Unavailable
from arena.models.registry import Entry, Registry, build_registry
from arena.models.remote.model import RemoteModel
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.environment import settings_from
from tests.models.remote.apis import read
from tests.models.remote.gemini_server import EMBEDDING, GeminiServer, chunk, fails, says
from tests.models.remote.loopback import Pause, Reply
from tests.scripted import ScriptedModel

ROOT = Path(__file__).parents[3]
REQUEST = (Message(Role.USER, "Why?"),)
PARAMS = GenerationParams(max_new_tokens=100)
# 20 prompt tokens, 30 visible and 70 thought: at $2 and $10 a million, $0.00104.
ANSWER = says("Because.", usage=(20, 30, 70))
COST = 1_040
# The most that one may cost: 4 bytes and a message's 16 tokens in, 100 + 400 tokens out.
MOST = 5_040
SETTINGS = {
    "GEMINI_API_KEY": "AQ.a-key-used-nowhere-0123456789",
    "GEMINI_PRICE_IN": "2",
    "GEMINI_PRICE_OUT": "10",
    "GEMINI_THINKING_TOKENS": "400",
    "GEMINI_DAILY_REQUESTS": "1000",
}


Make = Callable[..., Awaitable[RemoteModel]]


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    async with GeminiServer() as running:
        running.default = ANSWER
        yield running


@pytest.fixture
async def gemini(store: VoteStore) -> AsyncIterator[Make]:
    """Makes Gemini as the arena builds it from settings, and starts it."""
    made: list[RemoteModel] = []

    async def make(server: GeminiServer, **more: str) -> RemoteModel:
        values = SETTINGS | {"GEMINI_BASE_URL": server.url} | more
        settings = settings_from({name: value for name, value in values.items() if value})
        model = build_registry(settings, store)["gemini"].model
        assert isinstance(model, RemoteModel)
        made.append(model)
        await model.start()
        return model

    yield make
    for model in made:
        await model.aclose()


async def ask(model: RemoteModel) -> Finished:
    """One whole answer."""
    _, finished = await read(model, REQUEST, PARAMS)
    return finished


async def test_an_answer_costs_what_was_used(
    server: GeminiServer, store: VoteStore, gemini: Make
) -> None:
    """The cost is that of prompt, text and thinking, and is counted in the store."""
    model = await gemini(server)
    finished = await ask(model)
    assert finished.cost_usd == pytest.approx(COST / 1e6)
    assert await store.spent_today("gemini") == COST
    expenses = model.expenses()
    assert expenses is not None
    assert expenses.today_usd == pytest.approx(COST / 1e6)


async def test_the_price_of_what_answered_counts(
    server: GeminiServer, store: VoteStore, gemini: Make
) -> None:
    """An answer costs what the version that gave it costs."""
    server.default = says("Because.", usage=(1000, 1000, 0), version="gemini-3.8-flash")
    model = await gemini(server, GEMINI_PRICE_IN="", GEMINI_PRICE_OUT="")
    finished = await ask(model)
    assert finished.cost_usd in (pytest.approx(0.0045), pytest.approx(0.009))  # until 2026, after
    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["price_verified"] == "no"


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (fails(400, "No."), 0),
        (fails(429, "Slow down."), 0),
        (Reply([chunk("Be", usage=(20, 5, 0))]), MOST),
    ],
)
async def test_what_failed_is_settled(
    server: GeminiServer, store: VoteStore, gemini: Make, reply: Reply, kept: int
) -> None:
    """A refusal is free; a broken stream keeps its reservation, since its cost is not known."""
    model = await gemini(server)
    server.script(reply)
    with pytest.raises(ArenaError):
        await ask(model)
    assert await store.spent_today("gemini") == kept


async def test_a_stopped_answer_keeps_what_was_reserved(
    server: GeminiServer, store: VoteStore, gemini: Make
) -> None:
    """The cost of a stopped answer is not known, so the reservation counts."""
    model = await gemini(server)
    server.script(Reply([chunk("Be"), Pause()]))
    async with aclosing(model.stream(REQUEST, PARAMS)) as events:
        await anext(events)
    assert await store.spent_today("gemini") == MOST


async def test_unreachable_costs_nothing(store: VoteStore, gemini: Make) -> None:
    """A request that reached no server is free."""
    async with GeminiServer() as server:
        model = await gemini(server)
    with pytest.raises(ArenaError):
        await ask(model)
    assert await store.spent_today("gemini") == 0


async def test_a_budget_without_a_price_is_said(
    server: GeminiServer, store: VoteStore, gemini: Make
) -> None:
    """A budget over a model without a price is refused, with the settings to set."""
    model = await gemini(
        server, GEMINI_MODEL=EMBEDDING, GEMINI_PRICE_IN="", GEMINI_PRICE_OUT="",
        GEMINI_DAILY_BUDGET_USD="1",
    )  # fmt: skip
    status = model.status()
    assert isinstance(status, Unavailable)
    assert isinstance(status.error, PriceUnknown)
    assert "GEMINI_PRICE_IN" in status.error.remedy_text
    with pytest.raises(PriceUnknown):
        await ask(model)
    assert not server.asked


async def play(arena: Arena, session: BattleSession) -> Snapshot:
    """The last snapshot."""
    snapshots = [snapshot async for snapshot in arena.snapshots(session)]
    return snapshots[-1]


async def test_fifty_battles_at_once_keep_the_budget(
    server: GeminiServer, store: VoteStore, gemini: Make
) -> None:
    """Battles exceed the budget by one call at most, and go on with the other models."""
    model = await gemini(server, GEMINI_DAILY_BUDGET_USD="0.02")
    local = ScriptedModel("x", ["Be", "cause."])
    spare = ScriptedModel("y", ["No ", "reason."])
    entries = [Entry("gemini", model), Entry("x", local), Entry("y", spare)]
    limits = Limits(battles=50, visitor_battles=50, battles_per_minute=100)
    arena = Arena(Registry(entries), store, limits, rng=random.Random(3))
    visitor = Visitor("v" * 64)
    request = BattleRequest(
        "Why?", Mode.OPEN, PARAMS, visitor, "tab", model_a="gemini", model_b="x"
    )

    battles = await asyncio.gather(*(arena.begin(request) for _ in range(50)))
    snapshots = await asyncio.gather(*(play(arena, session) for session in battles))

    refused = [f for f in snapshots if isinstance(f.sides[Side.A].facts.error, BudgetSpent)]
    answered = [f for f in snapshots if f.sides[Side.A].facts.error is None]
    assert len(refused) + len(answered) == 50
    assert refused
    spent = await store.spent_today("gemini")
    assert spent == len(answered) * COST == len(server.asked) * COST
    assert spent < 20_000 + MOST
    assert all(f.sides[Side.B].text == "Because." for f in snapshots)

    while not isinstance(model.status(), Unavailable):  # what is left of the budget
        await ask(model)
    blind = BattleRequest("Why?", Mode.BLIND, PARAMS, visitor, "tab")
    for _ in range(5):
        session = await arena.begin(blind)
        assert {session.battle.spec(side).id for side in Side} == {"x", "y"}
        await play(arena, session)
    status = model.status()
    assert isinstance(status, Unavailable)
    assert "00:00 UTC" in status.error.remedy_text


@pytest.mark.slow
async def test_two_processes_spend_from_one_budget(
    server: GeminiServer, store: VoteStore, tmp_path: Path
) -> None:
    """All processes share one budget."""
    environment = {
        **os.environ, **SETTINGS, "PYTHONPATH": str(ROOT), "GEMINI_BASE_URL": server.url,
        "GEMINI_DAILY_BUDGET_USD": "0.02", "ARENA_DATABASE_URL": f"sqlite:///{store.place}",
        "ARENA_CACHE_DIR": str(tmp_path), "ARENA_LOCAL_MODEL": "embedded",
    }  # fmt: skip
    worker = str(Path(__file__).parent / "budget_worker.py")
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, worker, "25", env=environment, cwd=tmp_path,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in workers:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"ready"
    outs = await asyncio.gather(*(process.communicate(b"go\n") for process in workers))
    counts = [[int(part) for part in out.split()] for out, _ in outs]
    answered = sum(count[0] for count in counts)
    assert sum(count[1] for count in counts) == 50 - answered > 0
    spent = await store.spent_today("gemini")
    assert spent == answered * COST == len(server.asked) * COST
    assert spent < 20_000 + MOST
