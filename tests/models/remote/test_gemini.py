"""The Gemini API: the real SDK against a loopback server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arena.domain import FinishReason, GenerationParams, Message, Role, clean
from arena.errors.models import StreamBroken
from arena.models.remote import gemini as gemini_module
from arena.models.remote.dialect import Attempt, split_system
from arena.models.remote.gemini import GeminiDialect, model_slug
from arena.models.remote.gemini_errors import retry_delay
from tests.models.remote.apis import GeminiApi, failing, read
from tests.models.remote.gemini_server import (
    PRO,
    chunk,
    fails,
    model_entry,
    retry_info,
    running_server,
    says,
)
from tests.models.remote.loopback import Reply

KEY = GeminiApi.key


async def test_what_is_sent_is_what_is_recorded(gemini: GeminiApi) -> None:
    """The record holds what was sent; the thinking allowance comes on top of the visible text."""
    _, finished = await read(gemini.make(thinking_tokens=8192))

    (request,) = gemini.server.asked
    assert request.path == f"/v1beta/models/{PRO}:streamGenerateContent"
    assert request.body["generationConfig"] == {
        "temperature": 0.4,
        "topP": 0.9,
        "seed": 11,
        "maxOutputTokens": 8292,
    }
    assert finished.sent == {"model": PRO} | request.body["generationConfig"]


async def test_the_cap_stays_within_the_model(gemini: GeminiApi) -> None:
    """Text and thinking together never exceed the model's own maximum."""
    gemini.server.models = [model_entry(PRO) | {"outputTokenLimit": 4096}]
    model = gemini.make(thinking_tokens=8192)
    await model.start()

    _, finished = await read(model)

    assert finished.sent["maxOutputTokens"] == 4096


async def test_system_prompt_and_turns(gemini: GeminiApi) -> None:
    """The system prompt goes apart, the turns with the API's roles, and no tools."""
    messages = (
        Message(Role.SYSTEM, "Answer briefly."),
        Message(Role.USER, "1+1?"),
        Message(Role.ASSISTANT, "2"),
        Message(Role.USER, "2+2?"),
    )

    await read(gemini.make(), messages)

    (request,) = gemini.server.asked
    assert request.body["contents"] == [
        {"role": "user", "parts": [{"text": "1+1?"}]},
        {"role": "model", "parts": [{"text": "2"}]},
        {"role": "user", "parts": [{"text": "2+2?"}]},
    ]
    assert request.body["systemInstruction"]["parts"] == [{"text": "Answer briefly."}]
    assert "tools" not in request.body


@pytest.mark.parametrize(
    ("steps", "texts", "reason"),
    [
        ([chunk("half", finish="MAX_TOKENS")], ["half"], FinishReason.LENGTH),
        ([chunk(finish="RECITATION")], [], FinishReason.BLOCKED),
        ([chunk(finish="PROHIBITED_CONTENT")], [], FinishReason.BLOCKED),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], [], FinishReason.BLOCKED),
        ([chunk("Yes", thought="Hm.", finish="STOP")], ["Yes"], FinishReason.STOP),
    ],
)
async def test_endings(
    gemini: GeminiApi, steps: list[Any], texts: list[str], reason: FinishReason
) -> None:
    """Candidates may have no parts, and a blocked prompt has no candidates."""
    gemini.server.script(Reply(steps))

    found, finished = await read(gemini.make())

    assert found == texts
    assert finished.reason is reason


# ---------------------------------------------------------------- failures


async def test_an_unspecified_ending_is_none(gemini: GeminiApi) -> None:
    """The API's placeholder for a finish reason does not end an answer."""
    gemini.server.script(Reply([chunk("Half"), chunk(finish="FINISH_REASON_UNSPECIFIED")]))

    assert type(await failing(gemini.make())) is StreamBroken


