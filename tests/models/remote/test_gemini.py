"""Gemini: the real SDK against a loopback server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, Role
from arena.errors.models import (
    BadReply,
    DailyRequestsSpent,
    KeyMissing,
    KeyRejected,
    ModelError,
    ModelGone,
    ModelUnavailable,
    NetworkFailed,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    RequestRefused,
    StreamBroken,
)
from arena.models.base import ChatModel, Dormant, Ready, Unavailable
from arena.models.remote.gemini import GeminiModel, key_fault, model_slug
from arena.models.remote.gemini_errors import listed, redacted, retry_delay
from arena.models.remote.gemini_wire import conversation, request_config
from arena.models.remote.quota import DailyCount
from tests.models.remote.gemini_server import (
    EMBEDDING,
    FLASH,
    PRO,
    GeminiServer,
    HangUp,
    Pause,
    Reply,
    Reset,
    chunk,
    drips,
    error_body,
    fails,
    key_invalid,
    model_entry,
    no_free_quota,
    retry_info,
    running_server,
    says,
    soon,
)

KEY = "AQ.a-key-of-nobody-0123456789"
ASK = (Message(Role.USER, "偶数とは?"),)
PARAMS = GenerationParams(temperature=0.4, top_p=0.9, max_new_tokens=100, seed=11)


class FakeTime:
    """A clock that only moves when somebody sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """In place of `time.monotonic`."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """In place of `asyncio.sleep`."""
        self.slept.append(seconds)
        self.now += seconds


Make = Callable[..., GeminiModel]


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    async with GeminiServer() as running:
        yield running


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def make(server: GeminiServer, time: FakeTime) -> AsyncIterator[Make]:
    made: list[GeminiModel] = []

    def build(**changes: Any) -> GeminiModel:
        values: dict[str, Any] = {
            "api_key": KEY,
            "model": PRO,
            "base_url": server.url,
            "clock": time.clock,
            "sleep": time.sleep,
        }
        made.append(GeminiModel(**(values | changes)))
        return made[-1]

    yield build
    for model in made:
        await model.aclose()


async def read(
    model: GeminiModel,
    messages: tuple[Message, ...] = ASK,
    params: GenerationParams = PARAMS,
    into: list[str] | None = None,
) -> tuple[list[str], Finished]:
    """All pieces of text and the end; `into` keeps the text if it breaks."""
    texts: list[str] = [] if into is None else into
    async with aclosing(model.stream(messages, params)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return texts, event
            texts.append(event.text)
    raise AssertionError("there was no end")


async def failing(model: GeminiModel, into: list[str] | None = None) -> ModelError:
    """The error that a request ends with."""
    with pytest.raises(ModelError) as caught:
        await read(model, into=into)
    return caught.value


# ---------------------------------------------------------------- answers


async def test_text_and_usage(server: GeminiServer, make: Make) -> None:
    """An answer that lost a piece, or usage that was read from a chunk that has none."""
    server.script(says("偶数", "は2で割り", "切れる数です。", usage=(12, 34, 56)))
    model = make()

    texts, finished = await read(model)

    assert texts == ["偶数", "は2で割り", "切れる数です。"]
    assert finished.reason is FinishReason.STOP
    assert finished.error_code is None
    assert finished.served_model == "gemini-test-001"
    counts = (finished.prompt_tokens, finished.completion_tokens, finished.thinking_tokens)
    assert counts == (12, 34, 56)
    assert isinstance(model, ChatModel)


async def test_characters_split_between_packets(server: GeminiServer, make: Make) -> None:
    """A replacement character where a packet ended inside a Japanese character."""
    event = json.dumps(chunk("証明😀", finish="STOP"), ensure_ascii=False).encode()
    wire = b"data: " + event + b"\r\n\r\n"
    inside = wire.index("明".encode()) + 1
    emoji = wire.index("😀".encode()) + 2
    server.script(Reply([wire[:inside], wire[inside:emoji], wire[emoji:]]))

    texts, _ = await read(make())

    assert texts == ["証明😀"]


async def test_thoughts_are_not_shown(server: GeminiServer, make: Make) -> None:
    """A model's thoughts in the pane, or an empty piece of text for them."""
    server.script(
        Reply(
            [
                chunk(thought="Let me think."),
                chunk("Yes", thought="Still thinking."),
                chunk(".", finish="STOP", usage=(1, 2, 3)),
            ]
        )
    )

    texts, finished = await read(make())

    assert texts == ["Yes", "."]
    assert finished.thinking_tokens == 3


