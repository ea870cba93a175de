"""The pure parts of the OpenAI API: addresses, requests, replies, refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arena.domain import GenerationParams, Message, Role
from arena.errors.models import ModelGone, RequestRefused
from arena.models.models_file import OpenAiEntry
from arena.models.remote.dialect import Attempt, ReplyChunk, split_system
from arena.models.remote.failure import RemoteFailure
from arena.models.remote.openai import OpenAiDialect
from arena.models.remote.openai_errors import refused_fields, retry_after, too_long
from arena.models.remote.openai_wire import Listing, address_of, listing, read_chunk
from tests.models.remote.openai_server import MODEL, model_entry, tokens

KEY = "sk-a-key-used-nowhere-0123456789"


def dialect(**entry: Any) -> OpenAiDialect:
    values = {"kind": "openai", "base_url": "http://127.0.0.1:8000/v1", "model": MODEL}
    return OpenAiDialect("phi", OpenAiEntry.model_validate(values | entry))


_TEXTS = st.text(st.characters(), max_size=30)
_MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), _TEXTS), max_size=8)


@given(_MESSAGES)
@example([Message(Role.USER, "half a \ud83d"), Message(Role.SYSTEM, "\udc00")])
def test_no_turn_is_lost_or_changed(messages: list[Message]) -> None:
    """The system prompt goes in front, then every turn, as text that can be encoded."""
    system, turns = split_system(messages)
    request = dialect().request(Attempt(model=MODEL, messages=messages, params=GenerationParams()))

    first = [(Role.SYSTEM, system)] if system else []
    assert request.body["messages"] == [
        {"role": role.value, "content": text} for role, text in first + turns
    ]
    json.dumps(request.body, ensure_ascii=False).encode()


@given(
    st.integers(1, 10**6),
    st.integers(0, 65536),
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
    st.sets(st.sampled_from(["temperature", "top_p", "seed", "stream_options"])),
    st.none() | st.integers(0, 2**31 - 1),
)
def test_every_request_is_streamed_and_capped(
    visible: int, thinking: int, name: str, without: set[str], seed: int | None
) -> None:
    """Every request has the cap, no refused field and no null."""
    params = GenerationParams(max_new_tokens=visible, seed=seed)
    declared = dialect(thinking_tokens=thinking, max_tokens_name=name)

    request = declared.request(
        Attempt(model=MODEL, messages=[], params=params, without=frozenset(without))
    )

    assert request.body[name] == request.max_tokens == visible + thinking
    assert request.body["stream"] is True
    assert None not in request.body.values()
    wanted = {"temperature", "top_p", "stream_options"} | ({"seed"} if seed is not None else set())
    assert request.optional == wanted - without <= request.body.keys()
    assert not without & request.body.keys()


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.booleans()
)
def test_counts_never_lose_or_double_a_token(
    prompt: int,
    visible: int,
    thinking: int | None,
    apart: bool,  # noqa: FBT001
) -> None:
    """Both ways of counting thinking give the same counts."""
    inside = 0 if apart else thinking or 0
    usage = tokens(prompt, visible + inside, thinking)
    usage["total_tokens"] = prompt + visible + (thinking or 0)

    chunk = read_chunk({"choices": [], "usage": usage})

    assert chunk.prompt_tokens == prompt
    assert chunk.completion_tokens == visible
    assert chunk.thinking_tokens == thinking


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "content", "usage", "finish_reason", "model", "type", "text",
             "data", "id", "owned_by", "max_model_len", "completion_tokens",
             "completion_tokens_details", "reasoning_tokens"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["choices", "usage", "model"]), _JSON), _JSON)
def test_no_reply_is_a_crash(one: dict[str, Any], reply: object) -> None:
    """Any JSON can be read as a chunk and as a list of models."""
    assert isinstance(read_chunk(one), ReplyChunk)
    assert isinstance(listing(reply, MODEL), Listing)


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        (model_entry(MODEL, max_model_len=4096), 4096),
        (model_entry(MODEL, context_length=8192), 8192),
        (model_entry(MODEL, context_window=0), None),
        (model_entry(MODEL), None),
        (model_entry("other", max_model_len=4096), None),
    ],
)
def test_the_context_is_that_of_the_model(entry: dict[str, Any], context: int | None) -> None:
    """The context is the listed one of the wanted model."""
    assert listing({"data": [entry]}, MODEL).context_tokens == context


@pytest.mark.parametrize(
    ("owner", "engine"),
    [("vllm", "vLLM"), ("sglang", "SGLang"), ("llamacpp", "llama.cpp"), ("microsoft", "")],
)
def test_only_engines_are_named_as_engines(owner: str, engine: str) -> None:
    """The owner of the weights is not named as the engine that runs them."""
    assert listing({"data": [model_entry(MODEL, owned_by=owner)]}, MODEL).engine == engine


@pytest.mark.parametrize(
    ("url", "key", "host", "authorization"),
    [
        ("http://127.0.0.1:8000/v1", "", "127.0.0.1:8000", ""),
        ("https://api.example.com/v1/", KEY, "api.example.com", f"Bearer {KEY}"),
        ("http://[::1]:8000/v1", "", "[::1]:8000", ""),
        ("http://u:p%40ss@host:1/v1", "", "host:1", "Basic dTpwQHNz"),
        ("http://only-a-name@host/v1", "", "host", "Basic b25seS1hLW5hbWU6"),
    ],
)
def test_addresses(url: str, key: str, host: str, authorization: str) -> None:
    """A host is shown without name and password; a header authorizes the request."""
    address = address_of(url, key)

    assert address.host == host
    assert address.authorization == authorization
    assert "@" not in address.url
    assert address.url.endswith(("/v1", "/v1/"))
    for secret in address.secrets:
        assert secret not in repr(address)


def test_retry_after_as_a_date() -> None:
    """A date is turned into seconds; a past one into none."""
    then = datetime.now(UTC) + timedelta(seconds=30)

    wait = retry_after({"retry-after": format_datetime(then, usegmt=True)})

    assert wait is not None
    assert 27 < wait <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """A wait is a number of seconds or milliseconds; anything else is none."""
    assert retry_after(headers) == seconds


@given(st.text())
def test_retry_after_never_crashes(text: str) -> None:
    """Any header can be read."""
    wait = retry_after({"retry-after": text})

    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("detail", "names"),
    [
        ("HTTP 400: no seeding here, unseeded", set()),
        ("HTTP 400: top_p (about: temperature)", {"temperature"}),
        ("HTTP 422: a (about: ['body', 'seed']); b (about: ['body', 'top_p'])", {"seed", "top_p"}),
        ("HTTP 400: stream_options.include_usage", {"stream_options"}),
        ("HTTP 400: max_tokens, messages, model, stream", set()),
    ],
)
def test_only_what_can_be_left_out_is(detail: str, names: set[str]) -> None:
    """Only optional fields count as refused; the named subject before what is mentioned."""
    assert refused_fields(RemoteFailure(RequestRefused, detail)) == names
    assert refused_fields(RemoteFailure(ModelGone, detail)) == frozenset()


@given(st.text())
def test_any_complaint_can_be_read(detail: str) -> None:
    """Any text can be searched for sizes."""
    found = too_long(detail)

    assert found is None or all(count >= 0 for count in found)
