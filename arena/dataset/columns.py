"""The columns of each shape of an export: their names, kinds and meanings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Shape(StrEnum):
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


class Kind(StrEnum):
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
    kind: Kind
    meaning: str


def _columns(*given: tuple[str, Kind, str]) -> tuple[Column, ...]:
    return tuple(Column(*one) for one in given)


_MODELS: Final = (
    ("model_a", Kind.TEXT, "id of the contestant on the left"),
    ("model_b", Kind.TEXT, "id of the contestant on the right; null in single mode"),
    ("winner", Kind.TEXT, "model_a, model_b, tie or both_bad; null without a vote"),
)
_LEARNED: Final = (
    ("id", Kind.TEXT, "the battle"),
    ("language", Kind.TEXT, "of the prompt: ja, en or other"),
    ("category", Kind.TEXT, "kind of task"),
    ("mode", Kind.TEXT, "blind, or open where the names were in sight"),
    ("turns", Kind.INT, "turns of the battle; see above for which one the row is of"),
    ("winner", Kind.TEXT, "the vote"),
)

COLUMNS: Final[Mapping[Shape, tuple[Column, ...]]] = MappingProxyType(
    {
        Shape.ARENA: _columns(
            ("id", Kind.TEXT, "the battle; 32 hexadecimal digits"),
            *_MODELS,
            ("conversation_a", Kind.MESSAGES, "roles and contents"),
            ("conversation_b", Kind.MESSAGES, "the same of the other side"),
            ("category_tag", Kind.TEXT, "kind of task"),
            ("language", Kind.TEXT, "of the prompt: ja, en or other"),
            ("timestamp", Kind.TIME, "when the battle began"),
            ("voter", Kind.TEXT, "hash of the visitor, new in every export"),
            ("voted_at", Kind.TIME, "when the vote was cast"),
            ("signed_in", Kind.BOOL, "the voter had proved who they are"),
            ("excluded", Kind.TEXT, "the owner's reason why the vote does not count, or null"),
            ("excluded_at", Kind.TIME, "when the owner decided so"),
            ("reasons", Kind.TEXTS, "the voter's tags"),
            ("comment", Kind.TEXT, "the voter's words"),
            ("guess", Kind.TEXT, "whom the voter took for side a"),
            ("grade_a", Kind.TEXT, "good, ok or bad: the answer by itself"),
            ("grade_b", Kind.TEXT, "the same of the other side"),
            ("source", Kind.TEXT, "where an imported row came from; empty if it is of this arena"),
            ("answered_at", Kind.TIME, "when both answers were complete"),
            ("mode", Kind.TEXT, "blind, open or single"),
            ("ui_language", Kind.TEXT, "of the page"),
            ("preset", Kind.JSON, "the example that was taken, and whether it was edited"),
            ("params", Kind.JSON, "the generation parameters that were asked for"),
            ("system_prompt", Kind.TEXT, "the visitor's own"),
            ("flags", Kind.TEXTS, "what a reader of the statistics must know"),
            ("provenance", Kind.JSON, "versions of libraries, facts of each side"),
            ("spec_a", Kind.JSON, "the contestant on the left"),
            ("turns_a", Kind.JSON, "how each turn went; failed attempts"),
            ("spec_b", Kind.JSON, "the contestant on the right"),
            ("turns_b", Kind.JSON, "the same of the other side"),
        ),
        Shape.LMARENA: _columns(
            ("id", Kind.TEXT, "the battle"),
            *_MODELS,
            ("evaluation_session_id", Kind.TEXT, "hash of the visitor, new in every export"),
            ("evaluation_order", Kind.INT, "the visitor's first vote in the export is 1"),
            ("conversation_a", Kind.PARTS, "roles and contents, a content being a list of parts"),
            ("conversation_b", Kind.PARTS, "the same of the other side"),
            ("full_conversation", Kind.TURNS, "both sides, turn by turn"),
            ("conv_metadata", Kind.METADATA, "counts for style control; null where not known"),
            ("category_tag", Kind.TAGS, "math is known; the other tags are null"),
            ("is_code", Kind.BOOL, "a coding task, or a block of code in an answer"),
            ("language", Kind.TEXT, "of the prompt: ja, en or und"),
            ("timestamp", Kind.TIME, "when the vote was cast"),
        ),
        Shape.DPO: _columns(
            ("prompt", Kind.MESSAGES, "what both models were asked"),
            ("chosen", Kind.MESSAGES, "the better answer"),
            ("rejected", Kind.MESSAGES, "the other one"),
            ("model_chosen", Kind.TEXT, "who wrote the better answer"),
            ("model_rejected", Kind.TEXT, "who wrote the other one"),
            *_LEARNED,
        ),
        Shape.KTO: _columns(
            ("prompt", Kind.MESSAGES, "what the model was asked"),
            ("completion", Kind.MESSAGES, "what it answered"),
            ("label", Kind.BOOL, "whether the answer is a good one"),
            ("basis", Kind.TEXT, "what the label is from: grade or vote"),
            ("model", Kind.TEXT, "who answered"),
            *_LEARNED,
        ),
    }
)
