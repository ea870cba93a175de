"""The page: header, tabs, language, and what happens when it opens, ticks and closes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from arena.battle.arena import Arena
from arena.dataset.public import PublicExports
from arena.leaderboard.cache import LeaderboardCache
from arena.presets import Preset
from arena.settings import Settings
from arena.ui import status_view
from arena.ui.api import Api
from arena.ui.arena_tab import ArenaTab
from arena.ui.i18n import choose_language, say
from arena.ui.leaderboard_tab import LeaderboardTab
from arena.ui.models_tab import ModelsTab
from arena.ui.page_state import PageState, account_of, known_battle, known_visitor
from arena.ui.translator import Translator, Updates, html, merged

HERE = Path(__file__).parent
# No web fonts: the page must not call out, and a system's own Japanese font reads best.
FONT = ["Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic UI", "system-ui"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono CJK JP", "monospace"]
# Foreign images in an answer would be fetched by the visitor's browser.
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="img-src \'self\' data: blob:; '
    "media-src 'self' data: blob:; object-src 'none'\">"
)
TABS = ("arena", "leaderboard", "models")
# Gradio's own tabs leave the parts of a hidden tab out of the document until it is first shown.
TABS_JS = """
const show = (name) => {
  document.body.dataset.tab = name;
  element.querySelectorAll('[role=tab]').forEach((tab) => {
    tab.setAttribute('aria-selected', tab.dataset.tab === name);
    tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
  });
};
element.addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (!tab) return;
  show(tab.dataset.tab);
  trigger('select', {tab: tab.dataset.tab});
});
element.addEventListener('keydown', (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  const tabs = [...element.querySelectorAll('[role=tab]')];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});
watch('value', () => show(document.body.dataset.tab || 'arena'));
show('arena');
"""
TICK_SECONDS = 1.0
# Gradio copies a file that it serves; looked at every ten minutes, removed after an hour.
DELETE_CACHE = (600, 3600)
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build_page(
    arena: Arena, presets: Sequence[Preset], settings: Settings, exports: PublicExports
) -> gr.Blocks:
    """All of the page. Nothing runs until it is launched."""
    language = settings.language if settings.language != "auto" else "ja"
    return Page(arena, presets, settings, exports, Translator(language)).build()


def launch_options() -> dict[str, Any]:
    """What `launch()` needs so that the page is private, quick and looks right."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        font=FONT,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md,
    )
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return {
        "theme": theme,
        "css": (HERE / "style.css").read_text(encoding="utf-8"),
        "head": f"{POLICY}<script>{script}</script>",
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "footer_links": [],
    }


