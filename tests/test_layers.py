"""The order of `docs/architecture.md`: a module imports from lower floors only, never in a circle.

Imports inside functions and under TYPE_CHECKING count like all others.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The floors from the top down. A room may import from the floors below its own, and from itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("app", "arena.__main__"),
    ("arena.cli",),
    ("arena.ui",),
    ("arena.leaderboard", "arena.battle", "arena.doctor"),
    ("arena.dataset",),
    ("arena.store", "arena.models"),
    ("arena.stats", "arena.preflight"),
    ("arena.blind", "arena.settings", "arena.presets"),
    ("arena.env_file",),
    ("arena.domain", "arena.errors", "arena.concurrency", "arena.telemetry", "arena.interrupt"),
)
# Inside the two rooms that hold others.
INNER_FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "arena.models": (
        ("arena.models.registry",),
        ("arena.models.variant",),
        ("arena.models.local", "arena.models.remote"),
        ("arena.models.base", "arena.models.models_file"),
    ),
    "arena.models.local": (
        ("arena.models.local.model",),
        ("arena.models.local.load", "arena.models.local.embedded"),
        ("arena.models.local.transformers", "arena.models.local.onnx"),
        (
            "arena.models.local.spec",
            "arena.models.local.build_cache",
            "arena.models.local.chat_template",
            "arena.models.local.device",
            "arena.models.local.noise",
        ),
        ("arena.models.local.download",),
        ("arena.models.local.memory",),
        ("arena.models.local.engine",),
    ),
}
# Which rooms may use a library.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "gradio": ("arena.ui", "app"),
    "plotly": ("arena.ui.plots",),
    "rich": ("arena.ui.terminal",),
    "scipy": ("arena.stats",),
    "torch": ("arena.models",),
    "transformers": ("arena.models",),
    "accelerate": ("arena.models",),
    "onnx": ("arena.models",),
    "onnxruntime": ("arena.models",),
    "onnxruntime_genai": ("arena.models",),
    "google": ("arena.models",),
    "openai": ("arena.models",),
    "genai_prices": ("arena.models",),
    "spaces": ("arena.models", "app"),
    "sqlalchemy": ("arena.store",),
    "alembic": ("arena.store",),
}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {"app": ROOT / "app.py"}
    for path in (ROOT / "arena").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> frozenset[str]:
    """All modules and names that a module imports, wherever in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(name: str) -> set[str]:
    """The project's modules that a module imports; of a package and its module, the module."""
    found = {target for target in imports(name) if target in MODULES} - {"arena", name}
    return {t for t in found if not any(other.startswith(f"{t}.") for other in found)}


def floor_of(name: str, floors: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    """Number of the floor, counted from the top, and the room on it; None if it is on none."""
    for number, floor in enumerate(floors):
        for room in floor:
            if name == room or name.startswith(f"{room}."):
                return number, room
    return None


def test_every_module_stands_on_a_floor() -> None:
    """A module that is on no floor may import whatever it likes."""
    lost = [name for name in MODULES if name != "arena" and floor_of(name, FLOORS) is None]
    assert not lost


def test_every_floor_names_what_is_there() -> None:
    """A room that was renamed must not leave an unused name, which checks nothing, behind."""
    floors = (*FLOORS, *(floor for inner in INNER_FLOORS.values() for floor in inner))
    assert {room for floor in floors for room in floor} <= set(MODULES)


PACKAGES = sorted(path.parent for path in (ROOT / "arena").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_package_says_what_its_files_are(package: Path) -> None:
    """The docstring of a package is the map of its folder: each file and folder is in it."""
    if package.name in ("versions", "bias"):
        return  # one file per change and one per check: their names and first lines say it
    text = (package / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    names = {path.name for path in package.iterdir()} - {"__init__.py", "__pycache__"}
    assert {name for name in names if name not in docstring} == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_only_go_down(name: str) -> None:
    """A lower room that imports a higher one makes both impossible to use or test alone."""
    for floors in (FLOORS, *INNER_FLOORS.values()):
        mine = floor_of(name, floors)
        for target in own_imports(name) if mine else ():
            theirs = floor_of(target, floors)
            if mine is None or theirs is None or theirs[1] == mine[1]:
                continue
            assert mine[0] < theirs[0], f"{name} imports {target}, which is not below it"


def test_no_circles() -> None:
    """Modules in a circle can only be read, tested and moved together."""
    graph = {name: own_imports(name) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_libraries_stay_in_their_room(name: str) -> None:
    """Gradio in the statistics, or SQL in the page, would tie them together for good."""
    for target in imports(name):
        owners = LIBRARIES.get(target.split(".")[0])
        if owners is not None:
            assert any(name == o or name.startswith(f"{o}.") for o in owners), f"{name}: {target}"


def test_only_settings_reads_the_environment() -> None:
    """A variable that is read elsewhere is in no documentation and has no check.

    The preflight looks at the libraries' own variables, which they read by themselves.
    """
    reads = re.compile(r"getenv|environ(\[|\.get|\b(?!\.setdefault|, ))")
    sets = re.compile(r'^\s*os\.environ\["\w+"\] = ')
    for name, path in MODULES.items():
        if name in ("arena.settings", "arena.preflight"):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if reads.search(line) and not sets.match(line)]
        # One module hands its whole environment to a child process.
        allowed = name == "arena.models.local.embedded" and all(
            "PYTHONPATH" in line for line in found
        )
        assert not found or allowed, (name, found)


def test_domain_imports_nothing_heavy() -> None:
    """Types that pull in a framework make every test and every tool slow."""
    code = (
        "import sys, arena.domain, arena.errors.base, arena.presets, arena.models.local.model;"
        "print([m for m in ('gradio', 'torch', 'transformers', 'sqlalchemy', 'google.genai')"
        " if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"
