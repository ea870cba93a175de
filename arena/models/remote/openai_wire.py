"""The OpenAI API, as many engines speak it: addresses, requests, replies, and the client.

Replies are read as plain JSON: engines leave fields out and add others, so none is taken for
granted.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from arena.domain import FinishReason
from arena.errors.models import StreamBroken
from arena.models.remote.connection import CONNECT_S, bound_lines
from arena.models.remote.dialect import ChatRequest, Endings, ReplyChunk

if TYPE_CHECKING:
    import httpx2
    import openai

Json = dict[str, Any]

SNIPPET_CHARS = 500
OPTIONAL = frozenset({"temperature", "top_p", "seed", "stream_options"})
"""What a request can do without when an engine refuses it."""

# A model that calls a tool which was not offered has ended by itself; its text is the answer.
ENDINGS: Endings = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.BLOCKED,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "abort": StreamBroken,  # vLLM and SGLang: somebody ended it from outside
    "error": StreamBroken,
}
# Who made the list of models, where that is an engine and not the owner of the weights.
_ENGINES = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp"}
_CONTEXT_KEYS = ("max_model_len", "context_length", "context_window")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine is, and how a request is authorized there.

    Attributes:
        url: without a name or password.
        host: with the port where one is given; fit to be shown.
        authorization: the header, or nothing.
        secrets: what must be in no text.
    """

    url: str
    host: str
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def address_of(base_url: str, key: str) -> Address:
    """The parts of an address; a key goes before a name and password in it."""
    parts = urlsplit(base_url)
    userinfo, _, host = parts.netloc.rpartition("@")
    url = urlunsplit((parts.scheme, host, parts.path, "", ""))
    name, _, password = userinfo.partition(":")
    login = f"{unquote(name)}:{unquote(password)}"
    basic = base64.b64encode(login.encode()).decode() if userinfo else ""
    secrets = (key, basic, userinfo, login if userinfo else "", password, unquote(password))
    authorization = f"Bearer {key}" if key else f"Basic {basic}" if basic else ""
    return Address(url, host, authorization, tuple(filter(None, secrets)))


def read_chunk(chunk: Json) -> ReplyChunk:
    """What a chunk says.

    Thinking comes in fields of its own (`reasoning_content`, `reasoning`), which are not read. By
    the documentation its tokens are part of the completion's; where an engine counts them on top,
    the total says so.
    """
    choice = _first_choice(chunk.get("choices"))
    usage = _mapping(chunk.get("usage"))
    prompt, generated = (_count(usage.get(f"{k}_tokens")) for k in ("prompt", "completion"))
    thinking = _count(_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    visible = generated
    if generated is not None and thinking is not None:
        on_top = (prompt or 0) + generated + thinking == _count(usage.get("total_tokens"))
        visible = generated if on_top else max(0, generated - thinking)
    return ReplyChunk(
        text=visible_text(_mapping(choice.get("delta"))),
        served=_text(chunk.get("model")),
        finish=_text(choice.get("finish_reason")),
        prompt_tokens=prompt,
        completion_tokens=visible,
        thinking_tokens=None if generated is None else thinking,
    )


def visible_text(delta: Mapping[str, Any]) -> str:
    """The text of a piece; some engines send it in parts, of which thoughts are left out."""
    content = delta.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [_mapping(part) for part in content]
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: object) -> Mapping[str, Any]:
    return _mapping(value[0]) if isinstance(value, list) and value else {}


def _first_choice(value: object) -> Mapping[str, Any]:
    """The choice with the index 0; the others are other answers to the same prompt."""
    choices = [_mapping(choice) for choice in value] if isinstance(value, list) else []
    return next((choice for choice in choices if not choice.get("index")), {})


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@dataclass(frozen=True, slots=True)
class Listing:
    """What an engine says of its models; empty where it has no list.

    Attributes:
        engine: its name, where the list tells it.
        context_tokens: of the wanted model; None where the list does not say.
    """

    names: tuple[str, ...] = ()
    engine: str = ""
    context_tokens: int | None = None


