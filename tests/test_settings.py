"""Settings: what each variable may hold, and what an owner reads where it is wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors.base import SettingsError
from arena.settings import VARIABLES, load_settings
from tests.environment import settings_from

ROOT = Path(__file__).parents[1]


def test_defaults_are_those_of_the_contract() -> None:
    """Every Space and every store that sets nothing relies on these."""
    settings = settings_from({})
    assert settings.local_model == "microsoft/Phi-4-mini-instruct"
    assert settings.local_revision == "main"
    assert settings.gemini_model == "gemini-pro-latest"
    assert settings.gemini_daily_requests == 200
    assert settings.database_url == "sqlite:///data/arena.db"
    assert settings.blind_cadence == "live"
    assert settings.gemini_api_key is None
    assert settings.limits.turns == 8
    assert settings.page_grace_seconds == 60


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ARENA_LANGUAGE", "fr"),
        ("ARENA_MAX_TURNS", "0"),
        ("ARENA_MAX_TURNS", "many"),
        ("GEMINI_DAILY_REQUESTS", "-1"),
        ("GEMINI_BASE_URL", "gateway.example"),
        ("ARENA_LOCAL_DTYPE", "int3"),
        ("ARENA_LOCAL_ENGINE", "cuda"),
        ("ARENA_BLIND_CADENCE", "slow"),
        ("ARENA_DATABASE_URL", "mysql://x"),
        ("ARENA_VOTER_SALT", "short"),
        ("ARENA_PAGE_GRACE_SECONDS", "-1"),
        ("ARENA_PAGE_GRACE_SECONDS", "inf"),
        ("ARENA_MAX_CACHE_GIB", "-2"),
        ("SPACES_ZERO_GPU", "maybe"),
    ],
)
def test_bad_value_names_variable_allowed_and_example(variable: str, value: str) -> None:
    """An error tells which line of `.env` to mend, and how."""
    with pytest.raises(SettingsError) as caught:
        settings_from({variable: value})
    assert variable in caught.value.sentence
    assert "must be" in caught.value.sentence
    example = caught.value.remedy_text.split(f"{variable}=", 1)[1]
    settings_from({variable: example})  # the example itself works


def test_secret_is_never_in_an_error() -> None:
    """A Space's log is public."""
    with pytest.raises(SettingsError) as caught:
        settings_from({"ARENA_VOTER_SALT": "hunter2"})
    assert "hunter2" not in f"{caught.value.sentence}{caught.value.remedy_text}{caught.value!r}"


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters="\x00"), min_size=1))
def test_key_is_never_in_a_repr(key: str) -> None:
    """Settings may be logged; the key shows as stars."""
    settings = settings_from({"GEMINI_API_KEY": f"secret-{key}-end"})
    assert f"secret-{key}-end" not in repr(settings)


def test_empty_value_counts_as_not_set() -> None:
    """`GEMINI_API_KEY=` in .env means no key, not an empty key."""
    assert settings_from({"GEMINI_API_KEY": "  "}).gemini_api_key is None
    assert settings_from({"ARENA_MAX_TURNS": " "}).limits.turns == 8


def test_google_key_is_read_and_gemini_key_wins() -> None:
    """GEMINI_API_KEY is the one that is billed, though the SDK itself prefers the other."""
    only = settings_from({"GOOGLE_API_KEY": "google"}).gemini_api_key
    both = settings_from({"GOOGLE_API_KEY": "google", "GEMINI_API_KEY": "gemini"}).gemini_api_key
    assert only is not None
    assert only.get_secret_value() == "google"
    assert both is not None
    assert both.get_secret_value() == "gemini"


def test_dotenv_is_read_and_does_not_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment, such as a Space's secrets, wins over `.env`."""
    monkeypatch.setenv("ARENA_MAX_TURNS", "3")
    monkeypatch.setenv("ARENA_LANGUAGE", "placeholder")
    monkeypatch.delenv("ARENA_LANGUAGE")
    dotenv = tmp_path / ".env"
    dotenv.write_text("ARENA_MAX_TURNS=5\nARENA_LANGUAGE=en\n")
    settings = load_settings(dotenv)
    assert settings.limits.turns == 3
    assert settings.language == "en"


