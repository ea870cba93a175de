"""Reads `prompts/`: one TOML file per preset and language, checked when the app starts.

A mistake in a file stops the start with the file's name and the line.
"""

from __future__ import annotations

import random
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass
from dataclasses import fields as fields_of
from pathlib import Path

from arena.domain import Category, PresetUse, clean
from arena.errors.base import PresetError

LANGUAGES = ("ja", "en")
CATEGORIES = (Category.REASONING, Category.MATH, Category.CODING)
LEVELS = (1, 2, 3)
# Widths of the longest title that still fits a chip; a full-width character takes two in Japanese.
TITLE_WIDTHS = {"ja": 20, "en": 22}
TITLE_LIMITS = {"ja": "at most 10 full-width characters", "en": "at most 22 characters"}

_TYPE_NAMES = {str: "text in quotes", int: "a whole number"}
_SLUG = re.compile(r"[a-z0-9-]+")
_TOML_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_TOML_END = " (at end of document)"


@dataclass(frozen=True, slots=True)
class Preset:
    """A prompt that the page offers, in one language.

    Attributes:
        id: stem of the file's name.
        task: what the versions in different languages share.
        language: `ja` or `en`.
        level: 1 easy, 2 middle, 3 hard.
        order: place within the category.
        title: short enough for a chip.
        text: the prompt, without blank lines or spaces around it.
        judge: what to look for when judging the answers.
        reference: an answer that is known to be right; None if there is none.
        note: where the prompt comes from; None if there is nothing to say.
    """

    id: str
    task: str
    category: Category
    language: str
    level: int
    order: int
    title: str
    text: str
    judge: str
    reference: str | None = None
    note: str | None = None


# The type of each field in a file, where a category is text.
_FIELDS: dict[str, type] = {f.name: int if f.type == "int" else str for f in fields_of(Preset)}
_REQUIRED = tuple(f.name for f in fields_of(Preset) if f.default is MISSING)


@dataclass(frozen=True, slots=True)
class _File:
    """One file's name and text; finds the line of a field."""

    name: str
    source: str

    def wrong(self, field: str, problem: str) -> PresetError:
        """The error that points at a field."""
        return PresetError(file=self.name, line=self._line_of(field), problem=problem)

    def fields(self) -> dict[str, object]:
        """What the file says.

        Raises:
            PresetError: it is not TOML.
        """
        try:
            return tomllib.loads(self.source)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            found = _TOML_LINE.search(message)
            # At the end of the document tomllib names no line: what was not closed began here.
            line = int(found.group(1)) if found else self._unfinished()
            problem = _TOML_LINE.sub("", message).removesuffix(_TOML_END)
            raise PresetError(file=self.name, line=line, problem=problem) from error

    def _statements(self) -> Iterator[tuple[int, int, dict[str, object]]]:
        """First and last line of each statement, and all fields up to there.

        Lines are added until they parse, so `level = 3` inside a prompt is never taken for a field.
        """
        first = 1
        lines = self.source.split("\n")
        for last in range(1, len(lines) + 1):
            try:
                fields = tomllib.loads("\n".join(lines[:last]))
            except tomllib.TOMLDecodeError:
                continue
            yield first, last, fields
            first = last + 1

    def _line_of(self, field: str) -> int:
        return next((first for first, _, fields in self._statements() if field in fields), 1)

    def _unfinished(self) -> int:
        return max((last for _, last, _ in self._statements()), default=0) + 1


