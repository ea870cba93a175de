"""What tests of faults share: how a side ends, and what is said of it."""

from __future__ import annotations

import asyncio
import gc
import weakref

from arena.battle.arena import Arena
from arena.battle.session import BattleSession
from arena.domain import Side
from arena.errors.base import ArenaError
from arena.ui.i18n import LANGUAGES, error_line


def readable(error: ArenaError | None, code: str) -> str:
    """Its sentence in English; it has that code, and a sentence in each language."""
    assert error is not None
    assert error.code == code, error.detail
    for language in LANGUAGES:
        assert error_line(language, error).isascii() is (language == "en")
    return error_line("en", error)


async def ended(session: BattleSession, side: Side) -> None:
    """Until that side's task is over."""
    task = session.streams[side].task
    assert task is not None
    await asyncio.wait_for(asyncio.shield(task), 60)


async def forgotten(arena: Arena, session: BattleSession) -> weakref.ref[BattleSession]:
    """The page closes; its battle leaves neither a slot nor a session, nor a write on its way.

    Returns:
        What is dead once the caller has let the session go, too (see `freed`).
    """
    assert arena.admission.queue.slots == []
    await arena.pages.close(session.session_hash or "")
    assert arena.find_session(session.battle.id) is None
    await arena.aclose()
    assert not arena._saves
    return weakref.ref(session)


def freed(session: weakref.ref[BattleSession]) -> None:
    """Nothing holds the battle's texts any more."""
    gc.collect()
    assert session() is None, gc.get_referrers(session())
