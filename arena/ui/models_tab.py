"""The facts of every model, read from what is loaded."""

from __future__ import annotations

import gradio as gr

from arena.battle import Arena
from arena.ui import tables_view
from arena.ui.visit import Visit
from arena.ui.words import html


class ModelsTab:
    """Reads the models' states when the tab is opened."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def build(self, tabs: gr.HTML, visit: gr.State) -> None:
        """Make the components; call inside the panel's context."""
        self.cards = html(elem_id="models")
        tabs.select(
            self.on_show, [visit], [self.cards], api_visibility="private", show_progress="hidden"
        )

    def on_show(self, visit: Visit) -> str:
        """A card a model."""
        return tables_view.models_html(self.arena.registry, visit.language)
