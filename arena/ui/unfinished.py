"""Battles that a visitor left without a vote: how many they are, and the way back to them."""

from __future__ import annotations

import logging

import gradio as gr

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.errors.base import ArenaError
from arena.ui.components import Updates
from arena.ui.leaderboard_words import many
from arena.ui.page_state import PageState

log = logging.getLogger(__name__)


class UnfinishedPart:
    """A button on the empty page; hidden where nothing waits."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def build(self) -> None:
        """Make the component; call inside the tab's context."""
        self.button = gr.Button(
            "", elem_id="unfinished", size="sm", scale=0, min_width=0, visible="hidden"
        )

    async def look(self, state: PageState, visitor: Visitor) -> None:
        """Count what waits now; where that can't be read, the last count stays."""
        try:
            state.unfinished = len(await self.arena.pages.unfinished(visitor.voter))
        except ArenaError as error:
            log.warning("unfinished battles are not counted: %s", error.detail)

    def shown(self, state: PageState) -> Updates:
        """The button as last counted; it tells nothing of the battles."""
        text = many(state.language, "unfinished", state.unfinished)
        update = gr.update(value=text, visible=True if state.unfinished else "hidden")
        return {self.button: update}