async def test_what_is_sent_is_what_is_recorded(server: GeminiServer, make: Make) -> None:
    """A thinking model whose thoughts eat the visible budget, or a record that says otherwise."""
    _, finished = await read(make(thinking_tokens=8192))

    (request,) = server.asked
    assert request.path == f"/v1beta/models/{PRO}:streamGenerateContent"
    assert request.body["generationConfig"] == {
        "temperature": 0.4,
        "topP": 0.9,
        "seed": 11,
        "maxOutputTokens": 8292,
    }
    assert finished.sent == {"model": PRO} | request.body["generationConfig"]


async def test_the_cap_stays_within_the_model(server: GeminiServer, make: Make) -> None:
    """A small model that refuses every request because budget and allowance pass its maximum."""
    server.models = [model_entry(PRO) | {"outputTokenLimit": 4096}]
    model = make(thinking_tokens=8192)
    await model.start()

    _, finished = await read(model)

    assert finished.sent["maxOutputTokens"] == 4096


async def test_system_prompt_and_turns(server: GeminiServer, make: Make) -> None:
    """A system prompt sent as a turn, or roles that the API does not know."""
    messages = (
        Message(Role.SYSTEM, "Answer briefly."),
        Message(Role.USER, "1+1?"),
        Message(Role.ASSISTANT, "2"),
        Message(Role.USER, "2+2?"),
    )

    await read(make(), messages)

    (request,) = server.asked
    assert request.body["contents"] == [
        {"role": "user", "parts": [{"text": "1+1?"}]},
        {"role": "model", "parts": [{"text": "2"}]},
        {"role": "user", "parts": [{"text": "2+2?"}]},
    ]
    assert request.body["systemInstruction"]["parts"] == [{"text": "Answer briefly."}]
    assert "tools" not in request.body


async def test_times_count_repeated_requests(
    server: GeminiServer, make: Make, time: FakeTime
) -> None:
    """A time to first text that leaves out what the visitor waited for a second try."""
    server.script(fails(429, "Slow down.", retry_info("2s")), says("a", "b"))
    finished = None
    async for event in make().stream(ASK, PARAMS):
        if isinstance(event, Delta):
            time.now += 5
        else:
            finished = event

    assert finished is not None
    assert (finished.ttft_s, finished.total_s) == (2.0, 12.0)


@pytest.mark.parametrize(
    ("steps", "texts", "reason"),
    [
        ([chunk("half", finish="MAX_TOKENS")], ["half"], FinishReason.LENGTH),
        ([chunk(finish="MAX_TOKENS")], [], FinishReason.LENGTH),
        ([chunk("some"), chunk(finish="SAFETY")], ["some"], FinishReason.BLOCKED),
        ([chunk(finish="RECITATION")], [], FinishReason.BLOCKED),
        ([chunk(finish="PROHIBITED_CONTENT")], [], FinishReason.BLOCKED),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], [], FinishReason.BLOCKED),
        ([chunk(finish="STOP")], [], FinishReason.STOP),
    ],
)
async def test_endings(
    server: GeminiServer, make: Make, steps: list[Any], texts: list[str], reason: FinishReason
) -> None:
    """A crash on a candidate without parts, or a blocked answer that people may vote on."""
    server.script(Reply(steps))

    found, finished = await read(make())

    assert found == texts
    assert finished.reason is reason
    blocked = reason is FinishReason.BLOCKED
    assert finished.error_code == ("content_blocked" if blocked else None)
    assert (finished.ttft_s is None) is (not texts)


@pytest.mark.filterwarnings("ignore:NEW_REASON is not a valid FinishReason")
@pytest.mark.parametrize("word", ["NEW_REASON", "OTHER", "MALFORMED_RESPONSE"])
async def test_an_unknown_ending_is_an_error(server: GeminiServer, make: Make, word: str) -> None:
    """An answer that ended for a reason nobody knows, taken for a whole one."""
    server.script(Reply([chunk("text"), chunk(finish=word)]))
    texts: list[str] = []

    error = await failing(make(), into=texts)

    assert type(error) is BadReply
    assert word in error.detail
    assert texts == ["text"]


