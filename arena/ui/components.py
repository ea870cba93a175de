"""What all tabs share: hidden listeners, plain HTML parts, and updates as dicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import gradio as gr

T = TypeVar("T")
D = TypeVar("D")

# By component, so that no listener depends on the order of its outputs.
Updates = dict[Any, Any]
# Listeners of the page alone: programs do not see them.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def html(value: str = "", **options: Any) -> gr.HTML:  # noqa: ANN401 -- Gradio's own options
    """An HTML part that only our style sheet shapes."""
    return gr.HTML(value, apply_default_css=False, **options)


def pulse(name: str) -> gr.HTML:
    """Asks the server what is new, by its event `select`, while there may be something new.

    The script `pulse.js` knows when that is for each name; an idle or hidden page asks nothing.
    """
    return html(
        elem_id=f"pulse-{name}", elem_classes="pulse", js_on_load=f"arenaPulse('{name}', trigger)"
    )


def choice_of(value: object, choices: Iterable[T], default: D) -> T | D:
    """The choice that the browser sent; the default for what no control of the page sends."""
    return next((choice for choice in choices if choice == value), default)


def merge_updates(*many: Updates) -> Updates:
    """All updates in one; two updates of one component's properties are combined, last wins."""
    found: Updates = {}
    for updates in many:
        for component, update in updates.items():
            before = found.get(component)
            both = isinstance(before, dict) and isinstance(update, dict)
            found[component] = before | update if both else update
    return found


def diff_updates(update: Updates, sent: Updates) -> Updates:
    """What of an update was not sent before; `sent` is brought up to date.

    Gradio builds a component anew for each update of its properties, and snapshots come ten times
    a second.
    """
    changed = {part: value for part, value in update.items() if sent.get(part, sent) != value}
    sent |= changed
    return changed
