"""What is odd in a `.env` is named, and all that is in order is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.env_file import odd_lines
from arena.errors.reasons import ErrorReason
from arena.preflight import look
from arena.settings import load_settings
from tests.environment import clean_environment


def warned(text: str, folder: Path) -> list[str]:
    """The warnings at a start with that `.env`."""
    env_file = folder / ".env"
    env_file.write_text(text, encoding="utf-8")
    with clean_environment():
        settings = load_settings(env_file)
        return [
            f"{problem.error.sentence} {problem.error.remedy_text}"
            for problem in look(settings, env_file)
            if not problem.stops and "HF_HOME" not in problem.about
        ]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Notepad writes one."""
    file = tmp_path / ".env"
    file.write_bytes("ARENA_MAX_TURNS=3\n".encode("utf-8-sig"))
    with clean_environment():
        assert load_settings(file).limits.turns == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ARENA_MAX_TURNS＝3", ErrorReason.FULL_WIDTH_EQUALS),
        ("ARENA_MAX_TURNS ＝ 3", ErrorReason.FULL_WIDTH_EQUALS),
        ("ARENA_MAX_TURNS: 3", ErrorReason.COLON_FOR_EQUALS),
        ("export ARENA_MAX_TURNS:3", ErrorReason.COLON_FOR_EQUALS),
        ("ARENA_MAX_TURNS：3", ErrorReason.COLON_FOR_EQUALS),
        ('ARENA_VOTER_SALT="sixteen letters or', ErrorReason.OPEN_QUOTE),
        ("ARENA_VOTER_SALT='sixteen letters or", ErrorReason.OPEN_QUOTE),
        ("ARENA_MAX_TURNS", ErrorReason.NO_EQUALS),
        ("set ARENA_MAX_TURNS=3", ErrorReason.NO_EQUALS),
    ],
)
def test_a_line_that_sets_nothing_is_named_by_its_number(
    tmp_path: Path, line: str, why: ErrorReason
) -> None:
    """The warning says what is wrong with the line; the others are read."""
    text = f"# first\nARENA_LANGUAGE=ja\n{line}\n"
    (said,) = warned(text, tmp_path)
    assert f"Line 3 of {tmp_path / '.env'}" in said
    assert why in said
    assert "sixteen" not in said


def test_a_quote_that_swallows_lines_is_named(tmp_path: Path) -> None:
    """A quote that a later line closes has taken that line's variable into its value."""
    text = "ARENA_VOTER_SALT='0123456789abcdef\nARENA_LANGUAGE=ja\nGEMINI_MODEL='x'\n"
    assert any("Line 1 " in said and "quote" in said for said in warned(text, tmp_path))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ARENA_MAX_TURN", "ARENA_MAX_TURNS"),
        ("arena_max_turns", "ARENA_MAX_TURNS"),
        ("GEMINI_APIKEY", "GEMINI_API_KEY"),
        ("GEMNI_API_KEY", "GEMINI_API_KEY"),
        ("ＡＲＥＮＡ_LANGUAGE", "ARENA_LANGUAGE"),
        ("ARENA_SOMETHING_ELSE", None),
        ("HF_HUB_OFFLINE", ""),
        ("EDITOR", ""),
    ],
)
def test_a_misspelt_name_is_told_the_right_one(
    tmp_path: Path, name: str, nearest: str | None
) -> None:
    """A name like the arena's is warned of; a library's name, or anybody's, is not."""
    found = warned(f"{name}=1\n", tmp_path)
    if nearest == "":
        assert found == []
        return
    (said,) = found
    assert f"{name} is not a variable of the arena." in said
    assert f"Did you mean {nearest}?" in said if nearest else ".env.example" in said


def test_a_key_that_the_models_file_names_is_known(tmp_path: Path) -> None:
    """An entry may read its key from a variable of any name."""
    (tmp_path / "models.toml").write_text('key_variable = "ARENA_KEY_OF_MINE"\n')
    text = f"ARENA_MODELS={tmp_path / 'models.toml'}\nARENA_KEY_OF_MINE=1\n"
    assert warned(text, tmp_path) == []


@given(st.text())
def test_any_text_of_an_env_file_can_be_looked_at(text: str) -> None:
    """Whatever stands in it, each warning is of a line that is there."""
    for odd in odd_lines(text, Path(".env")):
        assert 1 <= int(str(odd.values["line"])) <= text.count("\n") + text.count("\r") + 1
