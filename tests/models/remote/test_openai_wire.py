"""The pure parts of the OpenAI-compatible adapter: addresses, requests, replies, refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arena.domain import FinishReason, GenerationParams, Message, Role
from arena.errors.models import ModelGone, RequestRefused, StreamBroken
from arena.models.remote.model import RemoteFailure, is_sendable, redacted, retry_wait, shortened
from arena.models.remote.openai_errors import Names, as_error, refused_fields, retry_after, too_long
from arena.models.remote.openai_wire import (
    Listing,
    Reading,
    address_of,
    conversation,
    listing,
    request_body,
)
from tests.models.remote.openai_server import MODEL, chunk, model_entry, tokens

KEY = "sk-a-key-of-nobody-0123456789"
NAMES = Names("Phi", "[models.phi]", MODEL, "VLLM_API_KEY")

_TEXTS = st.text(st.characters(), max_size=30)
_MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), _TEXTS), max_size=8)


@given(_MESSAGES)
@example([Message(Role.USER, "half a \ud83d"), Message(Role.SYSTEM, "\udc00")])
def test_no_turn_is_lost_or_changed(messages: list[Message]) -> None:
    """A turn that is dropped, reordered, given to the other speaker or cannot be encoded."""
    turns = conversation(messages)

    texts = [(m.role.value, m.content.encode("utf-8", "replace").decode()) for m in messages]
    system = "\n\n".join(text for role, text in texts if role == "system" and text)
    first = [{"role": "system", "content": system}] if system else []
    assert turns == first + [
        {"role": role, "content": text} for role, text in texts if text and role != "system"
    ]
    json.dumps(turns, ensure_ascii=False).encode()


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
    """A request without a cap, with a refused field, or with a null that engines call wrong."""
    params = GenerationParams(max_new_tokens=visible, seed=seed)

    body = request_body(
        MODEL, [], params, thinking_tokens=thinking, max_tokens_name=name,
        without=frozenset(without),
    )  # fmt: skip

    assert body[name] == visible + thinking
    assert body["stream"] is True
    assert not without & body.keys()
    assert None not in body.values()
    wanted = {"temperature", "top_p", "stream_options"} | ({"seed"} if seed is not None else set())
    assert wanted - without <= body.keys()


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.booleans()
)
def test_counts_never_lose_or_double_a_token(
    prompt: int,
    visible: int,
    thinking: int | None,
    apart: bool,  # noqa: FBT001
) -> None:
    """Thoughts billed twice, or hidden in the text's count, by either way of counting."""
    inside = 0 if apart else thinking or 0
    usage = tokens(prompt, visible + inside, thinking)
    usage["total_tokens"] = prompt + visible + (thinking or 0)
    reading = Reading(served="m")

    reading.take({"choices": [], "usage": usage})

    assert reading.prompt_tokens == prompt
    assert reading.completion_tokens == visible
    assert reading.thinking_tokens == thinking


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
    """A visitor's answer lost to a field of an unexpected kind."""
    reading = Reading(served="m")

    text = reading.take(one)

    assert isinstance(text, str)
    assert isinstance(reading.served, str)
    assert isinstance(reading.ending(), FinishReason | RemoteFailure)
    assert isinstance(listing(reply, MODEL), Listing)


def test_a_stream_without_a_reason_may_be_tried_again() -> None:
    """A cut stream taken for a whole answer."""
    reading = Reading(served="m")
    reading.take(chunk("Half an"))

    end = reading.ending()

    assert isinstance(end, RemoteFailure)
    assert (end.kind, end.again) == (StreamBroken, True)


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
    """Another model's limit, or none where the engine says one."""
    assert listing({"data": [entry]}, MODEL).context_tokens == context


@pytest.mark.parametrize(
    ("owner", "engine"),
    [("vllm", "vLLM"), ("sglang", "SGLang"), ("llamacpp", "llama.cpp"), ("microsoft", "")],
)
def test_only_engines_are_named_as_engines(owner: str, engine: str) -> None:
    """The owner of the weights shown as the engine that runs them."""
    assert listing({"data": [model_entry(MODEL, owned_by=owner)]}, MODEL).engine == engine