async def test_the_explicit_key_wins(gemini: GeminiApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the SDK reads itself change neither key, address, version nor product."""
    monkeypatch.setenv("GOOGLE_API_KEY", "of-somebody-else")
    monkeypatch.setenv("GEMINI_API_KEY", "of-somebody-else-too")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    model = gemini.make()
    await model.start()

    await read(model)

    assert {request.headers["x-goog-api-key"] for request in gemini.server.requests} == {KEY}
    assert all(request.path.startswith("/v1beta/models") for request in gemini.server.requests)


async def test_without_an_address_it_is_googles(
    gemini: GeminiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is ours, not the SDK's own default."""
    addresses: list[str] = []

    def connect(_key: str, base_url: str, _silence_s: float) -> None:
        addresses.append(base_url)
        raise ImportError

    monkeypatch.setattr(gemini_module, "connect", connect)

    await gemini.make(base_url=None).start()

    assert addresses == ["https://generativelanguage.googleapis.com/"]


async def test_refused_sampling_is_left_out(gemini: GeminiApi) -> None:
    """A model with its own sampling gets no temperature and no top_p."""
    gemini.server.script(fails(400, "`temperature` is not supported by this model."))
    model = gemini.make()

    _, finished = await read(model)
    _, second = await read(model)

    sent = [request.body["generationConfig"] for request in gemini.server.asked]
    assert "temperature" in sent[0]
    assert sent[1] == sent[2] == {"seed": 11, "maxOutputTokens": 100}
    assert finished.sent == second.sent == {"model": PRO} | sent[1]


# ---------------------------------------------------------------- pure functions

_TEXTS = st.text(st.characters(), max_size=30)
_MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), _TEXTS), max_size=8)


def dialect(**changes: Any) -> GeminiDialect:
    return GeminiDialect(api_key=KEY, model=PRO, **changes)


@given(_MESSAGES)
@example([Message(Role.USER, "half a \ud83d"), Message(Role.SYSTEM, "\udc00")])
def test_no_turn_is_lost_or_changed(messages: list[Message]) -> None:
    """Every turn goes to its speaker, in order, as text that can be encoded."""
    system, turns = split_system(messages)
    request = dialect().request(Attempt(model=PRO, messages=messages, params=GenerationParams()))

    texts = [(m.role, clean(m.content)) for m in messages]
    assert turns == [(role, text) for role, text in texts if text and role is not Role.SYSTEM]
    assert system == "\n\n".join(text for role, text in texts if text and role is Role.SYSTEM)
    roles = {Role.USER: "user", Role.ASSISTANT: "model"}
    assert [(c["role"], c["parts"][0]["text"]) for c in request.body["contents"]] == [
        (roles[role], text) for role, text in turns
    ]
    assert request.body["config"].get("system_instruction", "") == system
    json.dumps(request.body, ensure_ascii=False).encode()


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_the_cap_covers_text_and_thinking(visible: int, thinking: int) -> None:
    """The cap is the visible text plus the thinking allowance; what is not set is not sent."""
    params = GenerationParams(max_new_tokens=visible)

    request = dialect(thinking_tokens=thinking).request(
        Attempt(model=PRO, messages=[], params=params)
    )

    assert request.max_tokens == visible + thinking
    assert request.sent["maxOutputTokens"] == request.max_tokens
    assert "seed" not in request.body["config"]


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
    """RetryInfo is found at any depth; anything else means no wait."""
    assert retry_delay(details) == seconds


@pytest.mark.parametrize(
    ("name", "slug"),
    [(PRO, PRO), ("models/Gemini 3.8_Flash", "gemini-3.8-flash"), ("///", "gemini")],
)
def test_slugs(name: str, slug: str) -> None:
    """An id has lower-case letters, digits, dots and dashes only."""
    assert model_slug(name) == slug


@pytest.mark.parametrize("key", ["AQ.Ab8", "AIzaSy"])
def test_google_keys_have_no_pattern(key: str) -> None:
    """A key is not judged by its prefix."""
    assert GeminiDialect(api_key=key, model=PRO).key_fault() is None


def test_the_server_in_a_thread() -> None:
    """The loopback server starts, answers and stops on a loop of its own."""
    with running_server() as server:
        server.script(says("threaded"))

        async def ask() -> list[str]:
            api = GeminiApi(server)
            texts, _ = await read(api.make())
            await api.aclose()
            return texts

        assert asyncio.run(ask()) == ["threaded"]
        server.arrival().result(timeout=30).connection.closed.result(timeout=30)
