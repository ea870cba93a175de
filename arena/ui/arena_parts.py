"""The parts of the arena tab: which components there are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.battle.verdicts import Verdicts
from arena.domain import GenerationParams, Mode, Side, Winner
from arena.models.registry import is_google
from arena.presets import Preset
from arena.settings import Settings
from arena.stats.filters import rules_of
from arena.ui import presets_view, status_view, view
from arena.ui.components import html
from arena.ui.erasure_part import ErasurePart
from arena.ui.feedback import FeedbackPart
from arena.ui.i18n import say
from arena.ui.translator import Translator

LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]


def vote_id(winner: Winner) -> str:
    """The id of that vote's button."""
    return view.VOTE_TEXTS[winner].replace(".", "-")


@dataclass(frozen=True, slots=True)
class Pane:
    """The components of one side."""

    head: gr.HTML
    chat: gr.Chatbot
    stats: gr.HTML
    retry: gr.Button


class ArenaParts:
    """Makes the components and knows them by name."""

    def __init__(
        self, arena: Arena, presets: Sequence[Preset], settings: Settings, translator: Translator
    ) -> None:
        self.arena = arena
        self.presets = tuple(presets)
        self.by_id = {preset.id: preset for preset in presets}
        self.settings = settings
        self.translator = translator
        self.verdicts = Verdicts(arena.store, rules_of(settings))

    def build(self, state: gr.State) -> None:
        """Make the components; call inside the tab's context."""
        self.state = state
        self._build_bar()
        with gr.Row(elem_classes="panes", elem_id="panes") as self.panes_row:
            self.panes = {side: self._build_pane(side) for side in Side}
        self._build_votes()
        self.feedback = FeedbackPart(self.arena)
        self.feedback.build()
        self._build_prompt()
        self._build_settings()

    def _build_bar(self) -> None:
        make, make_computed = self.translator.make, self.translator.make_computed
        registry = self.arena.registry
        google = any(is_google(e) for e in registry.entries if self.settings.gemini_api_key)
        with gr.Row(elem_classes="bar"):
            self.mode = make_computed(
                gr.Radio,
                lambda language: {
                    "choices": [(say(language, f"mode.{mode}"), mode.value) for mode in Mode],
                    "label": say(language, "mode.label"),
                },
                value=Mode.BLIND.value, elem_id="mode", show_label=False, container=False,
            )  # fmt: skip
            self.use_gemini = make(
                gr.Checkbox, {"label": "gemini.use"}, value=google, interactive=google,
                elem_id="use-gemini", container=False,
            )  # fmt: skip
            self.preset_list = make_computed(
                html, lambda language: {"value": self.presets_html(language)},
                js_on_load="arenaPresets(element, trigger)", elem_classes="preset-box",
            )  # fmt: skip
        with gr.Row(elem_classes="choose", elem_id="choose"):
            self.models = {
                side: make(
                    gr.Dropdown, {"label": f"model.{side}"}, choices=self.model_choices(),
                    value=None, elem_id=f"model-{side}", interactive=False, visible="hidden",
                )
                for side in Side
            }  # fmt: skip

    def _build_pane(self, side: Side) -> Pane:
        idle = view.idle_view(self.translator.language, Mode.BLIND).panes[side]
        with gr.Column(elem_classes=["pane", f"side-{side}"], min_width=300):
            head = html(idle.head)
            chat = self.translator.make(
                gr.Chatbot, {"placeholder": "pane.empty"}, value=[], elem_id=f"pane-{side}",
                show_label=False, container=False, layout="panel", latex_delimiters=LATEX,
                buttons=[], feedback_options=None, height=None, group_consecutive_messages=False,
            )  # fmt: skip
            with gr.Row(elem_classes="foot"):
                stats = html("", elem_id=f"stats-{side}", elem_classes="stats")
                retry = self.translator.make(
                    gr.Button, {"value": "retry"}, elem_id=f"retry-{side}", interactive=False,
                    size="sm", elem_classes="retry", min_width=80, scale=0,
                )  # fmt: skip
        return Pane(head, chat, stats, retry)

    def _build_votes(self) -> None:
        make = self.translator.make
        with gr.Row(elem_classes="votes", elem_id="votes"):
            self.votes = {
                winner: make(
                    gr.Button, {"value": key}, elem_id=vote_id(winner),
                    elem_classes=["vote", vote_id(winner)], interactive=False, min_width=80,
                )
                for winner, key in view.VOTE_TEXTS.items()
            }  # fmt: skip
        with gr.Row(elem_classes="reveal-row", elem_id="reveal-row"):
            self.reveal = html("", elem_id="reveal", elem_classes="reveal")
            self.undo = make(
                gr.Button, {"value": "vote.undo"}, elem_id="undo", elem_classes="undo",
                interactive=False, size="sm", scale=0, min_width=96,
            )  # fmt: skip
            self.new_battle = make(
                gr.Button, {"value": "battle.new"}, elem_id="new-battle", variant="primary",
                interactive=False, size="sm", scale=0, min_width=120,
            )  # fmt: skip

    def _build_prompt(self) -> None:
        make = self.translator.make
        self.notice = html("", elem_id="notice")
        with gr.Row(elem_classes="ask"):
            self.prompt = make(
                gr.Textbox, {"label": "prompt.label", "placeholder": "prompt.placeholder"},
                lines=1, max_lines=8, show_label=False, container=False, elem_id="prompt", scale=8,
            )  # fmt: skip
            self.send = make(
                gr.Button, {"value": "send"}, variant="primary", elem_id="send", scale=0,
                min_width=96,
            )  # fmt: skip
            self.stop = make(
                gr.Button, {"value": "stop"}, elem_id="stop", scale=0, min_width=80,
                interactive=False,
            )  # fmt: skip
        self.judge = html("", elem_id="judge")
        self.privacy = self.translator.make_computed(
            html, lambda language: {"value": self.privacy_html(language, use_gemini=True)},
            elem_id="privacy",
        )  # fmt: skip
        self.erasure = ErasurePart(
            self.arena, self.translator, copied=self.settings.votes_dataset is not None
        )
        self.erasure.build()

    def _build_settings(self) -> None:
        make = self.translator.make
        defaults = GenerationParams(max_new_tokens=self.settings.default_max_new_tokens)
        with make(gr.Accordion, {"label": "settings.title"}, open=False, elem_id="settings"):
            with gr.Row():
                self.temperature = make(
                    gr.Slider,
                    {"label": "settings.temperature", "info": "settings.temperature.info"},
                    minimum=0, maximum=2, value=defaults.temperature, step=0.05,
                    elem_id="temperature",
                )  # fmt: skip
                self.top_p = make(
                    gr.Slider, {"label": "settings.top_p"},
                    minimum=0.05, maximum=1, value=defaults.top_p, step=0.05, elem_id="top-p",
                )  # fmt: skip
                self.max_new_tokens = make(
                    gr.Slider, {"label": "settings.max_new_tokens"},
                    minimum=1, maximum=self.settings.limits.new_tokens,
                    value=defaults.max_new_tokens, step=1, elem_id="max-new-tokens",
                )  # fmt: skip
                self.seed = make(
                    gr.Textbox, {"label": "settings.seed", "info": "settings.seed.info"},
                    value="", max_lines=1, elem_id="seed",
                )  # fmt: skip
            self.system = make(
                gr.Textbox, {"label": "settings.system", "info": "settings.system.info"},
                value="", lines=2, elem_id="system-prompt",
            )  # fmt: skip

    def battle_outputs(self) -> list[Any]:
        """Every component that a battle changes."""
        panes = [part for p in self.panes.values() for part in (p.head, p.chat, p.stats, p.retry)]
        return [
            *panes, *self.votes.values(), self.reveal, self.undo, self.new_battle, self.prompt,
            self.send, self.stop, self.notice, self.judge, self.mode, *self.models.values(),
            self.panes_row, self.feedback.box,
        ]  # fmt: skip

    def presets_html(self, language: str) -> str:
        """The examples in their present order."""
        return presets_view.presets_html(
            self.presets, language, first=self.first_language(language)
        )

    def first_language(self, language: str) -> str:
        """The stand-in hardly knows Japanese: while it serves, English examples come first."""
        return "en" if self.arena.public_registry.stand_in_serves else language

    def privacy_html(self, language: str, *, use_gemini: bool) -> str:
        """The notice by the prompt box."""
        return status_view.privacy_html(
            self.arena.public_registry, language,
            use_gemini=use_gemini, public=self.settings.public_export,
        )  # fmt: skip

    def model_choices(self, *, ready_only: bool = False) -> list[tuple[str, str]]:
        """Labels and slugs of the contestants."""
        return [
            (entry.model.spec.label, entry.slug)
            for entry in self.arena.public_registry.entries
            if entry.ready or not ready_only
        ]