# ---------------------------------------------------------------- failures

ECHO = f"It failed for {KEY}."


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (key_invalid(ECHO), KeyRejected),
        (fails(401, ECHO), KeyRejected),
        (fails(403, ECHO), KeyRejected),
        (fails(404, ECHO), ModelGone),
        (fails(429, ECHO), RateLimited),
        (fails(429, f"limit: 0, {KEY}", retry_info("2s")), NoFreeQuota),
        (fails(429, f"limit: 0.5, {KEY}"), RateLimited),
        (fails(500, ECHO), Overloaded),
        (fails(503, ECHO), Overloaded),
        (fails(504, ECHO), Overloaded),
        (fails(400, ECHO), RequestRefused),
        (Reply(status=502, body=f"<html>{KEY}</html>".encode()), Overloaded),
        (Reply([Reset()]), NetworkFailed),
        (Reply([HangUp()]), NetworkFailed),
        (Reply(body=f"<html>{KEY}</html>".encode()), BadReply),
        (Reply([b"data: {not json " + KEY.encode() + b"\n\n"]), BadReply),
        (Reply([{"error": {"message": ECHO}}]), BadReply),
        (Reply([error_body(503, ECHO, "UNAVAILABLE")]), Overloaded),
        (Reply([]), StreamBroken),
    ],
)
async def test_each_failure_has_its_type_and_hides_the_key(
    server: GeminiServer,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    expected: type[ModelError],
) -> None:
    """A wrong remedy for the owner, or the key in a log, a traceback or on the page."""
    caplog.set_level(logging.DEBUG)
    server.default = reply
    model = make()

    error = await failing(model)

    assert type(error) is expected
    shown = [str(error), repr(error), error.remedy_text, error.detail, repr(model), caplog.text]
    assert KEY not in "".join([*shown, *traceback.format_exception(error)])
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_nobody_listens(make: Make) -> None:
    """A refused connection that leaves as the HTTP client's own exception."""
    async with GeminiServer() as other:
        url = other.url
    error = await failing(make(base_url=url))

    assert type(error) is NetworkFailed


async def test_a_redirect_is_not_followed(server: GeminiServer, make: Make) -> None:
    """The key sent to whatever address a redirect names: only Authorization is dropped there."""
    server.default = Reply(status=302, body={}, headers={"location": f"{server.url}/elsewhere"})

    error = await failing(make())

    assert type(error) is BadReply
    assert len(server.requests) == 1


