"""What tests of faults share: how a side ends, and what is said of it."""

from __future__ import annotations

import asyncio

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
