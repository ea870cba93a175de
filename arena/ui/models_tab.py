"""The facts of every model, read from what is loaded, and the state of the votes."""

from __future__ import annotations

from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.errors.base import ArenaError
from arena.ui.components import PRIVATE, Updates, html
from arena.ui.model_cards import models_html, votes_html
from arena.ui.page_state import PageState
from arena.ui.status_view import error_notice

TICK_SECONDS = 2.0


class ModelsTab:
    """Reads the models' states when the tab is opened, and again while it is."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def build(self, tabs: gr.HTML, state: gr.State) -> None:
        """Make the components; call inside the panel's context."""
        self.cards = html(elem_id="models")
        self.timer = gr.Timer(TICK_SECONDS, active=False)
        tabs.select(self.on_show, [state], [self.cards, self.timer], **PRIVATE)
        self.timer.tick(self.on_tick, [state], [self.cards], queue=False, **PRIVATE)

    async def on_show(self, state: PageState, event: gr.EventData) -> Updates:
        """A tab was opened: this one shows what is now, and keeps on; the others end that."""
        opened = getattr(event, "tab", "") == "models"
        if not opened:
            return {self.timer: gr.Timer(active=False)}
        state.shown_cards = await self._cards(state.language)
        return {self.cards: state.shown_cards, self.timer: gr.Timer(active=True)}

    async def on_tick(self, state: PageState) -> Any:  # noqa: ANN401 -- or nothing
        """The cards, if anything on them has changed."""
        cards = await self._cards(state.language)
        if cards == state.shown_cards:
            return gr.skip()
        state.shown_cards = cards
        return cards

    async def _cards(self, language: str) -> str:
        """A card a model, and one about the votes."""
        store, registry = self.arena.store, self.arena.registry
        try:
            await registry.refresh()
            counts = await store.counts()
        except ArenaError as error:
            return error_notice(language, error) + models_html(registry, language)
        return models_html(registry, language, votes_html(counts.votes, language))
