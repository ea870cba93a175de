"""Calls with wrong arguments: refused, and neither a traceback nor a visitor's text in the log."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.store_tools import pairs_of
from tests.ui.served import served
from tests.ui.visitors import API, client, config_of

SECRET = "ひみつの question"
NAMES = (
    "prompt", "model_a", "model_b", "system_prompt",
    "temperature", "top_p", "max_new_tokens", "seed",
)  # fmt: skip
GOOD: list[Any] = [SECRET, "one", "two", "", 0.7, 1.0, 64, -1]
# None stands for a default of an optional argument, and is refused elsewhere.
JUNK = ([], {}, {"path": "/etc/passwd"}, [SECRET], {SECRET: 1}, True, float("inf"), -7)


def wrong_arguments() -> dict[str, Any]:
    """Arguments of `compare`, by what is wrong with them."""
    found: dict[str, Any] = {
        "none": [],
        "one": [SECRET],
        "nothing in any": [None] * len(GOOD),
        "no such model": [SECRET, SECRET, *GOOD[2:]],
        "temperature 9": [*GOOD[:4], 9, *GOOD[5:]],
        "temperature as a word": [*GOOD[:4], SECRET, *GOOD[5:]],
        "an empty prompt": ["", *GOOD[1:]],
        "a text for all": SECRET,
        "a mapping for all": {"prompt": SECRET},
    }
    for place, name in enumerate(NAMES):
        for junk in JUNK:
            found[f"{name} {junk!r}"] = [*GOOD[:place], junk, *GOOD[place + 1 :]]
    return found


class Caller:
    """A program, which calls `compare` in each way that the server takes."""

    def __init__(self, http: httpx.AsyncClient, number: int) -> None:
        self.http = http
        self.number = number

    async def post(self, path: str, body: object) -> httpx.Response:
        """What JSON has no word for is written as other programs write it."""
        text = json.dumps(body).replace("Infinity", "1e400")
        kind = {"content-type": "application/json"}
        return await self.http.post(f"{API}/{path}", content=text, headers=kind)

    async def simple(self, data: object) -> str:
        """As `curl` does: a POST, and then its events."""
        posted = await self.post("call/compare", {"data": data})
        if posted.status_code != httpx.codes.OK:
            return posted.text
        return (await self.http.get(f"{API}/call/compare/{posted.json()['event_id']}")).text

    async def queued(self, data: object, **more: object) -> str:
        """As a page does: into the queue, and then its events."""
        body = {"data": data, "fn_index": self.number, "session_hash": "made-up", **more}
        joined = await self.post("queue/join", body)
        if joined.status_code != httpx.codes.OK:
            return joined.text
        params = {"session_hash": "made-up"}
        return (await self.http.get(f"{API}/queue/data", params=params)).text

    async def direct(self, data: object) -> str:
        """Past the queue."""
        return (await self.post("run/compare", {"data": data})).text


@asynccontextmanager
async def calling(store: VoteStore) -> AsyncGenerator[Caller, None]:
    """A program, and an arena of two models."""
    arena = arena_of(store, *(ScriptedModel(name, ANSWER) for name in ("one", "two")))
    async with served(arena) as shown, client(shown.address) as http:
        (number,) = [
            one["id"]
            for one in (await config_of(http))["dependencies"]
            if one["api_name"] == "compare"
        ]
        yield Caller(http, number)


def check_log(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> str:
    """All that the process has written, in which there is nothing that must not be."""
    out, err = capfd.readouterr()
    written = out + err + caplog.text
    caplog.clear()
    for sign in ("Traceback", "ひみつ", "question", "passwd"):
        assert sign not in written, written
    return written


@pytest.mark.parametrize("way", ["simple", "queued", "direct"])
async def test_no_wrong_argument_reaches_the_log(
    store: VoteStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Whatever is wrong, and however the call comes: no text, no traceback, and no battle."""
    async with calling(store) as caller:
        for name, data in wrong_arguments().items():
            said = await getattr(caller, way)(data)
            assert '"battle"' not in said, name
            check_log(capfd, caplog)
        assert await pairs_of(store) == []
        # The same call without a fault: the test sees what it looks at.
        if way != "direct":
            assert '"battle"' in await getattr(caller, way)(GOOD)


async def test_a_call_that_is_none_does_not_reach_the_log_either(
    store: VoteStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Made-up functions, sessions and events; a body that is no JSON."""
    async with calling(store) as caller:
        for more in (
            {"fn_index": 10**6}, {"fn_index": SECRET}, {"fn_index": None}, {"fn_index": -1},
            {"event_data": SECRET}, {"event_data": [SECRET]}, {"trigger_id": SECRET},
            {"batched": True}, {"simple_format": SECRET}, {"api_name": SECRET},
            {"session_hash": [SECRET]}, {"event_id": SECRET},
        ):  # fmt: skip
            await caller.queued([], **more)
            check_log(capfd, caplog)
        for path in ("call/nothing", "run/nothing", "queue/join", "cancel"):
            await caller.post(path, {"data": [SECRET]})
            await caller.post(path, [SECRET])
            await caller.post(path, SECRET)
            check_log(capfd, caplog)


async def test_a_program_is_told_what_is_wrong(
    store: VoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A code and a sentence; the log has the kind of the fault, and where it is."""
    async with calling(store) as caller:
        assert "invalid_call: These are not the arguments" in await caller.simple([SECRET])
        assert "ValueError in validate_inputs" in caplog.text
        assert "invalid_params: prompt must be text" in await caller.simple([[SECRET], *GOOD[1:]])
        assert "no_contestants" in await caller.simple([SECRET, SECRET, *GOOD[2:]])
