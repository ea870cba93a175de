"""Between the arena and the SDK: conversions, and the client that keeps its own timeouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena.domain import GenerationParams, Message, Role

if TYPE_CHECKING:
    import httpx2
    from google import genai
    from google.genai import types

API_VERSION = "v1beta"  # the `-latest` aliases do not exist in v1

_CONNECT_S = 10.0
_WIRE_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "max_output_tokens": "maxOutputTokens",
}


def conversation(messages: Sequence[Message]) -> tuple[list[types.ContentDict], str]:
    """The turns as the API wants them, and the system prompt apart.

    Empty turns are left out (the API refuses them); half characters, which no JSON may hold,
    become question marks.
    """
    contents: list[types.ContentDict] = []
    system: list[str] = []
    for message in messages:
        text = message.content.encode("utf-8", "replace").decode("utf-8")
        if not text:
            continue
        if message.role is Role.SYSTEM:
            system.append(text)
        else:
            role = "user" if message.role is Role.USER else "model"
            contents.append({"role": role, "parts": [{"text": text}]})
    return contents, "\n\n".join(system)


def request_config(
    params: GenerationParams,
    *,
    system: str = "",
    thinking_tokens: int = 0,
    output_limit: int | None = None,
    without: frozenset[str] = frozenset(),
) -> types.GenerateContentConfigDict:
    """The configuration of one request.

    Args:
        params: what the battle asks for. Temperature and top_p always go along, since the
            provider's own defaults would not be those of the other side.
        system: the system prompt, or nothing.
        thinking_tokens: allowance on top of the visible budget; thoughts count against the cap.
        output_limit: the model's own maximum, where known; the cap never passes it.
        without: sampling parameters that the model has refused.
    """
    cap = params.max_new_tokens + thinking_tokens
    config: types.GenerateContentConfigDict = {
        "max_output_tokens": min(cap, output_limit) if output_limit else cap,
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
    }
    if system:
        config["system_instruction"] = system
    if "temperature" not in without:
        config["temperature"] = params.temperature
    if "top_p" not in without:
        config["top_p"] = params.top_p
    if params.seed is not None and "seed" not in without:
        config["seed"] = params.seed
    return config


def sent_record(
    model: str, config: types.GenerateContentConfigDict
) -> dict[str, float | int | str | None]:
    """What was really sent, by the API's own names."""
    values: dict[str, Any] = dict(config)
    return {"model": model} | {
        wire: values[name] for name, wire in _WIRE_NAMES.items() if name in values
    }


def model_facts(model: types.Model, name: str) -> dict[str, str]:
    """What the API says of a model, for the Models tab."""
    facts = {
        "model": name,
        "version": model.version,
        "input_tokens": model.input_token_limit,
        "output_tokens": model.output_token_limit,
        "thinking": model.thinking,
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Link:
    """The SDK's client and the HTTP client under it, which the SDK does not close."""

    client: genai.Client
    http: httpx2.AsyncClient


def connect(key: str, base_url: str, silence_s: float) -> Link:
    """Import the SDK and build its client; takes a second, so it belongs into a thread."""
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

    http = PatientClient(timeout=httpx2.Timeout(_CONNECT_S, read=silence_s))
    options = types.HttpOptions(base_url=base_url, api_version=API_VERSION, httpx_async_client=http)
    return Link(genai.Client(vertexai=False, api_key=key, http_options=options), http)


async def disconnect(link: Link) -> None:
    """Close both clients."""
    await link.http.aclose()
    link.client.close()
