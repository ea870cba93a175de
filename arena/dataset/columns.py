"""The columns of each shape of an export: their names, kinds and meanings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class ExportShape(StrEnum):
    """What an export is for."""

    ARENA = "arena"
    LMARENA = "lmarena-140k"
    DPO = "dpo"
    KTO = "kto"


class FileFormat(StrEnum):
    """How an export is written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class ColumnKind(StrEnum):
    """What a column holds. JSON Lines nests; CSV has JSON text for all that is not a plain value.

    Parquet has types for all but `json`, whose fields differ from row to row: it is JSON text too.
    """

    TEXT = "text"
    BOOL = "bool"
    INT = "int"
    TIME = "time"
    TEXTS = "texts"
    MESSAGES = "messages"
    JSON = "json"
    PARTS = "parts"
    TURNS = "turns"
    METADATA = "metadata"
    TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Column:
    """One column and what it says."""

    name: str
    kind: ColumnKind
    meaning: str


def _columns(*given: tuple[str, ColumnKind, str]) -> tuple[Column, ...]:
    return tuple(Column(*one) for one in given)


_MODELS: Final = (
    ("model_a", ColumnKind.TEXT, "id of the contestant on the left"),
    ("model_b", ColumnKind.TEXT, "id of the contestant on the right; null in single mode"),
    ("winner", ColumnKind.TEXT, "model_a, model_b, tie or both_bad; null without a vote"),
)
_LEARNED: Final = (
    ("id", ColumnKind.TEXT, "the battle"),
    ("language", ColumnKind.TEXT, "of the prompt: ja, en or other"),
    ("category", ColumnKind.TEXT, "kind of task"),
    ("mode", ColumnKind.TEXT, "blind, or open where the names were in sight"),
    ("turns", ColumnKind.INT, "turns of the battle; see above for which one the row is of"),
    ("winner", ColumnKind.TEXT, "the vote"),
)

COLUMNS: Final[Mapping[ExportShape, tuple[Column, ...]]] = MappingProxyType(
    {
        ExportShape.ARENA: _columns(
            ("id", ColumnKind.TEXT, "the battle; 32 hexadecimal digits"),
            *_MODELS,
            ("conversation_a", ColumnKind.MESSAGES, "roles and contents"),
            ("conversation_b", ColumnKind.MESSAGES, "the same of the other side"),
            ("category_tag", ColumnKind.TEXT, "kind of task"),
            ("language", ColumnKind.TEXT, "of the prompt: ja, en or other"),
            ("timestamp", ColumnKind.TIME, "when the battle began"),
            ("voter", ColumnKind.TEXT, "hash of the visitor, new in every export"),
            ("voted_at", ColumnKind.TIME, "when the vote was cast"),
            ("signed_in", ColumnKind.BOOL, "the voter had proved who they are"),
            (
                "excluded",
                ColumnKind.TEXT,
                "the owner's reason why the vote does not count, or null",
            ),
            ("excluded_at", ColumnKind.TIME, "when the owner decided so"),
            ("reasons", ColumnKind.TEXTS, "the voter's tags"),
            ("comment", ColumnKind.TEXT, "the voter's words"),
            ("guess", ColumnKind.TEXT, "whom the voter took for side a"),
            ("grade_a", ColumnKind.TEXT, "good, ok or bad: the answer by itself"),
            ("grade_b", ColumnKind.TEXT, "the same of the other side"),
            (
                "source",
                ColumnKind.TEXT,
                "where an imported row came from; empty if it is of this arena",
            ),
            ("answered_at", ColumnKind.TIME, "when both answers were complete"),
            ("mode", ColumnKind.TEXT, "blind, open or single"),
            ("ui_language", ColumnKind.TEXT, "of the page"),
            ("preset", ColumnKind.JSON, "the example that was taken, and whether it was edited"),
            ("params", ColumnKind.JSON, "the generation parameters that were asked for"),
            ("system_prompt", ColumnKind.TEXT, "the visitor's own"),
            ("flags", ColumnKind.TEXTS, "what a reader of the statistics must know"),
            ("provenance", ColumnKind.JSON, "versions of libraries, facts of each side"),
            ("spec_a", ColumnKind.JSON, "the contestant on the left"),
            ("turns_a", ColumnKind.JSON, "how each turn went; failed attempts"),
            ("spec_b", ColumnKind.JSON, "the contestant on the right"),
            ("turns_b", ColumnKind.JSON, "the same of the other side"),
        ),
        ExportShape.LMARENA: _columns(
            ("id", ColumnKind.TEXT, "the battle"),
            *_MODELS,
            ("evaluation_session_id", ColumnKind.TEXT, "hash of the visitor, new in every export"),
            ("evaluation_order", ColumnKind.INT, "the visitor's first vote in the export is 1"),
            (
                "conversation_a",
                ColumnKind.PARTS,
                "roles and contents, a content being a list of parts",
            ),
            ("conversation_b", ColumnKind.PARTS, "the same of the other side"),
            ("full_conversation", ColumnKind.TURNS, "both sides, turn by turn"),
            (
                "conv_metadata",
                ColumnKind.METADATA,
                "counts for style control; null where not known",
            ),
            ("category_tag", ColumnKind.TAGS, "math is known; the other tags are null"),
            ("is_code", ColumnKind.BOOL, "a coding task, or a block of code in an answer"),
            ("language", ColumnKind.TEXT, "of the prompt: ja, en or und"),
            ("timestamp", ColumnKind.TIME, "when the vote was cast"),
        ),
        ExportShape.DPO: _columns(
            ("prompt", ColumnKind.MESSAGES, "what both models were asked"),
            ("chosen", ColumnKind.MESSAGES, "the better answer"),
            ("rejected", ColumnKind.MESSAGES, "the other one"),
            ("model_chosen", ColumnKind.TEXT, "who wrote the better answer"),
            ("model_rejected", ColumnKind.TEXT, "who wrote the other one"),
            *_LEARNED,
        ),
        ExportShape.KTO: _columns(
            ("prompt", ColumnKind.MESSAGES, "what the model was asked"),
            ("completion", ColumnKind.MESSAGES, "what it answered"),
            ("label", ColumnKind.BOOL, "whether the answer is a good one"),
            ("basis", ColumnKind.TEXT, "what the label is from: grade or vote"),
            ("model", ColumnKind.TEXT, "who answered"),
            *_LEARNED,
        ),
    }
)
