"""The ONNX worker's scheduler and prefix cache, over the real runners, in this process."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.domain import FinishReason
from arena.errors.models import EngineCrashed, NotFinite, OutOfMemory
from arena.models.local.engine import TokenRequest
from arena.models.local.onnx.prefix_cache import PrefixCache
from arena.models.local.onnx.protocol import Cancel, NewTokens, Submit
from arena.models.local.onnx.sampling import Floats
from arena.models.local.onnx.worker import IDLE_S, serve
from tests.models.local.onnx.harness import (
    CHUNK,
    NEVER,
    Harness,
    LoggedRunner,
    fresh,
    same,
    watched,
    words,
)
from tests.models.local.tiny_phi import LONG, SHORT


@pytest.fixture(params=["batched", "genai"])
def runner(request: pytest.FixtureRequest) -> LoggedRunner:
    found: LoggedRunner = request.getfixturevalue(f"{request.param}_runner")
    return found


def test_the_next_turn_continues_the_cached_prefix(runner: LoggedRunner) -> None:
    """Only what is new is prefilled, and the answer is that of a fresh sequence."""
    first = words(19)
    with Harness(runner) as harness:
        harness.ask(1, first, 20, temperature=1.0)
        harness.work()
        harness.prefill_ahead()
        second = [*first, *harness.ids(1), *words(5, seed=1)]
        runner.log.prefills.clear()
        harness.ask(2, second, 6, temperature=1.0)
        harness.work(lambda: bool(harness.ids(2)))
        whole = len(first) + 20 - (len(first) + 20) % CHUNK
        assert sum(runner.log.prefills) == len(second) - whole
        harness.work()
        continued = harness.ids(2)
    assert continued == fresh(runner, second, 6, temperature=1.0)


def test_before_an_answer_is_prefilled_its_prompt_alone_is_continued(
    runner: LoggedRunner,
) -> None:
    """Tokens that were decoded one by one are not continued: their last bits differ."""
    first = words(19)
    with Harness(runner) as harness:
        harness.ask(1, first, 20)
        harness.work()
        second = [*first, *harness.ids(1), *words(5, seed=1)]
        runner.log.prefills.clear()
        harness.ask(2, second, 1)
        harness.work()
        assert sum(runner.log.prefills) == len(second) - 2 * CHUNK


def test_the_same_question_again_prefills_its_last_chunk(runner: LoggedRunner) -> None:
    """A retry finds its whole prompt cached, and still needs the logits of its last token."""
    ids = words(2 * CHUNK)
    with Harness(runner) as harness:
        harness.ask(1, ids)
        harness.work()
        runner.log.prefills.clear()
        harness.ask(2, ids)
        harness.work()
        assert runner.log.prefills[0] == CHUNK
        assert harness.ids(2) == harness.ids(1)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prompt=st.integers(1, 90),
    answered=st.integers(1, 40),
    question=st.integers(1, 30),
    diverge=st.none() | st.integers(0, 120),
    settled=st.booleans(),
)
def test_a_continued_sequence_has_the_logits_of_a_fresh_one(
    runner: LoggedRunner,
    *,
    prompt: int,
    answered: int,
    question: int,
    diverge: int | None,
    settled: bool,
) -> None:
    """To the last bit, wherever the two prompts part, so that a seed repeats an answer."""
    first = words(prompt)
    with Harness(runner) as harness:
        harness.ask(1, first, answered)
        harness.work()
        if settled:
            harness.prefill_ahead()
        second = [*first, *harness.ids(1), *words(question, seed=1)]
        if diverge is not None and diverge < len(second):
            second[diverge] = 5 if second[diverge] != 5 else 6
        with watched() as continued:
            harness.ask(2, second, 3, temperature=1.0)
            harness.work()
    with watched() as anew:
        fresh(runner, second, 3, temperature=1.0)
    assert len(anew[1]) == 3
    assert same(continued[1], anew[1])


def test_running_answers_get_a_token_between_two_chunks_of_a_prompt(
    runner: LoggedRunner,
) -> None:
    """A long prompt is prefilled chunk by chunk beside the other answers."""
    with Harness(runner) as harness:
        for number in (1, 2):
            harness.ask(number, words(4, seed=number), 30)
        harness.work(lambda: bool(harness.ids(1)) and bool(harness.ids(2)))
        before = len(harness.ids(1))
        harness.ask(3, words(6 * CHUNK, seed=3), 2)
        harness.work(lambda: bool(harness.ids(3)))
        for number in (1, 2):
            assert len(harness.ids(number)) - before in range(5, 9)


def test_two_prompts_are_prefilled_in_the_same_round(runner: LoggedRunner) -> None:
    """Two newcomers get a chunk in each round, the third waits for one of them."""
    with Harness(runner, max_prefixes=0) as harness:
        harness.ask(1, words(4), count=60)
        harness.work(until=lambda: len(harness.ids(1)) == 2)
        for number in (2, 3, 4):
            harness.ask(number, words(CHUNK, seed=number))
        begun: dict[int, int] = {}
        for number in (2, 3, 4):
            harness.work(until=lambda number=number: bool(harness.ids(number)))  # type: ignore[misc]
            begun[number] = len(harness.ids(1))
        assert begun[2] == begun[3] < begun[4]
        harness.work()


def test_a_short_prompt_overtakes_a_long_one_that_never_starves(
    runner: LoggedRunner,
) -> None:
    """The shortest prompt is prefilled first, and the oldest in every round."""
    with Harness(runner, max_prefixes=0) as harness:
        harness.ask(1, words(24 * CHUNK), 1)
        harness.scheduler.step()
        for number in range(2, 6):
            harness.ask(number, words(CHUNK, seed=number), 3)
        harness.work()
        assert harness.ended() == [2, 3, 4, 5, 1]
        harness.sent.clear()
        harness.ask(10, words(10 * CHUNK), 1)
        for number in range(11, 40):  # never without a shorter one
            harness.ask(number, words(2 * CHUNK, seed=number), 1)
        harness.work()
        assert harness.ended().index(10) < 12


def test_requests_wait_until_the_cache_holds_them_to_their_end(runner: LoggedRunner) -> None:
    """Requests are admitted in their order, whatever would fit sooner."""
    with Harness(runner, cache_tokens=100, max_prefixes=0) as harness:
        harness.ask(1, words(30, seed=1), 30)
        harness.ask(2, words(30, seed=2), 20)
        harness.ask(3, words(4, seed=3), 2)
        harness.scheduler.step()
        assert harness.running() == [1], "the oldest first, whatever fits"
        harness.work()
        assert [len(harness.ids(n)) for n in (1, 2, 3)] == [30, 20, 2]


def test_a_request_that_is_alone_is_always_admitted(runner: LoggedRunner) -> None:
    """Even one that needs more tokens than are planned: no other would free them."""
    with Harness(runner, cache_tokens=20) as harness:
        harness.ask(1, words(30), 20)
        harness.work()
        assert len(harness.ids(1)) == 20


def test_at_most_max_running_are_admitted(runner: LoggedRunner) -> None:
    """The others wait, and all come to their end."""
    with Harness(runner, max_running=2) as harness:
        for number in range(5):
            harness.ask(number, words(4, seed=number), 3)
        harness.scheduler.step()
        assert len(harness.running()) == 2
        harness.work()
        assert len(harness.ended()) == 5


def test_cached_prefixes_are_few_and_make_room(runner: LoggedRunner) -> None:
    """The prefix cache keeps the newest, within its limits, and gives way to a request."""
    with Harness(runner, max_prefixes=2, cache_tokens=150) as harness:
        for number in range(4):
            harness.ask(number, words(20, seed=number), 5)
            harness.work()
        assert len(harness.scheduler.prefix_cache) == 2
        assert harness.scheduler.prefix_cache.tokens <= 150
        harness.ask(9, words(100, seed=9), 40)
        harness.scheduler.step()
        assert len(harness.scheduler.prefix_cache) == 0
        assert harness.scheduler.free_tokens >= 0


def test_cached_prefixes_expire(runner: LoggedRunner) -> None:
    """After their time they are dropped; until then the time that is left is told."""
    with Harness(runner, prefix_ttl_s=-1.0) as harness:
        harness.ask(1, words(20), 5)
        harness.work()
        assert len(harness.scheduler.prefix_cache) == 1
        assert harness.scheduler.prefix_cache.drop_expired() is None
        assert len(harness.scheduler.prefix_cache) == 0
    with Harness(runner, prefix_ttl_s=50.0) as harness:
        harness.ask(1, words(20), 5)
        harness.work()
        left = harness.scheduler.prefix_cache.drop_expired()
        assert left is not None
        assert 0 < left <= 50


def test_a_prefix_without_room_for_the_next_turn_is_not_continued(runner: LoggedRunner) -> None:
    """A generator's room is fixed: a sequence must not grow beyond it."""
    first = words(20)
    with Harness(runner, cache_tokens=LONG) as harness:  # too small for room to spare
        harness.ask(1, first, 20)
        harness.work()
        harness.prefill_ahead()
        second = [*first, *harness.ids(1), *words(4, seed=1)]
        harness.ask(2, second, 20)
        harness.work()
        continued = harness.ids(2)
    assert len(continued) == 20
    assert continued == fresh(runner, second, 20)


