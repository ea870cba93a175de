"""What the server remembers of one open page. It never reaches the browser."""

from __future__ import annotations

import re
import secrets
from difflib import SequenceMatcher

from arena.domain import GenerationParams, Mode, Winner
from arena.presets import Preset

_VISITOR = re.compile(r"[0-9a-f]{32}")
_SAME_TASK = 0.5


class Visit:
    """One tab. A plain class: Gradio would put a dataclass into the page's config.

    Attributes:
        mode: of the empty page; a battle has its own.
        visitor: the browser's random id, kept in its local storage; the same over its tabs.
        preset: the example that was put into the prompt box and not sent yet.
        played: the example of the running battle.
        waiting: a prompt waits for a model to load.
        shown_chips: what the header last said, so that a tick without news sends nothing.
    """

    def __init__(self) -> None:
        self.language = "ja"
        self.mode = Mode.BLIND
        self.visitor = ""
        self.battle_id: str | None = None
        self.vote: Winner | None = None
        self.preset: Preset | None = None
        self.played: Preset | None = None
        self.waiting = False
        self.shown_chips = ""

    def voter(self) -> str:
        """The visitor's id; one is drawn for a browser that keeps none."""
        self.visitor = self.visitor or secrets.token_hex(16)
        return self.visitor

    def forget_battle(self) -> None:
        """Back to an empty page."""
        self.battle_id = None
        self.vote = None
        self.played = None


def known_visitor(value: object) -> str | None:
    """The id that the browser kept, if it has the form of one."""
    return value if isinstance(value, str) and _VISITOR.fullmatch(value) else None


def preset_behind(text: str, preset: Preset | None) -> Preset | None:
    """The example that a text still is a version of; None when it was replaced by another task."""
    if preset is None:
        return None
    matcher = SequenceMatcher(None, preset.text, text.strip(), autojunk=False)
    # The cheap bounds first: the true ratio of two long texts takes long.
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
    return preset if all(bound() >= _SAME_TASK for bound in bounds) else None


def params_from(
    temperature: object, top_p: object, max_new_tokens: object, seed: object
) -> GenerationParams:
    """The generation settings as the page sent them.

    Raises:
        ValueError: not numbers, or out of range.
    """
    try:
        drawn = seed is None or (isinstance(seed, str) and not seed.strip())
        return GenerationParams(
            temperature=float(str(temperature)),
            top_p=float(str(top_p)),
            max_new_tokens=int(float(str(max_new_tokens))),
            seed=None if drawn else int(str(seed).strip()),
        )
    except OverflowError as error:
        raise ValueError(str(error)) from None
