"""Which error each failure becomes, and that none of them shows the key."""

from __future__ import annotations

import logging

import pytest

from arena.errors.models import (
    BadReply,
    EngineUnreachable,
    KeyRejected,
    ModelError,
    ModelGone,
    NetworkFailed,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    RequestRefused,
    StreamBroken,
)
from tests.models.remote import gemini_server, openai_server
from tests.models.remote.apis import GeminiApi, OpenAiApi, failing, running, shown_texts
from tests.models.remote.loopback import HangUp, Reply, Reset

GEMINI_ECHO = f"It failed for {GeminiApi.key}."
OPENAI_ECHO = f"It failed for {OpenAiApi.key}."
HTML = {"content-type": "text/html"}

GEMINI: list[tuple[Reply, type[ModelError]]] = [
    (gemini_server.key_invalid(GEMINI_ECHO), KeyRejected),
    (gemini_server.fails(401, GEMINI_ECHO), KeyRejected),
    (gemini_server.fails(403, GEMINI_ECHO), KeyRejected),
    (gemini_server.fails(404, GEMINI_ECHO), ModelGone),
    (gemini_server.fails(429, GEMINI_ECHO), RateLimited),
    (
        gemini_server.fails(429, f"limit: 0, {GeminiApi.key}", gemini_server.retry_info("2s")),
        NoFreeQuota,
    ),
    (gemini_server.fails(429, f"limit: 0.5, {GeminiApi.key}"), RateLimited),
    (gemini_server.fails(500, GEMINI_ECHO), Overloaded),
    (gemini_server.fails(503, GEMINI_ECHO), Overloaded),
    (gemini_server.fails(504, GEMINI_ECHO), Overloaded),
    (gemini_server.fails(400, GEMINI_ECHO), RequestRefused),
    (Reply(status=502, body=f"<html>{GeminiApi.key}</html>".encode()), Overloaded),
    (Reply([Reset()]), NetworkFailed),
    (Reply([HangUp()]), NetworkFailed),
    (Reply(body=f"<html>{GeminiApi.key}</html>".encode()), BadReply),
    (Reply([b"data: {not json " + GeminiApi.key.encode() + b"\n\n"]), BadReply),
    (Reply([{"error": {"message": GEMINI_ECHO}}]), BadReply),
    (Reply([gemini_server.error_body(503, GEMINI_ECHO, "UNAVAILABLE")]), Overloaded),
    (Reply([]), StreamBroken),
]
OPENAI: list[tuple[Reply, type[ModelError]]] = [
    (openai_server.fails(401, OPENAI_ECHO), KeyRejected),
    (openai_server.fails(403, OPENAI_ECHO), KeyRejected),
    (openai_server.fails(402, f"Insufficient Balance {OpenAiApi.key}"), KeyRejected),
    (openai_server.fails(429, OPENAI_ECHO, code="insufficient_quota"), KeyRejected),
    (openai_server.fails(404, f"The model does not exist, {OpenAiApi.key}"), ModelGone),
    (openai_server.fails(429, OPENAI_ECHO), RateLimited),
    (openai_server.fails(500, OPENAI_ECHO), Overloaded),
    (openai_server.fails(503, OPENAI_ECHO), Overloaded),
    (openai_server.fails(400, OPENAI_ECHO), RequestRefused),
    (openai_server.fails(413, OPENAI_ECHO), RequestRefused),
    (Reply(status=422, body={"detail": OPENAI_ECHO}), RequestRefused),
    (Reply(status=502, body=f"<html>{OpenAiApi.key}</html>".encode()), Overloaded),
    (Reply(status=404, body=f"404 page {OpenAiApi.key} not found".encode()), EngineUnreachable),
    (Reply([Reset()]), NetworkFailed),
    (Reply([HangUp()]), NetworkFailed),
    (Reply(body=f"<html>{OpenAiApi.key}</html>".encode(), headers=HTML), BadReply),
    (Reply([f"<html>{OpenAiApi.key}</html>".encode()], headers=HTML), BadReply),
    (Reply(body={"object": "chat.completion", "choices": [{"message": OpenAiApi.key}]}), BadReply),
    (Reply([b"data: {not json " + OpenAiApi.key.encode() + b"\n\n"]), BadReply),
    (Reply([b"data: \xff\xfe" + OpenAiApi.key.encode() + b"\n\n"]), BadReply),
    (Reply([b'data: ["' + OpenAiApi.key.encode() + b'"]\n\n']), BadReply),
    (Reply([openai_server.error_body(OPENAI_ECHO)]), Overloaded),
    (Reply([{"error": OPENAI_ECHO}]), Overloaded),
    (Reply([openai_server.error_body(OPENAI_ECHO, code=503)]), Overloaded),
    (Reply([openai_server.error_body(OPENAI_ECHO, code=429)]), RateLimited),
    (
        Reply([openai_server.error_body(OPENAI_ECHO, code=400, type="BadRequestError")]),
        RequestRefused,
    ),
    (Reply([openai_server.error_body(OPENAI_ECHO, code="rate_limit_exceeded")]), RateLimited),
    (Reply([openai_server.error_body(OPENAI_ECHO, type="authentication_error")]), KeyRejected),
    (Reply([]), StreamBroken),
    (Reply([openai_server.DONE]), StreamBroken),
]
CASES = [("gemini", *case) for case in GEMINI] + [("openai", *case) for case in OPENAI]


@pytest.mark.parametrize(("name", "reply", "expected"), CASES)
async def test_each_failure_has_its_type_and_hides_the_key(
    caplog: pytest.LogCaptureFixture, name: str, reply: Reply, expected: type[ModelError]
) -> None:
    """Each failure has its own type and remedy; the key is in no text of it."""
    caplog.set_level(logging.DEBUG)
    async with running(name) as api:
        api.server.default = reply
        model = api.make()

        error = await failing(model)

        assert type(error) is expected
        assert api.key not in shown_texts(error, model, caplog.text)
