"""A built page without a server, and what its handlers send, by the ids of the components."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.battle.session import BattleSession
from arena.dataset.public import PublicExports
from arena.domain import Mode, Side
from arena.presets import load_presets
from arena.ui.components import Updates
from arena.ui.page import Page
from arena.ui.page_state import PageState
from tests.environment import settings_from

PRESETS = load_presets(Path(__file__).parents[2] / "prompts")
REQUEST = gr.Request(session_hash="tab", client=None)
Sent = list[tuple[float, dict[str, Any]]]
"""What left the server: the loop's time in seconds, and a value for each component's name."""


class OpenPage:
    """A page, which takes a while to build; `reload` makes it another visitor's."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        exports = PublicExports(arena.store, on=False)
        self.page = Page(arena, PRESETS, settings_from({}), exports)
        self.page.build()
        self.tab = self.page.arena_tab
        self.reload()
        self.names: dict[Any, str] = {}
        for side, pane in self.tab.panes.items():
            self.names |= {
                pane.head: f"head-{side}", pane.answer: f"pane-{side}",
                pane.earlier: f"earlier-{side}", pane.stats: f"stats-{side}",
                pane.retry: f"retry-{side}",
            }  # fmt: skip

    def reload(self) -> None:
        """A new tab."""
        self.state = PageState()
        self.state.language = "en"

    @property
    def session(self) -> BattleSession:
        """Its open battle."""
        return self.arena.session(self.state.battle_id)

    def texts(self) -> dict[Side, str]:
        """What of the answers it shows."""
        sides = self.session.snapshot().sides
        return {side: found.text for side, found in sides.items()}

    def name_of(self, component: Any) -> str:
        return self.names.get(component) or component.elem_id or type(component).__name__

    async def read(self, updates: AsyncGenerator[Updates, None]) -> Sent:
        """All that a handler sends, until its end."""
        sent: Sent = []
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with aclosing(updates):
            async for update in updates:
                found = {self.name_of(part): value for part, value in update.items()}
                sent.append((round(loop.time() - start, 3), found))
        return sent

    def send(
        self, text: str, mode: Mode = Mode.BLIND, max_new_tokens: int = 64
    ) -> AsyncGenerator[Updates, None]:
        """The Send button."""
        return self.tab.on_send(
            self.state, text, mode.value, True, None, None, 0.7, 1.0, max_new_tokens, "", "",
            REQUEST,
        )  # fmt: skip

    def retry(self, side: Side) -> AsyncGenerator[Updates, None]:
        """A side's Retry button."""
        return self.tab.retry_handler(side)(self.state, REQUEST)
