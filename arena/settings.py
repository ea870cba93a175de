"""The settings, and the only reader of the environment and of `.env`."""

from __future__ import annotations

import os
import re
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from dotenv import load_dotenv
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.sources import PydanticBaseSettingsSource

from arena.env_file import read_env_file
from arena.errors.base import SettingsError

ROOT = Path(__file__).parents[1]
"""The checkout: `app.py` lies here, `.env` is read here, and relative paths begin here."""
ENV_FILE = ROOT / ".env"
EMBEDDED = "embedded"
# Largest number of visible tokens that the page starts with; the owner's cap may be below it.
_DEFAULT_NEW_TOKENS = 1024
# Fields with these beginnings are variables of the same name; all others begin with ARENA_.
_UNPREFIXED = ("gemini_", "gradio_", "hf_", "oauth_", "space_")
# Visitors of a Space come through proxies of this network.
_SPACE_PROXIES = "10.0.0.0/8"
# What libraries read by themselves: with these beginnings or names, and where they are empty they
# would be taken for a value.
_OF_LIBRARIES = ("GRADIO_", "HF_", "SSL_CERT_")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SQLITE = "sqlite:///"
# Greedy: a password may hold an @ of its own.
_USERINFO = re.compile(r"//.*@")


def _networks(value: str) -> str:
    """In the one form that the web server takes: it would read 10.0.0.5/8 as a name."""
    parts = (part.strip() for part in value.split(","))
    return ",".join(str(ip_network(part, strict=False)) for part in parts if part)


def _from_root(path: Path) -> Path:
    """A path as the owner means it: `~` is the home folder, a relative one begins at `ROOT`."""
    # Without a home folder `~` stays, and the preflight says so.
    return ROOT / os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises there


def sqlite_file(url: str, root: Path = ROOT) -> Path | None:
    """The file of an address that begins with sqlite:///; None for another one.

    All that follows is the path as it stands, whatever signs are in it: nothing is decoded, and
    there are no options. `~/` is the home folder, and a relative path begins at `root`.
    """
    path = url.removeprefix(_SQLITE)
    if path == url or path in ("", ":memory:"):
        return None
    return root / (os.path.expanduser(path) if path.startswith("~/") else path)  # noqa: PTH111


# An error names a field's description, and its example or else its default.
Switch = Annotated[bool, Field(description="1 or 0", examples=["1"])]
AtLeast0 = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
AtLeast1 = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
Dollars = Annotated[float | None, Field(ge=0, allow_inf_nan=False, examples=["2.50"])]
Networks = Annotated[
    str,
    AfterValidator(_networks),
    Field(
        description="addresses or networks with commas between them, or nothing",
        examples=["10.0.0.0/8"],
    ),
]


class Limits(BaseModel):
    """The owner's caps; each is the variable ARENA_MAX_ with the field's name.

    Attributes:
        prompt_chars: characters of one prompt, and of a system prompt.
        prompt_tokens: estimated tokens of a prompt with all that was said before it.
        turns: prompts in one conversation.
        battles: battles with answers being written at the same time, over all visitors.
        waiting: visitors who may wait for one of those slots.
        new_tokens: largest budget of visible tokens that an answer may have.
        visitor_battles: battles of one visitor at the same time.
        battles_per_minute: prompts of one visitor in a minute; follow-ups and retries count.
        battles_per_day: the same in a day (UTC).
        visitors_per_address: one network address may do as much as this many visitors.
    """

    model_config = ConfigDict(frozen=True, alias_generator=str.upper, validate_by_name=True)

    prompt_chars: AtLeast1 = 8000
    prompt_tokens: AtLeast1 = 16000
    turns: AtLeast1 = 8
    battles: AtLeast1 = 16
    waiting: AtLeast0 = 32
    new_tokens: int = Field(
        default=4096, ge=16, le=131072, description="a whole number from 16 to 131072"
    )
    visitor_battles: AtLeast1 = 2
    battles_per_minute: AtLeast1 = 6
    battles_per_day: AtLeast1 = 200
    visitors_per_address: AtLeast1 = 10


