"""The parts of the arena tab: which components there are, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
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
from arena.ui.components import Updates, html
from arena.ui.erasure_part import ErasurePart
from arena.ui.feedback import FeedbackPart
from arena.ui.i18n import say
from arena.ui.markdown_dollars import LEFT, RIGHT
from arena.ui.shown import ShownPart
from arena.ui.translator import Translator
from arena.ui.unfinished import UnfinishedPart

LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
    {"left": LEFT, "right": RIGHT, "display": False},
]


SIDES = "".join(
    f'<button type="button" data-side="{side}" aria-controls="pane-{side}" '
    f'aria-labelledby="name-{side}">{side.upper()}</button>'
    for side in Side
)
SIDES = f'<div class="switch" role="group">{SIDES}</div>'


def vote_id(winner: Winner) -> str:
    """The id of that vote's button."""
    return view.VOTE_TEXTS[winner].replace(".", "-")


def stage_classes(stage: view.Stage = view.Stage.IDLE, *, single: bool = False) -> list[str]:
    """The classes of the whole tab."""
    return [f"s-{stage}", *(["single"] if single else [])]


def _lead_html(language: str) -> str:
    return f"<h2>{say(language, 'lead.title')}</h2><p>{say(language, 'lead.text')}</p>"


def _expand_html(side: Side, language: str) -> str:
    label = escape(say(language, "pane.expand"), quote=True)
    return (
        f'<button type="button" class="expand" data-expand="{side}" title="{label}" '
        f'aria-label="{label}">⤢</button>'
    )


def _more_html(language: str) -> str:
    """The pill that says that there is more below, now or while it is being written."""
    later, now = (escape(say(language, key)) for key in ("pane.more", "pane.below"))
    return (
        '<button type="button" class="pill-more" tabindex="-1">'
        f'<span class="later">{later}</span><span class="now">{now}</span></button>'
    )


def _reading_html(language: str) -> str:
    """The switch that lets both panes scroll together."""
    text = escape(say(language, "reading.together"))
    return f'<button type="button" class="link" aria-pressed="false" data-together>{text}</button>'


