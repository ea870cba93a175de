"""The Gemini API through Google's SDK: requests, replies, and the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena.domain import FinishReason
from arena.errors.models import BadReply, KeyRejected
from arena.models.remote.connection import CONNECT_S, bound_lines
from arena.models.remote.dialect import ChatRequest, Endings, ReplyChunk

if TYPE_CHECKING:
    import httpx2
    from google import genai
    from google.genai import types

EVENTS = "text/event-stream"
_NO_DATA = (b":", b"event:", b"id:", b"retry:")
_replies: ContextVar[list[httpx2.Response]] = ContextVar("_replies")
"""The streamed replies of the task that reads them."""

API_VERSION = "v1beta"  # the `-latest` aliases do not exist in v1

WIRE_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "max_output_tokens": "maxOutputTokens",
}
_PROMPT_BLOCKED = "the prompt was blocked"  # no finish reason of the API: it has none for this
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
ENDINGS: Endings = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,  # the provider's own limit for one request
    "PUP_LIMITED_DISABLED": KeyRejected,  # the account is closed
    # A model that calls a tool which was not offered has ended by itself; its text is the answer.
    **dict.fromkeys(
        ("UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "TOO_MANY_TOOL_CALLS"),
        FinishReason.STOP,
    ),
    "MALFORMED_RESPONSE": BadReply,
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
            "ESCALATION", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION", _PROMPT_BLOCKED,
        ),
        FinishReason.BLOCKED,
    ),
}  # fmt: skip


def read_chunk(chunk: types.GenerateContentResponse) -> ReplyChunk:
    """What a chunk says. A prompt that is blocked has no candidates, but a reason of its own."""
    finish = text = ""
    if chunk.candidates:
        for candidate in chunk.candidates:
            if candidate.index:  # another answer to the same prompt
                continue
            reason = candidate.finish_reason
            if reason is not None and reason.value != _UNSPECIFIED:
                finish = str(reason.value)
            text += visible_text(candidate)
    elif chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
        finish = _PROMPT_BLOCKED
    usage = chunk.usage_metadata
    return ReplyChunk(
        text=text,
        served=chunk.model_version or "",
        finish=finish,
        prompt_tokens=usage.prompt_token_count if usage else None,
        completion_tokens=usage.candidates_token_count if usage else None,
        thinking_tokens=usage.thoughts_token_count if usage else None,
    )


def visible_text(candidate: types.Candidate) -> str:
    """The text of a candidate's parts without the thoughts; empty where it has no parts."""
    parts = (candidate.content.parts if candidate.content else None) or ()
    return "".join(part.text for part in parts if part.text and not part.thought)


def model_facts(model: types.Model) -> dict[str, str]:
    """What the API says of a model, for the Models tab."""
    facts = {
        "version": model.version,
        "input_tokens": model.input_token_limit,
        "output_tokens": model.output_token_limit,
        "thinking": model.thinking,
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


async def plain_events(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Server-sent events as Google writes them: whole lines, `data: ` and nothing else.

    Comments, names, ids and waits are left out, which a proxy may add. What is no field of an
    event stays, since errors come as plain JSON.
    """
    begun: list[bytes] = []
    async for piece in body:
        first, *lines = piece.split(b"\n")
        begun.append(first)
        if lines:
            lines = [b"".join(begun), *lines]
            begun = [lines.pop()]
            yield b"".join(_plain_line(line) for line in lines)
    if any(begun):
        yield _plain_line(b"".join(begun))


def _plain_line(line: bytes) -> bytes:
    if line.startswith(_NO_DATA):
        return b""
    if line.startswith(b"data:") and not line.startswith(b"data: "):
        line = b"data: " + line.removeprefix(b"data:")
    return line + b"\n"


@dataclass(frozen=True, slots=True)
class GeminiClient:
    """The SDK's client and the HTTP client under it, which the SDK does not close."""

    sdk: genai.Client
    http: httpx2.AsyncClient

    async def stream(self, request: ChatRequest) -> AsyncIterator[ReplyChunk]:
        """Send the request and read the answer.

        The SDK leaves a reply open that it cannot read, and its connection with it.
        """
        models = self.sdk.aio.models
        replies: list[httpx2.Response] = []
        _replies.set(replies)
        try:
            async for chunk in await models.generate_content_stream(**request.body):
                yield read_chunk(chunk)
        finally:
            for reply in replies:
                await reply.aclose()

    async def text_models(self) -> list[str]:
        """The models that the key can ask for text."""
        return [
            model.name.removeprefix("models/")
            async for model in await self.sdk.aio.models.list()
            if model.name and "generateContent" in (model.supported_actions or ())
        ]

    async def aclose(self) -> None:
        """Close both clients."""
        await self.http.aclose()
        self.sdk.close()


def connect(key: str, base_url: str, silence_s: float) -> GeminiClient:
    """Import the SDK and build its client; blocks for a second."""
    import httpx2
    from google import genai
    from google.genai import types

    class PatientClient(httpx2.AsyncClient):
        """Keeps its own timeouts: the SDK asks for none at all with every request.

        That it is given at all keeps the SDK from aiohttp, whose timeout is for a whole answer.
        """

        def build_request(self, *args: Any, **kwargs: Any) -> httpx2.Request:  # noqa: ANN401
            kwargs.pop("timeout", None)
            return super().build_request(*args, **kwargs)

        async def send(self, *args: Any, **kwargs: Any) -> httpx2.Response:  # noqa: ANN401
            reply = bound_lines(await super().send(*args, **kwargs))
            if reply.headers.get("content-type", "").startswith(EVENTS):
                _replies.get().append(reply)
                # The SDK reads these bytes and knows nothing of events but `data: `.
                read = reply.aiter_bytes
                setattr(reply, "aiter_bytes", lambda: plain_events(read()))  # noqa: B010 -- for mypy
            return reply

    http = PatientClient(timeout=httpx2.Timeout(CONNECT_S, read=silence_s))
    options = types.HttpOptions(base_url=base_url, api_version=API_VERSION, httpx_async_client=http)
    return GeminiClient(genai.Client(vertexai=False, api_key=key, http_options=options), http)