async def test_the_explicit_key_wins(
    server: GeminiServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key, address, version or product, taken from variables that the SDK reads itself."""
    monkeypatch.setenv("GOOGLE_API_KEY", "of-somebody-else")
    monkeypatch.setenv("GEMINI_API_KEY", "of-somebody-else-too")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    model = make()
    await model.start()

    await read(model)

    assert {request.headers["x-goog-api-key"] for request in server.requests} == {KEY}
    assert all(request.path.startswith("/v1beta/models") for request in server.requests)


async def test_without_an_address_it_is_googles(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key sent to an address that only the SDK reads; or a missing package that crashes."""
    addresses: list[str] = []

    def connect(_key: str, base_url: str, _silence_s: float) -> None:
        addresses.append(base_url)
        raise ImportError("No module named 'google.genai'")

    monkeypatch.setattr("arena.models.remote.gemini.connect", connect)
    model = make(base_url=None)

    await model.start()

    assert addresses == ["https://generativelanguage.googleapis.com/"]
    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is ModelUnavailable
    assert "pip install" in status.error.remedy_text


# ---------------------------------------------------------------- repeated requests


async def test_retry_info_is_honoured(server: GeminiServer, make: Make, time: FakeTime) -> None:
    """A second request before the provider allows it, or the first one's text twice."""
    server.script(fails(429, "Slow down.", retry_info("3.5s")), says("once"))

    texts, _ = await read(make())

    assert texts == ["once"]
    assert time.slept == [3.5]
    assert len(server.asked) == 2


@pytest.mark.parametrize(("details", "wait"), [([retry_info("31s")], "31 s"), ([], "60 s")])
async def test_a_long_wait_is_the_visitors_choice(
    server: GeminiServer, make: Make, time: FakeTime, details: list[Any], wait: str
) -> None:
    """A visitor who looks at an empty pane for half a minute without knowing why."""
    server.default = fails(429, "Slow down.", *details)

    error = await failing(make())

    assert type(error) is RateLimited
    assert error.values["wait"] == wait
    assert time.slept == []
    assert len(server.asked) == 1


async def test_waits_are_bounded_together(server: GeminiServer, make: Make, time: FakeTime) -> None:
    """Two waits that are each allowed and together are not."""
    server.default = fails(429, "Slow down.", retry_info("5s"))

    assert type(await failing(make())) is RateLimited
    assert time.slept == [5.0]


@pytest.mark.parametrize(
    "reply",
    [
        fails(503),
        Reply([Reset()]),
        Reply([]),
        Reply([chunk(thought="Hm."), error_body(503, "Busy.", "UNAVAILABLE")]),
    ],
)
async def test_a_passing_failure_is_tried_again(
    server: GeminiServer, make: Make, time: FakeTime, reply: Reply
) -> None:
    """An answer lost to a hiccup that the next second would have mended."""
    server.script(reply, reply, says("fine"))

    texts, finished = await read(make())

    assert texts == ["fine"]
    assert finished.reason is FinishReason.STOP
    assert time.slept == [0.5, 1.5]


async def test_tries_come_to_an_end(server: GeminiServer, make: Make, time: FakeTime) -> None:
    """A provider that is down, asked for ever."""
    server.default = fails(503)

    assert type(await failing(make())) is Overloaded
    assert len(server.asked) == 3
    assert time.slept == [0.5, 1.5]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (Reset(), StreamBroken),
        (HangUp(), StreamBroken),
        (Pause(0), StreamBroken),  # an orderly end without a finish reason
        (error_body(503, "Busy.", "UNAVAILABLE"), Overloaded),
        (b"data: {broken\n\n", BadReply),
        (chunk(finish="FINISH_REASON_UNSPECIFIED"), StreamBroken),
    ],
)
async def test_nothing_is_sent_again_after_the_first_text(
    server: GeminiServer, make: Make, time: FakeTime, last: Any, expected: type[ModelError]
) -> None:
    """An answer that starts anew in the middle of itself."""
    server.script(Reply([chunk("Half an"), last]))
    texts: list[str] = []

    error = await failing(make(fallback_model=FLASH), into=texts)

    assert type(error) is expected
    assert texts == ["Half an"]
    assert len(server.asked) == 1
    assert time.slept == []


async def test_a_break_after_the_end_does_not_matter(server: GeminiServer, make: Make) -> None:
    """A whole answer thrown away because the connection closed carelessly behind it."""
    server.script(Reply([chunk("Whole.", finish="STOP"), HangUp()]))

    _, finished = await read(make())

    assert finished.reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("first", "expected"), [([], NetworkFailed), ([chunk("Some")], StreamBroken)]
)
async def test_silence_ends(
    server: GeminiServer, make: Make, first: list[Any], expected: type[ModelError]
) -> None:
    """A pane that waits for ever, since the SDK asks for no timeout; or one that waits thrice."""
    server.default = Reply([*first, Pause()])

    async with asyncio.timeout(5):
        error = await failing(make(silence_s=0.2))

    assert type(error) is expected
    assert len(server.asked) == 1


async def test_refused_sampling_is_left_out(server: GeminiServer, make: Make) -> None:
    """A model with its own sampling that never answers, or a record of values it never got."""
    server.script(fails(400, "`temperature` is not supported by this model."))
    model = make()

    _, finished = await read(model)
    _, second = await read(model)

    sent = [request.body["generationConfig"] for request in server.asked]
    assert "temperature" in sent[0]
    assert sent[1] == sent[2] == {"seed": 11, "maxOutputTokens": 100}
    assert finished.sent == second.sent == {"model": PRO} | sent[1]


async def test_refused_sampling_ends(server: GeminiServer, make: Make) -> None:
    """A request sent for ever because its refusal names a parameter that is not in it."""
    server.default = fails(400, "generationConfig.topP and seed are not supported.")

    assert type(await failing(make())) is RequestRefused
    assert len(server.asked) == 2


# ---------------------------------------------------------------- stopping

