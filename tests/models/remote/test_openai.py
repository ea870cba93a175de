"""OpenAI-compatible engines: the real SDK against a loopback server of the wire format."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from arena.domain import Delta, FinishReason, Message, Role
from arena.errors.models import (
    BadReply,
    ContextTooLong,
    EngineUnreachable,
    KeyMissing,
    NetworkFailed,
    RequestRefused,
)
from arena.models.base import Ready
from tests.models.remote.apis import ASK, PARAMS, OpenAiApi, failing, read, shown_texts, unavailable
from tests.models.remote.loopback import Pause, Reply, soon
from tests.models.remote.openai_server import (
    DONE,
    MODEL,
    OpenAiServer,
    chunk,
    fails,
    says,
    tokens,
    usage_chunk,
)

KEY = OpenAiApi.key


async def test_comments_keep_a_stream_alive(openai: OpenAiApi) -> None:
    """A comment in the stream is no text, and ends the silence."""
    beats = [b": PROCESSING\n\n", Pause(0.3)] * 6
    openai.server.script(Reply([*beats, chunk("late"), chunk(finish="stop"), DONE]))

    texts, _ = await read(openai.make(silence_s=1.5))

    assert texts == ["late"]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_are_not_shown(openai: OpenAiApi, name: str) -> None:
    """Thinking comes in fields or parts of its own; its tokens are not the text's."""
    openai.server.script(
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

    texts, finished = await read(openai.make())

    assert texts == ["Yes", "."]
    assert (finished.completion_tokens, finished.thinking_tokens) == (5, 45)


async def test_thoughts_counted_apart(openai: OpenAiApi) -> None:
    """Thinking is not subtracted where the total says that it is counted on top."""
    usage = tokens(32, 9, reasoning=310) | {"total_tokens": 351}
    openai.server.script(says("Yes.", usage=usage))

    _, finished = await read(openai.make())

    assert (finished.completion_tokens, finished.thinking_tokens) == (9, 310)


async def test_usage_in_every_chunk(openai: OpenAiApi) -> None:
    """Each chunk's usage is the sum so far."""
    steps = [chunk("a", usage=tokens(5, 1)), chunk("b", usage=tokens(5, 2)), chunk(finish="stop")]
    openai.server.script(Reply([*steps, DONE]))

    _, finished = await read(openai.make())

    assert (finished.prompt_tokens, finished.completion_tokens) == (5, 2)


async def test_what_is_sent_is_what_is_recorded(openai: OpenAiApi) -> None:
    """The record holds what was sent; the thinking allowance comes on top of the visible text."""
    _, finished = await read(openai.make(thinking_tokens=8192))

    (request,) = openai.server.asked
    sent = {"model": MODEL, "temperature": 0.4, "top_p": 0.9, "seed": 11, "max_tokens": 8292}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    assert request.body == sent | stream | {"messages": [{"role": "user", "content": "偶数とは?"}]}
    assert finished.sent == sent


async def test_the_budget_has_the_declared_name(openai: OpenAiApi) -> None:
    """The cap goes out under the name that the entry declares."""
    _, finished = await read(openai.make(max_tokens_name="max_completion_tokens"))

    assert openai.server.asked[0].body["max_completion_tokens"] == 100
    assert "max_tokens" not in openai.server.asked[0].body
    assert finished.sent["max_completion_tokens"] == 100


async def test_system_prompt_and_turns(openai: OpenAiApi) -> None:
    """All system prompts go in front as one: some chat templates refuse more."""
    messages = (
        Message(Role.SYSTEM, "Work step by step."),
        Message(Role.SYSTEM, "Answer briefly."),
        Message(Role.USER, "1+1?"),
        Message(Role.ASSISTANT, "2"),
        Message(Role.USER, "2+2?"),
    )

    await read(openai.make(), messages)

    assert openai.server.asked[0].body["messages"] == [
        {"role": "system", "content": "Work step by step.\n\nAnswer briefly."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2+2?"},
    ]


async def test_a_blocked_prompt(openai: OpenAiApi) -> None:
    """An error of the content filter is a blocked answer."""
    openai.server.script(fails(400, "The prompt was filtered.", code="content_filter"))

    texts, finished = await read(openai.make())

    assert (texts, finished.reason) == ([], FinishReason.BLOCKED)


@pytest.mark.parametrize("word", ["tool_calls", "function_call"])
async def test_a_tool_call_ends_an_answer(openai: OpenAiApi, word: str) -> None:
    """A model that calls a tool which was not offered has ended by itself."""
    openai.server.script(says("Let me see.", finish=word))

    _, finished = await read(openai.make())

    assert finished.reason is FinishReason.STOP


async def test_a_stream_without_done(openai: OpenAiApi) -> None:
    """The finish reason ends an answer, with or without `[DONE]`."""
    openai.server.script(Reply([chunk("Whole."), chunk(finish="stop", usage=tokens(1, 2))]))

    _, finished = await read(openai.make())

    assert (finished.reason, finished.completion_tokens) == (FinishReason.STOP, 2)


async def test_odd_chunks_do_not_matter(openai: OpenAiApi) -> None:
    """Fields that are missing or hold something else are left out."""
    odd: list[Any] = [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"delta": None, "finish_reason": None}], "usage": None},
        {"choices": [{"delta": {"content": 5}}], "model": None, "usage": []},
        {"usage": {"prompt_tokens": "7", "completion_tokens": -1}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": True}},
        {"error": None, "choices": []},
    ]
    openai.server.script(Reply([*odd, chunk("Fine."), chunk(finish="stop"), DONE]))

    texts, finished = await read(openai.make())

    assert texts == ["Fine."]
    assert (finished.prompt_tokens, finished.completion_tokens) == (3, None)


