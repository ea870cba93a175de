"""What a newcomer, an installer and a Space read before any code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from arena.doctor import Finding, can_run, examine
from arena.ui.terminal import doctor_text
from tests.environment import settings_from

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUALS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TOP = "arena|prompts|tests|bench|scripts|docs"
PYTHONS = ["3.11", "3.12", "3.13"]


def front_matter() -> dict[str, object]:
    """The Space's configuration."""
    found = yaml.safe_load(README.split("---")[1])
    assert isinstance(found, dict)
    return found


def pins(name: str) -> dict[str, str]:
    """What a requirements file pins."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_space_uses_the_pinned_gradio() -> None:
    """A Space installs `sdk_version`, which is the pinned version."""
    assert front_matter()["sdk_version"] == pins("requirements.txt")["gradio"]


def test_space_is_configured() -> None:
    """The front matter holds what the Space needs to start with its model."""
    config = front_matter()
    assert config["sdk"] == "gradio"
    assert config["app_file"] == "app.py"
    assert str(config["python_version"]) in PYTHONS
    assert config["license"] == "mit"
    assert config["models"] == config["preload_from_hub"] == ["microsoft/Phi-4-mini-instruct"]
    assert len(str(config["short_description"])) <= 60


def test_every_requirement_is_an_exact_version_and_no_option() -> None:
    """pyproject.toml reads these files, which takes names and versions only."""
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"(#.*|[A-Za-z0-9._-]+(\[\w+\])?==\S+|)", line), (path.name, line)


def test_constraints_pin_what_the_requirements_bring_here() -> None:
    """Every package that the requirements files bring, directly or not, has its version there."""
    made = subprocess.run(
        [sys.executable, "scripts/constraints"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert set(made.stdout.splitlines()) <= set((ROOT / "constraints.txt").read_text().splitlines())


def test_readme_is_short_and_names_two_commands_first() -> None:
    """At most 150 lines, and the first commands are those that install and check everything."""
    assert len(README.splitlines()) <= 150
    commands = re.search(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert commands is not None
    words = [line.split("#")[0].strip() for line in commands[1].strip().splitlines()]
    assert words == ["make run", "make test"]


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: path.name)
def test_every_file_that_a_manual_names_exists(manual: Path) -> None:
    """Paths, the names in them, links, the headings they lead to, and pictures are there."""
    text = manual.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{TOP})/[\w./-]*\w)`", text):
        assert (ROOT / path).exists(), path
    for path, names in re.findall(r"`([\w/.-]+\.py)` \(((?:`\w+`(?:, )?)+)\)", text):
        code = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names):
            assert re.search(rf"\b{name}\b", code), f"{path}: {name}"
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        linked = manual.parent / name if name else manual
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert heading in anchors, target


def test_pythons_agree() -> None:
    """pyproject, the environment's script, CI and the Space name the same Pythons."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    named = [re.findall(r"3\.\d+$", line) for line in project["classifiers"]]
    assert [version for found in named for version in found] == PYTHONS
    assert ", ".join(PYTHONS[:2]) in (ROOT / "scripts/environment").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == PYTHONS


@pytest.mark.parametrize("fails", ["not browser", "browser"])
def test_both_parts_of_the_tests_run_and_the_summary_names_them(tmp_path: Path, fails: str) -> None:
    """A failure in one part does not keep the other from running, and is the exit code."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"-m {fails}"*) exit 1 ;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["scripts/test"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
    )  # fmt: skip
    assert done.returncode == 1
    parts = dict(re.findall(r"^(main|browser) part\s+(passed|FAILED)", done.stdout, re.MULTILINE))
    failed, passed = ("browser", "main") if fails == "browser" else ("main", "browser")
    assert parts == {failed: "FAILED", passed: "passed"}


def test_bad_setting_stops_the_start_with_its_name(tmp_path: Path) -> None:
    """The start ends with one sentence that names the variable, and no traceback."""
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ARENA_MAX_TURNS": "many"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "ARENA_MAX_TURNS" in done.stderr
    assert "Traceback" not in done.stderr


async def test_doctor_says_gaps_and_whether_it_can_run(tmp_path: Path) -> None:
    """Each gap has its remedy; only what stops the arena makes it unable to run."""
    values = {
        "ARENA_DATABASE_URL": f"sqlite:///{tmp_path / 'arena.db'}",
        "ARENA_CACHE_DIR": str(tmp_path),
        "ARENA_LOCAL_MODEL": str(tmp_path / "no-model"),
    }
    findings = await examine(settings_from(values))
    text = doctor_text(findings, can_run=True)
    assert can_run(findings), text
    assert "ARENA_LOCAL_MODEL" in text
    assert "GEMINI_API_KEY" in text
    (tmp_path / "file").write_text("")
    broken = await examine(
        settings_from(values | {"ARENA_DATABASE_URL": f"sqlite:///{tmp_path}/file/arena.db"})
    )
    assert not can_run(broken)
    assert "BAD  store" in doctor_text(broken, can_run=False)


def test_doctor_table_keeps_its_columns() -> None:
    """A full-width character counts as two columns."""
    lines = doctor_text(
        [Finding("推論", "ok", "x"), Finding("abcdef", "gap", "y", "do z")], can_run=True
    ).splitlines()
    assert lines[0] == "ok   推論    x"
    assert lines[1] == "gap  abcdef  y"
    assert lines[2].endswith("-> do z")


def test_export_command_writes_lines(tmp_path: Path) -> None:
    """The command of docs/data.md works as it stands."""
    out = tmp_path / "votes.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "arena", "export", str(out)], cwd=ROOT, capture_output=True,
        text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "ARENA_DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert out.read_text() == ""
    assert "0 battles" in done.stderr
