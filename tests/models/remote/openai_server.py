"""A loopback server that speaks the OpenAI API as far as the arena uses it.

The wire format is from the documentation (OpenAI's, and what vLLM, llama.cpp and FastAPI make of
it), not recorded from any of them.

    async with OpenAiServer() as server:              # on the running loop
        server.script(says("Hel", "lo"), fails(503))  # one reply a request, in this order
        ...base_url = server.url...

When the script has run out, every request gets `server.default`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.models.remote.loopback import Json, LoopbackServer, Pause, Reply, Request, Step

MODEL = "microsoft/Phi-4-mini-instruct"
MODULE = "openai"
STOP, LENGTH, BLOCKED = "stop", "length", "content_filter"
DONE = b"data: [DONE]\n\n"


def chunk(
    text: str | list[Json] | None = None,
    *,
    finish: str | None = None,
    usage: Json | None = None,
    model: str = MODEL,
    **delta: Any,
) -> Json:
    """One `chat.completion.chunk`; further arguments go into the delta."""
    found: Json = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795500000,
        "model": model,
        "choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}],
    }
    return found if usage is None else found | {"usage": usage}


def tokens(prompt: int, completion: int, reasoning: int | None = None) -> Json:
    """A usage; reasoning is a part of the completion."""
    usage: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


def usage_chunk(usage: Json) -> Json:
    """The last chunk of a stream with `include_usage`: no choices."""
    return chunk() | {"choices": [], "usage": usage}


def says(*texts: str, finish: str = "stop", usage: Json | None = None) -> Reply:
    """A whole answer in so many chunks, then the finish reason, then the usage."""
    first = chunk("", role="assistant")
    pieces = [chunk(text) for text in texts]
    last = usage_chunk(usage or tokens(7, 5))
    return Reply([first, *pieces, chunk(finish=finish), last, DONE])


def drips(text: str = "drop ", *, every: float = 0.05, first: Sequence[Step] = ()) -> Reply:
    """A chunk every so many seconds, for longer than any test lasts."""
    return Reply([*first, *([chunk(text), Pause(every)] * 2000)])


def error_body(message: str, **more: Any) -> Json:
    """The JSON of an error."""
    return {"error": {"message": message, "type": None, "param": None, "code": None} | more}


def fails(
    status: int, message: str = "It failed.", *, headers: Json | None = None, **more: Any
) -> Reply:
    """An error in place of an answer."""
    return Reply(status=status, body=error_body(message, **more), headers=headers or {})


def error_event(status: int) -> Json:
    """An error in the middle of a stream."""
    return error_body("Busy.", code=status)


def busy(seconds: float | None = None) -> Reply:
    """Over the rate, with the wait that the engine asks for."""
    return fails(429, headers={} if seconds is None else {"retry-after": str(seconds)})


def thought(text: str) -> Json:
    """A chunk of thinking."""
    return chunk(reasoning_content=text)


def usage_of(prompt: int, visible: int, thinking: int) -> Json:
    """The counts as `says` takes them; thinking is a part of the completion."""
    return tokens(prompt, visible + thinking, reasoning=thinking)


def unknown_model(name: str = MODEL) -> Reply:
    """What vLLM says of a model that it does not serve."""
    return fails(
        404, f"The model `{name}` does not exist.", type="NotFoundError", param="model", code=404
    )


def model_entry(name: str, **more: Any) -> Json:
    """One model as `GET /models` shows it."""
    return {"id": name, "object": "model", "created": 1795500000, "owned_by": "vllm"} | more


class OpenAiServer(LoopbackServer):
    """The server; see the module's docstring.

    Attributes:
        models: what `GET /models` lists; change it before the request.
    """

    text_path = "/v1/chat/completions"

    def __init__(self) -> None:
        super().__init__(says("Hello", ", ", "world."))
        self.models: list[Json] = [
            model_entry(MODEL, max_model_len=4096),
            model_entry("other/model"),
        ]

    @property
    def url(self) -> str:
        """What base_url should be."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def host(self) -> str:
        """What may be shown of it."""
        return f"127.0.0.1:{self.port}"

    def model_of(self, path: str, body: Json) -> str:
        """The model that it names."""
        return str(body.get("model", ""))

    def about_models(self, request: Request) -> Reply:
        """`GET /models`; anything else is not found, in FastAPI's words."""
        if (request.method, request.path) == ("GET", "/v1/models"):
            return Reply(body={"object": "list", "data": self.models})
        return Reply(status=404, body={"detail": "Not Found"})
