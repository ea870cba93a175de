"""Ctrl-C, whenever it comes: exit code 130, at most one line, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arena.interrupt import STATUS

ROOT = Path(__file__).parents[1]
# Imported in place of a library: the signal comes in the middle of its import.
INTERRUPTED = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
raise ImportError("half a library")
"""

# The signal comes when a library is about to be imported, which then goes on.
WHEN_IMPORTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, *_):
        if name == "{}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
"""


def run(folder: Path, *command: str, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """A process of ours that finds the modules of the folder before all others."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder)}
    environment |= {
        "ARENA_DATABASE_URL": f"sqlite:///{folder / 'arena.db'}",
        "ARENA_CACHE_DIR": str(folder / "cache"),
        "ARENA_LOCAL_MODEL": "embedded",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("dotenv", "app.py"),  # at the start
        ("sqlalchemy", "app.py"),  # once the settings are read
        ("gradio", "app.py"),  # once the store is open
        ("dotenv", "-m arena doctor"),
    ],
)
def test_an_interrupted_import_leaves_no_traceback(
    tmp_path: Path, library: str, command: str
) -> None:
    """Whichever library it is that is being imported."""
    (tmp_path / f"{library}.py").write_text(INTERRUPTED, encoding="utf-8")
    done = run(tmp_path, *command.split())
    assert done.returncode == STATUS == 130
    assert "Traceback" not in done.stderr
    assert "half a library" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if " INFO " not in line]


@pytest.mark.parametrize("library", ["psutil", "rich"])
def test_an_interrupted_command_says_so_in_one_line(tmp_path: Path, library: str) -> None:
    """It has begun: what it holds is let go first."""
    (tmp_path / "sitecustomize.py").write_text(WHEN_IMPORTED.format(library), encoding="utf-8")
    done = run(tmp_path, "-m", "arena", "doctor")
    assert done.returncode == STATUS
    assert done.stderr == "interrupted\n"


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path: Path) -> None:
    """A background job of a shell goes on."""
    (tmp_path / "psutil.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos._exit(7)", encoding="utf-8"
    )
    assert run(tmp_path, "-m", "arena", "doctor", ignored=True).returncode == 7
