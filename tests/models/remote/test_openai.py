"""OpenAI-compatible engines: the real SDK against a loopback server that speaks the wire format."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, Role
from arena.errors.models import (
    BadReply,
    ContextTooLong,
    EngineUnreachable,
    KeyMissing,
    KeyRejected,
    ModelError,
    ModelGone,
    ModelUnavailable,
    NetworkFailed,
    Overloaded,
    RateLimited,
    RequestRefused,
    StreamBroken,
)
from arena.models.base import ChatModel, Dormant, Metered, Ready, Unavailable
from arena.models.models_file import OpenAiEntry
from arena.models.registry import Entry, Registry
from arena.models.remote.openai import OpenAiModel
from tests.models.remote.openai_server import (
    DONE,
    MODEL,
    HangUp,
    OpenAiServer,
    Pause,
    Reply,
    Reset,
    chunk,
    drips,
    error_body,
    fails,
    model_entry,
    says,
    soon,
    tokens,
    unknown_model,
    usage_chunk,
)

KEY = "sk-a-key-of-nobody-0123456789"
VARIABLE = "VLLM_API_KEY"
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


Make = Callable[..., OpenAiModel]


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with OpenAiServer() as running:
        yield running


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def make(server: OpenAiServer, time: FakeTime) -> AsyncIterator[Make]:
    """Builds models that are closed at the end; `key=None` is an engine without a key."""
    made: list[OpenAiModel] = []

    def build(
        *, key: str | None = KEY, silence_s: float = 60.0, sleep: Any = None, **entry: Any
    ) -> OpenAiModel:
        values = {"kind": "openai", "base_url": server.url, "model": MODEL, "label": "Phi (vLLM)"}
        values |= {"key_variable": VARIABLE} if key is not None else {}
        model = OpenAiModel(
            "phi-vllm",
            OpenAiEntry.model_validate(values | entry),
            key,
            silence_s=silence_s,
            clock=time.clock,
            sleep=sleep or time.sleep,
        )
        made.append(model)
        return model

    yield build
    for model in made:
        await model.aclose()


async def read(
    model: OpenAiModel,
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


async def failing(model: OpenAiModel, into: list[str] | None = None) -> ModelError:
    """The error that a request ends with."""
    with pytest.raises(ModelError) as caught:
        await read(model, into=into)
    return caught.value


def unavailable(model: OpenAiModel) -> ModelError:
    """Why it is out of the pool."""
    status = model.status()
    assert isinstance(status, Unavailable), status
    assert isinstance(status.error, ModelError)
    return status.error


# ---------------------------------------------------------------- answers


async def test_text_and_usage(server: OpenAiServer, make: Make) -> None:
    """An answer that lost a piece, or usage that was not read because its chunk has no choices."""
    server.script(says("偶数", "は2で割り", "切れる数です。", usage=tokens(12, 34)))
    model = make()

    texts, finished = await read(model)

    assert texts == ["偶数", "は2で割り", "切れる数です。"]
    assert finished.reason is FinishReason.STOP
    assert finished.error_code is None
    assert finished.served_model == MODEL
    counts = (finished.prompt_tokens, finished.completion_tokens, finished.thinking_tokens)
    assert counts == (12, 34, None)
    assert isinstance(model, ChatModel)
    assert isinstance(model, Metered)


async def test_characters_split_between_packets(server: OpenAiServer, make: Make) -> None:
    """A replacement character where a packet ended inside a Japanese character."""
    event = json.dumps(chunk("証明😀", finish="stop"), ensure_ascii=False).encode()
    wire = b"data: " + event + b"\n\n"
    inside = wire.index("明".encode()) + 1
    emoji = wire.index("😀".encode()) + 2
    server.script(Reply([wire[:inside], wire[inside:emoji], wire[emoji:], DONE]))

    texts, _ = await read(make())

    assert texts == ["証明😀"]


async def test_comments_keep_a_stream_alive(server: OpenAiServer, make: Make) -> None:
    """A provider's heartbeat taken for text, or a busy engine given up although it beats."""
    beats = [b": PROCESSING\n\n", Pause(0.1)] * 6
    server.script(Reply([*beats, chunk("late"), chunk(finish="stop"), DONE]))

    texts, _ = await read(make(silence_s=0.3))

    assert texts == ["late"]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_are_not_shown(server: OpenAiServer, make: Make, name: str) -> None:
    """A model's thoughts in the pane, or counted and billed as its text."""
    server.script(
        Reply(
            [
                chunk(**{name: "Let me think."}),
                chunk("Yes"),
                chunk([{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "."}]),
                chunk(finish="stop"),
                usage_chunk(tokens(3, 50, reasoning=45)),
                DONE,
            ]
        )
    )

    texts, finished = await read(make())

    assert texts == ["Yes", "."]
    assert (finished.completion_tokens, finished.thinking_tokens) == (5, 45)


