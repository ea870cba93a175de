"""A real Postgres server of the tests' own: a private cluster in a temporary folder."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
# The server's shell: it ends the server when the tests' process is gone, however that ended.
KEEPER = '"$0" "$@" & trap "" INT; read -r _; kill -INT $!; wait $!'


def programs() -> Path | None:
    """The folder of the newest initdb that this machine has."""
    at_hand = shutil.which("initdb")
    if at_hand:
        return Path(at_hand).resolve().parent
    found = [path for folder in FOLDERS for path in Path("/").glob(f"{folder[1:]}/initdb")]
    return max(found, key=_version).parent if found else None


def _version(path: Path) -> int:
    """By number: 9 is older than 15."""
    numbers = re.findall(r"\d+", str(path))
    return int(numbers[0]) if numbers else 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A cluster that listens on a socket in its folder and on a port of 127.0.0.1.

    Args:
        bin: where initdb and postgres are.
        durable: with fsync, for the tests that cut the power of the server.
    """

    def __init__(self, bin: Path, *, durable: bool = False) -> None:  # noqa: A002
        self.programs = bin
        self._durable = durable
        # Not pytest's folder, which the server's user can't enter; and a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="arena-pg-", dir="/tmp"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            # Postgres refuses to run as root.
            user = _user()
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", "arena", "-A", "trust", "-N",
            "-E", "UTF8", "--no-locale",
        )  # fmt: skip
        # One user who needs a password, and only by the port.
        hba = self.folder / "data" / "pg_hba.conf"
        rules = hba.read_text()
        hba.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{rules}")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        switch = "on" if self._durable else "off"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": switch,
            "full_page_writes": switch,
            "max_connections": "60",
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            words = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *flags]
            self.process = subprocess.Popen(
                ["sh", "-c", KEEPER, *words],
                cwd=self.folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, **self._as,
            )  # fmt: skip
        end = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def sql(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a query gives, from outside the arena, each in a connection of its own."""
        with psycopg.connect(
            host=str(self.folder), port=self.port, user="arena", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        """The address of one of its databases, by its socket."""
        return f"postgresql+psycopg://arena@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, user: str = "arena") -> str:
        """The same by its port; `user` may be `name:password`."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def _processes(self) -> list[psutil.Process]:
        """All of the server's; each of its children has a process group of its own."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def crash(self) -> None:
        """Ends every process of the server at once, as a power cut does."""
        assert self.process is not None
        self._signal(signal.SIGKILL)
        self.process.communicate()
        self.process = None

    def freeze(self) -> None:
        """Stops every process of the server where it is; connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def stop(self) -> None:
        """Ends the server."""
        if self.process is not None:
            self.process.communicate(timeout=30)  # closes its input, which is the sign to end
            self.process = None

    def close(self) -> None:
        """Ends the server, without the tidying that nobody needs any more, and its folder."""
        if self.process is not None:
            for process in psutil.Process(self.process.pid).children():
                process.send_signal(signal.SIGQUIT)
        self.stop()
        shutil.rmtree(self.folder)


def _user() -> pwd.struct_passwd:
    """Who may run a server here."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("neither a user 'postgres' nor 'nobody'")
