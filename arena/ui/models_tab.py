"""The facts of every model, read from what is loaded; for the owner also costs and remedies."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.errors.base import ArenaError
from arena.leaderboard.watch import VoteWatch
from arena.ui.components import PRIVATE, html, pulse
from arena.ui.model_cards import models_html, visitor_html, votes_html
from arena.ui.owner import Owner
from arena.ui.owner_cards import store_html
from arena.ui.page_state import PageState
from arena.ui.status_view import error_notice


class ModelsTab:
    """Reads the models' states when the tab is opened, and again while it is."""

    def __init__(self, arena: Arena, owner: Owner, watch: VoteWatch) -> None:
        self.arena = arena
        self.owner = owner
        self.watch = watch

    def build(self, tabs: gr.HTML, state: gr.State) -> None:
        """Make the components; call inside the panel's context."""
        self.cards = html(elem_id="models", js_on_load="arenaModels(element, trigger, watch)")
        tabs.select(self.on_show, [state], [self.cards], **PRIVATE)
        pulse("models").select(self.on_tick, [state], [self.cards], queue=False, **PRIVATE)
        self.cards.select(self.on_try_again, [state], [self.cards], **PRIVATE)

    async def on_show(
        self, state: PageState, event: gr.EventData, request: gr.Request,
        profile: gr.OAuthProfile | None,
    ) -> Any:  # fmt: skip  # noqa: ANN401 -- or nothing
        """A tab was opened: this one shows what is now."""
        if getattr(event, "tab", "") != "models":
            return gr.skip()
        state.shown_cards = await self._cards(state, request, profile)
        return {self.cards: state.shown_cards}

    async def on_tick(
        self, state: PageState, request: gr.Request, profile: gr.OAuthProfile | None
    ) -> Any:  # noqa: ANN401 -- or nothing
        """The cards, if anything on them has changed."""
        cards = await self._cards(state, request, profile)
        if cards == state.shown_cards:
            return gr.skip()
        state.shown_cards = cards
        return cards

    def follow(self, switched: Any, state: gr.State) -> None:  # noqa: ANN401 -- Gradio's own event
        """Say it in the page's new language, if it was opened."""
        switched.then(self.on_switched, [state], [self.cards], **PRIVATE)

    async def on_switched(
        self, state: PageState, request: gr.Request, profile: gr.OAuthProfile | None
    ) -> Any:  # noqa: ANN401 -- or nothing
        """The page speaks another language now."""
        return await self.on_tick(state, request, profile) if state.shown_cards else gr.skip()

    async def on_try_again(
        self, state: PageState, event: gr.EventData, request: gr.Request,
        profile: gr.OAuthProfile | None,
    ) -> str:  # fmt: skip
        """The owner has the cause out of the way; nobody else can ask for it."""
        slug = str(getattr(event, "slug", ""))
        if self.owner.knows(request, profile) and self.arena.registry.find(slug) is not None:
            await self.arena.registry.try_again(slug)
        state.shown_cards = await self._cards(state, request, profile)
        return state.shown_cards

    async def _cards(
        self, state: PageState, request: gr.Request, profile: gr.OAuthProfile | None
    ) -> str:
        """A card a model, and one about the votes."""
        store, registry, language = self.arena.store, self.arena.registry, state.language
        owner = self.owner.knows(request, profile)
        shown = registry if owner else self.arena.public_registry
        foot = "" if owner else visitor_html(language)
        try:
            await registry.refresh()
            counts = await store.counts()
        except ArenaError as error:
            return error_notice(language, error) + models_html(shown, language, owner=owner) + foot
        if not owner:
            return models_html(shown, language, votes_html(counts.votes, language)) + foot
        copy, alarm = store.copy_state(), self.watch.alarm
        card = store_html(store.place, counts, copy, language, time.time(), alarm=alarm)
        return models_html(shown, language, card, owner=True)