async def test_thoughts_counted_apart(server: OpenAiServer, make: Make) -> None:
    """A negative or too small count at a provider that counts thoughts beside the completion."""
    usage = tokens(32, 9, reasoning=310) | {"total_tokens": 351}
    server.script(says("Yes.", usage=usage))

    _, finished = await read(make())

    assert (finished.completion_tokens, finished.thinking_tokens) == (9, 310)


async def test_usage_in_every_chunk(server: OpenAiServer, make: Make) -> None:
    """A count that was added up although each chunk holds the sum so far."""
    steps = [chunk("a", usage=tokens(5, 1)), chunk("b", usage=tokens(5, 2)), chunk(finish="stop")]
    server.script(Reply([*steps, DONE]))

    _, finished = await read(make())

    assert (finished.prompt_tokens, finished.completion_tokens) == (5, 2)


async def test_what_is_sent_is_what_is_recorded(server: OpenAiServer, make: Make) -> None:
    """A thinking model whose thoughts eat the visible budget, or a record that says otherwise."""
    _, finished = await read(make(thinking_tokens=8192))

    (request,) = server.asked
    sent = {"model": MODEL, "temperature": 0.4, "top_p": 0.9, "seed": 11, "max_tokens": 8292}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    assert request.body == sent | stream | {"messages": [{"role": "user", "content": "偶数とは?"}]}
    assert finished.sent == sent


async def test_the_budget_has_the_declared_name(server: OpenAiServer, make: Make) -> None:
    """A model that refuses `max_tokens`, and gets it all the same."""
    _, finished = await read(make(max_tokens_name="max_completion_tokens"))

    assert server.asked[0].body["max_completion_tokens"] == 100
    assert "max_tokens" not in server.asked[0].body
    assert finished.sent["max_completion_tokens"] == 100


