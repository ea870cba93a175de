"""What every remote model promises, whatever its API: the real SDKs against loopback servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from arena.domain import Delta, FinishReason
from arena.errors.models import (
    BadReply,
    ModelError,
    NetworkFailed,
    Overloaded,
    RateLimited,
    RequestRefused,
    StreamBroken,
)
from arena.models.base import ChatModel, Metered, Recovering, Sending
from arena.models.remote import model as remote_model
from arena.stats.loops import SHORTEST_LOOP
from tests.models.remote.apis import ASK, PARAMS, Api, failing, read
from tests.models.remote.loopback import HangUp, Pause, Reply, Reset, soon

Script = Callable[[Any], Reply]
"""A reply in the words of either API."""

# ---------------------------------------------------------------- answers


async def test_text_and_usage(api: Api) -> None:
    """An answer is all its pieces in order, with the provider's counts and the model it names."""
    api.server.script(
        api.wire.says("偶数", "は2で割り", "切れる数です。", usage=api.wire.usage_of(12, 34, 56))
    )
    model = api.make()

    texts, finished = await read(model)

    assert texts == ["偶数", "は2で割り", "切れる数です。"]
    assert (finished.reason, finished.error_code) == (FinishReason.STOP, None)
    assert finished.served_model == api.wire.chunk("x").get("model", "gemini-test-001")
    counts = (finished.prompt_tokens, finished.completion_tokens, finished.thinking_tokens)
    assert counts == (12, 34, 56)
    for contract in (ChatModel, Metered, Recovering, Sending):
        assert isinstance(model, contract)


async def test_characters_split_between_packets(api: Api) -> None:
    """A packet may end inside a character."""
    event = json.dumps(api.wire.chunk("証明😀", finish=api.wire.STOP), ensure_ascii=False).encode()
    wire = b"data: " + event + 2 * api.server.line_end
    inside = wire.index("明".encode()) + 1
    emoji = wire.index("😀".encode()) + 2
    api.server.script(Reply([wire[:inside], wire[inside:emoji], wire[emoji:]]))

    texts, _ = await read(api.make())

    assert texts == ["証明😀"]


async def test_thinking_is_not_shown(api: Api) -> None:
    """Thinking is no text, not even an empty piece of it."""
    last = api.wire.chunk(".", finish=api.wire.STOP)
    api.server.script(Reply([api.wire.thought("Let me think."), api.wire.chunk("Yes"), last]))

    texts, _ = await read(api.make())

    assert texts == ["Yes", "."]


async def test_times_count_repeated_requests(api: Api) -> None:
    """The time to the first text is what the visitor waited, a second try included."""
    api.server.script(api.wire.busy(2), api.wire.says("a", "b"))
    finished = None
    async for event in api.make().stream(ASK, PARAMS):
        if isinstance(event, Delta):
            api.time.now += 5
        else:
            finished = event

    assert finished is not None
    assert (finished.ttft_s, finished.total_s) == (2.0, 12.0)


@pytest.mark.parametrize("text", ["some", ""])
@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", FinishReason.STOP),
        ("LENGTH", FinishReason.LENGTH),
        ("BLOCKED", FinishReason.BLOCKED),
    ],
)
async def test_endings(api: Api, word: str, text: str, reason: FinishReason) -> None:
    """A finish reason becomes the arena's; a blocked answer has the code of its error."""
    texts = [api.wire.chunk(text)] if text else []
    api.server.script(Reply([*texts, api.wire.chunk(finish=getattr(api.wire, word))]))

    found, finished = await read(api.make())

    assert "".join(found) == text
    assert finished.reason is reason
    blocked = reason is FinishReason.BLOCKED
    assert finished.error_code == ("content_blocked" if blocked else None)
    assert (finished.ttft_s is None) is (not text)


