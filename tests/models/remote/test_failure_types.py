"""Which error each failure becomes, and that none of them shows the key."""

from __future__ import annotations

import logging

import pytest

from arena.errors import models as errors
from tests.models.remote import gemini_server, openai_server
from tests.models.remote.apis import GeminiApi, OpenAiApi, failing, running, shown_texts
from tests.models.remote.loopback import HangUp, Reply, Reset

GEMINI_ECHO = f"It failed for {GeminiApi.key}."
OPENAI_ECHO = f"It failed for {OpenAiApi.key}."
HTML = {"content-type": "text/html"}

GEMINI: list[tuple[Reply, type[errors.ModelError]]] = [
    (gemini_server.key_invalid(GEMINI_ECHO), errors.KeyRejected),
    (gemini_server.fails(401, GEMINI_ECHO), errors.KeyRejected),
    (gemini_server.fails(403, GEMINI_ECHO), errors.KeyRejected),
    (gemini_server.fails(404, GEMINI_ECHO), errors.ModelGone),
    (gemini_server.fails(429, GEMINI_ECHO), errors.RateLimited),
    (
        gemini_server.fails(429, f"limit: 0, {GeminiApi.key}", gemini_server.retry_info("2s")),
        errors.NoFreeQuota,
    ),
    (gemini_server.fails(429, f"limit: 0.5, {GeminiApi.key}"), errors.RateLimited),
    (gemini_server.fails(500, GEMINI_ECHO), errors.Overloaded),
    (gemini_server.fails(503, GEMINI_ECHO), errors.Overloaded),
    (gemini_server.fails(504, GEMINI_ECHO), errors.Overloaded),
    (gemini_server.fails(400, GEMINI_ECHO), errors.RequestRefused),
    (Reply(status=502, body=f"<html>{GeminiApi.key}</html>".encode()), errors.Overloaded),
    (Reply([Reset()]), errors.NetworkFailed),
    (Reply([HangUp()]), errors.NetworkFailed),
    (Reply(body=f"<html>{GeminiApi.key}</html>".encode()), errors.BadReply),
    (Reply([b"data: {not json " + GeminiApi.key.encode() + b"\n\n"]), errors.BadReply),
    (Reply([{"error": {"message": GEMINI_ECHO}}]), errors.BadReply),
    (Reply([gemini_server.error_body(503, GEMINI_ECHO, "UNAVAILABLE")]), errors.Overloaded),
    (Reply([]), errors.StreamBroken),
]
OPENAI: list[tuple[Reply, type[errors.ModelError]]] = [
    (openai_server.fails(401, OPENAI_ECHO), errors.KeyRejected),
    (openai_server.fails(403, OPENAI_ECHO), errors.KeyRejected),
    (openai_server.fails(402, f"Insufficient Balance {OpenAiApi.key}"), errors.KeyRejected),
    (openai_server.fails(429, OPENAI_ECHO, code="insufficient_quota"), errors.KeyRejected),
    (openai_server.fails(404, f"The model does not exist, {OpenAiApi.key}"), errors.ModelGone),
    (openai_server.fails(429, OPENAI_ECHO), errors.RateLimited),
    (openai_server.fails(500, OPENAI_ECHO), errors.Overloaded),
    (openai_server.fails(503, OPENAI_ECHO), errors.Overloaded),
    (openai_server.fails(400, OPENAI_ECHO), errors.RequestRefused),
    (openai_server.fails(413, OPENAI_ECHO), errors.RequestRefused),
    (Reply(status=422, body={"detail": OPENAI_ECHO}), errors.RequestRefused),
    (Reply(status=502, body=f"<html>{OpenAiApi.key}</html>".encode()), errors.Overloaded),
    (
        Reply(status=404, body=f"404 page {OpenAiApi.key} not found".encode()),
        errors.EngineUnreachable,
    ),
    (Reply([Reset()]), errors.NetworkFailed),
    (Reply([HangUp()]), errors.NetworkFailed),
    (Reply(body=f"<html>{OpenAiApi.key}</html>".encode(), headers=HTML), errors.BadReply),
    (Reply([f"<html>{OpenAiApi.key}</html>".encode()], headers=HTML), errors.BadReply),
    (
        Reply(body={"object": "chat.completion", "choices": [{"message": OpenAiApi.key}]}),
        errors.BadReply,
    ),
    (Reply([b"data: {not json " + OpenAiApi.key.encode() + b"\n\n"]), errors.BadReply),
    (Reply([b"data: \xff\xfe" + OpenAiApi.key.encode() + b"\n\n"]), errors.BadReply),
    (Reply([b'data: ["' + OpenAiApi.key.encode() + b'"]\n\n']), errors.BadReply),
    (Reply([openai_server.error_body(OPENAI_ECHO)]), errors.Overloaded),
    (Reply([{"error": OPENAI_ECHO}]), errors.Overloaded),
    (Reply([openai_server.error_body(OPENAI_ECHO, code=503)]), errors.Overloaded),
    (Reply([openai_server.error_body(OPENAI_ECHO, code=429)]), errors.RateLimited),
    (
        Reply([openai_server.error_body(OPENAI_ECHO, code=400, type="BadRequestError")]),
        errors.RequestRefused,
    ),
    (
        Reply([openai_server.error_body(OPENAI_ECHO, code="rate_limit_exceeded")]),
        errors.RateLimited,
    ),
    (
        Reply([openai_server.error_body(OPENAI_ECHO, type="authentication_error")]),
        errors.KeyRejected,
    ),
    (Reply([]), errors.StreamBroken),
    (Reply([openai_server.DONE]), errors.StreamBroken),
]
CASES = [("gemini", *case) for case in GEMINI] + [("openai", *case) for case in OPENAI]


@pytest.mark.parametrize(("name", "reply", "expected"), CASES)
async def test_each_failure_has_its_type_and_hides_the_key(
    caplog: pytest.LogCaptureFixture, name: str, reply: Reply, expected: type[errors.ModelError]
) -> None:
    """Each failure has its own type and remedy; the key is in no text of it."""
    caplog.set_level(logging.DEBUG)
    async with running(name) as api:
        api.server.default = reply
        model = api.make()

        error = await failing(model)

        assert type(error) is expected
        assert api.key not in shown_texts(error, model, caplog.text)
