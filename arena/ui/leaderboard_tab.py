"""The leaderboard's tab. It asks for a report and shows it; it computes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from arena.dataset.public import PublicExports
from arena.domain import Category
from arena.errors.base import ArenaError
from arena.leaderboard.cache import LeaderboardCache
from arena.leaderboard.report import LeaderboardReport, Selection
from arena.stats.filters import Rules
from arena.stats.outcomes import Pair
from arena.stats.vote_table import LANGUAGES
from arena.ui import leaderboard_view, leaderboard_words, plots
from arena.ui.components import PRIVATE, Updates, choice_of, html, merge_updates
from arena.ui.export_part import ExportPart
from arena.ui.i18n import say
from arena.ui.page_state import PageState
from arena.ui.plots import Picture
from arena.ui.status_view import error_notice
from arena.ui.translator import Translator

ALL = ""
TAB = "leaderboard"
Choices = list[tuple[str, str]]


class LeaderboardTab:
    """Reads the votes when the tab is opened, a filter is set, or the button is pressed."""

    def __init__(
        self, cache: LeaderboardCache, translator: Translator, exports: PublicExports, *,
        rules: Rules, with_accounts: bool,
    ) -> None:  # fmt: skip
        self.cache = cache
        self.translator = translator
        self.rules = rules
        self.with_accounts = with_accounts
        self.export = ExportPart(exports, translator) if exports.on else None

    def build(self, tabs: gr.HTML, state: gr.State) -> None:
        """Make the components; call inside the panel's context."""
        with gr.Column(elem_id="leaderboard", elem_classes="leaderboard"):
            # Until the first answer of the server: many new votes can take it a while.
            self.lead = self.translator.make_computed(
                html, lambda language: {"value": leaderboard_view.loading_html(language)},
                elem_id="lb-lead", elem_classes="lb-lead",
            )  # fmt: skip
            self._build_filters()
            self.table = html(elem_classes="lb-main")
            # The first picture stands over this, the others below: see the style sheet.
            self.translator.make_computed(
                html, lambda language: {"value": leaderboard_view.more_html(language)},
                elem_classes="lb-more",
            )  # fmt: skip
            with gr.Column(elem_classes="lb-plots"):
                self.plots = {name: self._frame(name) for name in plots.NAMES}
            self.details = html(elem_classes="lb-details")
            if self.export is not None:
                self.export.build(state)
        filters = (self.category, self.language, self.pair, self.truncated, self.signed_in)
        self.inputs = [state, *filters]
        self.outputs = [
            self.lead, self.table, self.details, self.pair,
            *(part for frame in self.plots.values() for part in frame),
        ]  # fmt: skip
        gr.on(
            [tabs.select, self.refresh.click, *(part.input for part in filters)],
            self.on_show, self.inputs, self.outputs, trigger_mode="always_last", **PRIVATE,
        )  # fmt: skip

    def _frame(self, name: str) -> tuple[gr.Column, gr.HTML, gr.Plot]:
        """A card for a picture, hidden until there is one."""
        with gr.Column(
            elem_id=f"plot-{name}", elem_classes="card lb-figure", visible=False
        ) as card:
            title = html()
            plot = gr.Plot(show_label=False, container=False)
        return card, title, plot

    def follow(self, switched: Any) -> None:  # noqa: ANN401 -- Gradio's own event
        """Say it in the page's new language, if it was opened."""
        switched.then(self.on_switched, self.inputs, self.outputs, **PRIVATE)

    def _build_filters(self) -> None:
        make = self.translator.make
        with gr.Row(elem_classes="lb-filters"):
            # Its choices come with each report.
            self.pair = make(
                gr.Dropdown, {"label": "board.filter.pair"},
                choices=[_all(self.translator.language)], value=ALL, elem_id="board-pair",
                filterable=False, visible=False,
            )  # fmt: skip
            self.category = self._choice("category", _categories)
            self.language = self._choice("language", _languages)
            self.truncated = make(
                gr.Checkbox, {"label": "board.filter.truncated"}, value=True,
                elem_id="board-truncated", container=False,
            )  # fmt: skip
            self.signed_in = make(
                gr.Checkbox, {"label": "board.filter.signed_in"}, value=self.rules.not_signed_in,
                elem_id="board-signed-in", container=False,
                interactive=not self.rules.not_signed_in, visible=self.with_accounts,
            )  # fmt: skip
            self.refresh = make(
                gr.Button, {"value": "board.refresh"}, size="sm", scale=0, elem_id="refresh"
            )

    def _choice(self, name: str, choices: Callable[[str], Choices]) -> gr.Dropdown:
        """A dropdown whose label and choices follow the page's language."""
        return self.translator.make_computed(
            gr.Dropdown,
            lambda language: {
                "label": say(language, f"board.filter.{name}"),
                "choices": choices(language),
            },
            value=ALL, elem_id=f"board-{name}", filterable=False,
        )  # fmt: skip

    async def on_show(self, state: PageState, event: gr.EventData, *filters: object) -> Any:  # noqa: ANN401 -- or nothing
        """The tab was opened, or a filter set; the other tabs are not its business."""
        told = event._data if isinstance(event._data, dict) else {}
        if told.get("tab", TAB) != TAB:
            return gr.skip()
        state.saw_leaderboard = True
        return await self._show(state, *filters)

    async def on_switched(self, state: PageState, *filters: object) -> Updates | Any:  # noqa: ANN401
        """The page speaks another language now."""
        return await self._show(state, *filters) if state.saw_leaderboard else gr.skip()

    async def _show(  # noqa: PLR0917 -- Gradio passes them by position
        self, state: PageState, category: object, language: object, pair: object,
        truncated: object, signed_in: object,
    ) -> Updates:  # fmt: skip
        """The leaderboard as it stands, for what the filters ask."""
        # The owner's rule about accounts holds whatever a browser sends.
        only = self.rules.not_signed_in or bool(signed_in)
        rules = replace(self.rules, truncated=not truncated, not_signed_in=only)
        selection = Selection(
            choice_of(category, Category, None), choice_of(language, LANGUAGES, None)
        )
        try:
            report = await self.cache.report(rules, selection)
            chosen = next((met for met in report.met if pair_key(met) == pair), None)
            if chosen is not None:
                report = await self.cache.report(rules, replace(selection, pair=chosen))
        except ArenaError as error:
            return {
                self.lead: error_notice(state.language, error),
                self.table: "",
                self.details: "",
            }
        drawn = await asyncio.to_thread(plots.pictures, report, state.language)
        return merge_updates(self._shown(report, state.language), self._drawn(drawn))

    def _drawn(self, drawn: Mapping[str, Picture]) -> Updates:
        """The pictures that there are; what is hidden keeps no old one."""
        found: Updates = {}
        for name, (card, title, plot) in self.plots.items():
            picture = drawn.get(name)
            found[card] = gr.update(visible=picture is not None)
            found[title] = leaderboard_view.figure_title(picture.title) if picture else ""
            found[plot] = PlotData(type="plotly", plot=picture.figure) if picture else None
        return found

    def _shown(self, report: LeaderboardReport, language: str) -> Updates:
        pairs = [_all(language), *_pairs(report, language)]
        chosen = report.selection.pair
        return {
            self.lead: leaderboard_view.lead_html(report, language),
            self.table: leaderboard_view.table_html(report, language),
            self.details: leaderboard_view.details_html(report, language),
            self.pair: gr.update(
                choices=pairs, value=pair_key(chosen) if chosen else ALL,
                visible=len(report.met) > 1,
            ),
        }  # fmt: skip


def pair_key(pair: Pair) -> str:
    """A pair as the browser sends it back; only compared, never taken apart."""
    return " | ".join(f"{who.id} {who.served_model}" for who in pair)


def _all(language: str) -> tuple[str, str]:
    return say(language, "board.filter.all"), ALL


def _pairs(report: LeaderboardReport, language: str) -> Choices:
    return [(f"{report.name(a)} – {report.name(b)}", pair_key((a, b))) for a, b in report.met]


def _categories(language: str) -> Choices:
    return [_all(language), *((say(language, f"category.{c}"), c.value) for c in Category)]


def _languages(language: str) -> Choices:
    names = ((leaderboard_words.language_name(language, code), code) for code in LANGUAGES)
    return [_all(language), *names]