def test_env_example_explains_every_setting() -> None:
    """`.env.example` is where users find the settings: all of them, and no other of our names."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", text, flags=re.MULTILINE))
    assert set(VARIABLES) <= named
    assert {name for name in named if name.startswith(("ARENA_", "GEMINI_"))} <= set(VARIABLES)


@pytest.mark.parametrize("variable", sorted(VARIABLES))
def test_every_variable_has_an_error_with_an_example(variable: str) -> None:
    """Bytes that are not UTF-8 are refused for every variable, and the example is accepted."""
    with pytest.raises(SettingsError) as caught:
        settings_from({variable: os.fsdecode(b"caf\xe9")})
    assert caught.value.values["variable"] == variable
    settings_from({variable: str(caught.value.values["example"])})


@pytest.mark.parametrize("name", ["ARENA_MAX", "ARENA_MAX_FOO", "GEMINI", "GEMINI_FOO"])
def test_other_names_are_ignored(name: str) -> None:
    """Only the names of `.env.example` are read."""
    assert settings_from({name: "{"}) == settings_from({})


def test_a_space_with_a_token_keeps_its_votes() -> None:
    """One secret is enough to keep votes beyond a restart, which empties a Space's own disk."""
    space = {"SPACE_ID": "hanako/arena", "HF_TOKEN": "hf_x"}
    assert settings_from(space).votes_dataset == "hanako/arena-votes"
    assert settings_from({"SPACE_ID": "hanako/arena"}).votes_dataset is None
    assert settings_from({"HF_TOKEN": "hf_x"}).votes_dataset is None
    assert settings_from(space | {"ARENA_VOTES_DATASET": "off"}).votes_dataset is None
    assert settings_from(space | {"ARENA_VOTES_DATASET": "a/b"}).votes_dataset == "a/b"


@pytest.mark.parametrize(
    ("networks", "trusted"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"), ("10.9.8.7/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"),
        (" 10.0.0.1 , fd00::/8", "10.0.0.1/32,fd00::/8"), ("", ""),
    ],
)  # fmt: skip
def test_trusted_proxies_are_addresses_or_networks(networks: str, trusted: str) -> None:
    """The owner names the proxies; behind any other, all visitors have one address."""
    assert settings_from({"ARENA_TRUSTED_PROXIES": networks}).trusted_proxies == trusted


def test_the_proxies_of_a_space_are_trusted_there_and_nowhere_else() -> None:
    """On a Space the Hub's proxies are trusted unless others are named; elsewhere none are."""
    space = {"SPACE_ID": "hanako/arena"}
    assert settings_from(space).trusted_proxies == "10.0.0.0/8"
    assert settings_from({}).trusted_proxies == ""
    other = settings_from(space | {"ARENA_TRUSTED_PROXIES": "192.168.7.0/24"})
    assert other.trusted_proxies == "192.168.7.0/24"


@pytest.mark.parametrize("networks", ["*", "10.0.0.0/99", "proxy.example", "10.0.0.1;10.0.0.2"])
def test_trusting_everybody_is_refused(networks: str) -> None:
    """Anything but addresses and networks is an error: `*` would let visitors choose theirs."""
    with pytest.raises(SettingsError, match="ARENA_TRUSTED_PROXIES"):
        settings_from({"ARENA_TRUSTED_PROXIES": networks})


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("postgresql+psycopg://u:p@host/db", True),
        ("postgresql://u:p@host/db", False),
        ("mysql://host/db", False),
    ],
)
def test_only_databases_that_are_tested_are_taken(url: str, good: bool) -> None:  # noqa: FBT001
    """SQLite and psycopg are the drivers that the suite runs on."""
    if good:
        assert settings_from({"ARENA_DATABASE_URL": url}).database_url == url
        return
    with pytest.raises(SettingsError, match=r"sqlite:/// or postgresql\+psycopg://"):
        settings_from({"ARENA_DATABASE_URL": url})


def test_a_password_in_an_address_is_never_shown() -> None:
    """Neither an error nor a repr shows the password in a database's address."""
    with pytest.raises(SettingsError) as wrong:
        settings_from({"ARENA_DATABASE_URL": "postgres://user:pa@ss@host/db"})
    assert "pa@ss" not in str(wrong.value)
    assert "ss@" not in str(wrong.value)
    right = settings_from({"ARENA_DATABASE_URL": "postgresql+psycopg://user:pass@host/db"})
    assert "pass@" not in repr(right)
