"""Folders that are made once, whole or not at all, by one of several processes."""

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

_DONE = "complete"
_TIMEOUT_S = 600.0


def make_once(
    target: Path,
    make: Callable[[Path], None],
    *,
    whole: Callable[[Path], bool],
    label: str,
) -> None:
    """Make the folder if it is not there; blocks.

    Args:
        target: the folder; where it lies is made too.
        make: fills an empty folder that lies beside it, which is then moved there in one step.
        whole: whether a folder holds all that is needed.
        label: the model's name in messages.

    Raises:
        ModelUnavailable: it cannot be made.
    """
    import filelock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may start at once; the second waits and finds the work done.
        with filelock.FileLock(f"{target}.lock", timeout=_TIMEOUT_S):
            if not is_made(target, whole):
                _make(target, make)
    except (OSError, filelock.Timeout, subprocess.SubprocessError) as error:
        raise ModelUnavailable(
            f"{type(error).__name__}: {error}",
            label=label,
            why=ErrorReason.NOT_PREPARED,
            folder=target.parent,
            remedy=ErrorReason.DO_SET_CACHE,
        ) from error


def is_made(folder: Path, whole: Callable[[Path], bool]) -> bool:
    """Whether the folder is whole: each file has the size that it had when it was written."""
    try:
        lines = (folder / _DONE).read_text(encoding="utf-8").splitlines()
        sizes = {name: int(size) for size, _, name in (line.partition(" ") for line in lines)}
        return whole(folder) and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return False


def _make(target: Path, make: Callable[[Path], None]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent))
    try:
        make(made)
        sizes = [f"{f.stat().st_size} {f.name}" for f in sorted(made.iterdir())]
        (made / _DONE).write_text("\n".join(sizes), encoding="utf-8")
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


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
                log.error("%s failed:\n%s", " ".join(command[1:4]), errors.read()[-4000:])
                raise subprocess.SubprocessError(f"exit status {process.returncode}")
        finally:
            process.kill()
            atexit.unregister(process.kill)
