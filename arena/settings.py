"""The only reader of the environment and of `.env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from arena.errors.base import SettingsError

EMBEDDED = "embedded"
# Greedy: a password may hold an @ of its own.
_USERINFO = re.compile(r"//.*@")


def _default_cache() -> Path:
    return Path.home() / ".cache" / "phi4-mini-arena"


class Settings(BaseModel):
    """Every setting, by the name of its variable.

    Each field's alias is the environment variable, its description says what is allowed, and its
    example is a value that works: an error shows all three.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    local_model: str = Field(
        "microsoft/Phi-4-mini-instruct",
        alias="ARENA_LOCAL_MODEL",
        min_length=1,
        description="a Hub id, a folder, a .gguf file, or `embedded` for the stand-in",
        examples=["microsoft/Phi-4-mini-instruct"],
    )
    local_revision: str = Field(
        "main",
        alias="ARENA_LOCAL_REVISION",
        min_length=1,
        description="a branch, tag or commit of the Hub repository",
        examples=["main"],
    )
    local_engine: Literal["auto", "transformers", "onnx"] = Field(
        "auto",
        alias="ARENA_LOCAL_ENGINE",
        description="auto, transformers or onnx",
        examples=["auto"],
    )
    local_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        alias="ARENA_LOCAL_DTYPE",
        description="auto, float32, bfloat16 or float16",
        examples=["bfloat16"],
    )
    models_file: Path | None = Field(
        None,
        alias="ARENA_MODELS",
        description="the path of a TOML file with more models",
        examples=["models.toml"],
    )
    cache_dir: Path = Field(
        default_factory=_default_cache,
        alias="ARENA_CACHE_DIR",
        description="a folder that can be written",
        examples=["data/cache"],
    )
    gemini_api_key: SecretStr | None = Field(
        None,
        alias="GEMINI_API_KEY",
        description="a key of the Gemini API (GOOGLE_API_KEY is read too)",
        examples=["your-key"],
    )
    gemini_model: str = Field(
        "gemini-pro-latest",
        alias="GEMINI_MODEL",
        min_length=1,
        description="a model name of the Gemini API",
        examples=["gemini-flash-latest"],
    )
    gemini_fallback_model: str | None = Field(
        None,
        alias="GEMINI_FALLBACK_MODEL",
        description="a model name of the Gemini API, or nothing",
        examples=["gemini-flash-latest"],
    )
    gemini_base_url: str | None = Field(
        None,
        alias="GEMINI_BASE_URL",
        pattern=r"^https?://\S+$",
        description="an http(s) address, or nothing for Google's own",
        examples=["https://gateway.example"],
    )
    gemini_daily_requests: int = Field(
        200,
        alias="GEMINI_DAILY_REQUESTS",
        ge=0,
        description="a whole number, 0 or more",
        examples=["200"],
    )
    gemini_daily_budget_usd: float | None = Field(
        None,
        alias="GEMINI_DAILY_BUDGET_USD",
        ge=0,
        description="US dollars, 0 or more, or nothing for no budget",
        examples=["2.50"],
    )
    gemini_price_in: float | None = Field(
        None,
        alias="GEMINI_PRICE_IN",
        ge=0,
        description="US dollars for a million prompt tokens, 0 or more",
        examples=["1.25"],
    )
    gemini_price_out: float | None = Field(
        None,
        alias="GEMINI_PRICE_OUT",
        ge=0,
        description="US dollars for a million generated tokens, 0 or more",
        examples=["10"],
    )
    gemini_thinking_tokens: int = Field(
        8192,
        alias="GEMINI_THINKING_TOKENS",
        ge=0,
        le=65536,
        description="a whole number from 0 to 65536",
        examples=["8192"],
    )
    database_url: str = Field(
        "sqlite:///data/arena.db",
        alias="ARENA_DATABASE_URL",
        pattern=r"^(sqlite:///|postgresql\+psycopg://)\S+$",
        description="an address that begins with sqlite:/// or postgresql+psycopg://",
        repr=False,
        examples=["sqlite:///data/arena.db"],
    )
    database_pool: int = Field(
        10,
        alias="ARENA_DATABASE_POOL",
        ge=1,
        description="a whole number, 1 or more",
        examples=["10"],
    )
    votes_dataset: str | None = Field(
        None,
        alias="ARENA_VOTES_DATASET",
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="the name of a dataset repository on the Hub, off, or nothing",
        examples=["your-name/arena-votes"],
    )
    votes_push_minutes: float = Field(
        5,
        alias="ARENA_VOTES_PUSH_MINUTES",
        gt=0,
        description="a number of minutes above 0",
        examples=["5"],
    )
    hf_token: SecretStr | None = Field(
        None,
        alias="HF_TOKEN",
        description="a token of the Hugging Face Hub",
        examples=["hf_your-token"],
    )
    language: Literal["auto", "ja", "en"] = Field(
        "auto", alias="ARENA_LANGUAGE", description="auto, ja or en", examples=["auto"]
    )
    blind_cadence: Literal["live", "even"] = Field(
        "live", alias="ARENA_BLIND_CADENCE", description="live or even", examples=["live"]
    )
    voter_salt: SecretStr | None = Field(
        None,
        alias="ARENA_VOTER_SALT",
        min_length=16,
        description="at least 16 characters, or nothing to have one drawn and kept in the store",
        examples=["a-long-random-text"],
    )
    max_prompt_chars: int = Field(
        8000,
        alias="ARENA_MAX_PROMPT_CHARS",
        ge=1,
        description="a whole number, 1 or more",
        examples=["8000"],
    )
    max_turns: int = Field(
        8,
        alias="ARENA_MAX_TURNS",
        ge=1,
        description="a whole number, 1 or more",
        examples=["8"],
    )
    max_battles: int = Field(
        16,
        alias="ARENA_MAX_BATTLES",
        ge=1,
        description="a whole number, 1 or more",
        examples=["16"],
    )
    max_new_tokens: int = Field(
        4096,
        alias="ARENA_MAX_NEW_TOKENS",
        ge=16,
        le=131072,
        description="a whole number from 16 to 131072",
        examples=["4096"],
    )
    max_prompt_tokens: int = Field(
        16000,
        alias="ARENA_MAX_PROMPT_TOKENS",
        ge=1,
        description="a whole number, 1 or more",
        examples=["16000"],
    )
    max_waiting: int = Field(
        32,
        alias="ARENA_MAX_WAITING",
        ge=0,
        description="a whole number, 0 or more",
        examples=["32"],
    )
    max_visitor_battles: int = Field(
        2,
        alias="ARENA_MAX_VISITOR_BATTLES",
        ge=1,
        description="a whole number, 1 or more",
        examples=["2"],
    )
    max_battles_per_minute: int = Field(
        6,
        alias="ARENA_MAX_BATTLES_PER_MINUTE",
        ge=1,
        description="a whole number, 1 or more",
        examples=["6"],
    )
    max_battles_per_day: int = Field(
        200,
        alias="ARENA_MAX_BATTLES_PER_DAY",
        ge=1,
        description="a whole number, 1 or more",
        examples=["200"],
    )
    max_visitors_per_address: int = Field(
        10,
        alias="ARENA_MAX_VISITORS_PER_ADDRESS",
        ge=1,
        description="a whole number, 1 or more",
        examples=["10"],
    )
    trusted_proxies: str = Field(
        "",
        alias="ARENA_TRUSTED_PROXIES",
        description="addresses or networks with commas between them, or nothing",
        examples=["10.0.0.0/8"],
    )
    oauth_client_id: str | None = Field(
        None,
        alias="OAUTH_CLIENT_ID",
        description="what a Space with hf_oauth sets by itself",
        examples=["your-client-id"],
    )
    zero_gpu: bool = Field(
        default=False,
        alias="SPACES_ZERO_GPU",
        description="what a Space on ZeroGPU sets by itself",
        examples=["true"],
    )
    signed_in_votes_only: bool = Field(
        default=False,
        alias="ARENA_SIGNED_IN_VOTES_ONLY",
        description="1 or 0",
        examples=["1"],
    )
    public_export: bool = Field(
        default=False,
        alias="ARENA_PUBLIC_EXPORT",
        description="1 or 0",
        examples=["1"],
    )
    max_cache_gib: float | None = Field(
        None,
        alias="ARENA_MAX_CACHE_GIB",
        gt=0,
        description="a number of GiB above 0, or nothing to take it from the free memory",
        examples=["4"],
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in value.split(","):
            if part.strip():
                ip_network(part.strip(), strict=False)
        return value

    @property
    def engine(self) -> str:
        """How local models are run: as set, except on ZeroGPU, where only one way works."""
        return "zerogpu" if self.zero_gpu else self.local_engine

    @property
    def default_max_new_tokens(self) -> int:
        """The budget that the page starts with."""
        return min(1024, self.max_new_tokens)


ENV_NAMES: tuple[str, ...] = tuple(str(info.alias) for info in Settings.model_fields.values())


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Settings from a mapping of variables; empty values count as not set.

    Raises:
        SettingsError: names the first variable that is wrong, what is allowed and an example.
    """
    values = {name: environ[name] for name in ENV_NAMES if environ.get(name, "").strip()}
    if "GEMINI_API_KEY" not in values and environ.get("GOOGLE_API_KEY", "").strip():
        values["GEMINI_API_KEY"] = environ["GOOGLE_API_KEY"]
    _choose_dataset(values, environ.get("SPACE_ID", "").strip())
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _readable(error, values) from None


def _choose_dataset(values: dict[str, str], space: str) -> None:
    """On a Space, whose disk does not last, a token is enough to keep the votes.

    Args:
        values: the variables that are set; changed in place.
        space: the Space's own name, `owner/name`; empty elsewhere.
    """
    wanted = values.get("ARENA_VOTES_DATASET", "")
    if wanted.strip().lower() == "off":
        del values["ARENA_VOTES_DATASET"]
    elif space and not wanted and "HF_TOKEN" in values:
        values["ARENA_VOTES_DATASET"] = f"{space}-votes"


def _readable(error: ValidationError, values: Mapping[str, str]) -> SettingsError:
    """The first fault as a sentence; a secret's value is never in it."""
    variable = str(error.errors()[0]["loc"][0])
    info = next(f for f in Settings.model_fields.values() if f.alias == variable)
    secret = "SecretStr" in str(info.annotation)
    return SettingsError(
        variable=variable,
        value="(hidden)"
        if secret
        else repr(_USERINFO.sub("//(hidden)@", values.get(variable, ""))),
        allowed=f"it must be {info.description}",
        example=(info.examples or [""])[0],
    )


def load_settings(dotenv: Path | None = None) -> Settings:
    """Settings from the environment and `.env`, which never overrides a variable that is set.

    Also puts `.env` into the environment, so that Gradio's and huggingface_hub's own variables
    keep working: call it before either is imported.

    Raises:
        SettingsError: as `settings_from`.
    """
    import os

    from dotenv import load_dotenv

    load_dotenv(dotenv or Path.cwd() / ".env")
    return settings_from(os.environ)


def secret_from_environment(
    name: str, environ: Mapping[str, str] | None = None
) -> SecretStr | None:
    """A secret whose variable a file names, such as the key of an engine in ARENA_MODELS.

    Args:
        name: the variable.
        environ: the variables; the process's own where it is None.

    Returns:
        The secret without the spaces around it; None where it is not set or empty.
    """
    import os

    value = (os.environ if environ is None else environ).get(name, "").strip()
    return SecretStr(value) if value else None
