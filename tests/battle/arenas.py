"""What tests of battles share: an arena of scripted models, and what its visitors do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime

from arena.battle.arena import Arena
from arena.battle.limits import Limits, Visitor
from arena.battle.request import BattleRequest
from arena.battle.session import BattleSession, Snapshot
from arena.domain import GenerationParams, Mode, Side
from arena.models.registry import Entry, Registry
from arena.store.store import VoteStore
from tests.scripted import ScriptedModel, Step

VISITOR = Visitor("v" * 64)
REQUEST = BattleRequest(
    text="Why?", mode=Mode.BLIND, params=GenerationParams(), visitor=VISITOR, session_hash="tab"
)
ANSWER: list[Step] = ["Be", "cause."]


def arena_of(
    store: VoteStore, *models: ScriptedModel, limits: Limits | None = None, even: bool = False,
    grace: float = 0, undo: float = 0, now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Arena:  # fmt: skip
    """An arena of these models."""
    registry = Registry([Entry(model.slug, model) for model in models])
    roomy = Limits(battles_per_minute=1000)
    return Arena(
        registry, store, limits or roomy, rng=random.Random(7), even_cadence=even, now=now,
        undo_seconds=undo, grace_seconds=grace,
    )  # fmt: skip


async def play(arena: Arena, session: BattleSession) -> list[Snapshot]:
    """All snapshots until no answer is being written."""
    return [snapshot async for snapshot in arena.snapshots(session)]


async def until(session: BattleSession, wanted: str, side: Side) -> None:
    """Read snapshots in the background until that side shows that text."""
    async with asyncio.timeout(30):
        while session.snapshot().sides[side].text != wanted:
            await session.changed.wait()


def side_of(session: BattleSession, model_id: str) -> Side:
    """The side on which that model plays."""
    return next(side for side in Side if session.battle.spec(side).id == model_id)
