"""The leaderboard: for now the plain counts by pair."""

from __future__ import annotations

import gradio as gr

from arena.battle import Arena
from arena.ui import tables_view
from arena.ui.visit import Visit
from arena.ui.words import Words, html


class LeaderboardTab:
    """Reads the votes when the tab is opened."""

    def __init__(self, arena: Arena, words: Words) -> None:
        self.arena = arena
        self.words = words

    def build(self, tabs: gr.HTML, visit: gr.State) -> None:
        """Make the components; call inside the panel's context."""
        self.table = html(elem_id="leaderboard")
        refresh = self.words.bind(
            gr.Button(self.words.say("board.refresh"), size="sm", scale=0, elem_id="refresh"),
            value="board.refresh",
        )
        gr.on(
            [tabs.select, refresh.click], self.on_show, [visit], [self.table],
            api_visibility="private", show_progress="hidden",
        )  # fmt: skip

    async def on_show(self, visit: Visit) -> str:
        """The table of all votes so far."""
        pairs = await self.arena.store.tally()
        return tables_view.board_html(
            pairs, tables_view.labels_of(self.arena.registry), visit.language
        )
