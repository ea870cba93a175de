"""The tab in which battles happen: its parts, and what each of them does."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from arena.battle import Arena, Ask
from arena.domain import GenerationParams, Mode, Side, Winner
from arena.errors import ArenaError
from arena.live import Frame, LiveBattle
from arena.models.registry import is_google
from arena.presets import Preset, pick
from arena.settings import Settings
from arena.ui import presets_view, status_view, view
from arena.ui.i18n import say
from arena.ui.visit import Visit, params_from, preset_behind
from arena.ui.words import Updates, Words, html
from arena.votes.store import voter_hash

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
PRIVATE: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "concurrency_limit": None,
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


class ArenaTab:
    """Builds the tab and connects it. The UI shows; the arena decides."""

    def __init__(
        self, arena: Arena, presets: Sequence[Preset], settings: Settings, words: Words
    ) -> None:
        self.arena = arena
        self.presets = tuple(presets)
        self.by_id = {preset.id: preset for preset in presets}
        self.settings = settings
        self.words = words
        self.rng = random.Random()  # noqa: S311 -- a dice for examples, nothing secret

    # --- parts ---------------------------------------------------------------------------------

    def build(self, visit: gr.State) -> None:
        """Make the components; call inside the tab's context."""
        self.visit = visit
        self._build_bar()
        with gr.Row(elem_classes="panes", elem_id="panes") as self.panes_row:
            self.panes = {side: self._build_pane(side) for side in Side}
        self._build_votes()
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
                        16, self.settings.max_new_tokens, defaults.max_new_tokens, step=16,
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

    # --- connections ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Register what each part does."""
        asked = [
            self.visit, self.prompt, self.mode, self.use_gemini, *self.models.values(),
            self.temperature, self.top_p, self.max_new_tokens, self.seed, self.system,
        ]  # fmt: skip
        outputs = self.live_outputs()
        gr.on(
            [self.prompt.submit, self.send.click], self.on_send, asked, outputs,
            trigger_mode="once", **PRIVATE,
        )  # fmt: skip
        for side, pane in self.panes.items():
            pane.retry.click(self.retry_handler(side), [self.visit], outputs, **PRIVATE)
        self.stop.click(self.on_stop, [self.visit], [self.notice], queue=False, **PRIVATE)
        for winner, button in self.votes.items():
            button.click(self.vote_handler(winner), [self.visit], outputs, **PRIVATE)
        fresh = [self.visit, self.mode]
        self.new_battle.click(self.on_new, fresh, outputs, **PRIVATE)
        self.mode.input(self.on_new, fresh, outputs, **PRIVATE)
        self.use_gemini.input(
            self.on_gemini, [self.visit, self.use_gemini], [self.privacy], **PRIVATE
        )
        self.preset_list.select(
            self.on_preset, [self.visit], [self.prompt, self.notice], **PRIVATE
        ).then(None, js="() => window.arenaFocusPrompt && window.arenaFocusPrompt()")

    def live_outputs(self) -> list[Any]:
        """Every component that a battle changes."""
        panes = [part for p in self.panes.values() for part in (p.head, p.chat, p.stats, p.retry)]
        return [
            *panes, *self.votes.values(), self.reveal, self.new_battle, self.prompt, self.send,
            self.stop, self.notice, self.judge, self.mode, *self.models.values(), self.panes_row,
        ]  # fmt: skip

    # --- what they do --------------------------------------------------------------------------

    async def on_send(  # noqa: PLR0917 -- Gradio passes the inputs by position
        self, visit: Visit, text: str, mode: str, use_gemini: bool, model_a: str | None,  # noqa: FBT001
        model_b: str | None, temperature: float, top_p: float, max_new_tokens: int, seed: str,
        system: str, request: gr.Request,
    ) -> AsyncGenerator[Updates, None]:  # fmt: skip
        """Send the prompt: the next turn of an open battle, or a new battle."""
        try:
            params = params_from(temperature, top_p, max_new_tokens, seed)
        except ValueError:
            yield self.complain(say(visit.language, "error.invalid_params"))
            return
        preset = preset_behind(text, visit.preset)
        ask = Ask(
            text=text, mode=Mode(mode), params=params, voter=await self._voter(visit),
            session=request.session_hash or "", ui_language=visit.language,
            use_gemini=bool(use_gemini), preset=preset, system_prompt=system,
            model_a=model_a, model_b=model_b,
        )  # fmt: skip
        try:
            live = self._open_battle(visit)
            if live is not None and preset is None:
                await self.arena.follow_up(live, text)
            else:
                live = None
                async for update in self._wait(visit, ask):
                    yield update
                if visit.waiting:
                    visit.waiting = False
                    live = await self.arena.begin(ask)
                    await self.arena.leave(ask.session, keep=live.battle.id)
                    visit.forget_battle()
                    visit.battle_id, visit.played = live.battle.id, preset
            if live is None:
                yield self.settle(visit)
                return
        except ArenaError as error:
            visit.waiting = False
            yield self.settle(visit) | self.complain(error, visit.language)
            return
        visit.preset = None
        async for update in self._stream(visit, live):
            yield update

    async def _wait(self, visit: Visit, ask: Ask) -> AsyncGenerator[Updates, None]:
        """Say which models are awaited until the battle can begin; Stop ends it."""
        visit.waiting = True
        self.arena.registry.revive()
        async for entries in self.arena.wait_for_contestants(ask):
            if not visit.waiting:
                return
            names = ", ".join(status_view.state_line(e, visit.language) for e in entries)
            text = say(visit.language, "wait.loading", names=names or "…")
            yield {
                self.notice: status_view.notice_html(text, error=False),
                self.stop: gr.update(interactive=True),
                self.send: gr.update(interactive=False),
            }

    async def _stream(self, visit: Visit, live: LiveBattle) -> AsyncGenerator[Updates, None]:
        first = True
        frames = self.arena.frames(live)
        try:
            async for frame in frames:
                update = self.show(frame, visit)
                if first:
                    update |= {self.prompt: gr.update(value=""), self.notice: ""}
                    first = False
                if not frame.saved and not frame.running:
                    text = self._not_saved(visit.language)
                    update |= {self.notice: status_view.notice_html(text)}
                yield update
        finally:
            await frames.aclose()

    def _not_saved(self, language: str) -> str:
        words = {"place": self.arena.store.place}
        return " ".join(
            say(language, f"error.store.{part}", **words) for part in ("message", "remedy")
        )

    def _open_battle(self, visit: Visit) -> LiveBattle | None:
        """The battle that the next prompt continues, if there is one."""
        if visit.battle_id is None or visit.vote is not None:
            return None
        live = self.arena.live_or_none(visit.battle_id)
        if live is None or not (live.running or self._complete(live)):
            return None
        return live

    @staticmethod
    def _complete(live: LiveBattle) -> bool:
        turns = [live.battle.conversation(side)[-1].answer for side in live.battle.sides]
        return all(answer is not None and answer.usable for answer in turns)

    async def _voter(self, visit: Visit) -> str:
        salt = self.settings.voter_salt
        text = salt.get_secret_value() if salt else await self.arena.store.salt()
        return voter_hash(text, visit.voter())

    def retry_handler(self, side: Side) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one retry button."""

        async def on_retry(visit: Visit) -> AsyncGenerator[Updates, None]:
            try:
                live = self.arena.live(visit.battle_id)
                self.arena.registry.revive()
                await self.arena.retry(live, side)
            except ArenaError as error:
                yield self.complain(error, visit.language)
                return
            async for update in self._stream(visit, live):
                yield update

        return on_retry

    async def on_stop(self, visit: Visit) -> Updates:
        """Stop what runs; the handler that streams then shows the end of it."""
        visit.waiting = False
        live = self.arena.live_or_none(visit.battle_id)
        if live is not None:
            await self.arena.stop(live)
        return {self.notice: ""}

    def vote_handler(self, winner: Winner) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one vote button."""

        async def on_vote(visit: Visit) -> Updates:
            try:
                live = self.arena.live(visit.battle_id)
                await self.arena.vote(live.battle.id, winner, await self._voter(visit))
            except ArenaError as error:
                return self.complain(error, visit.language)
            visit.vote = winner
            return self.show(live.frame(), visit) | {self.notice: ""}

        return on_vote

    async def on_new(self, visit: Visit, mode: str, request: gr.Request) -> Updates:
        """An empty page in the chosen mode."""
        await self.arena.leave(request.session_hash or "")
        visit.forget_battle()
        visit.mode = Mode(mode)
        return self.fresh(visit.language, visit.mode) | {self.notice: ""}

    def fresh(self, language: str, mode: Mode) -> Updates:
        """The page before a battle, with the choice of models that the mode has."""
        updates = self._page(view.idle_view(language, mode), language)
        choices = self.model_choices(ready_only=True)
        for place, (side, box) in enumerate(self.models.items()):
            wanted = mode is Mode.OPEN or (mode is Mode.SINGLE and side is Side.A)
            value = choices[min(place, len(choices) - 1)][1] if choices and wanted else None
            key = "model.single" if mode is Mode.SINGLE else f"model.{side}"
            updates[box] = gr.update(
                choices=choices, value=value, interactive=wanted, label=say(language, key),
                visible=True if wanted else "hidden",
            )  # fmt: skip
        return updates

    def on_gemini(self, visit: Visit, use_gemini: bool) -> str:  # noqa: FBT001 -- a component's value
        """Say where the text goes now."""
        return self.privacy_html(visit.language, use_gemini=bool(use_gemini))

    def on_preset(self, visit: Visit, event: gr.EventData) -> Updates:
        """Fill the prompt box; Send sends it."""
        wanted = str(getattr(event, "preset", ""))
        if wanted == "*":
            preset: Preset | None = pick(self.presets, self._first(visit.language), self.rng)
        else:
            preset = self.by_id.get(wanted)
        if preset is None:
            return {self.notice: ""}
        visit.preset = preset
        return {self.prompt: gr.update(value=preset.text), self.notice: ""}

    # --- showing -------------------------------------------------------------------------------

    def settle(self, visit: Visit) -> Updates:
        """The page as the present battle, if any, has it."""
        live = self.arena.live_or_none(visit.battle_id)
        if live is None:
            return {
                self.send: gr.update(interactive=True),
                self.stop: gr.update(interactive=False),
                self.notice: "",
            }
        return self.show(live.frame(), visit) | {self.notice: ""}

    def show(self, frame: Frame, visit: Visit) -> Updates:
        """One frame as updates of the components."""
        return self._page(view.battle_view(frame, visit.language, visit.vote), visit.language) | {
            self.judge: presets_view.judge_html(
                None if frame.running else visit.played, visit.language
            )
        }

    def relabel(self, live: LiveBattle | None, visit: Visit) -> Updates:
        """The panes in the visit's language; the prompt that is being written stays."""
        if live is not None:
            return self.show(live.frame(), visit)
        idle = view.idle_view(visit.language, visit.mode)
        return {pane.head: idle.panes[side].head for side, pane in self.panes.items()}

    def _page(self, page: view.PageView, language: str) -> Updates:
        updates: Updates = {}
        for side, pane in self.panes.items():
            shown = page.panes[side]
            updates[pane.head] = shown.head
            updates[pane.chat] = shown.messages
            updates[pane.stats] = shown.stats
            updates[pane.retry] = gr.update(interactive=shown.retry)
        for winner, button in self.votes.items():
            classes = ["vote", VOTES[winner][0], *(["chosen"] if page.chosen is winner else [])]
            updates[button] = gr.update(interactive=page.votable, elem_classes=classes)
        key = "prompt.next" if page.follow_up else "prompt.placeholder"
        kind = ["panes", *(["single"] if page.single else [])]
        return updates | {
            self.reveal: page.bar,
            self.new_battle: gr.update(interactive=bool(page.bar)),
            self.prompt: gr.update(placeholder=say(language, key)),
            self.send: gr.update(interactive=not page.running),
            self.stop: gr.update(interactive=page.running),
            self.mode: gr.update(interactive=not page.running),
            self.panes_row: gr.update(elem_classes=kind),
            self.judge: "",
        }

    def complain(self, problem: ArenaError | str, language: str = "ja") -> Updates:
        """Say what is wrong by the prompt box."""
        if isinstance(problem, ArenaError):
            return {self.notice: status_view.error_notice(language, problem)}
        return {self.notice: status_view.notice_html(problem)}

    def presets_html(self, language: str) -> str:
        """The examples in their present order."""
        english_first = self._first(language) == "en"
        return presets_view.presets_html(self.presets, language, english_first=english_first)

    def _first(self, language: str) -> str:
        """The stand-in hardly knows Japanese: while it serves, English examples come first."""
        return "en" if self.arena.registry.stand_in_serves else language

    def privacy_html(self, language: str, *, use_gemini: bool) -> str:
        """The notice by the prompt box."""
        return status_view.privacy_html(self.arena.registry, language, use_gemini=use_gemini)

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
