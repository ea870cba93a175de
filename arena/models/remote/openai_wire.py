"""Between the arena and an engine that speaks the OpenAI API: requests, replies, the client.

Pure functions above; below them what opens connections. Replies are read as plain JSON: engines
leave fields out and add others, so none is taken for granted.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from arena.domain import FinishReason, GenerationParams, Message, Role
from arena.errors.models import BadReply, StreamBroken
from arena.models.remote.model import RemoteFailure

if TYPE_CHECKING:
    import httpx2
    import openai

Json = dict[str, Any]

_CONNECT_S = 10.0
_SNIPPET_CHARS = 500
_SAMPLING = ("temperature", "top_p", "seed")
DROPPABLE = frozenset({*_SAMPLING, "stream_options"})
"""What a request can do without when an engine refuses it."""

# A model that calls a tool nobody offered has ended by itself; its text, if any, is the answer.
_ENDINGS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.BLOCKED,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
}
# Who made the list of models, where that is an engine and not the owner of the weights.
_ENGINES = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp"}
_CONTEXT_KEYS = ("max_model_len", "context_length", "context_window")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine is, and what opens its door.

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


def conversation(messages: Sequence[Message]) -> list[Json]:
    """The turns as the API wants them, one system prompt in front.

    Empty turns are left out (some chat templates refuse them); half characters, which no JSON may
    hold, become question marks.
    """
    system: list[str] = []
    turns: list[Json] = []
    for message in messages:
        text = message.content.encode("utf-8", "replace").decode("utf-8")
        if not text:
            continue
        if message.role is Role.SYSTEM:
            system.append(text)
        else:
            turns.append({"role": message.role.value, "content": text})
    first = [{"role": Role.SYSTEM.value, "content": "\n\n".join(system)}] if system else []
    return first + turns


def request_body(
    model: str,
    messages: Sequence[Message],
    params: GenerationParams,
    *,
    thinking_tokens: int = 0,
    max_tokens_name: str = "max_tokens",
    without: frozenset[str] = frozenset(),
) -> Json:
    """One request for a streamed answer.

    Args:
        model: the name under which the engine serves it.
        messages: what was said.
        params: what the battle asks for. Temperature and top_p always go along, since the
            engine's own defaults would not be those of the other side.
        thinking_tokens: allowance on top of the visible budget; thoughts count against the cap.
        max_tokens_name: how the engine calls the cap.
        without: fields that the engine has refused.
    """
    wanted: Json = {
        "model": model,
        "messages": conversation(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        max_tokens_name: params.max_new_tokens + thinking_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": params.seed,
    }
    return {k: v for k, v in wanted.items() if v is not None and k not in without}


def sent_record(body: Mapping[str, Any]) -> dict[str, float | int | str | None]:
    """What was really sent, by the API's own names; the text itself stands elsewhere."""
    names = ("model", *_SAMPLING, "max_tokens", "max_completion_tokens")
    return {name: body[name] for name in names if name in body}


@dataclass(slots=True)
class Reading:
    """What one request has brought so far.

    Attributes:
        served: the model that answers, as the engine names it.
        text_seen: whether visible text has come; from then on nothing is sent again.
        finish: the engine's finish reason, empty while there is none.
        completion_tokens: without the thinking, where the engine counts that apart.
    """

    served: str
    text_seen: bool = False
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None

    def take(self, chunk: Json) -> str:
        """Note what the chunk says, and return its visible text.

        Thoughts come in fields of their own (`reasoning_content`, `reasoning`), which are not read.
        """
        served = chunk.get("model")
        if isinstance(served, str) and served:
            self.served = served
        self._take_usage(_mapping(chunk.get("usage")))
        choice = _first(chunk.get("choices"))
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self.finish = finish
        text = visible_text(_mapping(choice.get("delta")))
        self.text_seen = self.text_seen or bool(text)
        return text

    def _take_usage(self, usage: Mapping[str, Any]) -> None:
        prompt, generated = (_count(usage.get(f"{k}_tokens")) for k in ("prompt", "completion"))
        if prompt is not None:
            self.prompt_tokens = prompt
        if generated is None:
            return
        details = _mapping(usage.get("completion_tokens_details"))
        thinking = _count(details.get("reasoning_tokens"))
        # By the documentation thoughts are part of the completion; where they come on top of it
        # the total says so.
        apart = (prompt or 0) + generated + (thinking or 0) == _count(usage.get("total_tokens"))
        inside = 0 if apart or thinking is None else thinking
        self.completion_tokens = max(0, generated - inside)
        self.thinking_tokens = thinking

    def ending(self) -> FinishReason | RemoteFailure:
        """How it ended, once the stream is over."""
        if not self.finish:
            return RemoteFailure(
                StreamBroken, "the stream ended without a finish reason", again=True
            )
        return _ENDINGS.get(self.finish) or RemoteFailure(
            BadReply, f"finish reason {self.finish[:100]}"
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


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: object) -> Mapping[str, Any]:
    return _mapping(value[0]) if isinstance(value, list) and value else {}


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
class Link:
    """The SDK's client and the HTTP client under it."""

    client: openai.AsyncOpenAI
    http: httpx2.AsyncClient


def connect(address: Address, silence_s: float) -> Link:
    """Import the SDK and build its client; takes a while, so it belongs into a thread."""
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

    http = PlainClient(
        # For each read, not for the whole answer: a healthy stream may take as long as it wants.
        timeout=httpx2.Timeout(_CONNECT_S, read=silence_s),
        # An answer holds its connection; how many there may be is for the arena's caps.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
    )
    client = openai.AsyncOpenAI(
        api_key="held-by-the-http-client", base_url=address.url, http_client=http, max_retries=0
    )
    return Link(client, http)


_OUR_HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-type",
     "content-length"}
)  # fmt: skip


async def ask_models(link: Link) -> object:
    """The reply to `GET /models`; None from an engine that has no such list."""
    import openai

    try:
        return await link.client.get("/models", cast_to=object)
    except openai.APIStatusError as error:
        if error.status_code in {404, 405, 501}:
            return None
        raise


async def open_stream(link: Link, body: Json) -> AsyncIterator[Json]:
    """Send the request; the chunks come as plain JSON."""
    import openai

    stream = await link.client.post(
        "/chat/completions",
        cast_to=object,
        body=body,
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )
    return _objects(stream)


async def _objects(stream: openai.AsyncStream[object]) -> AsyncIterator[Json]:
    """The events of a stream.

    Raises:
        ValueError: it is no stream of events (the SDK would read a web page as a stream in which
            nothing comes), or a chunk is no object.
    """
    async with stream:
        kind = stream.response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            start = await _beginning(stream.response.aiter_bytes())
            raise ValueError(f"not a stream of events but {kind or 'something'}: {start}")
        async for chunk in stream:
            if not isinstance(chunk, dict):
                raise ValueError(f"a chunk that is no object: {str(chunk)[:_SNIPPET_CHARS]}")  # noqa: TRY004
            yield chunk


async def _beginning(body: AsyncIterator[bytes]) -> str:
    """Some characters for the log, however long the body is."""
    start = b""
    async for piece in body:
        start += piece
        if len(start) >= _SNIPPET_CHARS:
            break
    return start.decode("utf-8", "replace")[:_SNIPPET_CHARS]