async def test_system_prompt_and_turns(server: OpenAiServer, make: Make) -> None:
    """A system prompt in the middle, or twice: some chat templates refuse both."""
    messages = (
        Message(Role.SYSTEM, "Work step by step."),
        Message(Role.SYSTEM, "Answer briefly."),
        Message(Role.USER, "1+1?"),
        Message(Role.ASSISTANT, "2"),
        Message(Role.USER, "2+2?"),
    )

    await read(make(), messages)

    assert server.asked[0].body["messages"] == [
        {"role": "system", "content": "Work step by step.\n\nAnswer briefly."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2+2?"},
    ]


async def test_times_count_repeated_requests(
    server: OpenAiServer, make: Make, time: FakeTime
) -> None:
    """A time to first text that leaves out what the visitor waited for a second try."""
    server.script(fails(429, "Slow down.", headers={"retry-after": "2"}), says("a", "b"))
    finished = None
    async for event in make().stream(ASK, PARAMS):
        if isinstance(event, Delta):
            time.now += 5
        else:
            finished = event

    assert finished is not None
    assert (finished.ttft_s, finished.total_s) == (2.0, 12.0)


@pytest.mark.parametrize(
    ("word", "text", "reason"),
    [
        ("stop", "All.", FinishReason.STOP),
        ("length", "half", FinishReason.LENGTH),
        ("content_filter", "some", FinishReason.BLOCKED),
        ("content_filter", "", FinishReason.BLOCKED),
        ("tool_calls", "", FinishReason.STOP),
        ("function_call", "", FinishReason.STOP),
    ],
)
async def test_endings(
    server: OpenAiServer, make: Make, word: str, text: str, reason: FinishReason
) -> None:
    """A cut answer taken for a whole one, or a blocked one that people may vote on."""
    server.script(says(*([text] if text else []), finish=word))

    texts, finished = await read(make())

    assert "".join(texts) == text
    assert finished.reason is reason
    blocked = reason is FinishReason.BLOCKED
    assert finished.error_code == ("content_blocked" if blocked else None)
    assert (finished.ttft_s is None) is (not text)


async def test_a_blocked_prompt(server: OpenAiServer, make: Make) -> None:
    """A filter that refuses the prompt with an error, shown as a fault of the settings."""
    server.script(fails(400, "The prompt was filtered.", code="content_filter"))

    texts, finished = await read(make())

    assert (texts, finished.reason) == ([], FinishReason.BLOCKED)


@pytest.mark.parametrize("word", ["abort", "error", "eos"])
async def test_an_unknown_ending_is_an_error(server: OpenAiServer, make: Make, word: str) -> None:
    """An answer that ended for a reason nobody knows, taken for a whole one."""
    server.script(says("text", finish=word))
    texts: list[str] = []

    error = await failing(make(), into=texts)

    assert type(error) is BadReply
    assert word in error.detail
    assert texts == ["text"]


async def test_a_stream_without_done(server: OpenAiServer, make: Make) -> None:
    """An engine that just ends, as transformers does, whose answers would all count as broken."""
    server.script(Reply([chunk("Whole."), chunk(finish="stop", usage=tokens(1, 2))]))

    _, finished = await read(make())

    assert (finished.reason, finished.completion_tokens) == (FinishReason.STOP, 2)


@pytest.mark.parametrize("last", [HangUp(), Reset(), b"data: {broken\n\n"])
async def test_a_break_after_the_end_does_not_matter(
    server: OpenAiServer, make: Make, last: Any
) -> None:
    """A whole answer thrown away because the connection closed carelessly behind it."""
    server.script(Reply([chunk("Whole.", finish="stop"), last]))

    _, finished = await read(make())

    assert finished.reason is FinishReason.STOP


async def test_an_engine_that_stays_after_the_end(
    server: OpenAiServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote that waits two minutes for a usage which never comes."""
    monkeypatch.setattr("arena.models.remote.openai._TAIL_S", 0.1)
    server.script(Reply([chunk("Whole.", finish="stop"), Pause()]))

    async with asyncio.timeout(5):
        _, finished = await read(make())

    assert finished.reason is FinishReason.STOP
    await soon(server.asked[0].connection.closed, 1.0)


async def test_odd_chunks_do_not_matter(server: OpenAiServer, make: Make) -> None:
    """A crash on a field that an engine leaves out, or fills with something else."""
    odd: list[Any] = [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"delta": None, "finish_reason": None}], "usage": None},
        {"choices": [{"delta": {"content": 5}}], "model": None, "usage": []},
        {"usage": {"prompt_tokens": "7", "completion_tokens": -1}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": True}},
        {"error": None, "choices": []},
    ]
    server.script(Reply([*odd, chunk("Fine."), chunk(finish="stop"), DONE]))

    texts, finished = await read(make())

    assert texts == ["Fine."]
    assert (finished.prompt_tokens, finished.completion_tokens) == (3, None)


# ---------------------------------------------------------------- failures

ECHO = f"It failed for {KEY}."
HTML = {"content-type": "text/html"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (fails(401, ECHO), KeyRejected),
        (fails(403, ECHO), KeyRejected),
        (fails(402, f"Insufficient Balance {KEY}"), KeyRejected),
        (fails(429, ECHO, code="insufficient_quota"), KeyRejected),
        (fails(404, f"The model does not exist, {KEY}"), ModelGone),
        (fails(429, ECHO), RateLimited),
        (fails(500, ECHO), Overloaded),
        (fails(503, ECHO), Overloaded),
        (fails(400, ECHO), RequestRefused),
        (fails(413, ECHO), RequestRefused),
        (Reply(status=422, body={"detail": ECHO}), RequestRefused),
        (Reply(status=502, body=f"<html>{KEY}</html>".encode()), Overloaded),
        (Reply(status=404, body=f"404 page {KEY} not found".encode()), EngineUnreachable),
        (Reply([Reset()]), NetworkFailed),
        (Reply([HangUp()]), NetworkFailed),
        (Reply(body=f"<html>{KEY}</html>".encode(), headers=HTML), BadReply),
        (Reply([f"<html>{KEY}</html>".encode()], headers=HTML), BadReply),
        (Reply(body={"object": "chat.completion", "choices": [{"message": KEY}]}), BadReply),
        (Reply([b"data: {not json " + KEY.encode() + b"\n\n"]), BadReply),
        (Reply([b"data: \xff\xfe" + KEY.encode() + b"\n\n"]), BadReply),
        (Reply([b'data: ["' + KEY.encode() + b'"]\n\n']), BadReply),
        (Reply([error_body(ECHO)]), Overloaded),
        (Reply([{"error": ECHO}]), Overloaded),
        (Reply([error_body(ECHO, code=503)]), Overloaded),
        (Reply([error_body(ECHO, code=429)]), RateLimited),
        (Reply([error_body(ECHO, code=400, type="BadRequestError")]), RequestRefused),
        (Reply([error_body(ECHO, code="rate_limit_exceeded")]), RateLimited),
        (Reply([error_body(ECHO, type="authentication_error")]), KeyRejected),
        (Reply([]), StreamBroken),
        (Reply([DONE]), StreamBroken),
    ],
)
async def test_each_failure_has_its_type_and_hides_the_key(
    server: OpenAiServer,
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


async def test_a_name_and_password_in_the_address(
    server: OpenAiServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy's password on the page, in the log, in the record, or not sent at all."""
    caplog.set_level(logging.DEBUG)
    secrets = ["p%40ss-word", "p@ss-word", "b3duZXI6cEBzcy13b3Jk"]
    server.default = fails(500, " ".join(secrets))
    address = server.url.replace("http://", f"http://owner:{secrets[0]}@")
    model = make(key=None, base_url=address)

    await model.start()
    status = model.status()
    error = await failing(model)

    (request,) = server.asked[:1]
    assert request.headers["authorization"] == f"Basic {secrets[2]}"
    assert isinstance(status, Ready)
    assert status.facts["sends_to"] == model.sends_to == server.host
    shown = [str(error), error.remedy_text, error.detail, repr(model), repr(status), caplog.text]
    shown += [repr(model.spec), repr(error)]
    for secret in secrets:
        assert secret not in "".join(shown)


async def test_nobody_listens(make: Make, time: FakeTime) -> None:
    """A dead engine that keeps its place in the pool, or whose owner is not told where it is."""
    async with OpenAiServer() as other:
        url, host = other.url, other.host
    model = make(base_url=url)
    error = await failing(model)

    assert type(error) is EngineUnreachable
    assert isinstance(error, NetworkFailed)  # what the registry starts again
    assert error.sentence == f"No engine answers at {host}."
    assert error.remedy_text == (
        f"Start the engine at {host}, or correct [models.phi-vllm] base_url."
    )
    assert time.slept == [0.5, 1.5]
    assert unavailable(model) is error


async def test_a_redirect_is_not_followed(server: OpenAiServer, make: Make) -> None:
    """The key and the prompt sent to whatever address a redirect names."""
    server.default = Reply(status=307, body={}, headers={"location": f"{server.url}/elsewhere"})

    error = await failing(make())

    assert type(error) is BadReply
    assert len(server.requests) == 1


async def test_nothing_meant_for_openai_goes_to_others(
    server: OpenAiServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's OpenAI key or organization sent to another company's engine."""
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "of-the-owner")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "x-secret: of-the-owner\nauthorization: of-the-owner"
    )
    with_key, without = make(), make(key=None)
    await asyncio.gather(with_key.start(), without.start())
    first, second = server.requests
    await read(without)

    assert "of-the-owner" not in str([request.headers for request in server.requests])
    keys = {request.headers.get("authorization") for request in (first, second)}
    assert keys == {f"Bearer {KEY}", None}
    names = set().union(*(request.headers for request in server.requests))
    assert names == {
        "host", "accept", "accept-encoding", "connection", "user-agent", "authorization",
        "content-type", "content-length",
    }  # fmt: skip


async def test_a_missing_package_has_a_remedy(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash at the start where one optional thing is broken."""

    def connect(*_: object) -> None:
        raise ImportError("No module named 'openai'")

    monkeypatch.setattr("arena.models.remote.openai.connect", connect)
    model = make()

    await model.start()

    error = unavailable(model)
    assert type(error) is ModelUnavailable
    assert "pip install" in error.remedy_text


OPENAI_TOO_LONG = (
    "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens "
    "(5000 in the messages, 100 in the completion)."
)
VLLM_TOO_LONG = (
    "This model's maximum context length is 4096 tokens, but the prompt contains 5000 input tokens"
)
LLAMA_TOO_LONG = "request (5000 tokens) exceeds the available context size (4096 tokens)"
LLAMA_FIGURES = {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}


@pytest.mark.parametrize(
    ("message", "more"),
    [
        (OPENAI_TOO_LONG, {"code": "context_length_exceeded", "param": "messages"}),
        (VLLM_TOO_LONG, {"param": "input_tokens"}),
        (LLAMA_TOO_LONG, {}),
        ("the request exceeds the available context size.", LLAMA_FIGURES),
    ],
)
async def test_a_conversation_that_is_too_long(
    server: OpenAiServer, make: Make, message: str, more: dict[str, Any]
) -> None:
    """'The provider refused the request', for a visitor who only has to write less."""
    server.default = fails(400, message, **more)

    error = await failing(make(thinking_tokens=28))

    assert type(error) is ContextTooLong
    assert error.values == {"prompt_tokens": 5000, "max_new_tokens": 128, "context_tokens": 4096}
    assert len(server.asked) == 1


# ---------------------------------------------------------------- repeated requests


async def test_retry_after_is_honoured(server: OpenAiServer, make: Make, time: FakeTime) -> None:
    """A second request before the provider allows it, or the first one's text twice."""
    server.script(fails(429, headers={"retry-after": "3.5"}), says("once"))

    texts, _ = await read(make())

    assert texts == ["once"]
    assert time.slept == [3.5]
    assert len(server.asked) == 2


@pytest.mark.parametrize(("headers", "wait"), [({"retry-after": "31"}, "31 s"), ({}, "60 s")])
async def test_a_long_wait_is_the_visitors_choice(
    server: OpenAiServer, make: Make, time: FakeTime, headers: dict[str, str], wait: str
) -> None:
    """A visitor who looks at an empty pane for half a minute without knowing why."""
    server.default = fails(429, headers=headers)
    model = make()

    error = await failing(model)

    assert type(error) is RateLimited
    assert error.values["wait"] == wait
    assert time.slept == []
    assert len(server.asked) == 1
    assert isinstance(model.status(), Dormant)  # busy for a moment is no reason to leave the pool


async def test_waits_are_bounded_together(server: OpenAiServer, make: Make, time: FakeTime) -> None:
    """Two waits that are each allowed and together are not."""
    server.default = fails(429, headers={"retry-after": "5"})

    assert type(await failing(make())) is RateLimited
    assert time.slept == [5.0]


@pytest.mark.parametrize(
    "reply",
    [
        fails(503),
        Reply([Reset()]),
        Reply([]),
        Reply([chunk(reasoning="Hm."), error_body("Busy.", code=503)]),
    ],
)
async def test_a_passing_failure_is_tried_again(
    server: OpenAiServer, make: Make, time: FakeTime, reply: Reply
) -> None:
    """An answer lost to a hiccup that the next second would have mended."""
    server.script(reply, reply, says("fine"))

    texts, finished = await read(make())

    assert texts == ["fine"]
    assert finished.reason is FinishReason.STOP
    assert time.slept == [0.5, 1.5]


async def test_tries_come_to_an_end(server: OpenAiServer, make: Make, time: FakeTime) -> None:
    """An engine that is down, asked for ever, or thrice by us and thrice by the SDK."""
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
        (DONE, StreamBroken),
        (error_body("Busy.", code=503), Overloaded),
        ({"error": "CUDA out of memory"}, Overloaded),
        (b"data: {broken\n\n", BadReply),
    ],
)
async def test_nothing_is_sent_again_after_the_first_text(
    server: OpenAiServer, make: Make, time: FakeTime, last: Any, expected: type[ModelError]
) -> None:
    """An answer that starts anew in the middle of itself."""
    server.script(Reply([chunk("Half an"), last]))
    texts: list[str] = []

    error = await failing(make(), into=texts)

    assert type(error) is expected
    assert texts == ["Half an"]
    assert len(server.asked) == 1
    assert time.slept == []


@pytest.mark.parametrize(
    ("first", "expected"), [([], NetworkFailed), ([chunk("Some")], StreamBroken)]
)
async def test_silence_ends(
    server: OpenAiServer, make: Make, first: list[Any], expected: type[ModelError]
) -> None:
    """A pane that waits for ever, or waits thrice."""
    server.default = Reply([*first, Pause()])

    async with asyncio.timeout(5):
        error = await failing(make(silence_s=0.2))

    assert type(error) is expected
    assert len(server.asked) == 1


async def test_a_long_answer_is_no_silence(server: OpenAiServer, make: Make) -> None:
    """A total timeout that kills a healthy stream."""
    steps = [chunk("word "), Pause(0.1)] * 8
    server.script(Reply([*steps, chunk(finish="stop"), DONE]))

    texts, _ = await read(make(silence_s=0.3))

    assert len(texts) == 8


@pytest.mark.parametrize(
    ("reply", "gone"),
    [
        (fails(400, "Unknown parameter: 'stream_options'."), {"stream_options"}),
        (fails(400, "include_usage is not supported"), {"stream_options"}),
        (fails(400, "It is not supported.", param="temperature"), {"temperature"}),
        (fails(422, "temperature and top_p are fixed"), {"temperature", "top_p"}),
        (
            Reply(
                status=422,
                body={"detail": [{"loc": ["body", "seed"], "msg": "not top_p", "input": {}}]},
            ),
            {"seed"},
        ),
        (
            Reply(status=422, body={"detail": "Unexpected fields in the request: {'seed'}"}),
            {"seed"},
        ),
    ],
)
async def test_what_is_refused_is_left_out_and_remembered(
    server: OpenAiServer, make: Make, reply: Reply, gone: set[str]
) -> None:
    """An engine without a parameter that never answers, or a record of values it never got."""
    server.script(reply)
    model = make()

    _, finished = await read(model)
    _, second = await read(model)

    sent = [set(request.body) for request in server.asked]
    assert sent[0] - sent[1] == gone
    assert sent[1] == sent[2]
    assert not gone & (finished.sent.keys() | second.sent.keys())


async def test_refusals_come_one_after_another(server: OpenAiServer, make: Make) -> None:
    """A model with its own sampling, which names one parameter at a time."""
    refusals = [fails(400, "no", param=name) for name in ("temperature", "top_p", "seed")]
    server.script(*refusals)

    _, finished = await read(make())

    assert finished.sent == {"model": MODEL, "max_tokens": 100}
    assert len(server.asked) == 4


async def test_an_echo_of_the_request_is_not_remembered(server: OpenAiServer, make: Make) -> None:
    """Sampling dropped for good because an engine quoted the request in a complaint of its own."""
    echo = fails(400, "bad: {'temperature': 0.4, 'top_p': 0.9, 'seed': 11, 'stream_options': {}}")
    server.script(echo, fails(400, "It is still bad."))
    model = make()

    assert type(await failing(model)) is RequestRefused
    _, finished = await read(model)

    assert len(server.asked) == 3
    assert {"temperature", "top_p", "seed"} <= finished.sent.keys()


async def test_refusals_end(server: OpenAiServer, make: Make) -> None:
    """A request sent for ever because its refusal names a parameter that is not in it."""
    server.default = fails(400, "top_p and seed are not supported.")

    assert type(await failing(make())) is RequestRefused
    assert len(server.asked) == 2


async def test_the_budget_is_never_left_out(server: OpenAiServer, make: Make) -> None:
    """An answer without a limit, from an engine that wanted the budget under another name."""
    server.default = fails(400, "'max_tokens' is not supported", param="max_tokens")

    error = await failing(make())

    assert type(error) is RequestRefused
    assert "max_tokens" in error.detail
    assert len(server.asked) == 1


# ---------------------------------------------------------------- stopping

SILENT = Reply([Pause()])
SILENT_LATER = Reply([chunk("First"), Pause()])
THINKING = Reply([chunk(reasoning_content="Hm."), Pause()])


@pytest.mark.parametrize("reply", [SILENT, THINKING, SILENT_LATER, drips()])
async def test_a_cancelled_reader_closes_the_connection(
    server: OpenAiServer, make: Make, reply: Reply
) -> None:
    """A stopped answer that the engine goes on writing for nobody."""
    server.script(reply)
    reader = asyncio.create_task(read(make()))
    request = await soon(server.arrival())
    assert not request.connection.closed.done()

    reader.cancel()

    await soon(request.connection.closed, 1.0)
    with pytest.raises(asyncio.CancelledError):
        await reader


@pytest.mark.parametrize("reply", [SILENT_LATER, drips()])
async def test_a_closed_stream_closes_the_connection(
    server: OpenAiServer, make: Make, reply: Reply
) -> None:
    """A reader that left after some text, while the connection stays open behind it."""
    server.script(reply)
    events = make().stream(ASK, PARAMS)
    await anext(events)

    async with asyncio.timeout(1):
        await events.aclose()

    (request,) = server.asked
    await soon(request.connection.closed, 1.0)


async def test_a_web_page_without_an_end_is_left(server: OpenAiServer, make: Make) -> None:
    """A connection that stays open behind a reply which is no stream."""
    server.script(Reply([b"<html>" * 200, Pause()], headers=HTML))

    async with asyncio.timeout(5):
        assert type(await failing(make())) is BadReply

    (request,) = server.asked
    await soon(request.connection.closed, 1.0)


async def test_cancelled_before_it_began(server: OpenAiServer, make: Make) -> None:
    """A stop in the very first moment that leaves a coroutine behind which nobody awaits."""
    reader = asyncio.create_task(read(make()))
    await asyncio.sleep(0)
    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    assert server.requests == []


@pytest.mark.parametrize("reply", [SILENT, SILENT_LATER, drips()])
async def test_closing_the_model_ends_its_streams(
    server: OpenAiServer, make: Make, time: FakeTime, reply: Reply
) -> None:
    """A shutdown that waits for the engine, fails at the second call, or leaves a stream."""
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
    server: OpenAiServer, make: Make, time: FakeTime
) -> None:
    """A request that goes out after the shutdown, over a client that is closed."""
    server.default = fails(503)

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        await model.aclose()

    model = make(sleep=sleep)

    assert type(await failing(model)) is ModelUnavailable
    assert len(server.asked) == 1