@dataclass(frozen=True, slots=True)
class Pane:
    """The components of one side.

    Attributes:
        earlier: the turns before the newest question; shown when the visitor asks for them.
    """

    head: gr.HTML
    earlier: gr.Markdown
    answer: gr.Markdown
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
        """Make the components; call inside the tab's context.

        The style sheet places them: the class of `stage` says where, see `view.Stage`.
        """
        self.state = state
        with gr.Column(elem_id="stage", elem_classes=stage_classes()) as self.stage:
            self.lead = self.translator.make_computed(
                html, lambda language: {"value": _lead_html(language)}, elem_id="lead"
            )
            with gr.Row(elem_id="asked"):
                self.question = html("", elem_id="question")
                self.judge = html("", elem_id="judge")
                self.reading = self.translator.make_computed(
                    html, lambda language: {"value": _reading_html(language)},
                    elem_id="reading",
                )  # fmt: skip
            self.shown = ShownPart()
            self.shown.build(self.translator.language)
            html(SIDES, elem_id="sides")
            with gr.Row(elem_classes="panes", elem_id="panes"):
                self.panes = {side: self._build_pane(side) for side in Side}
            with gr.Column(elem_id="dock"):
                self._build_votes()
                self._build_prompt()
            self._build_examples()

    def _build_tools(self) -> None:
        make, make_computed = self.translator.make, self.translator.make_computed
        registry = self.arena.registry
        google = any(is_google(e) for e in registry.entries if self.settings.gemini_api_key)
        with gr.Row(elem_id="tools"):
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
            self._build_settings()
            with gr.Row(elem_id="choose"):
                self.models = {
                    side: make(
                        gr.Dropdown, {"label": f"model.{side}"}, choices=self.model_choices(),
                        value=None, elem_id=f"model-{side}", interactive=False, visible="hidden",
                    )
                    for side in Side
                }  # fmt: skip

    def _build_pane(self, side: Side) -> Pane:
        idle = view.idle_view(self.translator.language, Mode.BLIND).panes[side]
        with gr.Column(elem_classes=["pane", f"side-{side}"], min_width=0):
            with gr.Row(elem_classes="pane-top"):
                head = html(idle.head)
                stats = html("", elem_id=f"stats-{side}", elem_classes="stats")
                retry = self.translator.make(
                    gr.Button, {"value": "retry"}, elem_id=f"retry-{side}", interactive=False,
                    size="sm", elem_classes="retry", min_width=0, scale=0,
                )  # fmt: skip
                self.translator.make_computed(
                    html, lambda language: {"value": _expand_html(side, language)}
                )
            with gr.Column(elem_classes="pane-body"):
                earlier = gr.Markdown("", elem_classes="earlier", latex_delimiters=LATEX)
                answer = gr.Markdown("", elem_id=f"pane-{side}", latex_delimiters=LATEX)
            self.translator.make_computed(html, lambda language: {"value": _more_html(language)})
        return Pane(head, earlier, answer, stats, retry)

    def _build_votes(self) -> None:
        make = self.translator.make
        self.reveal = html("", elem_id="reveal", elem_classes="reveal")
        self.feedback = FeedbackPart(self.arena)
        self.feedback.build()
        self.link = html("", elem_id="link", js_on_load="arenaLink(element)")
        self.undo = make(
            gr.Button, {"value": "vote.undo"}, elem_id="undo", elem_classes="undo",
            interactive=False, size="sm", scale=0, min_width=0,
        )  # fmt: skip
        with gr.Row(elem_classes="votes", elem_id="votes"):
            self.votes = {
                winner: make(
                    gr.Button, {"value": key}, elem_id=vote_id(winner),
                    elem_classes=["vote", vote_id(winner)], interactive=False, min_width=0,
                )
                for winner, key in view.VOTE_TEXTS.items()
            }  # fmt: skip
        self.new_battle = make(
            gr.Button, {"value": "battle.new"}, elem_id="new-battle", variant="primary",
            interactive=False, scale=0, min_width=0,
        )  # fmt: skip

    def _build_prompt(self) -> None:
        make = self.translator.make
        self.notice = html("", elem_id="notice")
        with gr.Column(elem_id="composer"):
            with gr.Row(elem_id="ask"):
                self.prompt = make(
                    gr.Textbox, {"label": "prompt.label", "placeholder": "prompt.placeholder"},
                    lines=1, max_lines=8, show_label=False, container=False, elem_id="prompt",
                    scale=8,
                )  # fmt: skip
                self.send = make(
                    gr.Button, {"value": "send"}, variant="primary", elem_id="send", scale=0,
                    min_width=0,
                )  # fmt: skip
                self.stop = make(
                    gr.Button, {"value": "stop"}, elem_id="stop", scale=0, min_width=0,
                    interactive=False,
                )  # fmt: skip
            self._build_tools()

    def _build_examples(self) -> None:
        make_computed = self.translator.make_computed
        self.unfinished = UnfinishedPart(self.arena)
        self.unfinished.build()
        self.preset_list = make_computed(
            html, lambda language: {"value": self.presets_html(language)},
            js_on_load="arenaPresets(element, trigger)", elem_id="examples",
        )  # fmt: skip
        self.privacy = make_computed(
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
        panes = [
            part
            for pane in self.panes.values()
            for part in (pane.head, pane.earlier, pane.answer, pane.stats, pane.retry)
        ]
        return [
            *panes, *self.votes.values(), self.reveal, self.undo, self.new_battle, self.prompt,
            self.send, self.stop, self.notice, self.judge, self.mode, *self.models.values(),
            self.stage, self.question, self.link, self.feedback.box, self.shown.box,
            self.unfinished.button,
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

    def models_of(
        self, mode: Mode, language: str, chosen: Mapping[Side, str] | None = None
    ) -> Updates:
        """The choice of models that a mode has, with what was chosen, or the first ones."""
        updates: Updates = {}
        choices = self.model_choices(ready_only=not chosen)
        for place, (side, box) in enumerate(self.models.items()):
            wanted = mode is Mode.OPEN or (mode is Mode.SINGLE and side is Side.A)
            first = choices[min(place, len(choices) - 1)][1] if choices else None
            key = "model.single" if mode is Mode.SINGLE else f"model.{side}"
            updates[box] = gr.update(
                choices=choices, value=(chosen or {}).get(side, first) if wanted else None,
                interactive=wanted, label=say(language, key),
                visible=True if wanted else "hidden",
            )  # fmt: skip
        return updates