# ---------------------------------------------------------------- addresses and secrets


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
    """A password that is shown with the host, or a header that the proxy does not accept."""
    address = address_of(url, key)

    assert address.host == host
    assert address.authorization == authorization
    assert "@" not in address.url
    assert address.url.endswith(("/v1", "/v1/"))
    for secret in address.secrets:
        assert secret not in repr(address)


@given(st.text(max_size=40), st.text(max_size=3000))
def test_secrets_are_cut_out_before_the_text_is_shortened(before: str, after: str) -> None:
    """Half a key at the end of a shortened text, or a longer secret that is cut by a shorter."""
    text = redacted("x" * 1990 + before + KEY + after, "sk-", "", KEY)

    assert KEY[:5] not in text
    assert KEY[8:16] not in text
    assert len(text) <= 2000


def test_a_longer_secret_is_cut_out_whole() -> None:
    """The rest of a key whose beginning is a secret too."""
    assert redacted(f"a {KEY} b", "sk-a", KEY, "") == "a [key] b"


@given(st.text())
def test_a_sendable_key_is_a_header(key: str) -> None:
    """The HTTP client's complaint about an illegal header, which quotes the key."""
    if is_sendable(key):
        assert key == key.strip()
        assert all("!" <= char <= "~" for char in key)


# ---------------------------------------------------------------- refusals


def test_retry_after_as_a_date() -> None:
    """A date that is not understood, so that the visitor is sent away."""
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
    """A crash on a header of another shape, or a wait without an end."""
    assert retry_after(headers) == seconds


@given(st.text())
def test_retry_after_never_crashes(text: str) -> None:
    """A second failure while the first one is being put into words."""
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
    """A request without its model or its budget, or one that drops what was only mentioned."""
    assert refused_fields(RemoteFailure(RequestRefused, detail)) == names
    assert refused_fields(RemoteFailure(ModelGone, detail)) == frozenset()


@given(st.text())
def test_any_complaint_can_be_read(detail: str) -> None:
    """A crash on an engine's words."""
    found = too_long(detail)

    assert found is None or all(count >= 0 for count in found)


def test_the_model_itself_is_no_suggestion() -> None:
    """'Set it to one of: ' and then the name that was refused."""
    failure = RemoteFailure(ModelGone, "gone")
    address = address_of("http://127.0.0.1:8000/v1", "")

    error = as_error(failure, NAMES, address, others=(MODEL, "b"))
    alone = as_error(failure, NAMES, address, others=(MODEL,))

    assert error.values["available"] == "b"
    assert alone.values["available"] == "http://127.0.0.1:8000/v1/models"


@pytest.mark.parametrize(
    ("failure", "retries", "waited", "wait"),
    [
        (RemoteFailure(StreamBroken, "", again=True), 0, 0.0, 0.5),
        (RemoteFailure(StreamBroken, "", again=True), 1, 0.5, 1.5),
        (RemoteFailure(StreamBroken, "", again=True), 2, 2.0, None),
        (RemoteFailure(StreamBroken, "", again=True, wait_s=7.9), 0, 0.0, 7.9),
        (RemoteFailure(StreamBroken, "", again=True, wait_s=5.0), 1, 5.0, None),
        (RemoteFailure(StreamBroken, ""), 0, 0.0, None),
    ],
)
def test_waits_are_bounded(
    failure: RemoteFailure, retries: int, waited: float, wait: float | None
) -> None:
    """Waits that are each allowed and together are not, or tries without an end."""
    assert retry_wait(failure, retries=retries, waited=waited) == wait


def test_long_lists_are_shortened() -> None:
    """A remedy that fills the page with forty names."""
    names = [f"m{number}" for number in range(8)]

    assert shortened(names) == "m0, m1, m2, m3, m4, m5 … (+2)"
    assert shortened(names[:2]) == "m0, m1"
    assert shortened([]) == ""
