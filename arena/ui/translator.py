"""Which component shows which text, so that one function puts a whole page into a language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from arena.ui.i18n import say

Updates = dict[Any, Any]
T = TypeVar("T")


def merged(*many: Updates) -> Updates:
    """All updates in one; what two of them say of one component is put together, last wins."""
    found: Updates = {}
    for updates in many:
        for component, update in updates.items():
            before = found.get(component)
            both = isinstance(before, dict) and isinstance(update, dict)
            found[component] = before | update if both else update
    return found


def news(update: Updates, sent: Updates) -> Updates:
    """What of an update was not sent before; remembers it as sent.

    Gradio builds a component anew for each update of its properties, and frames come ten times a
    second.
    """
    fresh = {part: value for part, value in update.items() if sent.get(part, sent) != value}
    sent |= fresh
    return fresh


def html(value: str = "", **options: Any) -> gr.HTML:  # noqa: ANN401 -- Gradio's own options
    """An HTML part that only our style sheet shapes."""
    return gr.HTML(value, apply_default_css=False, **options)


class Translator:
    """The bindings of one page."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._bound: list[tuple[Any, dict[str, str]]] = []
        self._made: list[tuple[Any, Callable[[str], dict[str, Any]]]] = []

    def say(self, key: str) -> str:
        """A text in the language in which the page is first built."""
        return say(self.language, key)

    def bind(self, component: T, **keys: str) -> T:
        """Remember that these properties of the component are these texts."""
        self._bound.append((component, keys))
        return component

    def bind_made(self, component: T, make: Callable[[str], dict[str, Any]]) -> T:
        """The same for properties that are computed from the language."""
        self._made.append((component, make))
        return component

    @property
    def components(self) -> list[Any]:
        """Everything that `updates` may touch."""
        return [component for component, _ in (*self._bound, *self._made)]

    def updates(self, language: str) -> Updates:
        """The page in that language."""
        found: Updates = {}
        for component, keys in self._bound:
            texts: dict[str, Any] = {prop: say(language, key) for prop, key in keys.items()}
            found[component] = gr.update(**texts)
        for component, make in self._made:
            found[component] = gr.update(**make(language))
        return found
