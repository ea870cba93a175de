"""Nothing leaves this machine but what the owner configured, and no file is left elsewhere.

A whole life of the app is watched with strace: it sees the system calls of every process and
thread, whatever language made them, which no hook inside Python does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.browser.conftest import READY_S, answers, free_port, wait_until
from tests.dataset.hub_server import DATASET, TOKEN, running_hub
from tests.models.remote import openai_server
from tests.models.remote.gemini_server import running_server
from tests.models.remote.loopback import in_a_thread

ROOT = Path(__file__).parents[1]
OFF = {
    "ORT_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
MAKES = re.compile(r"\b(?:open|openat|creat|mkdir|mkdirat|rename\w*|link\w*|symlink\w*|mknod\w*)\(")
TALKS = re.compile(r"\b(?:connect|sendto|sendmsg|sendmmsg)\(")
PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
ADDRESS = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
RESOLVERS = ("/nscd/socket", "/systemd/resolve/", "/avahi-daemon/")
LOCAL = "smollm2-135m"
# No measurement: converting takes half a minute where nothing else runs.
CONVERTED_S = 900
DNS_PORTS = {"53", "853", "5353"}
MODELS = """
[models.far]
kind = "openai"
base_url = "{url}"
model = "far"
label = "Far"
"""


class Watch:
    """What strace saw.

    Args:
        log: the file that it wrote.
    """

    def __init__(self, log: Path) -> None:
        self.lines = log.read_text(errors="replace").splitlines()

    def made(self) -> set[Path]:
        """Every file and folder that was made, also those that are gone again."""
        return {Path(path) for line in self.lines for path in self._made_by(line)}

    def _made_by(self, line: str) -> list[str]:
        if not MAKES.search(line) or " = -1 " in line or "<unfinished" in line:
            return []
        if "open" in line.split("(", maxsplit=1)[0] and "O_CREAT" not in line:
            return []
        *_, name = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
        folders = re.findall(r"(?:AT_FDCWD|\b\d+)<([^>]*)>", line.split(" = ", 1)[0])
        return [os.path.normpath(os.path.join(folders[-1] if folders else "/", name))]  # noqa: PTH118

    def looked_up(self) -> list[str]:
        """The calls that asked for a name's address."""
        return [
            line
            for line in self.lines
            if TALKS.search(line)
            and (
                any(port in DNS_PORTS for port in PORT.findall(line))
                or (" = -1 " not in line and any(name in line for name in RESOLVERS))
            )
        ]

    def called_out(self) -> list[str]:
        """The calls to addresses that are not this machine's own."""
        return [
            line
            for line in self.lines
            if TALKS.search(line)
            and any(
                not address.startswith(("127.", "::1", "::ffff:127."))
                for address in ADDRESS.findall(line)
            )
        ]