@pytest.mark.parametrize("word", ["NEW_REASON", "OTHER", "new_reason"])
@pytest.mark.filterwarnings("ignore:.* is not a valid FinishReason")
async def test_an_unknown_ending_keeps_the_text(api: Api, word: str) -> None:
    """A text that ended for a reason that is not known is kept and marked; no text is an error."""
    end = api.wire.chunk(finish=word)
    api.server.script(Reply([api.wire.chunk("text"), end]), Reply([end]))
    model = api.make()

    texts, finished = await read(model)
    error = await failing(model)

    assert texts == ["text"]
    assert finished.reason is FinishReason.OTHER
    assert type(error) is BadReply
    assert word.lower() in error.detail.lower()


@pytest.mark.parametrize("last", [HangUp(), Reset(), b"data: {broken\n\n"])
async def test_a_break_after_the_end_does_not_matter(api: Api, last: Any) -> None:
    """An answer is whole once the finish reason has come."""
    api.server.script(Reply([api.wire.chunk("Whole.", finish=api.wire.STOP), last]))

    _, finished = await read(api.make())

    assert finished.reason is FinishReason.STOP


async def test_a_provider_that_stays_after_the_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token counts are awaited for a moment only."""
    monkeypatch.setattr(remote_model, "USAGE_WAIT_S", 0.1)
    api.server.script(Reply([api.wire.chunk("Whole.", finish=api.wire.STOP), Pause()]))

    async with asyncio.timeout(30):
        _, finished = await read(api.make())

    assert finished.reason is FinishReason.STOP
    await soon(api.server.asked[0].connection.closed)


async def test_a_loop_is_stopped_at_its_source(api: Api) -> None:
    """The connection is closed; what was written stays, with all that is known of the answer."""
    loop = [api.wire.chunk("and so on and ") for _ in range(400)]
    api.server.script(Reply([api.wire.chunk("It goes on "), *loop, Pause()]))

    async with asyncio.timeout(30):
        texts, finished = await read(api.make())

    assert finished.reason is FinishReason.LOOP
    assert finished.error_code is None
    assert finished.served_model == api.wire.chunk("x").get("model", "gemini-test-001")
    assert SHORTEST_LOOP <= len("".join(texts)) < 2 * SHORTEST_LOOP
    await soon(api.server.asked[0].connection.closed)
    assert len(api.server.asked) == 1


async def test_a_redirect_is_not_followed(api: Api) -> None:
    """Key and prompt go to no address that a redirect names."""
    location = {"location": f"{api.server.url}/elsewhere"}
    api.server.default = Reply(status=307, body={}, headers=location)

    error = await failing(api.make())

    assert type(error) is BadReply
    assert len(api.server.requests) == 1


# ---------------------------------------------------------------- repeated requests


async def test_the_providers_wait_is_honoured(api: Api) -> None:
    """A request that is over the rate is sent again after the wait that the provider names."""
    api.server.script(api.wire.busy(3.5), api.wire.says("once"))

    texts, _ = await read(api.make())

    assert texts == ["once"]
    assert api.time.slept == [3.5]
    assert len(api.server.asked) == 2


@pytest.mark.parametrize(("seconds", "wait"), [(31, "31 s"), (None, "60 s")])
async def test_a_long_wait_is_the_visitors_choice(
    api: Api, seconds: float | None, wait: str
) -> None:
    """A wait that is long or unknown is not waited for; the error names it."""
    api.server.default = api.wire.busy(seconds)

    error = await failing(api.make())

    assert type(error) is RateLimited
    assert error.values["wait"] == wait
    assert api.time.slept == []
    assert len(api.server.asked) == 1


async def test_waits_are_bounded_together(api: Api) -> None:
    """The sum of an answer's waits has a limit, too."""
    api.server.default = api.wire.busy(5)

    assert type(await failing(api.make())) is RateLimited
    assert api.time.slept == [5.0]


