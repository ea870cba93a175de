"""No text, however it is written, takes more than linear time to read."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What may be called with a pattern that is text: none of it reads a text.
HARMLESS = {"compile", "escape"}


@pytest.mark.slow
def test_every_reader_of_peoples_text_is_linear() -> None:
    """Each pattern and reader takes little CPU time for 100,000 characters of any kind."""
    command = [sys.executable, "-m", "tests.pattern_worker"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.rstrip().rpartition("\n")[2]
    assert last.startswith("done "), f"{last}: {done.stderr[-2000:]}"
    assert int(last.split()[1]) > 30


def test_patterns_are_found() -> None:
    """Patterns are compiled where a module begins, so that the test above sees them."""
    strays = []
    for path in (ROOT / "arena").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(called, ast.Attribute)
                and isinstance(called.value, ast.Name)
                and called.value.id == "re"
                and called.attr not in HARMLESS
            ):
                strays.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert strays == []