@contextmanager
def watched(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command under strace, which is no parent of it: signals reach it as always."""
    if shutil.which("strace") is None:
        message = "NO STRACE HERE: what leaves the arena is not watched. Install 'strace'."
        if os.environ.get("ARENA_TEST_NO_SKIP") and sys.platform == "linux":
            pytest.fail(message)
        pytest.skip(message)
    calls = "open,openat,creat,mkdir,mkdirat,/^rename,/^link,/^symlink,/^mknod,connect,/^send"
    strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-y",
        "-s",
        "200",
        "--seccomp-bpf",
        "-e",
        f"trace={calls}",
    ]
    with subprocess.Popen([*strace, "-o", str(log), "--", *command], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_watch_sees_look_ups_and_files(tmp_path: Path) -> None:
    """A name that is asked for in C, and a file made by a child of a child, are both seen."""
    code = (
        "import pathlib, socket, subprocess, sys\n"
        "try: socket.getaddrinfo('telemetry.invalid', 443)\n"
        "except OSError: pass\n"
        "subprocess.run([sys.executable, '-c', 'open(\"made\", \"w\")'])\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))\n"
    )
    log = tmp_path / "strace.log"
    with watched([sys.executable, "-c", code], log, cwd=tmp_path) as process:
        assert process.wait(READY_S) == 0
    wait_until(lambda: "192.0.2.1" in log.read_text(errors="replace"), READY_S, "the last call")
    watch = Watch(log)
    assert tmp_path / "made" in watch.made()
    assert any("192.0.2.1" in line for line in watch.called_out())
    assert watch.looked_up()


def test_telemetry_is_off_whatever_the_environment_says(tmp_path: Path) -> None:
    """The first import of the arena turns it off, and a `.env` does not turn it on again."""
    wrong = {name: "0" if value == "1" else "True" for name, value in OFF.items()}
    dotenv = tmp_path / ".env"
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in wrong.items()))
    code = (
        "import sys, pathlib, arena.settings, os\n"
        f"arena.settings.load_settings(pathlib.Path({str(dotenv)!r}))\n"
        f"print({{name: os.environ[name] for name in {sorted(OFF)}}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **wrong},
    )  # fmt: skip
    assert eval(done.stdout) == OFF  # noqa: S307 -- our own words


@pytest.mark.parametrize("library", ["onnxruntime", "onnxruntime_genai"])
def test_a_library_that_is_imported_after_the_arena_leaves_no_file(
    tmp_path: Path, library: str
) -> None:
    """Both write a device id under the home folder as soon as they are imported, if they may."""
    pytest.importorskip("onnxruntime")
    log, home = tmp_path / "strace.log", tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", f"import arena, {library}"]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    with watched(command, log, cwd=ROOT, env=env) as process:
        assert process.wait(READY_S) == 0
    watch = Watch(log)
    assert [path for path in watch.made() if path.is_relative_to(home)] == []
    assert watch.looked_up() == []
    assert [*home.rglob("*")] == []


@pytest.mark.slow
def test_a_life_of_the_app_leaves_no_file_and_asks_for_no_name(tmp_path: Path) -> None:
    """A start, a conversion to four bits, battles, a copy to the Hub, an end: all under watch."""
    home, own = tmp_path / "home", tmp_path / "own"
    home.mkdir()
    (own / "tmp").mkdir(parents=True)
    log, port = tmp_path / "strace.log", free_port()
    with (
        running_hub() as hub,
        running_server() as gemini,
        in_a_thread(openai_server.OpenAiServer()) as engine,
        (tmp_path / "app.log").open("wb") as out,
    ):
        models = own / "models.toml"
        models.write_text(MODELS.format(url=engine.url))
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(own / "tmp"),
            "HF_HOME": str(own / "hf"),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "ARENA_VOTES_DATASET": DATASET,
            "ARENA_CACHE_DIR": str(own / "cache"),
            "ARENA_DATABASE_URL": f"sqlite:///{own / 'data' / 'arena.db'}",
            "ARENA_LOCAL_MODEL": "embedded",
            "ARENA_LOCAL_ENGINE": "onnx",
            "ARENA_MODELS": str(models),
            "GEMINI_API_KEY": "test-key-of-nobody",
            "GEMINI_BASE_URL": gemini.url,
            "GRADIO_SERVER_PORT": str(port),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "2",
        }
        command = [sys.executable, "app.py"]
        with watched(command, log, cwd=ROOT, env=env, stdout=out, stderr=out) as process:
            url = f"http://127.0.0.1:{port}/"
            ended = f"the app ended, see {out.name}"
            wait_until(lambda: answers(url) or process.poll() is not None, READY_S, "the page")
            assert process.poll() is None, ended
            battles(url, own / "cache")
            process.send_signal(signal.SIGTERM)
            assert process.wait(READY_S) == 0, ended
        asked = {path for _, path in hub.requests if DATASET not in path}
    watch = Watch(log)
    assert any(path.is_relative_to(own / "cache") for path in watch.made()), "it was not watched"
    outside = {
        path
        for path in watch.made()
        if not path.is_relative_to(own) and not path.is_relative_to("/dev")
    }
    assert outside == set()
    assert [*home.rglob("*")] == []
    assert watch.looked_up() == []
    assert watch.called_out() == []
    assert asked <= {"/api/repos/create", "/api/validate-yaml"}, (
        "the Hub is asked for the copy alone"
    )


def battles(url: str, cache: Path) -> None:
    """The local model against each of the others, once it is converted and loaded."""
    wait_until(lambda: any(cache.glob("*int4*/genai_config.json")), CONVERTED_S, "four bits")
    arena = Client(url, verbose=False)

    def answered(other: str) -> bool:
        try:
            done = arena.predict("Hi", LOCAL, other, max_new_tokens=16, api_name="/compare")
        except AppError as error:
            if "no_contestants" not in str(error):
                raise
            return False
        assert done["a"]["text"], done
        assert done["b"]["text"], done
        return True

    try:
        for other in ("gemini", "far"):
            wait_until(partial(answered, other), CONVERTED_S, f"a battle with {other}")
    finally:
        arena.close()