async def test_what_serves_is_recorded(openai: OpenAiApi) -> None:
    """The record holds the model that the engine names in its reply."""
    steps = [chunk("Hi", model="phi-4-mini-2026-11"), chunk(finish="stop", model="")]
    openai.server.script(Reply([*steps, DONE]))

    _, finished = await read(openai.make())

    assert finished.served_model == "phi-4-mini-2026-11"


# ---------------------------------------------------------------- failures

HTML = {"content-type": "text/html"}


async def test_a_name_and_password_in_the_address(
    openai: OpenAiApi, caplog: pytest.LogCaptureFixture
) -> None:
    """A name and password in the address are sent, and are in no text."""
    caplog.set_level(logging.DEBUG)
    secrets = ["p%40ss-word", "p@ss-word", "b3duZXI6cEBzcy13b3Jk"]
    openai.server.default = fails(500, " ".join(secrets))
    address = openai.server.url.replace("http://", f"http://owner:{secrets[0]}@")
    model = openai.make(key=None, base_url=address)

    await model.start()
    status = model.status()
    error = await failing(model)

    (request,) = openai.server.asked[:1]
    assert request.headers["authorization"] == f"Basic {secrets[2]}"
    assert isinstance(status, Ready)
    assert status.facts["sends_to"] == model.sends_to == openai.server.host
    shown = shown_texts(error, repr(model), repr(status), repr(model.spec), caplog.text)
    for secret in secrets:
        assert secret not in shown


async def test_a_refused_connection(openai: OpenAiApi) -> None:
    """A dead engine leaves the pool, and its error says where it should be."""
    async with OpenAiServer() as other:
        url, host = other.url, other.host
    model = openai.make(base_url=url)
    error = await failing(model)

    assert type(error) is EngineUnreachable
    assert isinstance(error, NetworkFailed)  # what the registry starts again
    assert error.sentence == f"No engine answers at {host}."
    assert error.remedy_text == (
        f"Start the engine at {host}, or correct [models.phi-vllm] base_url."
    )
    assert openai.time.slept == [0.5, 1.5]
    assert unavailable(model) is error


