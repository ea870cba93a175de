"""How a remote model starts, is closed and capped, whatever its API."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arena.errors.models import (
    DailyRequestsSpent,
    KeyMissing,
    KeyRejected,
    ModelUnavailable,
    NetworkFailed,
    Overloaded,
    StreamBroken,
)
from arena.models.base import Dormant, Ready
from arena.models.remote.budget import DailyRequests
from arena.models.remote.quota import Quota
from tests.models.remote.apis import ASK, PARAMS, Api, failing, read, running, unavailable
from tests.models.remote.loopback import Pause, Reply, soon

Script = Callable[[Any], Reply]
"""A reply in the words of either API."""

# ---------------------------------------------------------------- stopping


def silent(wire: Any) -> Reply:
    return Reply([Pause()])


def thinking(wire: Any) -> Reply:
    return Reply([wire.thought("Hm."), Pause()])


def silent_later(wire: Any) -> Reply:
    return Reply([wire.chunk("First"), Pause()])


def dripping(wire: Any) -> Reply:
    reply: Reply = wire.drips()
    return reply


@pytest.mark.parametrize("script", [silent, thinking, silent_later, dripping])
async def test_a_cancelled_reader_closes_the_connection(api: Api, script: Script) -> None:
    """A stopped answer is not written on, whatever the reader waits for."""
    api.server.script(script(api.wire))
    reader = asyncio.create_task(read(api.make()))
    request = await soon(api.server.arrival())
    assert not request.connection.closed.done()

    reader.cancel()

    await soon(request.connection.closed)
    with pytest.raises(asyncio.CancelledError):
        await reader


@pytest.mark.parametrize("script", [silent_later, dripping])
async def test_a_closed_stream_closes_the_connection(api: Api, script: Script) -> None:
    """Closing the generator closes the connection behind it."""
    api.server.script(script(api.wire))
    events = api.make().stream(ASK, PARAMS)
    await anext(events)

    async with asyncio.timeout(30):
        await events.aclose()

    (request,) = api.server.asked
    await soon(request.connection.closed)


async def test_cancelled_before_it_began(api: Api) -> None:
    """A stop in the very first moment sends nothing and leaves nothing behind."""
    reader = asyncio.create_task(read(api.make()))
    await asyncio.sleep(0)
    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    assert api.server.requests == []


@pytest.mark.parametrize("script", [silent, silent_later, dripping])
async def test_closing_the_model_ends_its_streams(api: Api, script: Script) -> None:
    """A closed model has no stream, sends nothing, and can be started again."""
    api.server.script(script(api.wire))
    model = api.make()
    texts: list[str] = []
    reader = asyncio.create_task(failing(model, into=texts))
    request = await soon(api.server.arrival())

    await model.aclose()
    await model.aclose()

    await soon(request.connection.closed)
    assert type(await reader) is StreamBroken
    assert len(api.server.asked) == 1
    assert api.time.slept == []
    assert isinstance(model.status(), Dormant)
    assert type(await failing(model)) is ModelUnavailable

    await model.start()
    assert (await read(model))[0] == ["Hello", ", ", "world."]


async def test_closing_while_waiting_to_try_again(api: Api) -> None:
    """Nothing is sent after the model was closed."""
    api.server.default = api.wire.fails(503)

    async def sleep(seconds: float) -> None:
        await api.time.sleep(seconds)
        await model.aclose()

    model = api.make(sleep=sleep)

    assert type(await failing(model)) is ModelUnavailable
    assert len(api.server.asked) == 1


async def test_closing_while_it_starts(api: Api) -> None:
    """Closing does not wait for a provider that does not answer the first question."""
    api.server.script_models(Reply([Pause()]))
    model = api.make()
    starting = asyncio.create_task(model.start())
    request = await soon(api.server.arrival(for_text=False))

    async with asyncio.timeout(30):
        await model.aclose()

    await starting
    assert isinstance(model.status(), Dormant)
    await soon(request.connection.closed)


async def test_a_connection_is_used_again(api: Api) -> None:
    """A finished answer leaves its connection to the next one."""
    model = api.make()

    await read(model)
    await read(model)

    first, second = api.server.asked
    assert first.connection is second.connection


# ---------------------------------------------------------------- status


async def test_the_start_asks_once(api: Api) -> None:
    """Ready means that the provider was asked; callers at the same time share one question."""
    model = api.make()
    assert isinstance(model.status(), Dormant)

    await asyncio.gather(model.start(), model.start(), model.start())
    await model.start()

    assert isinstance(model.status(), Ready)
    assert len(api.server.requests) == 1


async def test_a_failed_start_is_not_final(api: Api) -> None:
    """A model that could not be reached at the start can be started later."""
    api.server.script_models(api.wire.fails(503))
    model = api.make()

    await model.start()
    assert type(unavailable(model)) is Overloaded

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_answers_move_the_status(api: Api) -> None:
    """A refused key closes the model until it is accepted again; an overloaded one does not."""
    model = api.make()
    await model.start()
    overloaded = api.wire.fails(503)
    api.server.script(*[overloaded] * 3, api.wire.fails(401), api.wire.says("back"))

    await failing(model)
    assert isinstance(model.status(), Ready)  # busy for a moment is no reason to leave the pool

    error = await failing(model)
    assert unavailable(model) is error

    api.time.now += 3
    _, finished = await read(model)
    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["served_model"] == finished.served_model


async def test_a_missing_package_has_a_remedy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One package that cannot be imported makes one model unavailable."""

    def connect(*_: object) -> None:
        raise ImportError("No module named 'it'")

    model = api.make()
    monkeypatch.setattr(f"arena.models.remote.{api.wire.MODULE}.connect", connect)

    await model.start()

    error = unavailable(model)
    assert type(error) is ModelUnavailable
    assert "pip install" in error.remedy_text


