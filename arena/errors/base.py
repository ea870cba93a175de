"""The base of all errors, and those that stop a start."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from arena.errors.reasons import ErrorReason


class ArenaError(Exception):
    """Base of all typed errors.

    Args:
        detail: technical words for the log; never shown in blind mode.
        values: what fills the braces of `message` and `remedy`; an `ErrorReason` among them is
            filled from the others, and translated.
    """

    code: ClassVar[str] = "arena"
    message: ClassVar[str] = "Something went wrong."
    remedy: ClassVar[str] = "Try again; the log has the details."

    def __init__(self, detail: str = "", **values: object) -> None:
        self.detail = detail
        self.values: dict[str, object] = values
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """The English sentence for people."""
        return self.fill(self.message, str)

    @property
    def remedy_text(self) -> str:
        """What to do about it, in English."""
        return self.fill(self.remedy, str)

    def fill(self, text: str, translate: Callable[[ErrorReason], str]) -> str:
        """A text with its braces filled from the values; phrases among them are translated."""
        plain = {
            name: translate(value).format(**self.values)
            if isinstance(value, ErrorReason)
            else value
            for name, value in self.values.items()
        }
        return text.format(**plain)


class SettingsError(ArenaError):
    """A variable has a value that is not allowed."""

    code = "settings"
    message = "{variable}={value} is not allowed: {allowed}."
    remedy = "Set it like this: {variable}={example}"


class PresetError(ArenaError):
    """A preset file is not right; the start stops."""

    code = "preset"
    message = "{file}, line {line}: {problem}."
    remedy = "Mend that line, or remove the file."


class RegistryError(ArenaError):
    """An entry of ARENA_MODELS is not right; the start stops."""

    code = "registry"
    message = "{file}, [{entry}]: {problem}."
    remedy = "Mend that entry; docs/engines.md shows one of each kind."


def all_error_types() -> tuple[type[ArenaError], ...]:
    """Every class of the tree, the base first, parents before children."""
    found: list[type[ArenaError]] = [ArenaError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(found)
