"""The base of all errors, and those that stop a start.

    ArenaError
    ├── UnexpectedFailure        a fault of the arena's own
    ├── InvalidCall              a function of the API, or a listener, got what it can't take
    ├── SettingsError            a variable has a value that is not allowed
    ├── StartError               the machine or `.env` is not right: see arena/errors/start.py
    ├── PresetError              a file in prompts/ is not right
    ├── RegistryError            ARENA_MODELS is not right
    ├── ModelError               a model cannot answer
    │   ├── ModelUnavailable     it is not loaded, or its weights can't be had
    │   ├── UnsupportedModel     this kind of file would load wrongly
    │   ├── OutOfMemory          the device's memory is full, at load or while generating
    │   ├── EngineCrashed        the generation thread died
    │   ├── NotFinite            the model's scores are no finite numbers
    │   ├── QuotaSpent           a shared GPU gives this visitor no more time
    │   ├── ContextTooLong       prompt and answer do not fit the model's context
    │   ├── CacheTooSmall        prompt and answer do not fit the engine's cache
    │   ├── KeyMissing, KeyRejected, NoFreeQuota, RateLimited, ModelGone, Overloaded,
    │   ├── NetworkFailed, StreamBroken, RequestRefused, ContentBlocked, BadReply
    │   ├── EmptyAnswer, OnlyThoughts   it ended well and wrote no text
    │   ├── EngineUnreachable    nothing answers at the address of an engine (a NetworkFailed)
    │   ├── DailyRequestsSpent   the owner's cap for today is reached
    │   ├── BudgetSpent          the owner's money for today is spent
    │   └── PriceUnknown         a budget is set, but not what the model costs
    ├── BattleError              the battle does not allow that now
    │   ├── NoContestants, UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted,
    │   └── BattleLocked, NothingToRetry, BattleRunning, NothingToUndo, UndoTooLate
    ├── LimitError               a cap protects the owner
    │   └── EmptyPrompt, PromptTooLong, TooManyTokens, TooManyTurns, ArenaBusy,
    │       RateExceeded, DayUsedUp, OneAtATime, ErasureTooOften
    └── StoreError               the database did not take it, or does not give it back
        ├── StoreNotOpened       it can't be opened at a start
        ├── StoreTooNew          a newer arena wrote it
        ├── StoreMissing         there is no store that could be moved
        ├── StoreNotEmpty        there are battles where a store should be moved to
        ├── DriverMissing        the package that speaks to this database is not installed
        ├── BackupFailed         the copy on the Hub could not be read or written
        ├── CopyDiffers          a moved store is not the same as the old one
        ├── BadVote              a vote has a value that is unknown
        ├── BadGuess             a voter's guess names neither contestant
        ├── PackageMissing       the package that reads and writes a format is not installed
        ├── ExportNeedsFile      that format can't be written to a stream
        ├── ExportOff, ExportBusy, ExportTooLarge   visitors can't have the votes now
        └── NotImportable        a file is not one that can be imported
            └── BadRow           a row of it is wrong

Every class has a `code` (stable, stored, the key of its translations), a sentence for people and
a remedy: the variable to set or the thing to do. `detail` is for the log alone: it may hold a
provider's own words, so it must never be shown in blind mode.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import ClassVar

from arena.errors.reasons import ErrorReason


class ArenaError(Exception):
    """Base of all typed errors.

    Args:
        detail: technical words for the log; never shown in blind mode.
        values: what fills the braces of `message` and `remedy`; an `ErrorReason` among them is
            filled from the others, and translated. The one named `why` brings its remedy along.
    """

    code: ClassVar[str] = "arena"
    message: ClassVar[str] = "Something went wrong."
    remedy: ClassVar[str] = "Try again; the log has the details."

    def __init__(self, detail: str = "", **values: object) -> None:
        self.detail = detail
        why = values.get("why")
        if isinstance(why, ErrorReason) and why.remedy is not None:
            values.setdefault("remedy", why.remedy)
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
        """A text with its braces filled from the values; reasons among them are translated."""
        plain = {
            name: translate(value).format(**self.values)
            if isinstance(value, ErrorReason)
            else value
            for name, value in self.values.items()
        }
        return text.format(**plain)


class UnexpectedFailure(ArenaError):
    """A fault of the arena's own, which the log describes under the id."""

    code = "unexpected"
    message = "Something went wrong here (error {id})."
    remedy = "Try again; if it stays, tell whoever runs the arena this id."


class InvalidCall(ArenaError):
    """A call from outside, with arguments that are none of the function's."""

    code = "invalid_call"
    message = "These are not the arguments that this function takes."
    remedy = "docs/api.md shows how it is called."


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


def without_values(error: BaseException) -> str:
    """A fault for the log: its kind and place. Its message may quote what a visitor sent."""
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    places = [f"{frame.name}, {frame.filename}:{frame.lineno}" for frame in frames]
    return " in ".join([type(error).__name__, *places])