SILENT = Reply([Pause()])
SILENT_LATER = Reply([chunk("First"), Pause()])
THINKING = Reply([chunk(thought="Hm."), Pause()])


@pytest.mark.parametrize("reply", [SILENT, THINKING, SILENT_LATER, drips()])
async def test_a_cancelled_reader_closes_the_connection(
    server: GeminiServer, make: Make, reply: Reply
) -> None:
    """A stopped answer that is still written, and billed, at Google's."""
    server.script(reply)
    model = make()
    reader = asyncio.create_task(read(model))
    request = await soon(server.arrival())
    assert not request.connection.closed.done()

    reader.cancel()

    await soon(request.connection.closed, 1.0)
    with pytest.raises(asyncio.CancelledError):
        await reader


@pytest.mark.parametrize("reply", [SILENT_LATER, drips()])
async def test_a_closed_stream_closes_the_connection(
    server: GeminiServer, make: Make, reply: Reply
) -> None:
    """A reader that left after some text, while the connection stays open behind it."""
    server.script(reply)
    events = make().stream(ASK, PARAMS)
    await anext(events)

    async with asyncio.timeout(1):
        await events.aclose()

    (request,) = server.asked
    await soon(request.connection.closed, 1.0)


async def test_cancelled_before_it_began(server: GeminiServer, make: Make) -> None:
    """A stop in the very first moment that leaves a coroutine behind which nobody awaits."""
    reader = asyncio.create_task(read(make()))
    await asyncio.sleep(0)
    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    assert server.requests == []


@pytest.mark.parametrize("reply", [SILENT, SILENT_LATER, drips()])
async def test_closing_the_model_ends_its_streams(
    server: GeminiServer, make: Make, time: FakeTime, reply: Reply
) -> None:
    """A shutdown that waits for Google, fails at the second call, or leaves a stream hanging."""
    server.script(reply)
    model = make()
    texts: list[str] = []
    reader = asyncio.create_task(failing(model, into=texts))
    request = await soon(server.arrival())

    await model.aclose()
    await model.aclose()

    await soon(request.connection.closed, 1.0)
    assert type(await reader) is StreamBroken
    assert len(server.asked) == 1
    assert time.slept == []
    assert isinstance(model.status(), Dormant)
    assert type(await failing(model)) is ModelUnavailable

    await model.start()
    assert (await read(model))[0] == ["Hello", ", ", "world."]


async def test_closing_while_waiting_to_try_again(
    server: GeminiServer, make: Make, time: FakeTime
) -> None:
    """A request that goes out after the shutdown, over a client that is closed."""
    server.default = fails(503)

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        await model.aclose()

    model = make(sleep=sleep)

    assert type(await failing(model)) is ModelUnavailable
    assert len(server.asked) == 1


async def test_a_connection_is_used_again(server: GeminiServer, make: Make) -> None:
    """A handshake before every first token, because finished answers drop their connection."""
    model = make()

    await read(model)
    await read(model)

    first, second = server.asked
    assert first.connection is second.connection


# ---------------------------------------------------------------- fallback


@pytest.mark.parametrize(
    "reply", [fails(404), no_free_quota(), fails(503), fails(429)], ids=lambda r: str(r.status)
)
async def test_the_fallback_answers_under_its_own_name(
    server: GeminiServer, make: Make, reply: Reply
) -> None:
    """An answer of the cheaper model that counts for the dearer one."""
    server.script(*[reply] * 3, model=PRO)
    server.script(says("Yes.", version="gemini-flash-007"), model=FLASH)
    model = make(fallback_model=FLASH)

    texts, finished = await read(model)

    assert texts == ["Yes."]
    assert finished.served_model == "gemini-flash-007"
    assert finished.sent["model"] == FLASH
    status = model.status()
    assert isinstance(status, Ready)
    assert status.notice == "fallback"
    assert status.facts["model"] == FLASH
    assert status.facts["served_model"] == "gemini-flash-007"


@pytest.mark.parametrize("reply", [key_invalid(), fails(400), Reply([Reset()])])
async def test_other_failures_do_not_switch_the_model(
    server: GeminiServer, make: Make, reply: Reply
) -> None:
    """Another model answers although the one that was asked for is not to blame."""
    server.default = reply

    await failing(make(fallback_model=FLASH))

    assert {request.model for request in server.asked} == {PRO}


