"""The health of the process, for a load balancer or a monitor."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from arena.battle.arena import Arena
from arena.errors.base import ArenaError

STORE_SECONDS = 2.0


async def health(arena: Arena) -> tuple[int, dict[str, Any]]:
    """HTTP status and body: 200 while votes can be kept, 503 otherwise.

    `ready` says whether a battle could begin now. Nothing in it is private: what an open blind
    battle has changed of a model's state comes late.
    """
    problem = await _store_problem(arena)
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


async def _store_problem(arena: Arena) -> str | None:
    """The code of what is wrong with the store; None if nothing is."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await arena.store.counts()
    except TimeoutError:
        return "slow"
    except ArenaError as error:
        return error.code
    return None


def health_routes(arena: Arena) -> list[Route]:
    """`/health` and `/ready` for the web server; `/ready` is 503 while no battle could begin."""

    async def answer(request: Request) -> JSONResponse:
        status, body = await health(arena)
        if request.url.path.endswith("/ready") and not body["ready"]:
            status = 503
        return JSONResponse(body, status)

    return [Route("/health", answer), Route("/ready", answer)]