class Page:
    """The composition of the tabs."""

    def __init__(
        self,
        arena: Arena,
        presets: Sequence[Preset],
        settings: Settings,
        exports: PublicExports,
        words: Translator,
    ) -> None:
        self.arena = arena
        self.settings = settings
        self.words = words
        self.arena_tab = ArenaTab(arena, presets, settings, words)
        board = LeaderboardCache(arena.store)
        self.leaderboard = LeaderboardTab(
            board,
            words,
            signed_in_only=settings.signed_in_votes_only,
            with_accounts=bool(settings.oauth_client_id),
            exports=exports,
        )
        self.models = ModelsTab(arena)
        self.api = Api(arena, board, settings)

    def build(self) -> gr.Blocks:
        """Make and connect everything."""
        text = self.words.say
        with gr.Blocks(
            title=text("title"), analytics_enabled=False, fill_width=True,
            delete_cache=DELETE_CACHE,
        ) as demo:  # fmt: skip
            self.visit = gr.State(PageState(), time_to_live=24 * 3600)
            self.client = gr.JSON(visible=False)
            self.spoken = gr.Textbox(visible=False)
            self._build_header()
            self.tabs = self.words.bind_made(
                html(_tabs_html(self.words.language), js_on_load=TABS_JS, elem_classes="tabs"),
                lambda chosen: {"value": _tabs_html(chosen)},
            )
            with gr.Column(elem_id="panel-arena", elem_classes="tab-panel"):
                self.arena_tab.build(self.visit)
            with gr.Column(elem_id="panel-leaderboard", elem_classes="tab-panel"):
                self.leaderboard.build(self.tabs, self.visit)
            with gr.Column(elem_id="panel-models", elem_classes="tab-panel"):
                self.models.build(self.tabs, self.visit)
            self.arena_tab.connect()
            self._connect(demo)
            self.api.publish()
        page: gr.Blocks = demo
        return page

    def _build_header(self) -> None:
        language = self.words.language
        with gr.Row(elem_classes="header"):
            self.title = self.words.bind_made(
                html(_title_html(language), elem_classes="title"),
                lambda chosen: {"value": _title_html(chosen)},
            )
            self.chips = self.words.bind_made(
                html(
                    status_view.chips_html(self.arena.registry, language), elem_classes="chip-box"
                ),
                lambda chosen: {"value": status_view.chips_html(self.arena.registry, chosen)},
            )
            self.account = html("", elem_id="account", elem_classes="account-box")
            if self.settings.oauth_client_id:
                # Gradio adds the routes for signing in when it finds this button. Its own script
                # goes by the button's text, which changes with the language, so a link is shown.
                gr.LoginButton(visible=False)
            self.switch = self.words.bind(
                gr.Button(
                    self.words.say("lang.switch"), size="sm", scale=0, min_width=80,
                    elem_id="language", elem_classes="language",
                ),
                value="lang.switch",
            )  # fmt: skip
        with gr.Row(elem_classes="banner-row"):
            self.banner = self.words.bind_made(
                html(status_view.banner_html(self.arena.registry, language), elem_id="banner"),
                lambda chosen: {"value": status_view.banner_html(self.arena.registry, chosen)},
            )
            self.wake = gr.Button(
                self._wake_text(language), size="sm", scale=0, elem_id="wake", visible="hidden"
            )

    def _connect(self, demo: gr.Blocks) -> None:
        timer = gr.Timer(TICK_SECONDS)
        ticking = [
            self.chips, self.banner, self.wake, self.arena_tab.preset_list,
            self.arena_tab.privacy,
        ]  # fmt: skip
        dynamic = [
            *self.words.components, *self.arena_tab.live_outputs(), self.wake, self.account,
        ]  # fmt: skip
        whole = [*dict.fromkeys(dynamic), self.spoken]
        opened = demo.load(
            self.on_load, [self.visit, self.client], whole,
            js="(visit, client) => [visit, window.arenaClient()]", **PRIVATE,
        )  # fmt: skip
        switched = self.switch.click(self.on_switch, [self.visit], whole, **PRIVATE)
        opened.then(None, [self.spoken], js="(language) => window.arenaSpeaks(language, false)")
        switched.then(None, [self.spoken], js="(language) => window.arenaSpeaks(language, true)")
        self.leaderboard.follow(switched)
        self.wake.click(self.on_wake, None, [self.wake], **PRIVATE)
        timer.tick(
            self.on_tick, [self.visit, self.arena_tab.use_gemini], ticking, queue=False, **PRIVATE
        )
        demo.unload(self.on_unload)

    # --- what happens --------------------------------------------------------------------------

    async def on_load(
        self, visit: PageState, client: object, profile: gr.OAuthProfile | None
    ) -> Updates:
        """The page opens: who it is, as far as is known, and in which language."""
        told = client if isinstance(client, dict) else {}
        visit.account = account_of(profile)
        visit.visitor = known_visitor(told.get("visitor")) or visit.visitor
        visit.language = choose_language(
            self.settings.language, str(told.get("language", "")), str(told.get("accepts", ""))
        )
        battle = known_battle(told.get("battle"))
        said = await self.arena_tab.open_link(visit, battle) if battle else {}
        return merged(self._in_language(visit), said)

    def _in_language(self, visit: PageState) -> Updates:
        """The whole page in the visit's language, with the battle as it stands."""
        session = self.arena.find_session(visit.battle_id)
        return merged(
            self.words.updates(visit.language),
            self._wake_update(visit.language),
            self.arena_tab.relabel(session, visit),
            {self.spoken: visit.language, self.account: self._account_html(visit)},
        )

    def _account_html(self, visit: PageState) -> str:
        if not self.settings.oauth_client_id:
            return ""
        name = visit.account.name if visit.account else None
        only = self.settings.signed_in_votes_only
        return status_view.account_html(name, visit.language, votes_only=only)

    async def on_switch(self, visit: PageState) -> Updates:
        """The other language."""
        visit.language = "en" if visit.language == "ja" else "ja"
        return self._in_language(visit)

    def on_tick(self, visit: PageState, use_gemini: bool) -> Updates | Any:  # noqa: ANN401, FBT001
        """Bring the states of the models up to date; says nothing when nothing changed."""
        registry, language = self.arena.registry, visit.language
        chips = status_view.chips_html(registry, language)
        if chips == visit.shown_chips:
            return gr.skip()
        visit.shown_chips = chips
        return {
            self.chips: chips,
            self.banner: status_view.banner_html(registry, language),
            self.wake: self._wake_update(language)[self.wake],
            self.arena_tab.preset_list: self.arena_tab.presets_html(language),
            self.arena_tab.privacy: self.arena_tab.privacy_html(
                language, use_gemini=bool(use_gemini)
            ),
        }

    def on_wake(self) -> Updates:
        """Start the stand-in while the wanted model still loads."""
        self.arena.registry.wake_stand_in()
        return {self.wake: gr.update(visible="hidden")}

    async def on_unload(self, request: gr.Request) -> None:
        """The tab closes: what it started is stopped."""
        await self.arena.close_page(request.session_hash or "")

    def _wake_text(self, language: str) -> str:
        stand_in = next((e for e in self.arena.registry.entries if e.model.spec.stand_in), None)
        label = stand_in.model.spec.label if stand_in else ""
        return say(language, "banner.wake", stand_in=label)

    def _wake_update(self, language: str) -> Updates:
        offered = self.arena.registry.stand_in_offered
        text = self._wake_text(language)
        return {self.wake: gr.update(value=text, visible=True if offered else "hidden")}


def _title_html(language: str) -> str:
    return f"<h1>{say(language, 'title')}</h1><p>{say(language, 'subtitle')}</p>"


def _tabs_html(language: str) -> str:
    buttons = "".join(
        f'<button type="button" role="tab" id="tab-{name}" data-tab="{name}" '
        f'aria-controls="panel-{name}">{say(language, f"tab.{name}")}</button>'
        for name in TABS
    )
    return f'<div role="tablist">{buttons}</div>'