@pytest.mark.parametrize("fallback", [None, "", PRO])
async def test_without_a_fallback_no_other_model_answers(
    server: GeminiServer, make: Make, fallback: str | None
) -> None:
    """A silent switch to a model with another price."""
    server.default = no_free_quota()

    await failing(make(fallback_model=fallback))

    assert [request.model for request in server.asked] == [PRO]


async def test_a_model_that_is_gone_rests(server: GeminiServer, make: Make, time: FakeTime) -> None:
    """A wasted request before every answer; or a main model that never comes back."""
    server.script(fails(404), model=PRO)
    model = make(fallback_model=FLASH)
    await read(model)
    await read(model)
    assert [request.model for request in server.asked] == [PRO, FLASH, FLASH]

    time.now += 3600
    await read(model)

    assert server.asked[-1].model == PRO
    status = model.status()
    assert isinstance(status, Ready)
    assert status.notice == ""


@pytest.mark.parametrize(
    ("main", "other", "expected"),
    [
        (no_free_quota(), fails(404), NoFreeQuota),
        (no_free_quota(), fails(429), RateLimited),
        (fails(429), fails(404), RateLimited),
    ],
)
async def test_the_failure_that_passes_is_told(
    server: GeminiServer, make: Make, main: Reply, other: Reply, expected: type[ModelError]
) -> None:
    """Gemini reported as gone for good although one of its two models is only busy."""
    server.script(main, model=PRO)
    server.script(other, model=FLASH)
    model = make(fallback_model=FLASH)

    error = await failing(model)

    assert type(error) is expected
    lasts = expected is NoFreeQuota
    assert error.values.get("variable") == ("GEMINI_MODEL" if lasts else None)
    assert isinstance(model.status(), Unavailable) is lasts


# ---------------------------------------------------------------- the owner's cap


async def test_the_daily_cap_counts_repeated_requests(server: GeminiServer, make: Make) -> None:
    """A bill above the owner's cap, run up by requests that were only sent again."""
    server.script(says("a"), fails(503), fails(503), says("b"))
    model = make(daily_requests=3)
    await read(model)

    error = await failing(model)

    assert type(error) is DailyRequestsSpent
    assert error.sentence == "Today's 3 requests to Gemini are used up."
    assert "GEMINI_DAILY_REQUESTS" in error.remedy_text
    assert len(server.asked) == 3


async def test_the_cap_is_asked_before_each_request(server: GeminiServer, make: Make) -> None:
    """A request that went out before the store allowed it, or a check that counts against it."""
    asked: list[tuple[int, int]] = []

    async def reserve(limit: int) -> bool:
        asked.append((limit, len(server.asked)))
        return len(asked) < 2

    model = make(daily_requests=50, reserve=reserve)
    await model.start()
    await read(model)

    assert type(await failing(model)) is DailyRequestsSpent
    assert asked == [(50, 0), (50, 1)]


async def test_the_count_starts_again_at_midnight() -> None:
    """A cap that, once reached, holds until the process is started again."""
    today = date(2026, 11, 1)
    count = DailyCount(today=lambda: today)
    assert [await count(2) for _ in range(3)] == [True, True, False]

    today = date(2026, 11, 2)

    assert await count(2)
    assert not await DailyCount()(0)


# ---------------------------------------------------------------- status


async def test_ready_with_facts(server: GeminiServer, make: Make) -> None:
    """A chip that says ready before anybody asked whether the key and the model are good."""
    model = make()
    assert isinstance(model.status(), Dormant)

    await asyncio.gather(model.start(), model.start(), model.start())
    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {
        "model": PRO,
        "version": "001",
        "input_tokens": "1048576",
        "output_tokens": "65536",
    }
    assert model.spec.context_tokens == 1048576
    assert model.spec.id == PRO
    assert (model.spec.label, model.spec.provider, model.spec.price_in) == (
        "Gemini",
        "google",
        None,
    )
    assert [request.path for request in server.requests] == [f"/v1beta/models/{PRO}"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (key_invalid(), KeyRejected),
        (Reply([Reset()]), NetworkFailed),
        (fails(503), Overloaded),
        (Reply(body=b"<html>"), BadReply),
    ],
)
async def test_a_failed_start_is_typed_and_not_final(
    server: GeminiServer, make: Make, reply: Reply, expected: type[ModelError]
) -> None:
    """A laptop that was offline at the start, and Gemini that stays away for the whole day."""
    server.script_models(reply)
    model = make()

    await model.start()
    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is expected

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_a_missing_model_names_those_that_exist(server: GeminiServer, make: Make) -> None:
    """A remedy without a name to set, or one that names models which cannot write text."""
    model = make(model="gemini-2.0-pro-exp")

    await model.start()

    status = model.status()
    assert isinstance(status, Unavailable)
    assert type(status.error) is ModelGone
    assert status.error.remedy_text == (
        f"Set GEMINI_MODEL to one of: {FLASH}, {PRO}, gemini-3.8-flash"
    )
    assert EMBEDDING not in status.error.remedy_text


