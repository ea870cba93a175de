"""The lines that this process adds to the copy, in a folder of its own.

    <root>/<process>/data/<UTC time>-<random>.jsonl    what the scheduler pushes
    <root>/<process>/hub/                              what was downloaded, while it is read
    <root>/<process>/.lock                             held for as long as the process lives

No file has two writers, here or on the Hub, so no line of one process can overwrite another's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import IO

from arena.dataset.hub_index import Source

_log = logging.getLogger(__name__)

FILE_BYTES = 1024 * 1024
"""Where the next file begins. A push sends a changed file whole, so this bounds it, and keeps it
below the size from which the Hub wants its large-file storage."""

_LOCK, _DATA, _HUB = ".lock", "data", "hub"


class Spool:
    """This process's files. Not safe for threads: whoever calls holds the journal's lock.

    The folder is made with the first line, so that a folder which can't be made stops no start.

    Args:
        root: the folder of all processes that copy to this dataset; without symbolic links.
        file_bytes: as `FILE_BYTES`.
    """

    def __init__(self, root: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self.root = root
        self._file_bytes = file_bytes
        self._guard: IO[bytes] | None = None
        self._file: FileIO | None = None
        self._size = 0
        self._name_folder()

    def open(self) -> None:
        """Makes the folder and holds its lock.

        Raises:
            OSError: it can't be made.
        """
        if self._guard is not None:
            self.data.mkdir(parents=True, exist_ok=True)
            return
        # Locked before it has its name: nobody may take it for one that was left behind.
        hidden = self.root / f".{self.folder.name}"
        (hidden / _DATA).mkdir(parents=True, exist_ok=True)
        guard = (hidden / _LOCK).open("wb")
        # A file system without locks has them for nobody: then no folder is ever taken over.
        with contextlib.suppress(OSError):
            _lock(guard)
        try:
            hidden.rename(self.folder)
        except OSError:
            guard.close()
            raise
        self._guard = guard

    def append(self, line: bytes) -> None:
        """Adds a line, whole or not at all.

        Raises:
            OSError: it can't be written, or somebody removed the file. The next line is tried in a
                new file where this one can't be mended.
        """
        if self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0:
            self._drop_file()
            raise _removed(self._path)
        if self._file is None or self._size >= self._file_bytes:
            self._next_file()
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            _write(self._file, line)
        except OSError:
            self._mend(self._file)
            raise
        self._size += len(line)

    def check(self) -> None:
        """Whether all files are still there: a cleaner of caches may have taken them.

        Raises:
            OSError: one is not. It is not looked for again.
        """
        lost = {path for path in self._made if not path.exists()}
        self._made -= lost
        for path in lost:
            if path == self._path:
                self._drop_file()
            raise _removed(path)

    def sizes(self) -> dict[Path, int]:
        """The files and their sizes."""
        return {path: path.stat().st_size for path in sorted(self.data.glob("*.jsonl"))}

    def sources(self) -> list[Source]:
        """The same as files of the copy."""
        return [Source(path, f"{_DATA}/{path.name}", size) for path, size in self.sizes().items()]

    def adopt(self, pushed: Mapping[str, int]) -> int:
        """Takes over what processes left here that ended without pushing it, e.g. were killed.

        Args:
            pushed: the sizes of the files on the Hub, by their names there.

        Returns:
            The number of lines that were taken over.

        Raises:
            OSError: a file can't be moved; it stays.
        """
        self.open()
        lines = 0
        with _left_behind(self.root) as folders:
            for folder in folders:
                for path in (folder / _DATA).glob("*.jsonl"):
                    if path.stat().st_size > pushed.get(f"{_DATA}/{path.name}", 0):
                        # Under a new name: nothing that is on the Hub is overwritten by it.
                        target = self.data / f"{_new_name()}.jsonl"
                        path.rename(target)
                        self._made.add(target)
                        lines += target.read_bytes().count(b"\n")
                shutil.rmtree(folder, ignore_errors=True)
        return lines

    def close(self, *, remove: bool) -> None:
        """Closes the file and lets the folder go; a line after this begins another one."""
        self._drop_file()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
            self._name_folder()

    def _name_folder(self) -> None:
        self.folder = self.root / _new_name()
        self.data = self.folder / _DATA
        self.hub = self.folder / _HUB
        self._path = self.data
        self._made: set[Path] = set()

    def _next_file(self) -> None:
        self._drop_file()
        self.open()
        self._path = self.data / f"{_new_name()}.jsonl"
        self._file = FileIO(self._path, "xb")
        self._made.add(self._path)

    def _mend(self, file: FileIO) -> None:
        """Takes a part of a line away again; where that fails, it stays the last of its file."""
        try:
            file.truncate(self._size)
            file.seek(self._size)
        except OSError:
            _log.warning("%s ends in its middle", self._path, exc_info=True)
            self._drop_file()

    def _drop_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # nothing is buffered
                self._file.close()
        self._file, self._size = None, 0


def _new_name() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"


def _write(file: FileIO, line: bytes) -> None:
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def _removed(path: Path) -> OSError:
    return OSError(errno.ENOENT, "it was removed", str(path))


@contextmanager
def _left_behind(root: Path) -> Iterator[list[Path]]:
    """Folders whose process has ended, held so that no other process takes them too."""
    with contextlib.ExitStack() as stack:
        found: list[Path] = []
        for folder in sorted(root.glob("[!.]*/")):
            try:
                _lock(stack.enter_context((folder / _LOCK).open("r+b")))
            except OSError:
                continue  # alive, or on a file system without locks
            found.append(folder)
        yield found


def _lock(file: IO[bytes]) -> None:
    """Takes the lock, which the system takes back when the process ends in any way.

    Raises:
        OSError: another process has it.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