async def test_closing_while_it_starts(server: OpenAiServer, make: Make) -> None:
    """A shutdown that waits for an engine which does not answer the first question."""
    server.script_models(SILENT)
    model = make()
    starting = asyncio.create_task(model.start())
    request = await soon(server.arrival(for_text=False))

    async with asyncio.timeout(1):
        await model.aclose()

    await starting
    assert isinstance(model.status(), Dormant)
    await soon(request.connection.closed, 1.0)


async def test_a_connection_is_used_again(server: OpenAiServer, make: Make) -> None:
    """A handshake before every first token, because finished answers drop their connection."""
    model = make()

    await read(model)
    await read(model)

    first, second = server.asked
    assert first.connection is second.connection


async def test_streams_do_not_wait_for_each_other(server: OpenAiServer, make: Make) -> None:
    """A pool of connections that lets only so many visitors be answered at once."""
    server.default = SILENT_LATER
    model = make()
    streams = [model.stream(ASK, PARAMS) for _ in range(130)]

    async with asyncio.timeout(20):
        firsts = await asyncio.gather(*(anext(stream) for stream in streams))
        await asyncio.gather(*(stream.aclose() for stream in streams))

    assert firsts == [Delta("First")] * 130


# ---------------------------------------------------------------- status


async def test_ready_with_facts(server: OpenAiServer, make: Make) -> None:
    """A chip that says ready before anybody asked whether the engine is there."""
    prices = {"price_in": 0.0, "price_out": 0.0, "price_as_of": "2026-11-01"}
    model = make(precision="bf16", licence="MIT", **prices)
    assert isinstance(model.status(), Dormant)

    await asyncio.gather(model.start(), model.start(), model.start())
    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {
        "sends_to": server.host,
        "listed": "yes",
        "engine": "vLLM",
        "context": "4096",
        "price_as_of": "2026-11-01",
    }
    spec = model.spec
    assert (spec.id, spec.label, spec.provider) == (
        "phi-vllm-bf16",
        "Phi (vLLM)",
        "openai-compatible",
    )
    assert (spec.source, spec.engine, spec.precision) == (MODEL, "vLLM", "bf16")
    assert (spec.context_tokens, spec.price_in, spec.licence) == (4096, 0.0, "MIT")
    assert [request.path for request in server.requests] == ["/v1/models"]