async def test_nothing_meant_for_openai_goes_to_others(
    openai: OpenAiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable meant for OpenAI changes what is sent, and no header but ours goes along."""
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "of-the-owner")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "x-secret: of-the-owner\nauthorization: of-the-owner"
    )
    with_key, without = openai.make(), openai.make(key=None)
    await asyncio.gather(with_key.start(), without.start())
    first, second = openai.server.requests
    await read(without)

    assert "of-the-owner" not in str([request.headers for request in openai.server.requests])
    keys = {request.headers.get("authorization") for request in (first, second)}
    assert keys == {f"Bearer {KEY}", None}
    names = set().union(*(request.headers for request in openai.server.requests))
    assert names == {
        "host", "accept", "accept-encoding", "connection", "user-agent", "authorization",
        "content-type", "content-length",
    }  # fmt: skip


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
    openai: OpenAiApi, message: str, more: dict[str, Any]
) -> None:
    """A prompt that is too long is an error of its own, with the sizes that the engine names."""
    openai.server.default = fails(400, message, **more)

    error = await failing(openai.make(thinking_tokens=28))

    assert type(error) is ContextTooLong
    assert error.values == {"prompt_tokens": 5000, "max_new_tokens": 128, "context_tokens": 4096}
    assert len(openai.server.asked) == 1


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
    openai: OpenAiApi, reply: Reply, gone: set[str]
) -> None:
    """Engines name a refused field in several ways; what is refused is left out from then on."""
    openai.server.script(reply)
    model = openai.make()

    _, finished = await read(model)
    _, second = await read(model)

    sent = [set(request.body) for request in openai.server.asked]
    assert sent[0] - sent[1] == gone
    assert sent[1] == sent[2]
    assert not gone & (finished.sent.keys() | second.sent.keys())


async def test_refusals_come_one_after_another(openai: OpenAiApi) -> None:
    """A model may name one refused parameter at a time."""
    refusals = [fails(400, "no", param=name) for name in ("temperature", "top_p", "seed")]
    openai.server.script(*refusals)

    _, finished = await read(openai.make())

    assert finished.sent == {"model": MODEL, "max_tokens": 100}
    assert len(openai.server.asked) == 4


async def test_the_budget_is_never_left_out(openai: OpenAiApi) -> None:
    """A request without a cap is never sent."""
    openai.server.default = fails(400, "'max_tokens' is not supported", param="max_tokens")

    error = await failing(openai.make())

    assert type(error) is RequestRefused
    assert "max_tokens" in error.detail
    assert len(openai.server.asked) == 1


async def test_a_web_page_without_an_end_is_left(openai: OpenAiApi) -> None:
    """A reply that is no stream is left at once."""
    openai.server.script(Reply([b"<html>" * 200, Pause()], headers=HTML))

    async with asyncio.timeout(30):
        assert type(await failing(openai.make())) is BadReply

    (request,) = openai.server.asked
    await soon(request.connection.closed)


async def test_streams_do_not_wait_for_each_other(openai: OpenAiApi) -> None:
    """Connections are not limited by the client."""
    openai.server.default = Reply([chunk("First"), Pause()])
    model = openai.make()
    streams = [model.stream(ASK, PARAMS) for _ in range(130)]

    async with asyncio.timeout(20):
        firsts = await asyncio.gather(*(anext(stream) for stream in streams))
        await asyncio.gather(*(stream.aclose() for stream in streams))

    assert firsts == [Delta("First")] * 130


async def test_a_key_that_is_asked_for(openai: OpenAiApi) -> None:
    """An engine that wants a key when none is declared: the remedy names the entry's field."""
    openai.server.default = fails(401)
    model = openai.make(key=None)

    error = await failing(model)

    assert type(error) is KeyMissing
    assert error.remedy_text == "Set [models.phi-vllm] key_variable and start again."
    assert unavailable(model) is error