def test_cancelled_requests_make_room(runner: LoggedRunner) -> None:
    """Waiting or running; an unknown number is ignored."""
    with Harness(runner, max_running=1) as harness:
        for number in (1, 2, 3):
            harness.ask(number, words(20, seed=number), 30)
        harness.work(lambda: bool(harness.ids(1)))
        written = len(harness.ids(1))
        harness.scheduler.add(Cancel(2))
        harness.scheduler.add(Cancel(1))
        harness.scheduler.add(Cancel(99))
        harness.work()
        assert len(harness.ids(1)) == written
        assert not harness.ids(2)
        assert 1 not in harness.ended()
        assert len(harness.ids(3)) == 30


def test_a_hundred_cancelled_requests_hold_nothing(runner: LoggedRunner) -> None:
    """Neither tokens of the KV cache nor sequences, but for the prefix cache within its limits."""
    with Harness(runner) as harness:
        for number in range(1, 101):
            harness.ask(number, words(5 + number % 30, seed=number), 30)
            for _ in range(number % 4):
                harness.scheduler.step()
            if number % 2:
                harness.scheduler.add(Cancel(number))
            if number % 10 == 0:
                harness.work()
        assert not harness.scheduler.busy
        assert len(harness.scheduler.prefix_cache) <= runner.config.max_prefixes
        assert (
            harness.scheduler.free_tokens
            == runner.config.cache_tokens - harness.scheduler.prefix_cache.tokens
        )
        gc.collect()
        assert len(runner.log.alive) <= runner.config.max_prefixes