async def test_the_declared_context_wins(make: Make) -> None:
    """An owner's smaller limit overwritten by what the engine could do."""
    model = make(context_tokens=2048)
    await model.start()

    assert model.spec.context_tokens == 2048


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (fails(401), KeyRejected),
        (fails(503), Overloaded),
        (Reply([Reset()]), EngineUnreachable),
        (Reply(body=b"<html>"), None),  # no list: the engine itself is asked
    ],
)
async def test_a_failed_start_is_typed_and_not_final(
    server: OpenAiServer, make: Make, reply: Reply, expected: type[ModelError] | None
) -> None:
    """An engine that was restarted at the wrong moment, and stays away for the whole day."""
    server.script_models(reply)
    model = make()

    await model.start()
    if expected is not None:
        assert type(unavailable(model)) is expected

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_a_silent_engine_at_the_start(
    server: OpenAiServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chip that says loading for two minutes; or a remedy that does not say where."""
    monkeypatch.setattr("arena.models.remote.openai._LOOK_S", 0.2)
    server.script_models(SILENT)
    model = make()

    async with asyncio.timeout(5):
        await model.start()

    error = unavailable(model)
    assert type(error) is EngineUnreachable
    assert server.host in error.remedy_text
    await soon(server.requests[0].connection.closed, 1.0)


async def test_an_engine_that_answers_nothing_at_the_start(
    server: OpenAiServer, make: Make
) -> None:
    """An engine that was about to start, out of the pool for good."""
    server.models = []
    server.script(Reply([]))
    model = make()

    await model.start()
    assert type(unavailable(model)) is EngineUnreachable

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_the_registry_revives_an_engine_that_comes_later(
    server: OpenAiServer, make: Make
) -> None:
    """An engine that starts after the arena, and plays only when the arena is started again."""
    async with OpenAiServer() as other:
        port = other.port
    model = make(base_url=f"http://127.0.0.1:{port}/v1")
    registry = Registry([Entry("phi-vllm", model)])
    registry.start()
    await registry.started()
    assert type(unavailable(model)) is EngineUnreachable

    later = OpenAiServer()
    later.port = port
    async with later:
        registry.revive()
        assert registry._revived is not None
        await registry._revived

        assert isinstance(model.status(), Ready)
        assert (await read(model))[0] == ["Hello", ", ", "world."]
    await registry.aclose()


async def test_a_model_that_is_not_listed_is_tried(server: OpenAiServer, make: Make) -> None:
    """A model known by another name (`llama3` for `llama3:latest`) reported as missing."""
    server.default = drips()
    model = make(model="llama3")

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["listed"] == "no"
    (request,) = server.asked
    assert (request.model, request.body["max_tokens"]) == ("llama3", 16)
    assert request.body.keys() == {"model", "messages", "max_tokens", "stream"}  # nothing to refuse
    await soon(request.connection.closed, 1.0)


@pytest.mark.parametrize(
    "reply", [unknown_model("typo"), fails(400, "Server is pinned to 'x'; requested 'typo'.")]
)
async def test_a_missing_model_names_those_that_exist(
    server: OpenAiServer, make: Make, reply: Reply
) -> None:
    """A remedy without a name to set."""
    server.default = reply
    model = make(model="typo")

    await model.start()

    error = unavailable(model)
    assert type(error) is ModelGone
    assert error.remedy_text == f"Set [models.phi-vllm] model to one of: {MODEL}, other/model"
    assert error.sentence == "The provider has no model typo for this key."


async def test_a_missing_model_without_a_list(server: OpenAiServer, make: Make) -> None:
    """A remedy that ends in nothing."""
    server.script_models(Reply(status=404, body={"detail": "Not Found"}))
    server.default = unknown_model("typo")
    model = make(model="typo")

    await model.start()

    assert unavailable(model).values["available"] == f"{server.url}/models"


async def test_a_wrong_path_is_not_a_missing_model(server: OpenAiServer, make: Make) -> None:
    """'No such model' for an address without its /v1."""
    server.default = Reply(status=404, body={"detail": "Not Found"})
    model = make(base_url=server.url.removesuffix("/v1"))

    await model.start()

    assert type(unavailable(model)) is EngineUnreachable


async def test_answers_move_the_status(server: OpenAiServer, make: Make) -> None:
    """A chip that says ready for a key that was withdrawn, or gone for one that works again."""
    model = make()
    await model.start()
    server.script(fails(503), fails(503), fails(503), fails(401), says("back"))

    await failing(model)
    assert isinstance(model.status(), Ready)  # busy for a moment is no reason to leave the pool

    error = await failing(model)
    assert unavailable(model) is error

    await read(model)
    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["served_model"] == MODEL


async def test_what_serves_is_recorded(server: OpenAiServer, make: Make) -> None:
    """An alias that moves to another model, whose votes are pooled with the old one's."""
    steps = [chunk("Hi", model="phi-4-mini-2026-11"), chunk(finish="stop", model="")]
    server.script(Reply([*steps, DONE]))

    _, finished = await read(make())

    assert finished.served_model == "phi-4-mini-2026-11"


async def test_an_engine_that_names_nothing(server: OpenAiServer, make: Make) -> None:
    """A crash on the list of an engine that is compatible in its own way."""
    server.models = []
    server.script_models(Reply(body={"data": [None, {"id": 5}, {"id": MODEL, "owned_by": None}]}))
    model = make()

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {"sends_to": server.host, "listed": "yes"}
    assert model.spec.engine == "openai-compatible"


async def test_many_models_are_shortened(server: OpenAiServer, make: Make) -> None:
    """A remedy that fills the page with three hundred names."""
    server.models = [model_entry(f"m{number}") for number in range(300)]
    server.default = unknown_model()
    model = make()

    await model.start()

    assert unavailable(model).values["available"] == "m0, m1, m2, m3, m4, m5 … (+294)"


# ---------------------------------------------------------------- the key, and the heavy import


@pytest.mark.parametrize("key", ["", "   "])
async def test_a_missing_key_is_named(server: OpenAiServer, make: Make, key: str) -> None:
    """A request without the key that the owner meant to send."""
    model = make(key=key)

    await model.start()
    error = await failing(model)

    assert type(unavailable(model)) is type(error) is KeyMissing
    assert error.remedy_text == f"Set {VARIABLE} and start again."
    assert server.requests == []
    await model.aclose()
    assert type(unavailable(model)) is KeyMissing


async def test_a_key_that_is_asked_for(server: OpenAiServer, make: Make) -> None:
    """'Set a valid key in', and no variable behind it."""
    server.default = fails(401)
    model = make(key=None)

    error = await failing(model)

    assert type(error) is KeyMissing
    assert error.remedy_text == "Set [models.phi-vllm] key_variable and start again."
    assert unavailable(model) is error


@pytest.mark.parametrize("key", ["sk-key\nX: 1", "キー", "two words", "sk-\x00"])
async def test_a_key_that_cannot_be_one(server: OpenAiServer, make: Make, key: str) -> None:
    """The HTTP client's complaint about an illegal header, which quotes the key."""
    model = make(key=key)

    await model.start()
    error = await failing(model)

    assert type(error) is KeyRejected
    assert error.values["variable"] == VARIABLE
    assert key not in error.detail + str(error)
    assert server.requests == []


_IN_A_THREAD = """
import asyncio, sys, threading
seen = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        seen.setdefault(name, threading.current_thread())
sys.meta_path.insert(0, Watch())
from arena.models.models_file import OpenAiEntry
from arena.models.remote.openai import OpenAiModel
async def main():
    entry = OpenAiEntry(kind="openai", base_url="http://127.0.0.1:9/v1", model="m")
    model = OpenAiModel("m", entry)
    assert not {"openai", "httpx2"} & sys.modules.keys()
    await model.start()
    print(model.status().error.code)
    await model.aclose()
asyncio.run(main())
heavy = ("openai", "openai.resources", "httpx2")
assert all(seen[n] is not threading.main_thread() for n in heavy if n in seen), seen
assert "openai" in seen
"""


def test_the_sdk_is_imported_in_a_thread() -> None:
    """A page that freezes half a second for the SDK's import, or pays it without an entry."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IN_A_THREAD],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "engine_unreachable"
