"""Folders that are built once, completely or not at all, by one of several processes."""

from __future__ import annotations

import atexit
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from arena.errors.models import ModelUnavailable
from arena.errors.reasons import ErrorReason

log = logging.getLogger(__name__)

_SIZES_FILE = "complete"
_TIMEOUT_S = 600.0
"""For a build, and for the wait for another process's."""
_LOGGED_CHARACTERS = 4000


def package_missing(label: str, package: str, command: str) -> ModelUnavailable:
    """The error for a package that is not installed; its remedy is the command."""
    return ModelUnavailable(
        label=label, why=ErrorReason.PACKAGE_MISSING, package=package, command=command
    )


def build_once(
    target: Path,
    build: Callable[[Path], None],
    *,
    is_complete: Callable[[Path], bool],
    label: str,
) -> None:
    """Build the folder if it is not there; blocks.

    Args:
        target: the folder; its parent is made, too.
        build: fills an empty folder beside it, which is then moved there in one step.
        is_complete: whether a folder holds all that is needed.
        label: the model's name in messages.

    Raises:
        ModelUnavailable: it cannot be built.
    """
    import filelock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may start at once; the second waits and finds the work done.
        with filelock.FileLock(f"{target}.lock", timeout=_TIMEOUT_S):
            if not is_built(target, is_complete):
                _build_beside(target, build)
    except (OSError, filelock.Timeout, subprocess.SubprocessError) as error:
        raise ModelUnavailable(
            f"{type(error).__name__}: {error}",
            label=label,
            why=ErrorReason.NOT_PREPARED,
            folder=target.parent,
        ) from error


def is_built(folder: Path, is_complete: Callable[[Path], bool]) -> bool:
    """Whether the folder is complete: each file has the size that it had when it was written."""
    try:
        lines = (folder / _SIZES_FILE).read_text(encoding="utf-8").splitlines()
        sizes = {name: int(size) for size, _, name in (line.partition(" ") for line in lines)}
        return is_complete(folder) and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return False


def _build_beside(target: Path, build: Callable[[Path], None]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent))
    try:
        build(scratch)
        sizes = [f"{f.stat().st_size} {f.name}" for f in sorted(scratch.iterdir())]
        (scratch / _SIZES_FILE).write_text("\n".join(sizes), encoding="utf-8")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run_child(
    command: Sequence[str], on_line: Callable[[str], None], env: Mapping[str, str] | None = None
) -> None:
    """Run a program to its end, line by line; it ends with this process.

    Args:
        command: the program and its arguments.
        on_line: takes each line of its output.
        env: its environment; None is this process's own.

    Raises:
        SubprocessError: it failed, or took too long; the log has its last words.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(  # noqa: S603 - our own modules, with our own arguments
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env
        ) as process,
    ):
        atexit.register(process.kill)
        try:
            for line in process.stdout or ():
                on_line(line.strip())
            if process.wait(timeout=_TIMEOUT_S) != 0:
                errors.seek(0)
                log.error(
                    "%s failed:\n%s", " ".join(command[1:4]), errors.read()[-_LOGGED_CHARACTERS:]
                )
                raise subprocess.SubprocessError(f"exit status {process.returncode}")
        finally:
            process.kill()
            atexit.unregister(process.kill)
