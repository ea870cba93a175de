"""What would stop a start, or surprise the owner at it.

It is looked at before any large library is imported. `app.py` and `doctor` share it, so both say
the same.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from arena.env_file import names_in, odd_lines, read_env_file
from arena.errors.base import ArenaError, SettingsError
from arena.errors.start import (
    AddressUnusable,
    BadCertificates,
    EnvFileElsewhere,
    FolderClosed,
    MissingFile,
    MisspeltVariable,
    PortTaken,
    SocksMissing,
    StoreElsewhere,
    UnknownVariable,
)
from arena.settings import EMBEDDED, ENV_FILE, VARIABLES, Settings, hidden_userinfo, sqlite_file

DEFAULT_PORT = 7860
"""Gradio's own, from which it looks for a free one."""
_OURS = ("ARENA_", "GEMINI_")
_NO_SETTINGS = "ARENA_TEST_"
"""The test suite's own variables."""
_ALSO_READ = ("GOOGLE_API_KEY",)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CERTIFICATES = ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Gradio and huggingface_hub make numbers of them when they are imported.
_WHOLE_NUMBERS = {
    "GRADIO_NUM_PORTS": "100",
    "HF_HUB_DOWNLOAD_TIMEOUT": "10",
    "HF_HUB_ETAG_TIMEOUT": "10",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not right.

    Attributes:
        about: the variable or the thing that it is about.
        error: its sentence and remedy.
        stops: whether the arena can't start with it; otherwise it is a warning.
    """

    about: str
    error: ArenaError
    stops: bool


def look(settings: Settings, env_file: Path = ENV_FILE) -> list[Problem]:
    """Everything that is not right with the environment, `.env`, folders, proxies and the port.

    Changes nothing.

    Args:
        settings: what `load_settings` gave; it has mended what it could.
        env_file: the file that it read.
    """
    stops = [
        *_numbers(),
        *_certificates(),
        *_proxies(),
        *_sign_in(settings),
        *_folders(settings),
        *_address(settings),
        *_store_options(settings),
    ]
    warnings = [
        *_lines(env_file),
        *_names(settings, env_file),
        *_missing_paths(),
        *_closed_caches(settings),
        *elsewhere(settings, env_file),
    ]
    return [
        *(Problem(about, error, stops=True) for about, error in stops),
        *(Problem(about, error, stops=False) for about, error in warnings),
    ]


Found = Iterator[tuple[str, ArenaError]]
"""What each error is about, and the error."""


def _numbers() -> Found:
    for variable, example in _WHOLE_NUMBERS.items():
        value = os.environ.get(variable)
        if value and not value.strip().isdecimal():
            yield variable, _wrong(variable, value, "a whole number", example)


def _wrong(variable: str, value: str, allowed: str, example: str) -> SettingsError:
    shown = repr(hidden_userinfo(value))
    return SettingsError(
        variable=variable, value=shown, allowed=f"it must be {allowed}", example=example
    )


def _certificates() -> Found:
    variable = "SSL_CERT_FILE"
    value = os.environ.get(variable)
    if value:
        try:
            ssl.create_default_context(cafile=value)
        except ssl.SSLError as error:
            yield variable, BadCertificates(str(error), variable=variable, value=value)
        except OSError as error:
            yield variable, MissingFile(str(error), variable=variable, value=value)


def _proxies() -> Found:
    """Proxies as the HTTP client of Gradio, the Hub and the remote models takes them."""
    named = {name: os.environ.get(name) for base in _PROXIES for name in (base, base.lower())}
    given = {name: value for name, value in named.items() if value}
    if not given and not os.environ.get("NO_PROXY"):
        return
    import httpx

    faults = [
        (name, fault)
        for name, value in given.items()
        if (fault := _proxy_fault(name, value)) is not None
    ]
    yield from faults
    if not faults:
        try:
            httpx.Client(verify=False).close()  # noqa: S501 - it asks nobody
        except (ValueError, httpx.InvalidURL):
            hosts = os.environ.get("NO_PROXY", "")
            allowed = "hosts with commas between them"
            yield "NO_PROXY", _wrong("NO_PROXY", hosts, allowed, "10.0.0.1,.example.com")


def _proxy_fault(variable: str, value: str) -> ArenaError | None:
    """Why the HTTP client can't use that proxy; None if it can. Asks nobody."""
    import httpx

    wrong = _wrong(variable, value, "the address of a proxy", "http://proxy.example:8080")
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
        httpx.Client(proxy=url, trust_env=False, verify=False).close()  # noqa: S501
    except ImportError as error:
        return SocksMissing(str(error), variable=variable)
    except (ValueError, httpx.InvalidURL):
        return wrong
    return None if url.host else wrong


def _sign_in(settings: Settings) -> Found:
    """A Space that lets people sign in gets all of these variables at once; Gradio needs each."""
    if settings.space_id and settings.oauth_client_id:
        for variable in ("OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
            if not os.environ.get(variable):
                allowed = "set where OAUTH_CLIENT_ID is"
                yield variable, _wrong(variable, "", allowed, "what `hf_oauth: true` gives a Space")


def _folders(settings: Settings) -> Found:
    """The folders without which nothing can start."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.expanduser raises
        yield "HOME", _wrong("HOME", "", "the folder of this user", "a folder")
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        yield "TMPDIR", FolderClosed(folder="/tmp", variable="TMPDIR")  # noqa: S108
        return
    # Uploads and what the page shows go through it.
    folder = settings.gradio_temp_dir or temporary / "gradio"
    if not _can_write(folder):
        yield "GRADIO_TEMP_DIR", FolderClosed(folder=folder, variable="GRADIO_TEMP_DIR")


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which may have to be made first."""
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _address(settings: Settings) -> Found:
    """Whether the page can be served where it should be."""
    host, port = settings.host, settings.gradio_server_port
    about = "GRADIO_SERVER_NAME"
    try:
        found = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        yield about, AddressUnusable(str(error), address=host, reason="there is no such address")
        return
    faults = [fault for fault in map(_bind_fault, found) if fault is not None]
    if port is not None and any(fault.errno == errno.EADDRINUSE for fault in faults):
        yield "GRADIO_SERVER_PORT", PortTaken(port=port)
    elif len(faults) == len(found):
        address = host if port is None else f"{host}, port {port}"
        yield about, AddressUnusable(str(faults[0]), address=address, reason=faults[0].strerror)


def _bind_fault(address: tuple[int, int, int, str, tuple[object, ...]]) -> OSError | None:
    """Why a socket can't listen there; None if it can."""
    family, kind, protocol, _, place = address
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error
    return None


def _store_options(settings: Settings) -> Found:
    """An address with options after its path: they would name another file, an empty store."""
    url = settings.database_url
    plain, mark, _ = url.partition("?")
    with_options, without = sqlite_file(url), sqlite_file(plain)
    if with_options is None or without is None or not mark:
        return
    if without.is_file() and not with_options.exists():
        variable = "ARENA_DATABASE_URL"
        yield variable, _wrong(variable, url, "a path without options", plain)


def _lines(env_file: Path) -> Found:
    for error in odd_lines(read_env_file(env_file), env_file):
        yield env_file.name, error


def _names(settings: Settings, env_file: Path) -> Found:
    """Names that look like the arena's and are none of them."""
    known = {*VARIABLES, *_ALSO_READ}
    candidates = [name for name in os.environ if name.upper().startswith(_OURS)]
    candidates += names_in(read_env_file(env_file))
    named = _models_text(settings)
    for name in sorted(set(candidates) - known):
        if name.startswith(_NO_SETTINGS) or name in named:
            continue
        plain = unicodedata.normalize("NFKC", name).upper()
        near = get_close_matches(plain, known, n=1, cutoff=0.85)
        if near:
            yield name, MisspeltVariable(variable=name, nearest=near[0])
        elif plain.startswith(_OURS):
            yield name, UnknownVariable(variable=name)


def _models_text(settings: Settings) -> str:
    """The models file, whose entries may name the variables that hold their keys."""
    try:
        return settings.models_file.read_text("utf-8", "replace") if settings.models_file else ""
    except OSError:
        return ""  # the registry stops the start and names the file


def _missing_paths() -> Found:
    """Folders and files that a library would do without, in silence."""
    for variable in ("TMPDIR", *_CERTIFICATES):
        value = os.environ.get(variable)
        if value and not Path(value).exists():
            yield variable, MissingFile(variable=variable, value=value)


def _closed_caches(settings: Settings) -> Found:
    """Folders without which some models can't be had."""
    if not _can_write(settings.cache_dir):
        yield "ARENA_CACHE_DIR", FolderClosed(folder=settings.cache_dir, variable="ARENA_CACHE_DIR")
    hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    if settings.local_model != EMBEDDED and not _can_write(Path(os.path.expanduser(hub))):  # noqa: PTH111
        yield "HF_HOME", FolderClosed(folder=hub, variable="HF_HOME")


def elsewhere(settings: Settings, env_file: Path = ENV_FILE) -> Found:
    """A `.env` or a store where the arena was started, while those beside `app.py` are used."""
    try:
        shell = Path.cwd()
    except FileNotFoundError:  # it has been removed
        return
    other = shell / env_file.name
    if other.is_file() and not _same(other, env_file):
        yield str(other), EnvFileElsewhere(file=other, used=env_file)
    used = sqlite_file(settings.database_url)
    here = sqlite_file(settings.database_url, shell)
    if used is not None and here is not None and here.is_file() and not _same(here, used):
        yield "ARENA_DATABASE_URL", StoreElsewhere(used=used, other=here)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
