"""Settings: the only reader of the environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors.base import SettingsError
from arena.settings import ENV_NAMES, Settings, load_settings, settings_from

ROOT = Path(__file__).parents[1]


def test_defaults_are_those_of_the_contract() -> None:
    """A changed default silently changes what every Space runs."""
    settings = settings_from({})
    assert settings.local_model == "microsoft/Phi-4-mini-instruct"
    assert settings.local_revision == "main"
    assert settings.gemini_model == "gemini-pro-latest"
    assert settings.gemini_daily_requests == 200
    assert settings.database_url == "sqlite:///data/arena.db"
    assert settings.blind_cadence == "live"
    assert settings.gemini_api_key is None


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
        ("ARENA_MAX_CACHE_GIB", "-2"),
    ],
)
def test_bad_value_names_variable_allowed_and_example(variable: str, value: str) -> None:
    """'validation error for Settings' does not tell an owner which line of .env to mend."""
    with pytest.raises(SettingsError) as caught:
        settings_from({variable: value})
    assert variable in caught.value.sentence
    assert "must be" in caught.value.sentence
    example = caught.value.remedy_text.split(f"{variable}=", 1)[1]
    settings_from({variable: example})  # the example itself must work


def test_secret_is_never_in_an_error() -> None:
    """A too short salt, printed with its value, would end up in a Space's public log."""
    with pytest.raises(SettingsError) as caught:
        settings_from({"ARENA_VOTER_SALT": "hunter2"})
    assert "hunter2" not in f"{caught.value.sentence}{caught.value.remedy_text}{caught.value!r}"


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters="\x00"), min_size=1))
def test_key_is_never_in_a_repr(key: str) -> None:
    """Settings get logged; a key must not be among them."""
    settings = settings_from({"GEMINI_API_KEY": f"secret-{key}-end"})
    assert f"secret-{key}-end" not in repr(settings)


def test_empty_value_counts_as_not_set() -> None:
    """`GEMINI_API_KEY=` in .env means no key, not an empty key."""
    assert settings_from({"GEMINI_API_KEY": "  "}).gemini_api_key is None
    assert settings_from({"ARENA_MAX_TURNS": ""}).max_turns == 8


def test_google_key_is_read_and_gemini_key_wins() -> None:
    """The SDK itself prefers GOOGLE_API_KEY: then the wrong key is billed."""
    only = settings_from({"GOOGLE_API_KEY": "google"}).gemini_api_key
    both = settings_from({"GOOGLE_API_KEY": "google", "GEMINI_API_KEY": "gemini"}).gemini_api_key
    assert only is not None
    assert only.get_secret_value() == "google"
    assert both is not None
    assert both.get_secret_value() == "gemini"


def test_dotenv_is_read_and_does_not_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Space's secret must win over a forgotten .env."""
    monkeypatch.setenv("ARENA_MAX_TURNS", "3")
    monkeypatch.setenv("ARENA_LANGUAGE", "placeholder")
    monkeypatch.delenv("ARENA_LANGUAGE")
    dotenv = tmp_path / ".env"
    dotenv.write_text("ARENA_MAX_TURNS=5\nARENA_LANGUAGE=en\n")
    settings = load_settings(dotenv)
    assert settings.max_turns == 3
    assert settings.language == "en"


def test_env_example_explains_every_setting() -> None:
    """A setting that is not in .env.example does not exist for its users."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", text, flags=re.MULTILINE))
    assert set(ENV_NAMES) <= named
    assert {name for name in named if name.startswith(("ARENA_", "GEMINI_"))} <= set(ENV_NAMES)


def test_every_field_says_what_is_allowed() -> None:
    """The error sentence is built from these three."""
    for name, field in Settings.model_fields.items():
        assert field.alias, name
        assert field.description, name
        assert field.examples, name


def test_a_space_with_a_token_keeps_its_votes() -> None:
    """One secret must be enough: a Space's own disk is emptied at every restart."""
    space = {"SPACE_ID": "hanako/arena", "HF_TOKEN": "hf_x"}
    assert settings_from(space).votes_dataset == "hanako/arena-votes"
    assert settings_from({"SPACE_ID": "hanako/arena"}).votes_dataset is None
    assert settings_from({"HF_TOKEN": "hf_x"}).votes_dataset is None
    assert settings_from(space | {"ARENA_VOTES_DATASET": "off"}).votes_dataset is None
    assert settings_from(space | {"ARENA_VOTES_DATASET": "a/b"}).votes_dataset == "a/b"


@pytest.mark.parametrize("networks", ["10.0.0.0/8", "127.0.0.1", " 10.0.0.1 , fd00::/8", ""])
def test_trusted_proxies_are_addresses_or_networks(networks: str) -> None:
    """A proxy that is not trusted makes all visitors one."""
    assert settings_from({"ARENA_TRUSTED_PROXIES": networks}).trusted_proxies == networks.strip()


@pytest.mark.parametrize("networks", ["*", "10.0.0.0/99", "proxy.example", "10.0.0.1;10.0.0.2"])
def test_trusting_everybody_is_refused(networks: str) -> None:
    """`*` lets each visitor choose an address, and with it a fresh allowance."""
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
    """A driver that nobody tried loses votes in its own way."""
    if good:
        assert settings_from({"ARENA_DATABASE_URL": url}).database_url == url
        return
    with pytest.raises(SettingsError, match=r"sqlite:/// or postgresql\+psycopg://"):
        settings_from({"ARENA_DATABASE_URL": url})


def test_a_password_in_an_address_is_never_shown() -> None:
    """The address of a database holds its password, and a start that fails is pasted anywhere."""
    with pytest.raises(SettingsError) as wrong:
        settings_from({"ARENA_DATABASE_URL": "postgres://user:pa@ss@host/db"})
    assert "pa@ss" not in str(wrong.value)
    assert "ss@" not in str(wrong.value)
    right = settings_from({"ARENA_DATABASE_URL": "postgresql+psycopg://user:pass@host/db"})
    assert "pass@" not in repr(right)
