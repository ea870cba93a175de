"""The votes as a file, at the foot of the leaderboard; there only where the owner allows it."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec

import gradio as gr

from arena.dataset.export import ExportReport, ExportShape, FileFormat
from arena.dataset.public import PublicExports
from arena.errors.base import ArenaError
from arena.ui.components import PRIVATE, Updates, choice_of, html
from arena.ui.i18n import say
from arena.ui.leaderboard_words import many
from arena.ui.page_state import PageState
from arena.ui.status_view import error_notice
from arena.ui.translator import Translator


class ExportPart:
    """Two choices, a button that makes the file, and one that saves it."""

    def __init__(self, exports: PublicExports, translator: Translator) -> None:
        self.exports = exports
        self.translator = translator

    def build(self, state: gr.State) -> None:
        """Make the components; call inside the tab's context."""
        make, make_computed = self.translator.make, self.translator.make_computed
        with gr.Column(elem_id="export", elem_classes="card lb-export"):
            make_computed(html, lambda language: {"value": _about(language)})
            with gr.Row(elem_classes="lb-filters"):
                self.shape = make_computed(
                    gr.Dropdown,
                    lambda language: {
                        "choices": _shapes(language),
                        "label": say(language, "board.export.shape"),
                    },
                    value=ExportShape.ARENA.value, filterable=False, elem_id="export-shape",
                )  # fmt: skip
                self.format = make(
                    gr.Dropdown, {"label": "board.export.format"},
                    choices=[f.value for f in formats()],
                    value=FileFormat.JSONL.value, filterable=False, elem_id="export-format",
                )  # fmt: skip
                self.button = make(
                    gr.Button, {"value": "board.export.make"}, size="sm", scale=0,
                    elem_id="export-make",
                )  # fmt: skip
                self.file = make(
                    gr.DownloadButton, {"label": "board.export.save"}, size="sm", scale=0,
                    visible=False, variant="primary", elem_id="export-save",
                )  # fmt: skip
            self.note = html(elem_id="export-note")
        gr.on(
            [self.shape.input, self.format.input], self.on_choice, None, [self.note, self.file],
            **PRIVATE,
        )  # fmt: skip
        self.button.click(
            self.on_make, [state, self.shape, self.format], [self.note, self.file], **PRIVATE
        )

    def on_choice(self) -> Updates:
        """What was made is not what is chosen now."""
        return {self.note: "", self.file: gr.update(value=None, visible=False)}

    async def on_make(self, state: PageState, shape: object, file_format: object) -> Updates:
        """Make the file that was chosen; what no control of the page sends is the default."""
        try:
            made = await self.exports.make(
                choice_of(shape, ExportShape, ExportShape.ARENA),
                choice_of(file_format, formats(), FileFormat.JSONL),
            )
        except ArenaError as error:
            return self.on_choice() | {self.note: error_notice(state.language, error)}
        note = f'<p class="note">{escape(_ready(made.report, state.language))}</p>'
        return {self.note: note, self.file: gr.update(value=made.path, visible=True)}


def formats() -> list[FileFormat]:
    """Those that this installation can write."""
    return [f for f in FileFormat if f is not FileFormat.PARQUET or find_spec("pyarrow")]


def _about(language: str) -> str:
    title, about = say(language, "board.export.title"), say(language, "board.export.about")
    return f'<h2>{escape(title)}</h2><p class="note">{escape(about)}</p>'


def _ready(report: ExportReport, language: str) -> str:
    battles = many(language, "battles", report.battles)
    return many(language, "export_rows", report.rows, battles=battles)


def _shapes(language: str) -> list[tuple[str, str]]:
    return [(say(language, f"board.export.shape.{shape}"), shape.value) for shape in ExportShape]
