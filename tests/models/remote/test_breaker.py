"""A provider that failed is asked again: the breaker alone, and in remote models of both APIs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors.models import (
    KeyRejected,
    ModelError,
    ModelGone,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    RequestRefused,
)
from arena.models.base import Dormant, Ready, Unavailable
from arena.models.registry import Entry, Registry
from arena.models.remote.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_WAIT_S,
    JITTER,
    LONGEST_ASKED_WAIT_S,
    LONGEST_WAIT_S,
    CircuitBreaker,
)
from arena.models.remote.model import RemoteModel
from tests.models.remote import gemini_server, openai_server
from tests.models.remote.apis import ASK, PARAMS, Api, FakeTime, failing, read, unavailable
from tests.models.remote.loopback import Pause, Reply, soon
from tests.store_tools import until

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)

# ---------------------------------------------------------------- the breaker alone


def breaker_at(time: FakeTime, jitter: float = 0.0) -> CircuitBreaker:
    """One whose waits are longer by that share of the largest jitter."""
    rng = random.Random(7)
    rng.random = lambda: jitter  # type: ignore[method-assign]
    return CircuitBreaker(time.clock, rng)


def test_waits_double_up_to_the_longest() -> None:
    """Each failure after a wait doubles the next wait; a success begins anew."""
    time = FakeTime()
    breaker = breaker_at(time)
    waits = []
    for _ in range(12):
        breaker.failed(at_once=True)
        waits.append(breaker.wait_s)
        time.now += breaker.wait_s
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == LONGEST_WAIT_S

    breaker.succeeded()
    assert breaker.closed
    breaker.failed(at_once=True)
    assert breaker.wait_s == FIRST_WAIT_S


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 2.0), (0.5, 2.0), (31.0, 31.0), (1e12, LONGEST_ASKED_WAIT_S)]
)
def test_the_providers_wait_counts_where_it_is_longer(asked: float | None, wait: float) -> None:
    """A provider is not asked before the time that it named, within a day."""
    breaker = breaker_at(FakeTime())
    breaker.failed(at_once=True, wait_s=asked)
    assert breaker.wait_s == wait


@given(st.lists(st.sampled_from(["fail", "pass", "ok", "enter", "leave", "time", "now"])))
def test_one_request_at_a_time_after_a_failure(steps: list[str]) -> None:
    """Whatever happens: no request while open, one trial while half open, all while closed."""
    time = FakeTime()
    breaker = breaker_at(time, jitter=1.0)
    trials: list[Any] = []
    for step in steps:
        if step == "fail":
            breaker.failed(at_once=True)
        elif step == "pass":
            breaker.failed(at_once=False)
        elif step == "ok":
            breaker.succeeded()
        elif step == "enter":
            open_before = not breaker.closed
            resting = breaker.wait_s > 0
            permit = breaker.enter()
            if open_before and permit is not None:
                assert not resting
                assert not trials
                trials.append(permit)
            assert open_before or permit is not None
        elif step == "leave" and trials:
            breaker.leave(trials.pop())
        elif step == "time":
            time.now += LONGEST_WAIT_S * (1 + JITTER)
            assert breaker.wait_s == 0, "no wait is longer than that"
        elif step == "now":
            breaker.end_wait()
            assert breaker.wait_s == 0


def test_a_few_passing_failures_do_not_open_it() -> None:
    """It takes several in a row; a success between them begins the count anew."""
    breaker = breaker_at(FakeTime())
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(at_once=False)
    breaker.succeeded()
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(at_once=False)
    assert breaker.closed
    breaker.failed(at_once=False)
    assert not breaker.closed


def test_failures_side_by_side_are_one() -> None:
    """Answers that fail while it is open already do not double the wait."""
    breaker = breaker_at(FakeTime())
    for _ in range(5):
        breaker.failed(at_once=True)
    assert breaker.wait_s == FIRST_WAIT_S


def test_the_jitter_only_lengthens() -> None:
    """The wait that a provider named is never cut."""
    breaker = breaker_at(FakeTime(), jitter=1.0)
    breaker.failed(at_once=True, wait_s=10.0)
    assert breaker.wait_s == pytest.approx(10.0 * (1 + JITTER))


# ---------------------------------------------------------------- remote models

Refusal = tuple[Callable[[], Reply], type[ModelError]]
REFUSALS: dict[str, dict[str, Refusal]] = {
    "gemini": {
        "400 key": (gemini_server.key_invalid, KeyRejected),
        "403": (lambda: gemini_server.fails(403), KeyRejected),
        "404": (lambda: gemini_server.fails(404), ModelGone),
        "limit 0": (gemini_server.no_free_quota, NoFreeQuota),
    },
    "openai": {
        "401": (lambda: openai_server.fails(401), KeyRejected),
        "403": (lambda: openai_server.fails(403), KeyRejected),
        "404": (openai_server.unknown_model, ModelGone),
        "no money": (lambda: openai_server.fails(429, code="insufficient_quota"), KeyRejected),
    },
}
CASES = [(api, name) for api, refusals in REFUSALS.items() for name in refusals]


def registry_of(model: RemoteModel) -> Registry:
    return Registry([Entry("remote", model)])


async def recovered(registry: Registry) -> None:
    """As when a visitor comes."""
    registry.restart_failed()
    await until(lambda: not registry.settling)


@pytest.mark.parametrize(("api", "name"), CASES, indirect=["api"])
async def test_a_refusal_is_not_for_ever(api: Api, name: str) -> None:
    """What a provider refuses once is asked for again after a while, and not before."""
    reply, expected = REFUSALS[api.wire.MODULE][name]
    api.server.script(reply())
    model = api.make(now=lambda: NOON)
    registry = registry_of(model)
    assert type(await failing(model)) is expected

    status = model.status()
    assert isinstance(status, Unavailable)
    assert status.retry_at == NOON + timedelta(seconds=FIRST_WAIT_S)
    for _ in range(17):
        await recovered(registry)
        assert type(await failing(model)) is expected
    assert len(api.server.asked) == 1, "while it rests it is not asked"

    api.time.now += FIRST_WAIT_S
    await recovered(registry)
    assert isinstance(model.status(), Ready)
    assert (await read(model))[0] == ["Hello", ", ", "world."]
    await registry.aclose()


async def test_it_is_tried_again_without_a_visitor(api: Api) -> None:
    """The registry starts a contestant when its time has come, and goes on looking."""
    looks: asyncio.Queue[None] = asyncio.Queue()
    rounds: list[float] = []

    async def sleep(seconds: float) -> None:
        rounds.append(seconds)
        await looks.get()

    async def look() -> None:
        """The registry looks once."""
        before = len(rounds)
        looks.put_nowait(None)
        await until(lambda: len(rounds) > before)

    model = api.make()
    registry = Registry([Entry("remote", model)], sleep=sleep)
    registry.start()
    await registry.started()
    await until(lambda: bool(rounds))
    api.server.script(api.wire.fails(401))
    await failing(model)
    asked = len(api.server.requests)

    await look()
    assert len(api.server.requests) == asked, "not before its time"
    api.server.script_models(api.wire.fails(401))
    for ready in (False, True):
        api.time.now += 10
        await look()
        assert isinstance(model.status(), Ready) is ready
    await registry.aclose()


async def test_the_owner_can_try_at_once(api: Api) -> None:
    """`try_again` asks now; what still fails stays out, with a longer wait."""
    api.server.script(api.wire.fails(401))
    api.server.script_models(api.wire.fails(401))
    model = api.make(now=lambda: NOON)
    registry = registry_of(model)
    await failing(model)

    await registry.try_again("remote")
    status = model.status()
    assert isinstance(status, Unavailable)
    assert status.retry_at == NOON + timedelta(seconds=2 * FIRST_WAIT_S)

    await registry.try_again()
    assert isinstance(model.status(), Ready)


@pytest.mark.parametrize("seconds", [3.0, 31.0])
async def test_a_named_wait_is_honoured(api: Api, seconds: float) -> None:
    """The provider is left alone for as long as it asked, and the error says what is left of it."""
    api.server.default = api.wire.busy(seconds)
    model = api.make()
    error = await failing(model)
    assert type(error) is RateLimited
    asked = len(api.server.asked)

    api.time.now += seconds - 1
    assert (await failing(model)).values["wait"] == "1 s"
    assert len(api.server.asked) == asked

    api.time.now += 1
    api.server.default = api.wire.says("fine")
    assert (await read(model))[0] == ["fine"]


async def test_an_outage_closes_the_pool_and_one_answer_opens_it(api: Api) -> None:
    """Several answers in a row that fail make it rest; one that succeeds ends that."""
    api.server.default = api.wire.fails(503)
    model = api.make()
    for number in range(FAILURES_IN_A_ROW):
        assert isinstance(model.status(), Dormant), number
        assert type(await failing(model)) is Overloaded
    assert type(unavailable(model)) is Overloaded

    api.time.now += FIRST_WAIT_S
    await model.start()
    assert isinstance(model.status(), Ready), "the check costs nothing and succeeds"
    assert type(await failing(model)) is Overloaded
    status = model.status()
    assert isinstance(status, Unavailable), "the trial failed"

    api.time.now += 2 * FIRST_WAIT_S - 0.01
    assert type(await failing(model)) is Overloaded
    api.time.now += 0.02
    api.server.default = api.wire.says("fine")
    assert (await read(model))[0] == ["fine"]
    api.server.default = api.wire.fails(503)
    await failing(model)
    assert isinstance(model.status(), Ready), "the count began anew"


async def test_a_prompt_that_is_refused_is_no_fault_of_the_provider(api: Api) -> None:
    """What may be this prompt's own fault keeps nobody else's from being asked."""
    api.server.default = api.wire.fails(400)
    model = api.make()
    for _ in range(FAILURES_IN_A_ROW + 1):
        assert type(await failing(model)) is RequestRefused
    assert isinstance(model.status(), Dormant)


async def test_one_trial_at_a_time(api: Api) -> None:
    """While the trial is written, others are refused at once; one that is stopped frees it."""
    api.server.script(api.wire.fails(401), Reply([api.wire.chunk("Half"), Pause()]))
    model = api.make()
    await failing(model)
    api.time.now += FIRST_WAIT_S

    async with aclosing(model.stream(ASK, PARAMS)) as trial:
        await anext(trial)
        assert type(unavailable(model)) is KeyRejected
        assert not model.retry_due
        assert type(await failing(model)) is KeyRejected
        assert len(api.server.asked) == 2
    assert isinstance(model.status(), Ready)
    assert (await read(model))[0] == ["Hello", ", ", "world."]


async def test_many_at_once_share_the_check(api: Api) -> None:
    """Of many that come when the time has come, one checks and one is the trial."""
    api.server.script(api.wire.fails(401), Reply([Pause()]))
    model = api.make()
    await failing(model)
    api.time.now += FIRST_WAIT_S

    tasks = [asyncio.create_task(failing(model)) for _ in range(8)]
    await soon(api.server.arrival(1))
    done, trial = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    while len(done) < 7:
        more, trial = await asyncio.wait(trial, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        done |= more
    assert {type(task.result()) for task in done} == {KeyRejected}
    assert len(api.server.asked) == 2
    assert len(api.server.requests) == 3, "one check for all"
    for task in trial:
        task.cancel()
    await asyncio.wait(trial)


async def test_a_closed_model_forgets_its_failures(api: Api) -> None:
    """A model that is closed and started again begins anew."""
    api.server.script(api.wire.fails(401))
    model = api.make()
    await failing(model)
    await model.aclose()
    assert isinstance(model.status(), Dormant)
    await model.start()
    assert isinstance(model.status(), Ready)
