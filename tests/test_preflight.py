"""What stops a start or is warned of at it: the real app.py in each environment, and doctor.

A copy of the checkout's outside stands in for it, so that each test has a `.env` of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from arena.doctor import examine
from arena.preflight import Problem, look
from arena.settings import ROOT, load_settings
from tests.browser.conftest import READY_S, answers, free_port, wait_until
from tests.environment import clean_environment, settings_from

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "ARENA_LOCAL_MODEL": "embedded",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that is to the app what the checkout is."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(ROOT / "app.py", folder)
    for name in ("arena", "prompts"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def environment(checkout: Path, **values: str) -> dict[str, str]:
    """What the app finds, with a home folder of its own."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    return {**ENVIRONMENT, "HOME": str(home), "TMPDIR": str(home), **values}


def refused(checkout: Path, values: dict[str, str], cwd: Path | None = None) -> str:
    """What app.py says before it ends by itself."""
    done = subprocess.run(
        [sys.executable, str(checkout / "app.py")], cwd=cwd or checkout, capture_output=True,
        text=True, check=False, env=environment(checkout, **values), timeout=READY_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


REFUSED = {
    "SOCKS": ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY", "pip install socksio"),
    "no scheme": ({"HTTPS_PROXY": "htp://proxy:1"}, "HTTPS_PROXY", "http://proxy.example:8080"),
    "no port": ({"http_proxy": "http://proxy:port"}, "http_proxy", "http://proxy.example:8080"),
    "no host": ({"HTTP_PROXY": "http://"}, "HTTP_PROXY", "http://proxy.example:8080"),
    "NO_PROXY": ({"NO_PROXY": "a:b"}, "NO_PROXY", "NO_PROXY=10.0.0.1"),
    "certificates": ({"SSL_CERT_FILE": "/no/file"}, "SSL_CERT_FILE", "Correct SSL_CERT_FILE"),
    "no certificates": ({"SSL_CERT_FILE": "/dev/null"}, "SSL_CERT_FILE", "PEM"),
    "upload folder": ({"GRADIO_TEMP_DIR": "/dev/null/x"}, "GRADIO_TEMP_DIR", "can write"),
    "word as port": ({"GRADIO_SERVER_PORT": "web"}, "GRADIO_SERVER_PORT", "PORT=7860"),
    "large port": ({"GRADIO_SERVER_PORT": "70000"}, "GRADIO_SERVER_PORT", "1 to 65535"),
    "other machine": ({"GRADIO_SERVER_NAME": "192.0.2.1"}, "192.0.2.1", "GRADIO_SERVER_NAME"),
    "name with port": ({"GRADIO_SERVER_NAME": "http://x/"}, "GRADIO_SERVER_NAME", "127.0.0.1"),
    "number of ports": ({"GRADIO_NUM_PORTS": "few"}, "GRADIO_NUM_PORTS", "=100"),
    "timeout": ({"HF_HUB_DOWNLOAD_TIMEOUT": "1 min"}, "HF_HUB_DOWNLOAD_TIMEOUT", "=10"),
    "root path": ({"GRADIO_ROOT_PATH": "a b"}, "GRADIO_ROOT_PATH", "/arena"),
    "sign-in": ({"SPACE_ID": "a/b", "OAUTH_CLIENT_ID": "x"}, "OAUTH_CLIENT_SECRET", "hf_oauth"),
    "store": ({"ARENA_DATABASE_URL": "sqlite:////dev/null/a.db"}, "/dev/null/a.db", "File exists"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "variable", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_would_end_in_a_library_is_refused_before(
    checkout: Path, values: dict[str, str], variable: str, remedy: str
) -> None:
    """One sentence with the variable and the remedy, in place of a library's traceback."""
    said = refused(checkout, values)
    assert variable in said
    assert remedy in said


@pytest.mark.parametrize("values", [REFUSED["SOCKS"][0], REFUSED["other machine"][0]])
async def test_doctor_says_the_same(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Doctor has the start's finding, and loads nothing that would fail of it."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = settings_from(values)
    (problem,) = [problem for problem in look(settings) if problem.stops]
    found = {finding.value: finding for finding in await examine(settings)}
    assert found[problem.error.sentence].state == "bad"
    assert found[problem.error.sentence].remedy == problem.error.remedy_text
    assert not any(finding.name == "device" for finding in found.values())


def test_a_refusal_comes_before_large_imports(checkout: Path) -> None:
    """A start that is refused takes a second, not ten."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "app.py"], cwd=checkout, capture_output=True,
        text=True, check=False, env=environment(checkout, SSL_CERT_FILE="/no/file"),
    )  # fmt: skip
    assert done.returncode == 1
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "arena.preflight" in imported
    assert imported.isdisjoint({"gradio", "torch", "transformers", "sqlalchemy", "google.genai"})


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("GEMINI_API_KEY=abc\n".encode("utf-16"), "UTF-16"),
        ("GEMINI_API_KEY=abc\n".encode("utf-16-le"), "UTF-16"),
        ("# 鍵\nGEMINI_API_KEY=abc\n".encode("cp932"), "Shift_JIS"),
        ("# clé\nGEMINI_API_KEY=abc\n".encode("latin-1"), "another encoding"),
    ],
)
def test_an_env_file_in_another_encoding_is_named(
    checkout: Path, raw: bytes, encoding: str
) -> None:
    """The start says which file it is, and what it looks like; no key is shown."""
    (checkout / ".env").write_bytes(raw)
    said = refused(checkout, {}, cwd=checkout.parent)
    assert f"{checkout / '.env'} is not text in UTF-8; it looks like {encoding}." in said
    assert "UTF-8" in said.splitlines()[1]
    assert "abc" not in said


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"TMPDIR": "/no/folder"}, "TMPDIR"),
        ({"REQUESTS_CA_BUNDLE": "/no/file"}, "REQUESTS_CA_BUNDLE"),
        ({"CURL_CA_BUNDLE": "/no/file"}, "CURL_CA_BUNDLE"),
        ({"SSL_CERT_DIR": "/no/folder"}, "SSL_CERT_DIR"),
        ({"ARENA_CACHE_DIR": "/dev/null/cache"}, "ARENA_CACHE_DIR"),
        ({"HF_HOME": "/dev/null/hub"}, "HF_HOME"),
    ],
)
def test_what_a_library_would_do_without_is_a_warning(values: dict[str, str], named: str) -> None:
    """The arena starts, and its owner hears what is not there."""
    with clean_environment():
        os.environ.update(values)
        found = look(load_settings(Path(os.devnull)))
    assert [problem.about for problem in found if not problem.stops] == [named]
    assert not any(problem.stops for problem in found)


def test_a_user_without_a_home_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number: libraries would make a folder named ~."""
    monkeypatch.setattr("pwd.getpwuid", dict[int, object]().__getitem__)
    with clean_environment():
        del os.environ["HOME"]
        (problem,) = [each for each in look(load_settings(Path(os.devnull))) if each.stops]
    assert problem.about == "HOME"


def test_a_folder_that_was_removed_does_not_keep_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell's folder is looked at only where there is one."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert stops({}) == []


def test_a_port_in_use_is_named_only_where_it_was_chosen() -> None:
    """A chosen port is never silently another one; without a choice, another one will do."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        (problem,) = stops({"GRADIO_SERVER_PORT": str(port)})
        assert str(port) in problem.error.sentence
        assert "GRADIO_SERVER_PORT" in problem.error.remedy_text
    assert stops({"GRADIO_SERVER_PORT": str(port)}) == []
    assert stops({"GRADIO_SERVER_PORT": " "}) == []


def stops(values: dict[str, str]) -> list[Problem]:
    """What stops a start in that environment."""
    with clean_environment():
        os.environ.update(values)
        return [each for each in look(load_settings(Path(os.devnull))) if each.stops]


@pytest.mark.parametrize("given", ["", "10.0.0.0/8,[::1]", "*", ".example.com"])
def test_this_machine_is_never_reached_through_a_proxy(given: str) -> None:
    """Gradio asks its own address at the start; what the owner excluded stays excluded."""
    with clean_environment():
        os.environ |= {"HTTP_PROXY": "http://127.0.0.1:9", "GRADIO_SERVER_NAME": "10.1.2.3"}
        os.environ.pop("no_proxy", None)
        os.environ["NO_PROXY"] = given
        load_settings(Path(os.devnull))
        proxies = os.environ["NO_PROXY"].split(",")
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    if given == "*":
        assert proxies == ["*"]
        return
    assert {"localhost", "127.0.0.1", "::1", "10.1.2.3"} <= set(proxies)
    assert {host.strip("[]") for host in given.split(",") if host} <= set(proxies)


@contextmanager
def started(checkout: Path, cwd: Path, **values: str) -> Iterator[tuple[str, Path]]:
    """The app, once its page is served: the page's address, and what the app said."""
    log = checkout.parent / "app.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-u", str(checkout / "app.py")], cwd=cwd, stdout=out, stderr=out,
            env=environment(checkout, **values),
        )  # fmt: skip
    try:
        wait_until(
            lambda: process.poll() is not None or "local URL" in log.read_text(), READY_S, "it"
        )
        assert process.poll() is None, log.read_text()
        found = re.search(r"local URL:\s+(\S+)", log.read_text())
        assert found is not None
        yield found[1], log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(READY_S)


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Serves in a thread."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Proxy(socketserver.ThreadingTCPServer):
    """Counts who connects, and hangs up."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def process_request(self, request: object, client_address: object) -> None:
        self.asked += 1
        self.shutdown_request(request)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_page_is_served_beside_a_proxy_on_ipv6_and_with_a_store_of_any_name(
    checkout: Path, embedded_cache: Path
) -> None:
    """The start works, asks the proxy for nothing here, and says where the votes are."""
    name = "私の votes #1?100%"
    (checkout / ".env").write_text(f"ARENA_DATABASE_URL='sqlite:///~/{name}/arena.db'\n")
    with Proxy() as proxy, running(proxy):
        values = {
            "HTTP_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
            "NO_PROXY": "10.0.0.0/8,[::1]",
            "GRADIO_SERVER_NAME": "::",
            "GRADIO_SERVER_PORT": str(free_port()),
            "GRADIO_ROOT_PATH": "",
            "ARENA_CACHE_DIR": str(embedded_cache),
        }
        with started(checkout, checkout.parent, **values) as (url, log):
            here = url.replace("[::]", "[::1]")
            wait_until(lambda: answers(here), READY_S, "the page")
            said = log.read_text()
        assert proxy.asked == 0
    store = checkout.parent / "home" / name / "arena.db"
    assert store.is_file()
    assert f"battles and votes are in {store}\n" in said
    assert not (checkout / "data").exists()


@pytest.mark.slow
def test_without_a_choice_a_free_port_is_taken_and_said(
    checkout: Path, embedded_cache: Path
) -> None:
    """7860 may be another arena's; the log says where the page is and how to choose."""
    with ExitStack() as stack:
        with suppress(OSError):  # then another program has it
            stack.enter_context(socket.create_server(("127.0.0.1", 7860)))
        cache = str(embedded_cache)
        url, log = stack.enter_context(started(checkout, checkout.parent, ARENA_CACHE_DIR=cache))
        assert ":7860" not in url
        wait_until(lambda: answers(url), READY_S, "the page")
        wait_until(lambda: "port 7860" in log.read_text(), READY_S, "the warning")
        warning = next(line for line in log.read_text().splitlines() if "port 7860" in line)
    assert url.rstrip("/") in warning
    assert "GRADIO_SERVER_PORT" in warning
    assert (checkout / "data" / "arena.db").is_file()
    assert not (checkout.parent / "data").exists()


@pytest.mark.slow
def test_no_port_left_is_a_sentence(checkout: Path) -> None:
    """Gradio's own search for a port may end without one."""
    with ExitStack() as stack:
        with suppress(OSError):  # then another program has it
            stack.enter_context(socket.create_server(("127.0.0.1", 7860)))
        said = refused(checkout, {"GRADIO_NUM_PORTS": "1"})
    assert "Port 7860 is in use" in said
    assert "GRADIO_SERVER_PORT" in said


def test_commands_and_page_use_one_store_and_one_env_file(checkout: Path, tmp_path: Path) -> None:
    """From any folder it is the store beside app.py, and a second one is named, not used."""
    shell = tmp_path / "shell"
    (shell / "data").mkdir(parents=True)
    (shell / "data" / "arena.db").touch()
    (shell / ".env").write_text("ARENA_LANGUAGE=wrong\n")
    (checkout / ".env").write_text("ARENA_LANGUAGE=ja\n")
    values = environment(checkout, PYTHONPATH=str(checkout))
    done = subprocess.run(
        [sys.executable, "-m", "arena", "leaderboard"], cwd=shell, capture_output=True, text=True,
        check=False, env=values,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search("[ぁ-ん]", done.stdout)
    assert (checkout / "data" / "arena.db").stat().st_size > 0
    assert (shell / "data" / "arena.db").stat().st_size == 0
    assert f"{shell / '.env'} is not read." in done.stderr
    assert str(shell / "data" / "arena.db") in done.stderr
    assert str(checkout / "data" / "arena.db") in done.stderr