async def test_a_missing_model_with_a_fallback(server: GeminiServer, make: Make) -> None:
    """Gemini shown as not available although the owner said who answers then."""
    model = make(model="gemini-2.0-pro-exp", fallback_model=FLASH)

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert (status.notice, status.facts["model"]) == ("fallback", FLASH)
    _, finished = await read(model)
    assert finished.sent["model"] == FLASH


async def test_without_the_list_a_remedy_still_has_a_name(server: GeminiServer, make: Make) -> None:
    """A second failure while the first one is being put into words."""
    server.script(no_free_quota())
    server.script_models(fails(500))

    error = await failing(make())

    assert type(error) is NoFreeQuota
    assert error.values["suggestion"] == FLASH


async def test_no_quota_suggests_a_model_of_this_key(server: GeminiServer, make: Make) -> None:
    """A suggestion that this key cannot call either."""
    server.models = [model_entry(EMBEDDING, "embedContent"), model_entry(PRO), model_entry("lite")]
    server.script(no_free_quota())

    error = await failing(make())

    assert error.remedy_text == "Turn billing on for the key, or set GEMINI_MODEL=lite"


async def test_answers_move_the_status(server: GeminiServer, make: Make) -> None:
    """A chip that says ready for a key that was withdrawn, or gone for one that works again."""
    model = make()
    await model.start()
    server.script(fails(503), fails(503), fails(503), key_invalid(), says("back"))

    await failing(model)
    assert isinstance(model.status(), Ready)  # busy for a moment is no reason to leave the pool

    error = await failing(model)
    assert model.status() == Unavailable(error)

    await read(model)
    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["served_model"] == "gemini-test-001"


# ---------------------------------------------------------------- the key, and the heavy import

_NO_KEY = """
import asyncio, socket, sys
def refuse(*a, **k): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from arena.domain import GenerationParams, Message, Role
from arena.errors.models import KeyMissing
from arena.models.remote.gemini import GeminiModel
async def main():
    model = GeminiModel(api_key=None, model="m")
    await model.start()
    error = model.status().error
    assert error.remedy_text == "Set GEMINI_API_KEY and start again.", error.remedy_text
    try:
        await anext(model.stream([Message(Role.USER, "x")], GenerationParams()))
    except KeyMissing:
        pass
    else:
        raise AssertionError
    await model.aclose()
    assert isinstance(model.status().error, KeyMissing)
asyncio.run(main())
assert not {"google.genai", "httpx2"} & sys.modules.keys()
"""

_IMPORT_IN_A_THREAD = """
import asyncio, sys, threading
seen = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        seen.setdefault(name, threading.current_thread())
sys.meta_path.insert(0, Watch())
from arena.models.remote.gemini import GeminiModel
async def main():
    model = GeminiModel(api_key="k", model="m", base_url="http://127.0.0.1:9")
    await model.start()
    print(model.status().error.code)
    await model.aclose()
asyncio.run(main())
heavy = [n for n in ("google.genai", "google.genai.types", "google.genai.errors", "httpx2")]
assert all(seen[n] is not threading.main_thread() for n in heavy), seen
"""


