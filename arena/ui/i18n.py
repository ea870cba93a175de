"""The page's texts in Japanese and English, from `texts/`.

A language has a file of the page's texts, `xx.toml`, and one of the errors' sentences,
`errors-xx.toml`; the English sentences stand in the error classes.

Gradio's own I18n cannot reach all texts and forgets the choice on reload, so the texts are put in
by the server: one table a language, the same keys in each (a test compares them).
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from arena.errors.base import ArenaError
from arena.errors.reasons import ErrorReason

LANGUAGES = ("ja", "en")
_FOLDER = Path(__file__).parent / "texts"


@cache
def table(language: str) -> dict[str, str]:
    """All texts of one language by key."""
    texts: dict[str, str] = {}
    for path in sorted(_FOLDER.glob(f"*{language}.toml")):
        texts |= tomllib.loads(path.read_text(encoding="utf-8"))
    return texts


def say(language: str, key: str, **values: object) -> str:
    """One text.

    Raises:
        KeyError: there is no such text.
    """
    text = table(language)[key]
    return text.format(**values) if values else text


def say_or(language: str, key: str, default: str) -> str:
    """One text, or the default where the key is free-form and has none."""
    return table(language).get(key, default)


def error_texts(language: str, error: ArenaError) -> tuple[str, str]:
    """Sentence and remedy of an error. The English ones stand in the error's class."""
    if language == "en":
        return error.sentence, error.remedy_text
    texts = table(language)

    def translate(reason: ErrorReason) -> str:
        return texts[f"phrase.{reason.name.lower()}"]

    message, remedy = (texts[f"error.{error.code}.{part}"] for part in ("message", "remedy"))
    return error.fill(message, translate), error.fill(remedy, translate)


def error_line(language: str, error: ArenaError) -> str:
    """Sentence and remedy in one line."""
    return in_line(language, *error_texts(language, error))


def in_line(language: str, *sentences: str) -> str:
    """Sentences one after the other, empty ones left out; Japanese has no space between them."""
    return say(language, "sentence.gap").join(sentence for sentence in sentences if sentence)


def choose_language(setting: str, wanted: str, accepted: str) -> str:
    """The page's language: the visitor's choice, else the owner's setting, else the browser's.

    Args:
        setting: ARENA_LANGUAGE; `auto` leaves it to the visitor.
        wanted: what the visitor chose before, or empty.
        accepted: the browser's first language tag, e.g. `en-GB`.
    """
    if wanted in LANGUAGES:
        return wanted
    if setting in LANGUAGES:
        return setting
    return "ja" if not accepted or accepted.lower().startswith("ja") else "en"