def test_memory_that_runs_out_fails_that_answer_alone(
    runner: LoggedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure says that it is memory, and the other answers go on."""
    with Harness(runner) as harness:
        harness.ask(1, words(4), 10)
        harness.work(lambda: bool(harness.ids(1)))

        def full(*_: object, **__: object) -> None:
            raise MemoryError("std::bad_alloc")

        monkeypatch.setattr(runner, "new_sequence", full)
        harness.ask(2, words(40), 10)
        harness.work()
        (failed,) = harness.failed()
        assert (failed.number, failed.code) == (2, OutOfMemory.code)
        assert len(harness.ids(1)) == 10
        assert not harness.scheduler.busy


def test_a_request_that_fails_leaves_the_others(runner: LoggedRunner) -> None:
    """What the runtime refuses fails alone."""
    with Harness(runner, context=4 * LONG) as harness:
        harness.ask(1, words(4), 10)
        harness.ask(2, words(LONG + 5), 10)  # the runner itself refuses it
        harness.work()
        (failed,) = harness.failed()
        assert failed.number == 2
        assert failed.code == EngineCrashed.code
        assert len(harness.ids(1)) == 10


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_logits_that_are_not_finite_fail_that_answer_alone(
    runner: LoggedRunner, value: float, temperature: float
) -> None:
    """No token is drawn from them, and its sequence is not kept for the next turn."""
    with Harness(runner) as harness:
        harness.ask(1, words(4), 10, temperature=temperature)
        harness.ask(2, words(6, seed=1), 10, temperature=temperature)
        harness.work(lambda: len(harness.ids(2)) == 3)
        sequence = harness.scheduler.running[1].sequence
        assert sequence is not None
        logits = sequence.logits

        def spoilt() -> Floats:
            found = logits().copy()
            found[17] = value
            return found

        sequence.logits = spoilt  # type: ignore[method-assign]
        harness.work()
        (failed,) = harness.failed()
        assert (failed.number, failed.code) == (2, NotFinite.code)
        assert len(harness.ids(2)) == 3
        assert harness.ids(1) == fresh(runner, words(4), 10, temperature=temperature)
        free = harness.scheduler.free_tokens
        harness.scheduler.prefix_cache.drop_oldest()
        assert harness.scheduler.free_tokens > free, "the other's sequence is kept"
        assert not harness.scheduler.prefix_cache.drop_oldest()


def test_a_stop_token_is_the_last_of_an_answer(runner: LoggedRunner) -> None:
    """It is sent with the reason, and nothing follows."""
    free = fresh(runner, words(5), 10)
    with Harness(runner) as harness:
        harness.ask(1, words(5), 10, stop_ids=frozenset({free[4]}))
        harness.work()
        until = free.index(free[4]) + 1
        assert harness.ids(1) == free[:until]
        last = harness.sent[-1]
        assert isinstance(last, NewTokens)
        assert last.tokens.finish is FinishReason.STOP


def test_a_short_prefix_does_not_serve_a_long_sequence(runner: LoggedRunner) -> None:
    """Keys of LongRoPE's short factors are not used under the long ones."""
    first = words(SHORT - 4)
    with Harness(runner) as harness:
        harness.ask(1, first, 3)
        harness.work()
        harness.prefill_ahead()
        second = [*first, *harness.ids(1), *words(20, seed=1)]
        harness.ask(2, second, 8)
        harness.work()
        continued = harness.ids(2)
        runner.log.prefills.clear()
        harness.prefill_ahead()
        harness.ask(3, [*second, *continued, 7], 2)
        harness.work(lambda: bool(harness.ids(3)))
        assert sum(runner.log.prefills) < 2 * CHUNK + 8, "a long one does serve a long one"
    assert continued == fresh(runner, second, 8)


def test_an_empty_prefix_cache_finds_nothing(runner: LoggedRunner) -> None:
    """Nothing to find, to drop or to prefill."""
    prefixes = PrefixCache(runner.config)
    assert prefixes.find([1, 2, 3], 10, long_rope=False) is None
    assert not prefixes.drop_oldest()
    assert not prefixes.prefill_chunk()


class FakeConnection:
    """The arena's end: asks once, is silent, and notes how long the worker would have waited."""

    def __init__(self, harness: Harness, ids: list[int], turns: int) -> None:
        self.waits: list[tuple[float | None, int]] = []
        self._desk = harness
        self._command: Submit | None = Submit(
            1, TokenRequest(tuple(ids), 20, 0.0, 1.0, 1, frozenset(NEVER))
        )
        self._turns = turns

    def poll(self, timeout: float | None) -> bool:
        if self._command is not None:
            return True
        self.waits.append((timeout, len(self._desk.runner.log.prefills)))
        if len(self.waits) == self._turns:
            raise EOFError
        return False

    def recv(self) -> Submit:
        command, self._command = self._command, None
        assert command is not None
        return command


def test_prefixes_are_prefilled_after_a_pause(
    runner: LoggedRunner,
) -> None:
    """The worker waits for a question first, prefills cached answers then, and sleeps at last."""
    with Harness(runner) as harness:
        connection: Any = FakeConnection(harness, words(19), 40)
        with pytest.raises(EOFError):
            serve(connection, harness.scheduler)
        assert harness.ended() == [1]
        pauses = [index for index, (timeout, _) in enumerate(connection.waits) if timeout == IDLE_S]
        assert len(pauses) == 1, "it waits once, after the answer"
        before = connection.waits[pauses[0]][1]
        assert harness.runner.log.prefills[before:] == [CHUNK, CHUNK], (
            "what it wrote is prefilled after the pause"
        )
        assert connection.waits[-1][0] is not None, "then it waits until a prefix expires"
        assert (connection.waits[-1][0] or 0) > IDLE_S