class _Environment(EnvSettingsSource):
    """The settings' variables; one that is empty or blank counts as not set."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.env_vars = {
            name: value
            for name, value in self.env_vars.items()
            if name in (*VARIABLES, "GOOGLE_API_KEY") and value and value.strip()
        }


def _seconds(default: float, *, most: float) -> Any:  # noqa: ANN401 -- as pydantic's Field
    """A number of seconds from 0 on."""
    return Field(
        default=default,
        ge=0,
        le=most,
        allow_inf_nan=False,
        description=f"a number of seconds from 0 to {most}",
    )


class Settings(BaseSettings):
    """Every setting. `.env.example` explains each variable."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        str_strip_whitespace=True,
        case_sensitive=True,
        alias_generator=lambda field: (
            ("" if field.startswith(_UNPREFIXED) else "ARENA_") + field.upper()
        ),
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    local_model: str = "microsoft/Phi-4-mini-instruct"
    local_revision: str = "main"
    local_engine: Literal["auto", "transformers", "onnx"] = "auto"
    local_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    models_file: Annotated[Path, AfterValidator(_from_root)] | None = Field(
        default=None, alias="ARENA_MODELS", examples=["models.toml"]
    )
    cache_dir: Annotated[Path, AfterValidator(_from_root)] = Field(
        default=Path("~/.cache/phi4-mini-arena"), validate_default=True, examples=["data/cache"]
    )
    max_cache_gib: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="a number of GiB above 0, or nothing to take it from the free memory",
        examples=["4"],
    )
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        examples=["your-key"],
    )
    gemini_model: str = "gemini-pro-latest"
    gemini_fallback_model: str | None = Field(default=None, examples=["gemini-flash-latest"])
    gemini_base_url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="an http(s) address, or nothing for Google's own",
        examples=["https://gateway.example"],
    )
    gemini_daily_requests: AtLeast0 = 200
    gemini_daily_budget_usd: Dollars = Field(
        default=None, description="US dollars, 0 or more, or nothing for no budget"
    )
    gemini_price_in: Dollars = Field(
        default=None, description="US dollars for a million prompt tokens, 0 or more"
    )
    gemini_price_out: Dollars = Field(
        default=None, description="US dollars for a million generated tokens, 0 or more"
    )
    gemini_thinking_tokens: int = Field(
        default=8192, ge=0, le=65536, description="a whole number from 0 to 65536"
    )
    database_url: str = Field(
        default="sqlite:///data/arena.db",
        pattern=r"^(sqlite:///.+|postgresql\+psycopg://\S+)$",
        description="an address that begins with sqlite:/// or postgresql+psycopg://",
        repr=False,
    )
    database_pool: AtLeast1 = 10
    space_id: str | None = Field(default=None, examples=["your-name/your-space"])
    space_host: str | None = Field(default=None, examples=["your-name-your-space.hf.space"])
    hf_token: SecretStr | None = Field(default=None, examples=["hf_your-token"])
    votes_dataset: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="the name of a dataset repository on the Hub, off, or nothing",
        examples=["your-name/arena-votes"],
    )
    votes_push_minutes: float = Field(default=5, gt=0, description="a number of minutes above 0")
    language: Literal["auto", "ja", "en"] = "auto"
    blind_cadence: Literal["live", "even"] = "live"
    undo_seconds: float = _seconds(5, most=600)
    page_grace_seconds: float = _seconds(60, most=3600)
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36500,
        description="a whole number of days from 1 to 36500, or nothing to keep texts for ever",
        examples=["90"],
    )
    voter_salt: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="at least 16 characters, or nothing to have one drawn and kept in the store",
        examples=["a-long-random-text"],
    )
    owner_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="at least 16 characters, or nothing to have one drawn at each start",
        examples=["a-long-random-text"],
    )
    limits: Limits = Field(default=Limits(), alias="ARENA_MAX")
    trusted_proxies: Networks = ""
    oauth_client_id: str | None = Field(default=None, examples=["your-client-id"])
    zero_gpu: Switch = Field(default=False, alias="SPACES_ZERO_GPU")
    gradio_server_name: str | None = Field(
        default=None,
        pattern=r"^\[?[^\s/\[\]]+\]?$",
        description="an address or a name of this machine, without a port",
        examples=["127.0.0.1"],
    )
    gradio_server_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="a whole number from 1 to 65535",
        examples=["7860"],
    )
    gradio_root_path: str | None = Field(
        default=None,
        pattern=r"^(/|https?://[^\s/])\S*$",
        description="a path that begins with /, or an http(s) address",
        examples=["/arena"],
    )
    gradio_temp_dir: Path | None = Field(default=None, examples=["data/gradio"])
    signed_in_votes_only: Switch = False
    count_stopped_votes: Switch = False
    public_export: Switch = False

    @model_validator(mode="before")
    @classmethod
    def _on_a_space(cls, values: dict[str, str]) -> dict[str, str | None]:
        """On a Space, whose disk does not last, a token is enough to keep the votes.

        Its proxies are trusted there, and nowhere else unless the owner names some.
        """
        here = "SPACE_ID" in values and "HF_TOKEN" in values
        default = f"{values['SPACE_ID'].strip()}-votes" if here else "off"
        dataset = values.get("ARENA_VOTES_DATASET", default)
        off = dataset.strip().lower() == "off"
        proxies = {"ARENA_TRUSTED_PROXIES": _SPACE_PROXIES} if "SPACE_ID" in values else {}
        return proxies | values | {"ARENA_VOTES_DATASET": None if off else dataset}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        *_sources: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment alone."""
        return (_Environment(settings_cls),)

    @property
    def engine(self) -> str:
        """How local models are run: as set, except on ZeroGPU, where only one way works."""
        return "zerogpu" if self.zero_gpu else self.local_engine

    @property
    def host(self) -> str:
        """Where the page is served; an IPv6 address without its brackets."""
        return (self.gradio_server_name or "127.0.0.1").strip("[]")

    @property
    def default_max_new_tokens(self) -> int:
        """The budget that the page starts with."""
        return min(_DEFAULT_NEW_TOKENS, self.limits.new_tokens)


def _variables(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """The fields by the names of their variables, in their order."""
    found: dict[str, FieldInfo] = {}
    for info in model.model_fields.values():
        alias = info.validation_alias
        name = prefix + str(alias.choices[0] if isinstance(alias, AliasChoices) else alias)
        found |= _variables(Limits, f"{name}_") if info.annotation is Limits else {name: info}
    return found


VARIABLES = _variables(Settings)


def load_settings(env_file: Path = ENV_FILE) -> Settings:
    """Settings from the environment and `.env`, which never overrides a variable that is set.

    Also puts `.env` into the environment, so that Gradio's and huggingface_hub's own variables
    keep working, and mends there what they would stumble over: call it before either is imported.

    Raises:
        SettingsError: names the first variable that is wrong, what is allowed and an example.
        StartError: `.env` can't be read.
    """
    load_dotenv(stream=StringIO(read_env_file(env_file)))
    try:
        settings = Settings()
    except ValidationError as error:
        raise _readable(error) from None
    _mend_environment(settings)
    return settings


def _mend_environment(settings: Settings) -> None:
    """Empty variables count as not set, and this machine is never reached through a proxy."""
    for name in [name for name in os.environ if name.startswith(_OF_LIBRARIES)]:
        if not os.environ[name].strip():
            del os.environ[name]
    if ":" in settings.host:
        # Gradio takes an IPv6 address as an argument only, and with its brackets.
        os.environ.pop("GRADIO_SERVER_NAME", None)
    given = ",".join(os.environ.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    # The HTTP clients take an IPv6 address in brackets for a host with a port.
    hosts = [host.strip().strip("[]") for host in given.split(",") if host.strip()]
    hosts = ["*"] if "*" in hosts else [*hosts, *_LOOPBACK, settings.host]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(dict.fromkeys(hosts))


def _readable(error: ValidationError) -> SettingsError:
    """The first fault as a sentence, without a secret's value or the password of an address."""
    fault = error.errors()[0]
    variable = "_".join(map(str, fault["loc"]))
    info = VARIABLES[variable]
    secret = "SecretStr" in str(info.annotation)
    return SettingsError(
        variable=variable,
        value="(hidden)" if secret else repr(hidden_userinfo(str(fault["input"]))),
        allowed=f"it must be {_allowed(info)}",
        example=info.examples[0] if info.examples else info.default,
    )


def hidden_userinfo(address: str) -> str:
    """An address without its user and password."""
    return _USERINFO.sub("//(hidden)@", address)


def _allowed(info: FieldInfo) -> str:
    """What a variable may hold, in words."""
    if info.description is not None:
        return info.description
    if get_origin(info.annotation) is not Literal:
        return "text in UTF-8"
    *others, last = get_args(info.annotation)
    return f"{', '.join(others)} or {last}"


def secret_from_environment(name: str) -> SecretStr | None:
    """A secret from a variable that a file names, such as the key of an engine in ARENA_MODELS.

    Returns:
        The secret without the spaces around it; None where it is not set or empty.
    """
    value = os.environ.get(name, "").strip()
    return SecretStr(value) if value else None
