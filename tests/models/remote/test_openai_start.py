"""OpenAI-compatible engines at the start: whether they are there, and what they serve."""

from __future__ import annotations

import asyncio

import pytest

from arena.errors.models import EngineUnreachable, KeyRejected, ModelError, ModelGone, Overloaded
from arena.models.base import Ready
from arena.models.registry import Entry, Registry
from arena.models.remote import openai as openai_module
from arena.models.remote.openai import quota_of
from tests.models.remote.apis import OpenAiApi, failing, read, unavailable
from tests.models.remote.loopback import Pause, Reply, Reset, soon
from tests.models.remote.openai_server import (
    MODEL,
    OpenAiServer,
    drips,
    fails,
    model_entry,
    unknown_model,
)
from tests.scripted import ClosedBook


async def test_ready_with_facts(openai: OpenAiApi) -> None:
    """The facts are what the engine says of itself, and the declared price's day."""
    prices = {"price_in": 0.0, "price_out": 0.0, "price_as_of": "2026-11-01"}
    quota = quota_of("phi-vllm", openai.entry(**prices), ClosedBook())
    model = openai.make(quota=quota, precision="bf16", licence="MIT", **prices)

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {
        "sends_to": openai.server.host,
        "listed": "yes",
        "engine": "vLLM",
        "context": "4096",
        "price_as_of": "2026-11-01",
    }
    spec = model.spec
    assert (spec.id, spec.label, spec.provider) == (
        "phi-vllm-bf16",
        "Phi (vLLM)",
        "openai-compatible",
    )
    assert (spec.source, spec.engine, spec.precision) == (MODEL, "vLLM", "bf16")
    assert (spec.context_tokens, spec.price_in, spec.licence) == (4096, 0.0, "MIT")
    assert [request.path for request in openai.server.requests] == ["/v1/models"]


async def test_the_declared_context_wins(openai: OpenAiApi) -> None:
    """A declared context comes before the engine's own."""
    model = openai.make(context_tokens=2048)
    await model.start()

    assert model.spec.context_tokens == 2048


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (fails(401), KeyRejected),
        (fails(503), Overloaded),
        (Reply([Reset()]), EngineUnreachable),
        (Reply(body=b"<html>"), None),  # no list: the engine itself is asked
    ],
)
async def test_a_failed_start_is_typed_and_not_final(
    openai: OpenAiApi, reply: Reply, expected: type[ModelError] | None
) -> None:
    """A failed start has a type, and can be repeated."""
    openai.server.script_models(reply)
    model = openai.make()

    await model.start()
    if expected is not None:
        assert type(unavailable(model)) is expected

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_a_silent_engine_at_the_start(
    openai: OpenAiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that does not list its models in time is unreachable."""
    monkeypatch.setattr(openai_module, "LISTING_S", 0.2)
    openai.server.script_models(Reply([Pause()]))
    model = openai.make()

    async with asyncio.timeout(30):
        await model.start()

    error = unavailable(model)
    assert type(error) is EngineUnreachable
    assert openai.server.host in error.remedy_text
    await soon(openai.server.requests[0].connection.closed)


async def test_an_engine_that_answers_nothing_at_the_start(openai: OpenAiApi) -> None:
    """An engine that ends the first answer before it begins can be started again."""
    openai.server.models = []
    openai.server.script(Reply([]))
    model = openai.make()

    await model.start()
    assert type(unavailable(model)) is EngineUnreachable

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_the_registry_revives_an_engine_that_comes_later(openai: OpenAiApi) -> None:
    """The registry starts an engine again that comes after the arena."""
    async with OpenAiServer() as other:
        port = other.port
    model = openai.make(base_url=f"http://127.0.0.1:{port}/v1")
    registry = Registry([Entry("phi-vllm", model)])
    registry.start()
    await registry.started()
    assert type(unavailable(model)) is EngineUnreachable

    later = OpenAiServer()
    later.port = port
    async with later:
        openai.time.now += 3
        registry.restart_failed()
        await soon(later.arrival(for_text=False))
        await model.start()  # joins the start that is going on

        assert isinstance(model.status(), Ready)
        assert (await read(model))[0] == ["Hello", ", ", "world."]
    await registry.aclose()


async def test_a_model_that_is_not_listed_is_tried(openai: OpenAiApi) -> None:
    """A model that is not in the list is asked for a first word (`llama3` for `llama3:latest`)."""
    openai.server.default = drips()
    model = openai.make(model="llama3")

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts["listed"] == "no"
    (request,) = openai.server.asked
    assert (request.model, request.body["max_tokens"]) == ("llama3", 16)
    assert request.body.keys() == {"model", "messages", "max_tokens", "stream"}  # nothing to refuse
    await soon(request.connection.closed)


@pytest.mark.parametrize(
    "reply", [unknown_model("typo"), fails(400, "Server is pinned to 'x'; requested 'typo'.")]
)
async def test_a_missing_model_names_those_that_exist(openai: OpenAiApi, reply: Reply) -> None:
    """The remedy names the engine's models."""
    openai.server.default = reply
    model = openai.make(model="typo")

    await model.start()

    error = unavailable(model)
    assert type(error) is ModelGone
    assert error.remedy_text == f"Set [models.phi-vllm] model to one of: {MODEL}, other/model"
    assert error.sentence == "The provider has no model typo for this key."


async def test_a_missing_model_without_a_list(openai: OpenAiApi) -> None:
    """Without a list the remedy names its address."""
    openai.server.script_models(Reply(status=404, body={"detail": "Not Found"}))
    openai.server.default = unknown_model("typo")
    model = openai.make(model="typo")

    await model.start()

    assert unavailable(model).values["available"] == f"{openai.server.url}/models"


async def test_a_wrong_path_is_not_a_missing_model(openai: OpenAiApi) -> None:
    """An address without its /v1 is an unreachable engine."""
    openai.server.default = Reply(status=404, body={"detail": "Not Found"})
    model = openai.make(base_url=openai.server.url.removesuffix("/v1"))

    await model.start()

    assert type(unavailable(model)) is EngineUnreachable


async def test_an_engine_that_names_nothing(openai: OpenAiApi) -> None:
    """A list with other fields than the documented ones is read as far as it goes."""
    openai.server.models = []
    openai.server.script_models(
        Reply(body={"data": [None, {"id": 5}, {"id": MODEL, "owned_by": None}]})
    )
    model = openai.make()

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {"sends_to": openai.server.host, "listed": "yes"}
    assert model.spec.engine == "openai-compatible"


async def test_many_models_are_shortened(openai: OpenAiApi) -> None:
    """A remedy names a few models, and counts the rest."""
    openai.server.models = [model_entry(f"m{number}") for number in range(300)]
    openai.server.default = unknown_model()
    model = openai.make()

    await model.start()

    assert unavailable(model).values["available"] == "m0, m1, m2, m3, m4, m5 … (+294)"


async def test_the_refused_model_is_no_suggestion(openai: OpenAiApi) -> None:
    """The remedy names other models than the one that was refused."""
    model = openai.make()
    await model.start()
    openai.server.script(unknown_model())

    error = await failing(model)

    assert error.values["available"] == "other/model"
