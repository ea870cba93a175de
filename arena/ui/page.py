"""The page: header, tabs, language, and what happens when it opens, ticks and closes."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import Route

from arena.battle.arena import Arena
from arena.dataset.public import PublicExports
from arena.leaderboard.cache import LeaderboardCache
from arena.leaderboard.watch import VoteWatch
from arena.presets import Preset
from arena.settings import Settings
from arena.stats.filters import rules_of
from arena.ui.api import Api
from arena.ui.arena_tab import UNLIMITED, ArenaTab
from arena.ui.components import PRIVATE, Updates, html, merge_updates, pulse
from arena.ui.health import health_routes
from arena.ui.i18n import choose_language, say
from arena.ui.leaderboard_tab import LeaderboardTab
from arena.ui.listeners import protect
from arena.ui.models_tab import ModelsTab
from arena.ui.owner import owner_of
from arena.ui.page_state import PageState, account_of, random_id
from arena.ui.resume import follow, take_up, take_up_unfinished
from arena.ui.status_view import account_html, banner_html, chips_html
from arena.ui.surface import surface
from arena.ui.translator import Translator

Lifespan = Callable[[object], AbstractAsyncContextManager[None]]
HERE = Path(__file__).parent
# No web fonts: the page must not call out, and a system's own Japanese font reads best.
FONT = ["Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic UI", "system-ui"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono CJK JP", "monospace"]
STYLES = ("page", "stage", "tables", "leaderboard")
TABS = ("arena", "leaderboard", "models")
# Gradio copies a file that it serves; looked at every ten minutes, removed after an hour.
DELETE_CACHE = (600, 3600)


# Each event of the queue needs a place of its own while it runs. A place costs nothing.
SPARE_PLACES = 1000


def prepare_server(demo: gr.Blocks, settings: Settings) -> None:
    """Call before `launch()`: which proxies are believed, and a queue that holds nobody up.

    Every listener runs at once, and Gradio keeps no statistics of its own: after each event it
    would have pandas sum up the last 10,000 of them, for a page that is off.
    """
    # The peers from which the server believes X-Forwarded-For. Empty: none; unset: this machine.
    os.environ["FORWARDED_ALLOW_IPS"] = settings.trusted_proxies
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(2**62))
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    demo.queue(default_concurrency_limit=None, api_open=False)


def launch_options(
    arena: Arena, lifespan: Lifespan, routes: Sequence[Route] = ()
) -> dict[str, Any]:
    """What `launch()` needs so that the page is private, quick and looks right.

    Args:
        arena: whose health is shown, and whose caps say how many streams there may be.
        lifespan: starts and stops what belongs to the server's event loop.
        routes: more routes of the arena's own.
    """
    own = [*health_routes(arena), *routes]
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        font=FONT,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md,
    )
    scripts = [path.read_text(encoding="utf-8") for path in sorted((HERE / "scripts").glob("*.js"))]
    return {
        "theme": theme,
        "css": "".join((HERE / "styles" / f"{name}.css").read_text("utf-8") for name in STYLES),
        "head": f"<script>{''.join(scripts)}</script>",
        "favicon_path": HERE / "favicon.svg",
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "footer_links": [],
        "max_threads": arena.limits.battles + arena.limits.waiting + SPARE_PLACES,
        "app_kwargs": {
            "lifespan": lifespan,
            "routes": own,
            "middleware": [surface(arena.limits.prompt_chars, own)],
        },
    }


class Page:
    """The composition of the tabs."""

    def __init__(
        self, arena: Arena, presets: Sequence[Preset], settings: Settings, exports: PublicExports
    ) -> None:
        translator = Translator("ja" if settings.language == "auto" else settings.language)
        self.arena = arena
        self.settings = settings
        self.translator = translator
        self.arena_tab = ArenaTab(arena, presets, settings, translator)
        leaderboard = LeaderboardCache(arena.store)
        self.leaderboard = LeaderboardTab(
            leaderboard,
            translator,
            exports,
            rules=rules_of(settings),
            with_accounts=bool(settings.oauth_client_id),
        )
        self.owner = owner_of(settings)
        self.watch = VoteWatch(leaderboard, rules_of(settings))
        self.models = ModelsTab(arena, self.owner, self.watch)
        self.api = Api(arena, leaderboard, settings)

    def build(self) -> gr.Blocks:
        """Make and connect everything. Nothing runs until it is launched."""
        with gr.Blocks(
            title=say(self.translator.language, "title"), analytics_enabled=False, fill_width=True,
            delete_cache=DELETE_CACHE,
        ) as demo:  # fmt: skip
            self.state = gr.State(PageState(), time_to_live=24 * 3600)
            self.client = gr.JSON(visible=False)
            self.spoken = gr.Textbox(visible=False)
            self._build_header()
            with gr.Column(elem_id="panel-arena", elem_classes="tab-panel"):
                self._build_banner()
                self.arena_tab.build(self.state)
            with gr.Column(elem_id="panel-leaderboard", elem_classes="tab-panel"):
                self.leaderboard.build(self.tabs, self.state)
            with gr.Column(elem_id="panel-models", elem_classes="tab-panel"):
                self.models.build(self.tabs, self.state)
            self.arena_tab.connect()
            self._connect(demo)
            self.api.publish()
        protect(demo, self.arena_tab.settle)
        page: gr.Blocks = demo
        return page

    def _build_header(self) -> None:
        make_computed, arena = self.translator.make_computed, self.arena
        with gr.Row(elem_classes="header"):
            make_computed(
                html, lambda language: {"value": _title_html(language)}, elem_classes="title"
            )
            self.tabs = make_computed(
                html, lambda language: {"value": _tabs_html(language)},
                js_on_load="arenaTabs(element, trigger, watch)", elem_classes="tabs",
            )  # fmt: skip
            self.chips = make_computed(
                html, lambda language: {"value": chips_html(arena.public_registry, language)},
                elem_classes="chip-box",
            )  # fmt: skip
            self.account = html("", elem_id="account", elem_classes="account-box")
            if self.settings.oauth_client_id:
                # Gradio adds the routes for signing in when it finds this button. Its own script
                # goes by the button's text, which changes with the language, so a link is shown.
                gr.LoginButton(visible=False)
            self.switch = self.translator.make(
                gr.Button, {"value": "lang.switch"}, size="sm", scale=0, min_width=0,
                elem_id="language", elem_classes="pill",
            )  # fmt: skip
            make_computed(
                html, lambda language: {"value": _menu_html(language)},
                js_on_load="arenaMenu(element)", elem_classes="menu-box",
            )  # fmt: skip

    def _build_banner(self) -> None:
        make_computed = self.translator.make_computed
        with gr.Row(elem_classes="banner-row"):
            self.banner = make_computed(
                html, lambda language: {"value": banner_html(self.arena.public_registry, language)},
                elem_id="banner",
            )  # fmt: skip
            self.start_stand_in = make_computed(
                gr.Button, self._stand_in_offer, size="sm", scale=0, min_width=0, elem_id="wake"
            )

    def _connect(self, demo: gr.Blocks) -> None:
        ticking = [
            self.chips, self.banner, self.start_stand_in, self.arena_tab.preset_list,
            self.arena_tab.privacy, self.arena_tab.shown.box,
        ]  # fmt: skip
        dynamic = [
            *self.translator.components, *self.arena_tab.battle_outputs(), self.account,
        ]  # fmt: skip
        whole = [*dict.fromkeys(dynamic), self.spoken]
        tab = self.arena_tab
        given = [tab.temperature, tab.top_p, tab.max_new_tokens, tab.system]
        opened = demo.load(
            self.on_load, [self.state, self.client], [*dict.fromkeys([*whole, *given])],
            js="(state, client) => [state, window.arenaClient()]", **PRIVATE,
        )  # fmt: skip
        switched = self.switch.click(self.on_switch, [self.state], whole, **PRIVATE)
        tab.unfinished.button.click(
            self.on_unfinished, [self.state], [*tab.battle_outputs(), *given], **UNLIMITED
        )
        opened.then(None, [self.spoken], js="(language) => window.arenaOpened(language)")
        opened.then(self.on_open, [self.state], tab.battle_outputs(), **UNLIMITED)
        switched.then(None, [self.spoken], js="(language) => window.arenaSpeaks(language, true)")
        self.leaderboard.follow(switched)
        self.models.follow(switched, self.state)
        self.start_stand_in.click(self.on_start_stand_in, None, [self.start_stand_in], **PRIVATE)
        pulse("status").select(
            self.on_tick, [self.state, self.arena_tab.use_gemini], ticking, queue=False, **PRIVATE
        )
        demo.unload(self.on_unload)

    # --- what happens --------------------------------------------------------------------------

    async def on_load(
        self, state: PageState, client: object, profile: gr.OAuthProfile | None,
        request: gr.Request,
    ) -> Updates:  # fmt: skip
        """The page opens: find its visitor, its language, and the battle that it shows."""
        sent = client if isinstance(client, dict) else {}
        state.opened, state.account = True, account_of(profile)
        state.visitor = random_id(sent.get("visitor")) or state.visitor
        state.language = choose_language(
            self.settings.language, str(sent.get("language", "")), str(sent.get("accepts", ""))
        )
        found = await take_up(self.arena_tab, state, sent, request)
        return merge_updates(self._in_language(state), found)

    async def on_open(self, state: PageState) -> AsyncGenerator[Updates, None]:
        """The page is open: show what its battle still does."""
        async with aclosing(follow(self.arena_tab, state)) as updates:
            async for update in updates:
                yield update

    async def on_unfinished(self, state: PageState, request: gr.Request) -> Updates:
        """A battle that was left without a vote is on the page again."""
        return await take_up_unfinished(self.arena_tab, state, request)

    def _in_language(self, state: PageState) -> Updates:
        """The whole page in its language, with the battle as it stands."""
        return merge_updates(
            self.translator.updates(state.language),
            self.arena_tab.relabel(state),
            {self.spoken: state.language, self.account: self._account_html(state)},
        )

    def _account_html(self, state: PageState) -> str:
        if not self.settings.oauth_client_id:
            return ""
        name = state.account.name if state.account else None
        only = self.settings.signed_in_votes_only
        return account_html(name, state.language, votes_only=only)

    async def on_switch(self, state: PageState) -> Updates:
        """The other language."""
        state.language = "en" if state.language == "ja" else "ja"
        return self._in_language(state)

    async def on_tick(
        self,
        state: PageState,
        use_gemini: bool,  # noqa: FBT001 -- a component's value
        request: gr.Request,
    ) -> Updates | Any:  # noqa: ANN401
        """Bring the states of the models up to date; says nothing when nothing changed."""
        if not state.opened or self.arena.pages.is_gone(request.session_hash or ""):
            return self.arena_tab.shown.gone(state.language)
        registry, language = self.arena.public_registry, state.language
        chips = chips_html(registry, language)
        if chips == state.shown_chips:
            return gr.skip()
        state.shown_chips = chips
        return {
            self.chips: chips,
            self.banner: banner_html(registry, language),
            self.start_stand_in: gr.update(**self._stand_in_offer(language)),
            self.arena_tab.preset_list: self.arena_tab.presets_html(language),
            self.arena_tab.privacy: self.arena_tab.privacy_html(
                language, use_gemini=bool(use_gemini)
            ),
        }

    async def on_start_stand_in(self) -> Updates:
        """Start the stand-in while the wanted model still loads."""
        self.arena.registry.start_stand_in()
        return {self.start_stand_in: gr.update(visible="hidden")}

    async def on_unload(self, request: gr.Request) -> None:
        """The page is gone, or cut off: what it started runs on for the grace time."""
        await self.arena.pages.leave(request.session_hash or "")

    def _stand_in_offer(self, language: str) -> dict[str, Any]:
        """Text and visibility of the button that starts the stand-in."""
        registry = self.arena.public_registry
        labels = [e.model.spec.label for e in registry.entries if e.model.spec.stand_in]
        return {
            "value": say(language, "banner.wake", stand_in="".join(labels[:1])),
            "visible": True if registry.stand_in_offered else "hidden",
        }


def _title_html(language: str) -> str:
    skip = f'<a class="skip" href="#prompt">{say(language, "skip")}</a>'
    return f"{skip}<h1>{say(language, 'title')}</h1>"


def _menu_html(language: str) -> str:
    label = say(language, "menu")
    return (
        f'<button type="button" id="menu" aria-expanded="false" aria-label="{label}">'
        '<i aria-hidden="true"></i></button>'
    )


def _tabs_html(language: str) -> str:
    buttons = "".join(
        f'<button type="button" role="tab" id="tab-{name}" data-tab="{name}" '
        f'aria-controls="panel-{name}">{say(language, f"tab.{name}")}</button>'
        for name in TABS
    )
    return f'<div role="tablist">{buttons}</div>'
