"""Which component shows which text, so that one function puts a whole page into a language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from arena.ui.components import Updates
from arena.ui.i18n import say

T = TypeVar("T")


class Translator:
    """Makes the components that show texts, and knows their texts in every language.

    Args:
        language: in which the page is first built.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._made: list[tuple[Any, Callable[[str], dict[str, Any]]]] = []

    def make(self, kind: Callable[..., T], keys: dict[str, str], **options: Any) -> T:  # noqa: ANN401 -- the component's own
        """A component with properties that are texts.

        Args:
            kind: makes the component.
            keys: of the texts, by the property that shows them.
            options: its other properties.
        """
        return self.make_computed(
            kind, lambda language: {prop: say(language, key) for prop, key in keys.items()},
            **options,
        )  # fmt: skip

    def make_computed(
        self, kind: Callable[..., T], properties: Callable[[str], dict[str, Any]], **options: Any  # noqa: ANN401
    ) -> T:  # fmt: skip
        """The same where a function of the language computes the properties."""
        component = kind(**properties(self.language), **options)
        self._made.append((component, properties))
        return component

    @property
    def components(self) -> list[Any]:
        """All components that `updates` may touch."""
        return [component for component, _ in self._made]

    def updates(self, language: str) -> Updates:
        """All texts in that language."""
        return {
            component: gr.update(**properties(language)) for component, properties in self._made
        }
