"""The file that ARENA_MODELS names: what each kind of entry may say, and how it is read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from arena.domain import clean
from arena.errors.base import RegistryError


class _StrictEntry(BaseModel):
    """Frozen; a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _clean(cls, value: object) -> object:
        return clean(value) if isinstance(value, str) else value


class LocalEntry(_StrictEntry):
    """Weights that this process loads."""

    kind: Literal["local"]
    source: str = Field(min_length=1)
    label: str = ""
    revision: str = "main"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    licence: str = ""


class VariantEntry(_StrictEntry):
    """An earlier contestant under another system prompt or other parameters."""

    kind: Literal["variant"]
    of: str
    label: str = Field(min_length=1)
    system_prompt: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)


class OpenAiEntry(_StrictEntry):
    """A model of an engine that speaks the OpenAI API at some address.

    Attributes:
        base_url: where the API begins, e.g. `http://127.0.0.1:8000/v1`.
        model: the name under which the engine serves it.
        key_variable: the NAME of the variable that holds the key, since the file may be shared.
        precision: e.g. `bf16`; part of the id, since another precision is another contestant.
        context_tokens: longest prompt plus answer; None takes what the engine says.
        price_in, price_out: US dollars for a million tokens; both or none.
        price_as_of: the day on which the price was read, e.g. `2026-11-01`.
        daily_budget_usd: what a day (UTC) may cost.
        thinking_tokens: allowance for thinking on top of the visible text.
        max_tokens_name: how the engine calls the cap on an answer's tokens.
    """

    kind: Literal["openai"]
    base_url: str
    model: str = Field(min_length=1)
    label: str = ""
    key_variable: str = Field("", pattern=r"^([A-Z][A-Z0-9_]*)?$")
    precision: str = Field("", pattern=r"^[A-Za-z0-9._-]*$")
    licence: str = ""
    context_tokens: int | None = Field(None, gt=0)
    price_in: float | None = Field(None, ge=0, allow_inf_nan=False)
    price_out: float | None = Field(None, ge=0, allow_inf_nan=False)
    price_as_of: str = ""
    daily_budget_usd: float | None = Field(None, ge=0, allow_inf_nan=False)
    thinking_tokens: int = Field(0, ge=0, le=65536)
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        """No message quotes the value, which may hold a password."""
        try:
            parts = urlsplit(value)
            whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("it must be an address such as http://127.0.0.1:8000/v1")
        if parts.query or parts.fragment:
            raise ValueError("an address with ? or # is not supported; a key goes by key_variable")
        if parts.path.rstrip("/").endswith("/chat/completions"):
            raise ValueError("leave /chat/completions out: it is where the API begins")
        return value

    @field_validator("price_as_of")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        if value:
            date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out go together")
        if self.key_variable and "@" in urlsplit(self.base_url).netloc:
            raise ValueError("a name in base_url and a key_variable cannot both be sent")
        return self


FileEntry = LocalEntry | VariantEntry | OpenAiEntry
_ENTRY: TypeAdapter[FileEntry] = TypeAdapter(Annotated[FileEntry, Field(discriminator="kind")])


def read_models_file(path: Path) -> Iterator[tuple[str, FileEntry]]:
    """The entries of the file by their names, in its order.

    Raises:
        RegistryError: the file cannot be read, or an entry is wrong; raised when the iteration
            reaches that entry.
    """
    for name, table in _tables(path).items():
        try:
            entry = _ENTRY.validate_python(table)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            # The first part is the kind; a wrong kind has no parts, and a rule over several keys
            # has this one alone.
            where = ".".join(str(part) for part in first["loc"][1:] or first["loc"] or ("kind",))
            problem = f"{where}: {first['msg'].removeprefix('Value error, ')}"
            raise wrong_entry(path, name, problem) from None
        yield name, entry


def wrong_entry(path: Path, name: str, problem: str) -> RegistryError:
    """The error that names an entry and what is wrong with it."""
    return RegistryError(file=path.name, entry=name, problem=problem)


def _tables(path: Path) -> dict[str, object]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise wrong_entry(path, "", str(error)) from None
    if not isinstance(tables, dict) or not tables:
        raise wrong_entry(path, "models", "there is no [models.<name>]")
    return tables