def load_presets(folder: Path) -> tuple[Preset, ...]:
    """All presets of a folder, by category, then order, then language, Japanese first.

    Raises:
        PresetError: a file is not right, or there is none; says which file, which line, and why.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise PresetError(file=str(folder), line=1, problem="there is no preset in this folder")
    ids = {path.stem for path in paths}
    loaded = []
    for path in paths:
        file = _read(path)
        loaded.append((file, _parse(file, path.stem, ids)))
    _check_twins(loaded)
    return tuple(sorted((preset for _, preset in loaded), key=_sort_key))


def pick(
    presets: Sequence[Preset], language: str, rng: random.Random, seen: Sequence[str] = ()
) -> Preset:
    """The dice: any preset that was not seen, or the one that was seen the longest ago.

    Args:
        presets: all of them.
        language: only its presets are given, or all if it has none.
        rng: draws among those that were not seen.
        seen: ids, the longest ago first; where one stands twice, its last place counts.

    Raises:
        IndexError: there are no presets.
    """
    offered = [p for p in presets if p.language == language] or list(presets)
    last_seen = {preset_id: place for place, preset_id in enumerate(seen)}
    new = [preset for preset in offered if preset.id not in last_seen]
    if new or not offered:
        return rng.choice(new)
    return min(offered, key=lambda preset: last_seen[preset.id])


def preset_use(preset: Preset, text: str) -> PresetUse:
    """How the visitor used a preset. White space around it and kinds of line ends are no edit."""
    return PresetUse(preset.id, edited=_normalised(text) != _normalised(preset.text))


def _normalised(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _sort_key(preset: Preset) -> tuple[int, int, int, str]:
    category = list(Category).index(preset.category)
    return category, preset.order, LANGUAGES.index(preset.language), preset.id


def _read(path: Path) -> _File:
    data = path.read_bytes()
    try:
        # A byte order mark is what some Windows editors write; it is no mistake of the preset's.
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PresetError(file=path.name, line=line, problem="this is not UTF-8") from error
    return _File(path.name, source.replace("\r\n", "\n"))


def _parse(file: _File, stem: str, ids: set[str]) -> Preset:
    fields = file.fields()
    _check_shape(file, fields)
    values = {name: clean(v).strip() if isinstance(v, str) else v for name, v in fields.items()}
    _check_values(file, values, stem, ids)
    values["category"] = Category(str(values["category"]))
    # _check_shape has compared every name and type with the class's own.
    return Preset(**values)  # type: ignore[arg-type]


def _check_shape(file: _File, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        if name not in _FIELDS:
            raise file.wrong(name, f"{name} is no field of a preset; there are {_list(_FIELDS)}")
        # Not isinstance: `level = true` would pass for a number.
        if type(value) is not _FIELDS[name]:
            raise file.wrong(name, f"{name} must be {_TYPE_NAMES[_FIELDS[name]]}")
    for name in _REQUIRED:
        if name not in fields:
            raise file.wrong(name, f"the field {name} is missing")


def _check_values(file: _File, values: dict[str, object], stem: str, ids: set[str]) -> None:
    for name, value in values.items():
        if value == "":
            raise file.wrong(name, f"{name} is empty")
    for name in ("id", "task"):
        if not _SLUG.fullmatch(str(values[name])):
            raise file.wrong(name, f"{name} may hold only a-z, 0-9 and -")
    if values["id"] != stem:
        # Most often a copied file: then say so, since the id is that of the original.
        used = f"; {values['id']} is the id of {values['id']}.toml" if values["id"] in ids else ""
        raise file.wrong("id", f"id must be the file's name, {stem}{used}")
    for name, allowed in (("category", CATEGORIES), ("language", LANGUAGES), ("level", LEVELS)):
        if values[name] not in allowed:
            raise file.wrong(name, f"{name} must be one of {_list(allowed)}")
    title, language = str(values["title"]), str(values["language"])
    if _width(title, language) > TITLE_WIDTHS[language]:
        raise file.wrong("title", f"title is too long: {TITLE_LIMITS[language]}")


def _check_twins(loaded: Sequence[tuple[_File, Preset]]) -> None:
    first_of: dict[str, Preset] = {}
    seen: dict[tuple[str, str], Preset] = {}
    for file, preset in loaded:
        other = seen.setdefault((preset.task, preset.language), preset)
        if other is not preset:
            problem = f"{other.id}.toml has the task {preset.task} in {preset.language} already"
            raise file.wrong("task", problem)
        first = first_of.setdefault(preset.task, preset)
        for name in ("category", "level", "order"):
            wanted = getattr(first, name)
            if getattr(preset, name) != wanted:
                raise file.wrong(name, f"{name} must be {wanted}, as in {first.id}.toml")


def _width(title: str, language: str) -> int:
    if language == "en":
        return len(title)
    return sum(2 if unicodedata.east_asian_width(c) in "WFA" else 1 for c in title)


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
