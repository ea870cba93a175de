"""Everything that can go wrong and that a person should hear of.

    ArenaError
    ├── SettingsError            a variable has a value that is not allowed
    ├── PresetError              a file in prompts/ is not right
    ├── RegistryError            ARENA_MODELS is not right
    ├── ModelError               a model cannot answer
    │   ├── ModelUnavailable     it is not loaded, or its weights can't be had
    │   ├── UnsupportedModel     this kind of file would load wrongly
    │   ├── OutOfMemory          the device's memory is full, at load or while generating
    │   ├── EngineCrashed        the generation thread died
    │   ├── QuotaSpent           a shared GPU gives this visitor no more time
    │   ├── ContextTooLong       prompt and answer do not fit the model's context
    │   ├── CacheTooSmall        prompt and answer do not fit the engine's cache
    │   ├── KeyMissing, KeyRejected, NoFreeQuota, RateLimited, ModelGone, Overloaded,
    │   ├── NetworkFailed, StreamBroken, RequestRefused, ContentBlocked, BadReply
    │   ├── EngineUnreachable    nothing answers at the address of an engine (a NetworkFailed)
    │   ├── DailyRequestsSpent   the owner's cap for today is reached
    │   ├── BudgetSpent          the owner's money for today is spent
    │   └── PriceUnknown         a budget is set, but not what the model costs
    ├── BattleError              the battle does not allow that now
    │   ├── NoContestants, UnknownBattle, NotYourBattle, VoteTooEarly, AlreadyVoted,
    │   └── BattleLocked, NothingToRetry, BattleRunning
    ├── LimitError               a cap protects the owner
    │   └── EmptyPrompt, PromptTooLong, TooManyTokens, TooManyTurns, ArenaBusy,
    │       TooFast, DayUsedUp, OneAtATime
    └── StoreError               the database did not take it, or does not give it back
        ├── StoreTooNew          a newer arena wrote it
        ├── StoreMissing         there is no store that could be moved
        ├── StoreNotEmpty        there are battles where a store should be moved to
        ├── DriverMissing        the package that speaks to this database is not installed
        ├── BackupFailed         the copy on the Hub could not be read or written
        ├── CopyDiffers          a moved store is not the same as the old one
        ├── BadBallot            a vote has a value that is unknown
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

from collections.abc import Callable
from typing import ClassVar

from arena.phrases import Phrase


class ArenaError(Exception):
    """Base of all typed errors.

    Args:
        detail: technical words for the log; never shown in blind mode.
        values: what fills the braces of `message` and `remedy`; a `Phrase` among them is filled
            from the others, and translated.
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

    def fill(self, text: str, translate: Callable[[Phrase], str]) -> str:
        """A text with its braces filled from the values; phrases among them are translated."""
        plain = {
            name: translate(value).format(**self.values) if isinstance(value, Phrase) else value
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
    remedy = "Mend that entry; README.md shows one of each kind."


class ModelError(ArenaError):
    """A model cannot answer."""

    code = "model"
    message = "The model cannot answer."
    remedy = "Try again, or choose another model."


class ModelUnavailable(ModelError):
    """The model is not loaded, or its weights can't be had."""

    code = "model_unavailable"
    message = "{label} is not available: {why}."
    remedy = "{remedy}"


class UnsupportedModel(ModelError):
    """This kind of file would load wrongly."""

    code = "unsupported_model"
    message = "{source} cannot be loaded correctly: {why}."
    remedy = "{remedy}"


class OutOfMemory(ModelError):
    """The device's memory is full."""

    code = "out_of_memory"
    message = "There is not enough memory: {need} needed, {free} free."
    remedy = "{remedy}"


class EngineCrashed(ModelError):
    """The generation thread died; its running answers failed."""

    code = "engine_crashed"
    message = "The local model's engine stopped unexpectedly."
    remedy = "Try again: the engine is being restarted. The log has the reason."


class QuotaSpent(ModelError):
    """A shared GPU gives this visitor no more time: it is their own share, not the owner's."""

    code = "quota_spent"
    message = "The shared GPU has no more time for you at the moment."
    remedy = "{remedy}"


class ContextTooLong(ModelError):
    """Prompt and answer do not fit the model's context."""

    code = "context_too_long"
    message = (
        "The conversation has {prompt_tokens} tokens and the answer may take {max_new_tokens}; "
        "together they pass the model's context of {context_tokens}."
    )
    remedy = "Shorten the prompt, start a new battle, or lower the maximum of tokens."


class CacheTooSmall(ModelError):
    """Prompt and answer do not fit the engine's cache."""

    code = "cache_too_small"
    message = (
        "The request needs room for {needed_tokens} tokens; the engine's cache holds "
        "{cache_tokens}."
    )
    remedy = "Shorten the prompt or lower the maximum of tokens; more memory gives a larger cache."


class KeyMissing(ModelError):
    """No key is configured for the provider."""

    code = "key_missing"
    message = "{label} is not configured."
    remedy = "Set {variable} and start again."


class KeyRejected(ModelError):
    """The provider does not accept the key."""

    code = "key_rejected"
    message = "The provider does not accept the key."
    remedy = "Set a valid key in {variable} and start again."


class NoFreeQuota(ModelError):
    """The key has no quota at all for this model (`limit: 0`): waiting does not help."""

    code = "no_free_quota"
    message = "The key has no free quota for {model}."
    remedy = "Turn billing on for the key, or set {variable}={suggestion}"


class RateLimited(ModelError):
    """Too many requests for the moment."""

    code = "rate_limited"
    message = "The provider's rate limit is reached."
    remedy = "Wait {wait} and try again."


class ModelGone(ModelError):
    """The provider does not know the model, or closed it to this key."""

    code = "model_gone"
    message = "The provider has no model {model} for this key."
    remedy = "Set {variable} to one of: {available}"


class Overloaded(ModelError):
    """The provider is overloaded or failed inside."""

    code = "overloaded"
    message = "The provider is overloaded."
    remedy = "Try again in a minute."


class NetworkFailed(ModelError):
    """The provider could not be reached, or was silent too long."""

    code = "network"
    message = "The provider could not be reached."
    remedy = "Check the network of the machine that runs the arena, then try again."


class EngineUnreachable(NetworkFailed):
    """Nothing that speaks the API answers at the address of an engine that the owner declared."""

    code = "engine_unreachable"
    message = "No engine answers at {address}."
    remedy = "Start the engine at {address}, or correct {setting}."


class StreamBroken(ModelError):
    """The stream ended in its middle."""

    code = "stream_broken"
    message = "The answer broke off in its middle."
    remedy = "Try again."


class RequestRefused(ModelError):
    """The provider calls the request itself wrong."""

    code = "request_refused"
    message = "The provider refused the request."
    remedy = "Change the prompt or the settings; the log has the provider's reason."


class ContentBlocked(ModelError):
    """The provider's safety rules blocked the prompt or the answer."""

    code = "content_blocked"
    message = "The provider blocked the prompt or the answer."
    remedy = "Put the prompt in other words."


class BadReply(ModelError):
    """The provider's reply has a form that nobody documented."""

    code = "bad_reply"
    message = "The provider's reply could not be understood."
    remedy = "Try again; if it stays, update the arena's packages. The log says what came."


class DailyRequestsSpent(ModelError):
    """The owner's cap of requests for today is reached."""

    code = "daily_requests"
    message = "Today's {limit} requests to {label} are used up."
    remedy = "They start again at {until}; {variable} sets the number."


class BudgetSpent(ModelError):
    """The owner's money for today is spent."""

    code = "budget_spent"
    message = "Today's budget of ${limit} for {label} is spent."
    remedy = "It starts again at {until}; {variable} sets the amount."


class PriceUnknown(ModelError):
    """A budget cannot be kept for a model whose price nobody knows."""

    code = "price_unknown"
    message = "A daily budget is set, but the price of {model} is not known."
    remedy = "Set {variable_in} and {variable_out}, in US dollars for a million tokens."


class BattleError(ArenaError):
    """The battle does not allow that now."""

    code = "battle"
    message = "The battle does not allow that now."
    remedy = "Start a new battle."


class NoContestants(BattleError):
    """Not enough models are ready for this mode."""

    code = "no_contestants"
    message = "No model is ready to answer."
    remedy = "Look at the models' states above; each says what to do."


class UnknownBattle(BattleError):
    """There is no such battle."""

    code = "unknown_battle"
    message = "This battle is not known."


class NotYourBattle(BattleError):
    """The visitor is not the one who started the battle."""

    code = "not_your_battle"
    message = "Only the person who started a battle can vote on it."


class VoteTooEarly(BattleError):
    """A side has not finished, or failed."""

    code = "vote_too_early"
    message = "Voting opens when both answers are complete."
    remedy = "Wait for both answers, or retry the one that failed."


class AlreadyVoted(BattleError):
    """There is a vote on this battle already."""

    code = "already_voted"
    message = "This battle has its vote already; the first one counts."


class BattleLocked(BattleError):
    """The names are known, so the conversation cannot go on."""

    code = "battle_locked"
    message = "The names are revealed, so this conversation is closed."


class NothingToRetry(BattleError):
    """That side did not fail."""

    code = "nothing_to_retry"
    message = "This side has not failed."
    remedy = "Only a failed answer can be asked for again."


class BattleRunning(BattleError):
    """An answer is still being written."""

    code = "battle_running"
    message = "An answer is still being written."
    remedy = "Wait for it, or stop it."


class LimitError(ArenaError):
    """A cap protects the owner."""

    code = "limit"
    message = "That is more than this arena allows."
    remedy = "Try with less."


class EmptyPrompt(LimitError):
    """There is no text to send."""

    code = "empty_prompt"
    message = "There is no question yet."
    remedy = "Write one, or take an example."


class PromptTooLong(LimitError):
    """The prompt has more characters than the owner allows."""

    code = "prompt_too_long"
    message = "The prompt has {length} characters; at most {limit} are allowed."
    remedy = "Shorten it."


class TooManyTokens(LimitError):
    """The prompt and what was said before it are longer than the owner allows."""

    code = "too_many_tokens"
    message = "The conversation has about {tokens} tokens; at most {limit} are allowed."
    remedy = "Shorten the prompt, or start a new battle."


class TooManyTurns(LimitError):
    """The conversation has reached its last turn."""

    code = "too_many_turns"
    message = "A conversation has at most {limit} turns."
    remedy = "Vote, or start a new battle."


class ArenaBusy(LimitError):
    """As many battles are running as the owner allows at once."""

    code = "arena_busy"
    message = "{limit} battles are running, and {waiting} visitors wait already."
    remedy = "Try again in a minute."


class TooFast(LimitError):
    """A visitor begins more battles in a minute than the owner allows."""

    code = "too_fast"
    message = "At most {limit} battles a minute are allowed."
    remedy = "Try again in {wait}."


class DayUsedUp(LimitError):
    """A visitor has had as many battles today as the owner allows."""

    code = "day_used_up"
    message = "Today's {limit} battles are used up."
    remedy = "Come back in {wait}, at {until}."


class OneAtATime(LimitError):
    """A visitor has as many battles running as the owner allows."""

    code = "one_at_a_time"
    message = "{limit} of your battles are still running."
    remedy = "Wait until one is finished, or stop it."


class StoreError(ArenaError):
    """The database did not take it, or does not give it back."""

    code = "store"
    message = "The record could not be saved or read."
    remedy = "Try again; if it stays, check that {place} is whole and can be written."


class StoreTooNew(StoreError):
    """A newer arena wrote the database; writing into it could lose what only that one knows."""

    code = "store_too_new"
    message = "A newer version of the arena wrote {place}."
    remedy = "Get the newer version, or set ARENA_DATABASE_URL to another file."


class StoreMissing(StoreError):
    """There is no store that could be moved; a mistyped path must not look like an empty one."""

    code = "store_missing"
    message = "There is no store at {place}."
    remedy = "Check the address of the store to move."


class StoreNotEmpty(StoreError):
    """There are battles where another store should be moved to; two stores are never mixed."""

    code = "store_not_empty"
    message = "{place} holds battles already."
    remedy = "Name an empty database to move to."


class DriverMissing(StoreError):
    """The package that speaks to this kind of database is not installed."""

    code = "driver_missing"
    message = "The driver for {place} is not installed."
    remedy = "Run: pip install -r requirements-postgres.txt"


class BackupFailed(StoreError):
    """The copy of the votes on the Hub could not be read or written."""

    code = "backup_failed"
    message = "The votes could not be copied to {place}."
    remedy = "{remedy}"


class CopyDiffers(StoreError):
    """What arrived is not what was sent."""

    code = "copy_differs"
    message = "{place} does not hold the same as the store before it: {difference}."
    remedy = "The old store is unchanged; empty the new one and try again."


class BadBallot(StoreError):
    """A vote has a value that the statistics do not know; counting it as another would be a lie."""

    code = "bad_ballot"
    message = "Vote number {row} can't be counted: its {field} is {value}."
    remedy = "Exclude that battle, or mend it where the votes are kept."


class BadGuess(StoreError):
    """A voter's guess names neither of the two contestants; a typing mistake is no guess."""

    code = "bad_guess"
    message = "{guess} is neither of the two contestants."
    remedy = "Name one of: {allowed}"


class PackageMissing(StoreError):
    """The package that reads and writes a format is not installed."""

    code = "package_missing"
    message = "The package {package} is not installed."
    remedy = "Run: pip install -r {file}"


class ExportNeedsFile(StoreError):
    """That format can only be written to a file."""

    code = "export_needs_file"
    message = "{format} can't be written to the standard output."
    remedy = "Name a file."


class ExportOff(StoreError):
    """The owner does not hand votes out on the page."""

    code = "export_off"
    message = "This arena does not offer its votes for download."
    remedy = "Ask its owner, who can set ARENA_PUBLIC_EXPORT=1."


class ExportBusy(StoreError):
    """Other visitors' exports take all the time."""

    code = "export_busy"
    message = "Another download is being made, and only one is made at a time."
    remedy = "Try again in a minute."


class ExportTooLarge(StoreError):
    """There are more battles than the page hands out."""

    code = "export_too_large"
    message = "There are {battles} battles, and the page makes files of at most {most}."
    remedy = "Ask the owner for the file of: python -m arena export --mask"


class NotImportable(StoreError):
    """A file is not one that can be imported."""

    code = "not_importable"
    message = "{file} can't be imported: {problem}."
    remedy = (
        "Give a .jsonl or .parquet file of `python -m arena export`, or one with LMArena's columns."
    )


class BadRow(NotImportable):
    """A row of a file to import is wrong; nothing of the file was imported."""

    code = "bad_row"
    message = "{file}, row {row}: {problem}."
    remedy = "Nothing was imported. Mend that row, or leave bad rows out with --skip-bad."


def all_error_types() -> tuple[type[ArenaError], ...]:
    """Every class of the tree, the base first, parents before children."""
    found: list[type[ArenaError]] = [ArenaError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(found)