# ---------------------------------------------------------------- the owner's cap


class CountedRequests:
    """A store that allows so many requests.

    Attributes:
        seen: for each request the limit, and how many had reached the server by then.
    """

    def __init__(self, api: Api, allowed: int) -> None:
        self._api = api
        self._allowed = allowed
        self.seen: list[tuple[int, int]] = []

    async def count_today(self, name: str, limit: int) -> bool:
        self.seen.append((limit, len(self._api.server.asked)))
        return len(self.seen) <= self._allowed


async def test_the_cap_is_asked_before_each_request(api: Api) -> None:
    """Every request for text counts before it is sent, repeated ones too; the start does not."""
    store: Any = CountedRequests(api, allowed=3)
    cap = DailyRequests(usage=store, name="x", label="Gemini", variable="GEMINI_CAP", limit=50)
    model = api.make(quota=Quota(requests=cap))
    api.server.script(api.wire.says("a"), api.wire.fails(503), api.wire.fails(503))
    await model.start()
    await read(model)

    error = await failing(model)

    assert type(error) is DailyRequestsSpent
    assert error.sentence == "Today's 50 requests to Gemini are used up."
    assert "GEMINI_CAP" in error.remedy_text
    assert store.seen == [(50, 0), (50, 1), (50, 2), (50, 3)]
    assert unavailable(model).code == error.code


# ---------------------------------------------------------------- the key, and the heavy import


@pytest.mark.parametrize("key", ["", "   "])
async def test_an_empty_key_is_no_key(api: Api, key: str) -> None:
    """A missing key is named, and nothing is sent without it."""
    model = api.make(key=key)

    await model.start()
    error = await failing(model)

    assert type(unavailable(model)) is type(error) is KeyMissing
    assert error.remedy_text == f"Set {api.key_variable} and start again."
    assert api.server.requests == []
    await model.aclose()
    assert type(unavailable(model)) is KeyMissing


@pytest.mark.parametrize("key", ["a-key\nX: 1", "キー", "two words", "a-key\x00"])
async def test_a_key_that_cannot_be_one(api: Api, key: str) -> None:
    """A key that cannot be a header is refused without being quoted."""
    model = api.make(key=key)

    await model.start()
    error = await failing(model)

    assert type(error) is KeyRejected
    assert error.values["variable"] == api.key_variable
    assert key not in error.detail + str(error)
    assert api.server.requests == []


_IMPORT_IN_A_THREAD = """
import asyncio, sys, threading
seen = {{}}
class Watch:
    def find_spec(self, name, path=None, target=None):
        seen.setdefault(name, threading.current_thread())
sys.meta_path.insert(0, Watch())
from arena.models.models_file import OpenAiEntry
from arena.models.remote.gemini import GeminiDialect
from arena.models.remote.model import RemoteModel
from arena.models.remote.openai import OpenAiDialect
async def main():
    model = RemoteModel({dialect})
    assert not {{"google.genai", "openai", "httpx2", "genai_prices"}} & sys.modules.keys()
    await model.start()
    print(model.status().error.code)
    await model.aclose()
asyncio.run(main())
assert {package!r} in seen
heavy = [n for n in ("google.genai", "google.genai.types", "openai", "httpx2") if n in seen]
assert all(seen[n] is not threading.main_thread() for n in heavy), seen
"""


_GEMINI = "GeminiDialect(api_key='k', model='m', base_url='http://127.0.0.1:9')"
_ENTRY = "OpenAiEntry(kind='openai', base_url='http://127.0.0.1:9/v1', model='m')"


@pytest.mark.parametrize(
    ("dialect", "package", "code"),
    [
        (_GEMINI, "google.genai", "network"),
        (f"OpenAiDialect('m', {_ENTRY})", "openai", "engine_unreachable"),
    ],
    ids=["gemini", "openai"],
)
def test_the_sdk_is_imported_in_a_thread(dialect: str, package: str, code: str) -> None:
    """The event loop goes on while an SDK is imported, and no SDK is imported before a start."""
    script = _IMPORT_IN_A_THREAD.format(dialect=dialect, package=package)

    found = run_script(script)

    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == code


_NO_KEY = """
import asyncio, socket, sys
def refuse(*a, **k): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from arena.models.remote.gemini import GeminiDialect
from arena.models.remote.model import RemoteModel
async def main():
    model = RemoteModel(GeminiDialect(api_key=None, model="m"))
    await model.start()
    print(model.status().error.code)
    await model.aclose()
asyncio.run(main())
assert not {"google.genai", "httpx2"} & sys.modules.keys()
"""


def test_without_a_key_nothing_is_imported() -> None:
    """Gemini without a key costs neither an import nor a connection."""
    found = run_script(_NO_KEY)

    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == KeyMissing.code


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """In a fresh process, where nothing is imported yet."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_refused_connection(api: Api) -> None:
    """A refused connection is a typed error of the network; the registry starts it again."""
    async with running(api.wire.MODULE) as other:
        url = other.server.url
    model = api.make(base_url=url)

    error = await failing(model)

    assert isinstance(error, NetworkFailed)
    assert api.time.slept == [0.5, 1.5]