@pytest.mark.parametrize(
    "script",
    [
        lambda wire: wire.fails(503),
        lambda _: Reply([Reset()]),
        lambda _: Reply([]),
        lambda wire: Reply([wire.thought("Hm."), wire.error_event(503)]),
    ],
    ids=["overloaded", "reset", "nothing", "after-thinking"],
)
async def test_a_passing_failure_is_tried_again(api: Api, script: Script) -> None:
    """What may work within seconds is sent again, twice."""
    api.server.script(script(api.wire), script(api.wire), api.wire.says("fine"))

    texts, finished = await read(api.make())

    assert texts == ["fine"]
    assert finished.reason is FinishReason.STOP
    assert api.time.slept == [0.5, 1.5]


async def test_tries_come_to_an_end(api: Api) -> None:
    """Three requests at most; the SDK adds none of its own."""
    api.server.default = api.wire.fails(503)

    assert type(await failing(api.make())) is Overloaded
    assert len(api.server.asked) == 3
    assert api.time.slept == [0.5, 1.5]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (lambda _: Reset(), StreamBroken),
        (lambda _: HangUp(), StreamBroken),
        (lambda _: Pause(0), StreamBroken),  # an orderly end without a finish reason
        (lambda wire: wire.error_event(503), Overloaded),
        (lambda _: b"data: {broken\n\n", BadReply),
    ],
    ids=["reset", "hang-up", "no-reason", "error", "broken-json"],
)
async def test_nothing_is_sent_again_after_the_first_text(
    api: Api, last: Callable[[Any], Any], expected: type[ModelError]
) -> None:
    """Once text is shown, a failure ends the answer."""
    api.server.script(Reply([api.wire.chunk("Half an"), last(api.wire)]))
    texts: list[str] = []

    error = await failing(api.make(), into=texts)

    assert type(error) is expected
    assert texts == ["Half an"]
    assert len(api.server.asked) == 1
    assert api.time.slept == []


@pytest.mark.parametrize(("text", "expected"), [("", NetworkFailed), ("Some", StreamBroken)])
async def test_silence_ends(api: Api, text: str, expected: type[ModelError]) -> None:
    """A provider that sends nothing for `silence_s` is given up, and not asked again."""
    api.server.default = Reply([*([api.wire.chunk(text)] if text else []), Pause()])

    async with asyncio.timeout(30):
        error = await failing(api.make(silence_s=1.0))

    assert type(error) is expected
    assert len(api.server.asked) == 1


async def test_a_long_answer_is_no_silence(api: Api) -> None:
    """The limit holds for each read, not for the whole answer."""
    steps = [api.wire.chunk("word "), Pause(0.25)] * 8
    api.server.script(Reply([*steps, api.wire.chunk(finish=api.wire.STOP)]))

    texts, _ = await read(api.make(silence_s=1.5))

    assert len(texts) == 8


async def test_what_is_refused_is_left_out_and_remembered(api: Api) -> None:
    """A refused parameter is in no later request and in no record."""
    api.server.script(api.wire.fails(400, "`seed` is not supported by this model."))
    model = api.make()

    _, finished = await read(model)
    _, second = await read(model)

    sent = [request.body.get("generationConfig", request.body) for request in api.server.asked]
    assert ["seed" in body for body in sent] == [True, False, False]
    assert "temperature" in sent[1]
    assert "seed" not in finished.sent.keys() | second.sent.keys()


async def test_an_echo_of_the_request_is_not_remembered(api: Api) -> None:
    """What is refused is left out for good only once a request without it has succeeded."""
    echo = api.wire.fails(400, "bad: {'temperature': 0.4, 'top_p': 0.9, 'seed': 11}")
    api.server.script(echo, api.wire.fails(400, "It is still bad."))
    model = api.make()

    assert type(await failing(model)) is RequestRefused
    _, finished = await read(model)

    assert len(api.server.asked) == 3
    assert {"temperature", "seed"} <= finished.sent.keys()


async def test_refusals_end(api: Api) -> None:
    """A refusal that names only what is left out already is final."""
    api.server.default = api.wire.fails(400, "top_p and seed are not supported.")

    assert type(await failing(api.make())) is RequestRefused
    assert len(api.server.asked) == 2
