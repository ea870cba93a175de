"""“Delete my texts”, below the prompt box: one click counts, a second one deletes.

The page's own battle is among them: it is closed, and the page is empty afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.own_texts import OwnTexts
from arena.errors.base import ArenaError
from arena.ui.components import PRIVATE, Updates, html
from arena.ui.i18n import in_line, say
from arena.ui.leaderboard_words import many
from arena.ui.page_state import PageState
from arena.ui.status_view import error_notice
from arena.ui.translator import Translator

FindVisitor = Callable[[PageState, gr.Request], Awaitable[Visitor]]


class ErasurePart:
    """A link-like button, a sentence, and two buttons that show while it asks.

    Args:
        arena: whose battles they are.
        translator: makes the components; another language leaves the question unasked.
        copied: whether votes are copied to the Hub, where texts stay for an hour more.
    """

    def __init__(self, arena: Arena, translator: Translator, *, copied: bool) -> None:
        self._own = OwnTexts(arena)
        self._translator = translator
        self._copied = copied

    def build(self) -> None:
        """Make the components; call inside the tab's context."""
        make = self._translator.make_computed
        with gr.Row(elem_id="erasure", elem_classes="erasure"):
            self.ask = make(
                gr.Button, lambda language: {"value": say(language, "erasure.ask")},
                size="sm", scale=0, min_width=0, elem_id="erase-ask",
            )  # fmt: skip
            self.note = make(html, lambda _: {"value": ""}, elem_id="erase-note")
            self.confirm, self.keep = (
                make(
                    gr.Button, partial(_hidden, name=name), size="sm", scale=0, min_width=0,
                    elem_id=f"erase-{name}",
                )
                for name in ("confirm", "keep")
            )  # fmt: skip

    def connect(
        self, state: gr.State, visitor: FindVisitor, empty: Callable[[PageState], Updates],
        outputs: Sequence[Any],
    ) -> None:  # fmt: skip
        """Register what the buttons do.

        Args:
            state: of the page.
            visitor: finds who is there.
            empty: the page without a battle, as updates of the outputs.
            outputs: every component that a battle changes.
        """
        self._visitor, self._empty = visitor, empty
        own = [self.note, self.confirm, self.keep]
        self.ask.click(self.on_ask, [state], own, **PRIVATE)
        self.keep.click(self.on_keep, [state], own, **PRIVATE)
        self.confirm.click(
            self.on_confirm, [state], [*own, *outputs], trigger_mode="once", **PRIVATE
        )

    async def on_ask(self, state: PageState, request: gr.Request) -> Updates:
        """Say how many battles it would be, and ask."""
        language = state.language
        state.erasable = ()
        try:
            found = await self._own.found(await self._visitor(state, request))
        except ArenaError as error:
            return self._said(error_notice(language, error), language)
        if not found.ids:
            return self._said(_note(say(language, "erasure.none")), language)
        state.erasable = found.ids
        counted = many(language, "battles", len(found.ids))
        votes = many(language, "votes", found.votes)
        question = in_line(
            language,
            say(language, "erasure.question", battles=counted),
            say(language, "erasure.kept", votes=votes) if found.votes else "",
        )
        return self._said(_note(question), language, asking=True)

    def on_keep(self, state: PageState) -> Updates:
        """Delete nothing."""
        state.erasable = ()
        return self._said("", state.language)

    async def on_confirm(self, state: PageState, request: gr.Request) -> Updates:
        """Delete what was asked about, and say how much that was."""
        language, confirmed = state.language, frozenset(state.erasable)
        state.erasable = ()
        if not confirmed:
            return self._said("", language)
        shown = state.battle_id or (state.shared and state.shared.battle.id)
        page: Updates = {}

        def leave(erased: Collection[str]) -> None:
            if shown in erased:
                page.update(self._empty(state))

        try:
            visitor = await self._visitor(state, request)
            erased = await self._own.erase(visitor, confirmed, closing=leave)
        except ArenaError as error:
            return page | self._said(error_notice(language, error), language)
        told = in_line(
            language,
            say(language, "erasure.done", battles=many(language, "battles", erased)),
            say(language, "erasure.copy") if self._copied else "",
        )
        return page | self._said(_note(told), language)

    def _said(self, text: str, language: str, *, asking: bool = False) -> Updates:
        buttons = {self.confirm: "confirm", self.keep: "keep"}
        shown = {"visible": True} if asking else {}
        return {self.note: text} | {
            part: gr.update(**_hidden(language, name=name) | shown)
            for part, name in buttons.items()
        }


def _hidden(language: str, *, name: str) -> dict[str, Any]:
    return {"value": say(language, f"erasure.{name}"), "visible": "hidden"}


def _note(text: str) -> str:
    return f'<p class="note" role="status">{escape(text)}</p>'
