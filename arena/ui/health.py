"""The health of the process, for a load balancer or a monitor."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from arena.battle.arena import Arena
from arena.errors.base import ArenaError
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

STORE_SECONDS = 2.0
"""How long a health page waits for the store's write."""
FRESH_SECONDS = 0.5
"""A result is given to all who ask within this time after it."""


class StoreProbe:
    """Whether the store takes a write, by trying one that is rolled back.

    One write at a time, whoever asks: a store that is stuck holds one thread of its pool.

    Args:
        store: is written to.
        clock: seconds that only grow.
    """

    def __init__(self, store: VoteStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._running: asyncio.Task[str | None] | None = None
        self._ended = 0.0

    async def problem(self) -> str | None:
        """The code of what is wrong with the store; None if nothing is.

        `slow` when the write takes more than `STORE_SECONDS`, as behind a lock; it goes on, and
        who asks later waits for the same one.
        """
        task = self._running
        if task is None or (task.done() and self._clock() - self._ended > FRESH_SECONDS):
            task = self._running = asyncio.create_task(self._write())
        await asyncio.wait([task], timeout=STORE_SECONDS)
        return task.result() if task.done() else "slow"

    async def _write(self) -> str | None:
        try:
            await self._store.probe_write()
        except ArenaError as error:
            log.exception("the store can't be written: %s", error.detail)
            return error.code
        finally:
            self._ended = self._clock()
        return None


async def health(arena: Arena, probe: StoreProbe) -> tuple[int, dict[str, Any]]:
    """HTTP status and body: 200 while votes can be kept, 503 otherwise.

    `ready` says whether a battle could begin now. Nothing in it is private: what an open blind
    battle has changed of a model's state comes late.
    """
    problem = await probe.problem()
    registry = arena.public_registry
    copy = arena.store.copy_state()
    body = {
        "status": "ok" if problem is None else "failing",
        "ready": problem is None and len(registry.contestants()) >= 2,
        "store": problem or "ok",
        "models": {entry.slug: entry.state for entry in registry.entries if not entry.is_variant},
        "battles": {
            "running": arena.admission.queue.running,
            "waiting": arena.admission.queue.waiting,
        },
        "backup": {
            "on": bool(copy.place),
            "restoring": copy.restoring,
            "unpushed": copy.unpushed,
            "error": copy.error.code if copy.error else None,
        },
    }
    return (200 if problem is None else 503), body


def health_routes(arena: Arena) -> list[Route]:
    """`/health` and `/ready` for the web server; `/ready` is 503 while no battle could begin."""
    probe = StoreProbe(arena.store)

    async def answer(request: Request) -> JSONResponse:
        status, body = await health(arena, probe)
        if request.url.path.endswith("/ready") and not body["ready"]:
            status = 503
        return JSONResponse(body, status)

    return [Route("/health", answer), Route("/ready", answer)]