def listing(reply: object, model: str) -> Listing:
    """Read the reply to `GET /models`; whatever it lacks is left empty."""
    data = _mapping(reply).get("data")
    entries = [_mapping(entry) for entry in data] if isinstance(data, list) else []
    names = tuple(str(entry["id"]) for entry in entries if isinstance(entry.get("id"), str))
    mine = next((entry for entry in entries if entry.get("id") == model), {})
    owner = str((mine or _first(entries)).get("owned_by", "")).lower()
    lengths = (_count(mine.get(key)) for key in _CONTEXT_KEYS)
    return Listing(names, _ENGINES.get(owner, ""), next(filter(None, lengths), None))


@dataclass(frozen=True, slots=True)
class OpenAiClient:
    """The SDK's client and the HTTP client under it."""

    sdk: openai.AsyncOpenAI
    http: httpx2.AsyncClient

    async def models(self) -> object:
        """The reply to `GET /models`; None from an engine that has no such list."""
        import openai

        try:
            return await self.sdk.get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if error.status_code in {404, 405, 501}:
                return None
            raise

    async def stream(self, request: ChatRequest) -> AsyncIterator[ReplyChunk]:
        """Send the request and read the answer.

        Raises:
            ValueError: the reply is no stream of events (the SDK would read a web page as a stream
                in which nothing comes), or a chunk is no object.
        """
        import openai

        stream = await self.sdk.post(
            "/chat/completions",
            cast_to=object,
            body=request.body,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        async with stream:
            kind = stream.response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                start = await _beginning(stream.response.aiter_bytes())
                raise ValueError(f"not a stream of events but {kind or 'something'}: {start}")
            async for chunk in stream:
                if not isinstance(chunk, dict):
                    snippet = str(chunk)[:SNIPPET_CHARS]
                    raise ValueError(f"a chunk that is no object: {snippet}")  # noqa: TRY004
                yield read_chunk(chunk)

    async def aclose(self) -> None:
        """Close the connections of both."""
        await self.http.aclose()


async def _beginning(body: AsyncIterator[bytes]) -> str:
    """Some characters for the log, however long the body is."""
    start = b""
    async for piece in body:
        start += piece
        if len(start) >= SNIPPET_CHARS:
            break
    return start.decode("utf-8", "replace")[:SNIPPET_CHARS]


def connect(address: Address, silence_s: float) -> OpenAiClient:
    """Import the SDK and build its client; blocks for half a second."""
    import httpx2
    import openai

    class PlainClient(httpx2.AsyncClient):
        """Sends our own key, and nothing that the SDK takes from variables meant for OpenAI.

        The SDK never knows the key, and other companies never learn the owner's organization,
        project, custom headers or machine.
        """

        def build_request(self, *args: Any, **kwargs: Any) -> httpx2.Request:  # noqa: ANN401
            request = super().build_request(*args, **kwargs)
            for name in list(request.headers):
                if name not in _OUR_HEADERS:
                    del request.headers[name]
            if address.authorization:
                request.headers["authorization"] = address.authorization
            return request

        async def send(self, *args: Any, **kwargs: Any) -> httpx2.Response:  # noqa: ANN401
            return bound_lines(await super().send(*args, **kwargs))

    http = PlainClient(
        # For each read, not for the whole answer: a healthy stream may take as long as it wants.
        timeout=httpx2.Timeout(CONNECT_S, read=silence_s),
        # An answer holds its connection; how many there may be is for the arena's caps.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
    )
    sdk = openai.AsyncOpenAI(
        api_key="held-by-the-http-client", base_url=address.url, http_client=http, max_retries=0
    )
    return OpenAiClient(sdk, http)


_OUR_HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-type",
     "content-length"}
)  # fmt: skip
