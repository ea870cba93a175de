"""The import order of DESIGN: each layer may import those before it, and no other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: tuple[tuple[str, ...], ...] = (
    ("arena.domain", "arena.phrases", "arena.errors"),
    ("arena.settings", "arena.presets"),
    ("arena.guard", "arena.stats", "arena.models", "arena.votes"),
    (
        "arena.live",
        "arena.record",
        "arena.door",
        "arena.battle",
        "arena.report",
        "arena.report_names",
        "arena.report_json",
        "arena.board",
    ),
    ("arena.ui", "arena.health", "arena.doctor", "arena.terminal", "arena.cli", "arena.__main__"),
    ("app",),
)
# Inside one layer, an import must still not go in a circle.
WITHIN: dict[str, tuple[str, ...]] = {
    "arena.errors": ("arena.phrases",),
    "arena.presets": (),
    "arena.models": ("arena.guard",),
    "arena.votes": ("arena.guard", "arena.stats"),
    "arena.live": (),
    "arena.record": (),
    "arena.door": (),
    "arena.battle": ("arena.live", "arena.record", "arena.door"),
    "arena.health": (),
    "arena.report": ("arena.report_names",),
    "arena.report_names": (),
    "arena.report_json": ("arena.report",),
    "arena.board": ("arena.report", "arena.report_names"),
    "arena.doctor": (),
    "arena.terminal": ("arena.ui",),
    "arena.cli": ("arena.doctor", "arena.terminal"),
    "arena.__main__": ("arena.cli",),
}
ONLY: dict[str, tuple[str, ...]] = {
    "gradio": ("arena.ui", "app"),
    "plotly": ("arena.ui.plots",),
    "evalica": ("arena.stats",),
    "torch": ("arena.models",),
    "transformers": ("arena.models",),
    "accelerate": ("arena.models",),
    "onnxruntime": ("arena.models",),
    "onnxruntime_genai": ("arena.models",),
    "google": ("arena.models",),
    "openai": ("arena.models",),
    "spaces": ("arena.models", "app"),
    "sqlalchemy": ("arena.votes",),
    "alembic": ("arena.votes",),
}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {"app": ROOT / "app.py"}
    for path in (ROOT / "arena").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def imports(path: Path) -> set[str]:
    """All modules that a file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> tuple[int, str] | None:
    """Layer number and part that a module belongs to; None for the package itself."""
    for number, layer in enumerate(LAYERS):
        for part in layer:
            if module == part or module.startswith(part + "."):
                return number, part
    return None


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_imports_only_go_down(name: str, path: Path) -> None:
    """A lower layer that imports a higher one makes both impossible to use or test alone."""
    if name == "arena":
        assert not imports(path) & set(modules())
        return
    mine = part_of(name)
    assert mine is not None, f"{name} stands in no layer"
    known = modules()
    for target in imports(path):
        if target not in known or target == "arena":
            continue
        theirs = part_of(target)
        assert theirs is not None
        if theirs[1] == mine[1]:
            continue
        if theirs[0] == mine[0]:
            assert theirs[1] in WITHIN.get(mine[1], ()), f"{name} imports its sibling {target}"
        else:
            assert theirs[0] < mine[0], f"{name} imports {target}, which is above it"


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_libraries_stay_in_their_layer(name: str, path: Path) -> None:
    """Gradio in the statistics, or SQL in the page, would tie them together for good."""
    for target in imports(path):
        owners = ONLY.get(target.split(".")[0])
        if owners is not None:
            assert any(name == o or name.startswith(o + ".") for o in owners), f"{name}: {target}"


def test_only_settings_reads_the_environment() -> None:
    """A variable that is read elsewhere is in no documentation and has no check."""
    reads = re.compile(r"getenv|environ(\[|\.get|\b(?!\.setdefault|, ))")
    for name, path in modules().items():
        if name == "arena.settings":
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        sets = re.compile(r'^\s*os\.environ\["\w+"\] = ')
        found = [line for line in lines if reads.search(line) and not sets.match(line)]
        # One module hands its whole environment to a child process.
        allowed = name == "arena.models.embedded" and all("PYTHONPATH" in line for line in found)
        assert not found or allowed, (name, found)


def test_domain_imports_nothing_heavy() -> None:
    """Types that pull in a framework make every test and every tool slow."""
    code = (
        "import sys, arena.domain, arena.errors, arena.presets, arena.models.local;"
        "print([m for m in ('gradio', 'torch', 'transformers', 'sqlalchemy', 'google.genai')"
        " if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"
