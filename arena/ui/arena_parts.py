"""The parts of the arena tab: which components there are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.domain import GenerationParams, Mode, Side, Winner
from arena.models.registry import is_google
from arena.presets import Preset
from arena.settings import Settings
from arena.ui import presets_view, status_view, view
from arena.ui.feedback import FeedbackPart
from arena.ui.i18n import say
from arena.ui.translator import Translator, html

LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
VOTES = {
    Winner.MODEL_A: ("vote-a", "vote.a", "1"),
    Winner.TIE: ("vote-tie", "vote.tie", "2"),
    Winner.BOTH_BAD: ("vote-bad", "vote.bad", "3"),
    Winner.MODEL_B: ("vote-b", "vote.b", "4"),
}
PRESETS_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-preset]');
  if (!button) return;
  const fold = element.querySelector('details');
  if (fold) fold.open = false;
  trigger('select', {preset: button.dataset.preset});
});
"""


@dataclass(frozen=True, slots=True)
class Pane:
    """The components of one side."""

    column: gr.Column
    head: gr.HTML
    chat: gr.Chatbot
    stats: gr.HTML
    retry: gr.Button


class ArenaParts:
    """Makes the components and knows them by name."""

    def __init__(
        self, arena: Arena, presets: Sequence[Preset], settings: Settings, words: Translator
    ) -> None:
        self.arena = arena
        self.presets = tuple(presets)
        self.by_id = {preset.id: preset for preset in presets}
        self.settings = settings
        self.words = words

    def build(self, visit: gr.State) -> None:
        """Make the components; call inside the tab's context."""
        self.visit = visit
        self._build_bar()
        with gr.Row(elem_classes="panes", elem_id="panes") as self.panes_row:
            self.panes = {side: self._build_pane(side) for side in Side}
        self._build_votes()
        self.extras = FeedbackPart(self.arena)
        self.extras.build()
        self._build_prompt()
        self._build_settings()

    def _build_bar(self) -> None:
        bind, text = self.words.bind, self.words.say
        registry = self.arena.registry
        google = any(is_google(e) for e in registry.entries if self.settings.gemini_api_key)
        with gr.Row(elem_classes="bar"):
            self.mode = self.words.bind_made(
                gr.Radio(
                    self._mode_choices(self.words.language),
                    value=Mode.BLIND.value,
                    elem_id="mode",
                    show_label=False,
                    container=False,
                    label=text("mode.label"),
                ),
                lambda language: {
                    "choices": self._mode_choices(language),
                    "label": say(language, "mode.label"),
                },
            )
            self.use_gemini = bind(
                gr.Checkbox(
                    value=google,
                    interactive=google,
                    label=text("gemini.use"),
                    elem_id="use-gemini",
                    container=False,
                ),
                label="gemini.use",
            )
            self.preset_list = self.words.bind_made(
                html(
                    self.presets_html(self.words.language),
                    js_on_load=PRESETS_JS,
                    elem_classes="preset-box",
                ),
                lambda language: {"value": self.presets_html(language)},
            )
        with gr.Row(elem_classes="choose", elem_id="choose"):
            self.models = {
                side: bind(
                    gr.Dropdown(
                        self.model_choices(),
                        value=None,
                        label=text(f"model.{side}"),
                        elem_id=f"model-{side}",
                        interactive=False,
                        visible="hidden",
                    ),
                    label=f"model.{side}",
                )
                for side in Side
            }

    def _build_pane(self, side: Side) -> Pane:
        idle = view.idle_view(self.words.language, Mode.BLIND).panes[side]
        with gr.Column(elem_classes=["pane", f"side-{side}"], min_width=300) as column:
            head = html(idle.head)
            chat = self.words.bind(
                gr.Chatbot(
                    [],
                    elem_id=f"pane-{side}",
                    show_label=False,
                    container=False,
                    layout="panel",
                    latex_delimiters=LATEX,
                    buttons=[],
                    feedback_options=None,
                    placeholder=self.words.say("pane.empty"),
                    height=None,
                    group_consecutive_messages=False,
                ),
                placeholder="pane.empty",
            )
            with gr.Row(elem_classes="foot"):
                stats = html("", elem_id=f"stats-{side}", elem_classes="stats")
                retry = self.words.bind(
                    gr.Button(
                        self.words.say("retry"),
                        elem_id=f"retry-{side}",
                        interactive=False,
                        size="sm",
                        elem_classes="retry",
                        min_width=80,
                        scale=0,
                    ),
                    value="retry",
                )
        return Pane(column, head, chat, stats, retry)

    def _build_votes(self) -> None:
        with gr.Row(elem_classes="votes", elem_id="votes"):
            self.votes = {
                winner: self.words.bind(
                    gr.Button(
                        self.words.say(key),
                        elem_id=elem_id,
                        elem_classes=["vote", elem_id],
                        interactive=False,
                        min_width=80,
                    ),
                    value=key,
                )
                for winner, (elem_id, key, _) in VOTES.items()
            }
        with gr.Row(elem_classes="reveal-row", elem_id="reveal-row"):
            self.reveal = html("", elem_id="reveal", elem_classes="reveal")
            self.new_battle = self.words.bind(
                gr.Button(
                    self.words.say("battle.new"),
                    elem_id="new-battle",
                    variant="primary",
                    interactive=False,
                    size="sm",
                    scale=0,
                    min_width=120,
                ),
                value="battle.new",
            )

    def _build_prompt(self) -> None:
        bind, text = self.words.bind, self.words.say
        self.notice = html("", elem_id="notice")
        with gr.Row(elem_classes="ask"):
            self.prompt = bind(
                gr.Textbox(
                    lines=1,
                    max_lines=8,
                    show_label=False,
                    container=False,
                    label=text("prompt.label"),
                    placeholder=text("prompt.placeholder"),
                    elem_id="prompt",
                    scale=8,
                ),
                label="prompt.label",
                placeholder="prompt.placeholder",
            )
            self.send = bind(
                gr.Button(text("send"), variant="primary", elem_id="send", scale=0, min_width=96),
                value="send",
            )
            self.stop = bind(
                gr.Button(text("stop"), elem_id="stop", scale=0, min_width=80, interactive=False),
                value="stop",
            )
        self.judge = html("", elem_id="judge")
        self.privacy = self.words.bind_made(
            html(self.privacy_html(self.words.language, use_gemini=True), elem_id="privacy"),
            lambda language: {"value": self.privacy_html(language, use_gemini=True)},
        )

    def _build_settings(self) -> None:
        bind, text = self.words.bind, self.words.say
        defaults = GenerationParams(max_new_tokens=self.settings.default_max_new_tokens)
        title = bind(
            gr.Accordion(text("settings.title"), open=False, elem_id="settings"),
            label="settings.title",
        )
        with title:
            with gr.Row():
                self.temperature = bind(
                    gr.Slider(
                        0, 2, defaults.temperature, step=0.05, label=text("settings.temperature"),
                        info=text("settings.temperature.info"), elem_id="temperature",
                    ),
                    label="settings.temperature", info="settings.temperature.info",
                )  # fmt: skip
                self.top_p = bind(
                    gr.Slider(
                        0.05, 1, defaults.top_p, step=0.05, label=text("settings.top_p"),
                        elem_id="top-p",
                    ),
                    label="settings.top_p",
                )  # fmt: skip
                self.max_new_tokens = bind(
                    gr.Slider(
                        1, self.settings.limits.new_tokens, defaults.max_new_tokens, step=1,
                        label=text("settings.max_new_tokens"), elem_id="max-new-tokens",
                    ),
                    label="settings.max_new_tokens",
                )  # fmt: skip
                self.seed = bind(
                    gr.Textbox(
                        "", max_lines=1, label=text("settings.seed"),
                        info=text("settings.seed.info"), elem_id="seed",
                    ),
                    label="settings.seed", info="settings.seed.info",
                )  # fmt: skip
            self.system = bind(
                gr.Textbox(
                    "", lines=2, label=text("settings.system"), info=text("settings.system.info"),
                    elem_id="system-prompt",
                ),
                label="settings.system", info="settings.system.info",
            )  # fmt: skip

    def live_outputs(self) -> list[Any]:
        """Every component that a battle changes."""
        panes = [part for p in self.panes.values() for part in (p.head, p.chat, p.stats, p.retry)]
        return [
            *panes, *self.votes.values(), self.reveal, self.new_battle, self.prompt, self.send,
            self.stop, self.notice, self.judge, self.mode, *self.models.values(), self.panes_row,
            self.extras.box,
        ]  # fmt: skip

    def presets_html(self, language: str) -> str:
        """The examples in their present order."""
        english_first = self._first(language) == "en"
        return presets_view.presets_html(self.presets, language, english_first=english_first)

    def _first(self, language: str) -> str:
        """The stand-in hardly knows Japanese: while it serves, English examples come first."""
        return "en" if self.arena.registry.stand_in_serves else language

    def privacy_html(self, language: str, *, use_gemini: bool) -> str:
        """The notice by the prompt box."""
        return status_view.privacy_html(
            self.arena.registry, language,
            use_gemini=use_gemini, public=self.settings.public_export,
        )  # fmt: skip

    def model_choices(self, *, ready_only: bool = False) -> list[tuple[str, str]]:
        """Labels and slugs of the contestants."""
        return [
            (entry.model.spec.label, entry.slug)
            for entry in self.arena.registry.entries
            if entry.ready or not ready_only
        ]

    @staticmethod
    def _mode_choices(language: str) -> list[tuple[str, str]]:
        return [(say(language, f"mode.{mode}"), mode.value) for mode in Mode]