@pytest.mark.parametrize("script", [_NO_KEY, _IMPORT_IN_A_THREAD], ids=["no-key", "in-a-thread"])
def test_in_a_fresh_process(script: str) -> None:
    """A network call without a key, or a page that freezes a second for the SDK's import."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("key", ["", "   "])
def test_an_empty_key_is_no_key(key: str) -> None:
    """An empty line in .env that counts as a key."""
    model = GeminiModel(api_key=key, model=PRO)

    status = model.status()

    assert isinstance(status, Unavailable)
    assert type(status.error) is KeyMissing


@pytest.mark.parametrize("key", ["AQ.key\nX: 1", "キー", "two words", "AQ.\x00"])
async def test_a_key_that_cannot_be_one(server: GeminiServer, make: Make, key: str) -> None:
    """The HTTP client's complaint about an illegal header, which quotes the key."""
    model = make(api_key=key)

    await model.start()
    error = await failing(model)

    assert type(error) is KeyRejected
    assert key not in error.detail + str(error)
    assert server.requests == []


# ---------------------------------------------------------------- pure functions

_TEXTS = st.text(st.characters(), max_size=30)
_MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), _TEXTS), max_size=8)


@given(_MESSAGES)
@example([Message(Role.USER, "half a \ud83d"), Message(Role.SYSTEM, "\udc00")])
def test_no_turn_is_lost_or_changed(messages: list[Message]) -> None:
    """A turn that is dropped, reordered, given to the other speaker or cannot be encoded."""
    contents, system = conversation(messages)

    texts = [m.content.encode("utf-8", "replace").decode() for m in messages]
    said = [(m.role, text) for m, text in zip(messages, texts, strict=True) if text]
    roles = {Role.USER: "user", Role.ASSISTANT: "model"}
    assert [(c["role"], c["parts"][0]["text"]) for c in contents] == [
        (roles[role], text) for role, text in said if role is not Role.SYSTEM
    ]
    assert system == "\n\n".join(text for role, text in said if role is Role.SYSTEM)
    json.dumps([contents, system], ensure_ascii=False).encode()


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.none() | st.integers(1, 10**6))
def test_the_cap_covers_text_and_thoughts(visible: int, thinking: int, limit: int | None) -> None:
    """A cap of zero, above the model's own, or one that thoughts alone can use up."""
    params = GenerationParams(max_new_tokens=visible)

    config = request_config(params, thinking_tokens=thinking, output_limit=limit)

    assert config["max_output_tokens"] == min(visible + thinking, limit or 10**9)
    assert "seed" not in config


@given(st.text(max_size=40), st.text(max_size=3000))
def test_the_key_is_cut_out_before_the_text_is_shortened(before: str, after: str) -> None:
    """Half a key at the end of a shortened text."""
    text = redacted("x" * 1990 + before + KEY + after, KEY)

    assert KEY[:5] not in text
    assert len(text) <= 2000


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ({"error": {"details": [{"@type": "x"}, retry_info("2s")]}}, 2.0),
        ([{"error": {"details": [retry_info("0.25s")]}}], 0.25),
        ({"error": {"details": [retry_info("soon")]}}, None),
        ({"error": {"details": None}}, None),
        ("text", None),
        (None, None),
    ],
)
def test_retry_delay(details: object, seconds: float | None) -> None:
    """A crash on an error whose details have another shape than the documented one."""
    assert retry_delay(details) == seconds


def test_long_lists_are_shortened() -> None:
    """A remedy that fills the page with forty names."""
    names = [f"m{number}" for number in range(8)]

    assert listed([*names, FLASH]) == f"{FLASH}, m0, m1, m2, m3, m4 … (+3)"
    assert listed(names[:2]) == "m0, m1"


@pytest.mark.parametrize(
    ("name", "slug"),
    [(PRO, PRO), ("models/Gemini 3.8_Flash", "gemini-3.8-flash"), ("///", "gemini")],
)
def test_slugs(name: str, slug: str) -> None:
    """An id with characters that an address or a file name cannot have."""
    assert model_slug(name) == slug


def test_google_keys_have_no_pattern() -> None:
    """A good key that is refused for its prefix."""
    assert key_fault("AQ.Ab8") is None
    assert key_fault("AIzaSy") is None


def test_the_server_in_a_thread() -> None:
    """A server for tests of a whole process that does not start, answer or stop."""
    with running_server() as server:
        server.script(says("threaded"))

        async def ask() -> list[str]:
            model = GeminiModel(api_key=KEY, model=PRO, base_url=server.url)
            texts, _ = await read(model)
            await model.aclose()
            return texts

        assert asyncio.run(ask()) == ["threaded"]
        server.arrival().result(timeout=1).connection.closed.result(timeout=1)
