"""Which Gemini model answers, and what is said of it: fallback and status."""

from __future__ import annotations

import pytest

from arena.errors.models import (
    BadReply,
    KeyRejected,
    ModelError,
    ModelGone,
    NetworkFailed,
    NoFreeQuota,
    RateLimited,
)
from arena.models.base import Ready, Unavailable
from tests.models.remote.apis import GeminiApi, failing, read, unavailable
from tests.models.remote.gemini_server import (
    EMBEDDING,
    FLASH,
    PRO,
    fails,
    key_invalid,
    model_entry,
    no_free_quota,
    says,
)
from tests.models.remote.loopback import Reply, Reset

KEY = GeminiApi.key


# ---------------------------------------------------------------- fallback


@pytest.mark.parametrize(
    "reply", [fails(404), no_free_quota(), fails(503), fails(429)], ids=lambda r: str(r.status)
)
async def test_the_fallback_answers_under_its_own_name(gemini: GeminiApi, reply: Reply) -> None:
    """The fallback's answer names the fallback, in the record and in the status."""
    gemini.server.script(*[reply] * 3, model=PRO)
    gemini.server.script(says("Yes.", version="gemini-flash-007"), model=FLASH)
    model = gemini.make(fallback_model=FLASH)

    texts, finished = await read(model)

    assert texts == ["Yes."]
    assert finished.served_model == "gemini-flash-007"
    assert finished.sent["model"] == FLASH
    status = model.status()
    assert isinstance(status, Ready)
    assert status.notice == "fallback"
    assert status.facts["model"] == FLASH
    assert status.facts["served_model"] == "gemini-flash-007"


@pytest.mark.parametrize("reply", [key_invalid(), fails(400), Reply([Reset()])])
async def test_other_failures_do_not_switch_the_model(gemini: GeminiApi, reply: Reply) -> None:
    """The fallback answers only for failures that are the model's own."""
    gemini.server.default = reply

    await failing(gemini.make(fallback_model=FLASH))

    assert {request.model for request in gemini.server.asked} == {PRO}


@pytest.mark.parametrize("fallback", [None, "", PRO])
async def test_without_a_fallback_no_other_model_answers(
    gemini: GeminiApi, fallback: str | None
) -> None:
    """No other model answers unless the owner named one."""
    gemini.server.default = no_free_quota()

    await failing(gemini.make(fallback_model=fallback))

    assert [request.model for request in gemini.server.asked] == [PRO]


async def test_a_model_that_is_gone_rests(gemini: GeminiApi) -> None:
    """A main model with a lasting failure is asked again after a while, not each time."""
    gemini.server.script(fails(404), model=PRO)
    model = gemini.make(fallback_model=FLASH)
    await read(model)
    await read(model)
    assert [request.model for request in gemini.server.asked] == [PRO, FLASH, FLASH]

    gemini.time.now += 3600
    await read(model)

    assert gemini.server.asked[-1].model == PRO
    status = model.status()
    assert isinstance(status, Ready)
    assert status.notice == ""


@pytest.mark.parametrize(
    ("main", "other", "expected"),
    [
        (no_free_quota(), fails(404), NoFreeQuota),
        (no_free_quota(), fails(429), RateLimited),
        (fails(429), fails(404), RateLimited),
    ],
)
async def test_the_failure_that_passes_is_told(
    gemini: GeminiApi, main: Reply, other: Reply, expected: type[ModelError]
) -> None:
    """If both models failed, the error is the one that passes; the main model's if neither does."""
    gemini.server.script(main, model=PRO)
    gemini.server.script(other, model=FLASH)
    model = gemini.make(fallback_model=FLASH)

    error = await failing(model)

    assert type(error) is expected
    lasts = expected is NoFreeQuota
    assert error.values.get("variable") == ("GEMINI_MODEL" if lasts else None)
    assert isinstance(model.status(), Unavailable) is lasts


# ---------------------------------------------------------------- status


async def test_ready_with_facts(gemini: GeminiApi) -> None:
    """The facts are what the API says of the model."""
    model = gemini.make()

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert status.facts == {
        "model": PRO,
        "version": "001",
        "input_tokens": "1048576",
        "output_tokens": "65536",
    }
    assert model.spec.context_tokens == 1048576
    assert model.sends_to == ""  # the page has a notice of its own for Google
    assert model.spec.id == PRO
    assert (model.spec.label, model.spec.provider, model.spec.price_in) == (
        "Gemini",
        "google",
        None,
    )
    assert [request.path for request in gemini.server.requests] == [f"/v1beta/models/{PRO}"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (key_invalid(), KeyRejected),
        (Reply([Reset()]), NetworkFailed),
        (Reply(body=b"<html>"), BadReply),
    ],
)
async def test_a_failed_start_is_typed_and_not_final(
    gemini: GeminiApi, reply: Reply, expected: type[ModelError]
) -> None:
    """A failed start has a type, and can be repeated."""
    gemini.server.script_models(reply)
    model = gemini.make()

    await model.start()
    error = unavailable(model)
    assert type(error) is expected

    await model.start()
    assert isinstance(model.status(), Ready)


async def test_a_missing_model_names_those_that_exist(gemini: GeminiApi) -> None:
    """The remedy names the key's models that write text."""
    model = gemini.make(model="gemini-2.0-pro-exp")

    await model.start()

    error = unavailable(model)
    assert type(error) is ModelGone
    assert error.remedy_text == (f"Set GEMINI_MODEL to one of: {FLASH}, {PRO}, gemini-3.8-flash")
    assert EMBEDDING not in error.remedy_text


async def test_a_missing_model_with_a_fallback(gemini: GeminiApi) -> None:
    """With a fallback a missing model leaves Gemini ready."""
    model = gemini.make(model="gemini-2.0-pro-exp", fallback_model=FLASH)

    await model.start()

    status = model.status()
    assert isinstance(status, Ready)
    assert (status.notice, status.facts["model"]) == ("fallback", FLASH)
    _, finished = await read(model)
    assert finished.sent["model"] == FLASH


async def test_without_the_list_a_remedy_still_has_a_name(gemini: GeminiApi) -> None:
    """A list that cannot be read leaves the usual names."""
    gemini.server.script(no_free_quota())
    gemini.server.script_models(fails(500))

    error = await failing(gemini.make())

    assert type(error) is NoFreeQuota
    assert error.values["suggestion"] == FLASH


async def test_no_quota_suggests_a_model_of_this_key(gemini: GeminiApi) -> None:
    """The suggestion is a model that the key can call."""
    gemini.server.models = [
        model_entry(EMBEDDING, "embedContent"),
        model_entry(PRO),
        model_entry("lite"),
    ]
    gemini.server.script(no_free_quota())

    error = await failing(gemini.make())

    assert error.remedy_text == "Turn billing on for the key, or set GEMINI_MODEL=lite"


async def test_usual_models_are_named_first(gemini: GeminiApi) -> None:
    """A remedy names the aliases first, then a few others, and counts the rest."""
    gemini.server.models = [model_entry(f"m{number}") for number in range(8)]
    gemini.server.models.append(model_entry(FLASH))
    model = gemini.make(model="gone")

    await model.start()

    assert unavailable(model).values["available"] == f"{FLASH}, m0, m1, m2, m3, m4 … (+3)"
