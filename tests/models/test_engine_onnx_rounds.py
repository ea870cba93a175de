"""Who is served when in the ONNX worker, and what is kept; the real runtime, in this process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.domain import FinishReason
from arena.models.engines.base import TokenRequest
from arena.models.engines.onnx_protocol import Failure, Forget, Piece, Plan, Report, Write
from arena.models.engines.onnx_sequence import Runtime, Shelf
from arena.models.engines.onnx_worker import REST_S, Rounds, serve
from tests.models.tiny_phi import LONG, SHORT

CHUNK = 8
NEVER = frozenset({10**6})


class Noted:
    """A real generator; notes what it reads and what scores it gives."""

    def __init__(self, generator: Any, reads: list[int], scores: list[Any]) -> None:
        self._generator = generator
        self._reads = reads
        self._scores = scores

    def append_tokens(self, ids: Any) -> None:
        self._reads.append(len(ids))
        self._generator.append_tokens(ids)

    def get_logits(self) -> Any:
        found = self._generator.get_logits()
        self._scores.append(found[0, -1].copy())
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


class NotedRuntime(Runtime):
    """The real runtime; notes how many tokens each call reads, and all scores."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.reads: list[int] = []
        self.scores: list[Any] = []
        self.alive: weakref.WeakSet[Noted] = weakref.WeakSet()

    def generator(self, capacity: int, mask: Any = None) -> Noted:
        made = Noted(super().generator(capacity, mask), self.reads, self.scores)
        self.alive.add(made)
        return made


@pytest.fixture(scope="module")
def runtime(wide_onnx_folder: Path) -> NotedRuntime:
    plan = Plan(
        folder=str(wide_onnx_folder), threads=1, cache_tokens=4096, running=8, chunk=CHUNK,
        context=LONG, short_context=SHORT, mask="attention_mask", present="present.0.key",
        keep=4, keep_s=1000.0,
    )  # fmt: skip
    return NotedRuntime(plan)


class Desk:
    """Rounds with what they say; other bounds may be set than the runtime's."""

    def __init__(self, runtime: NotedRuntime, **bounds: Any) -> None:
        self.runtime = runtime
        self.said: list[Report] = []
        runtime.reads.clear()
        runtime.scores.clear()
        self._plan = runtime.plan
        runtime.plan = replace(runtime.plan, **bounds)
        self.rounds = Rounds(runtime, self.said.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.plan = self._plan

    def ask(self, number: int, ids: list[int], count: int = 4, **values: Any) -> None:
        given = {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop_ids": NEVER, **values}
        self.rounds.add(Write(number, TokenRequest(tuple(ids), count, **given)))

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(5000):
            if until() or not self.rounds.busy:
                return
            self.rounds.step()
        raise AssertionError("no end")

    def settle(self) -> None:
        while self.rounds.shelf.settle():
            pass

    def ids(self, number: int) -> list[int]:
        pieces = [p for p in self.said if isinstance(p, Piece) and p.number == number]
        return [i for piece in pieces for i in piece.tokens.ids]

    def ended(self, number: int) -> bool:
        return any(
            r.number == number and (isinstance(r, Failure) or r.tokens.finish is not None)
            for r in self.said
            if isinstance(r, Piece | Failure)
        )


def words(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(5, 460, size=count)]


def fresh(runtime: NotedRuntime, ids: list[int], count: int = 4, **values: Any) -> list[int]:
    with Desk(runtime, keep=0) as desk:
        desk.ask(1, ids, count, **values)
        desk.work()
        return desk.ids(1)


def test_the_next_turn_continues_the_kept_text_and_says_the_same(runtime: NotedRuntime) -> None:
    """A conversation that is read from its beginning at each turn gets slower and slower."""
    first = words(19)
    with Desk(runtime) as desk:
        desk.ask(1, first, 20, temperature=1.0)
        desk.work()
        desk.settle()
        second = [*first, *desk.ids(1), *words(5, seed=1)]
        runtime.reads.clear()
        desk.ask(2, second, 6, temperature=1.0)
        desk.work(lambda: bool(desk.ids(2)))
        whole = len(first) + 20 - (len(first) + 20) % CHUNK
        assert sum(runtime.reads) == len(second) - whole
        desk.work()
        continued = desk.ids(2)
    assert continued == fresh(runtime, second, 6, temperature=1.0)


def test_before_an_answer_is_read_anew_its_prompt_alone_is_continued(
    runtime: NotedRuntime,
) -> None:
    """What an answer leaves in the cache token by token differs in its last bits."""
    first = words(19)
    with Desk(runtime) as desk:
        desk.ask(1, first, 20)
        desk.work()
        second = [*first, *desk.ids(1), *words(5, seed=1)]
        runtime.reads.clear()
        desk.ask(2, second, 1)
        desk.work()
        assert sum(runtime.reads) == len(second) - 2 * CHUNK


def test_the_same_question_again_is_read_from_its_last_piece(runtime: NotedRuntime) -> None:
    """A retry finds its whole prompt kept, and still needs the scores of its last token."""
    ids = words(2 * CHUNK)
    with Desk(runtime) as desk:
        desk.ask(1, ids)
        desk.work()
        runtime.reads.clear()
        desk.ask(2, ids)
        desk.work()
        assert runtime.reads[0] == CHUNK
        assert desk.ids(2) == desk.ids(1)


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
def test_a_continued_text_has_the_scores_of_a_fresh_one_to_the_last_bit(
    runtime: NotedRuntime,
    *,
    prompt: int,
    answered: int,
    question: int,
    diverge: int | None,
    settled: bool,
) -> None:
    """A draw near a tie would turn on the last bit, and a recorded battle could not be repeated."""
    first = words(prompt)
    with Desk(runtime) as desk:
        desk.ask(1, first, answered)
        desk.work()
        if settled:
            desk.settle()
        second = [*first, *desk.ids(1), *words(question, seed=1)]
        if diverge is not None and diverge < len(second):
            second[diverge] = 5 if second[diverge] != 5 else 6
        runtime.scores.clear()
        desk.ask(2, second, 3, temperature=1.0)
        desk.work()
        continued = list(runtime.scores)
    fresh(runtime, second, 3, temperature=1.0)
    assert len(continued) == len(runtime.scores) == 3
    for one, other in zip(continued, runtime.scores, strict=True):
        assert np.array_equal(one, other)


def test_everyone_who_writes_gets_a_token_between_two_pieces_of_a_prompt(
    runtime: NotedRuntime,
) -> None:
    """A long prompt read at once would stop every other answer for seconds."""
    with Desk(runtime) as desk:
        for number in (1, 2):
            desk.ask(number, words(4, seed=number), 30)
        desk.work(lambda: bool(desk.ids(1)) and bool(desk.ids(2)))
        before = len(desk.ids(1))
        desk.ask(3, words(6 * CHUNK, seed=3), 2)
        desk.work(lambda: bool(desk.ids(3)))
        for number in (1, 2):
            assert len(desk.ids(number)) - before in range(5, 9)


def test_two_newcomers_are_read_in_the_same_round(runtime: NotedRuntime) -> None:
    """One piece a round let the queue of a busy minute grow: each newcomer waited two rounds."""
    with Desk(runtime, keep=0) as desk:
        desk.ask(1, words(4), count=60)
        desk.work(until=lambda: len(desk.ids(1)) == 2)
        for number in (2, 3, 4):
            desk.ask(number, words(CHUNK, seed=number))
        begun: dict[int, int] = {}
        for number in (2, 3, 4):
            desk.work(until=lambda number=number: bool(desk.ids(number)))  # type: ignore[misc]
            begun[number] = len(desk.ids(1))
        assert begun[2] == begun[3] < begun[4]
        desk.work()


def test_a_short_question_overtakes_a_long_prompt_that_is_still_being_read(
    runtime: NotedRuntime,
) -> None:
    """One visitor who pastes a book must not keep everybody waiting; nor wait for ever."""
    with Desk(runtime, keep=0) as desk:
        desk.ask(1, words(24 * CHUNK), 1)
        desk.rounds.step()
        for number in range(2, 6):
            desk.ask(number, words(CHUNK, seed=number), 3)
        desk.work()
        order = [r.number for r in desk.said if isinstance(r, Piece) and r.tokens.finish]
        assert order == [2, 3, 4, 5, 1]
        desk.said.clear()
        desk.ask(10, words(10 * CHUNK), 1)
        for number in range(11, 40):  # never without a shorter one
            desk.ask(number, words(2 * CHUNK, seed=number), 1)
        desk.work()
        order = [r.number for r in desk.said if isinstance(r, Piece) and r.tokens.finish]
        assert order.index(10) < 12


def test_answers_wait_until_the_cache_can_hold_them_to_their_end(runtime: NotedRuntime) -> None:
    """Memory that runs out in the middle of an answer ends the worker, and everybody's answers."""
    with Desk(runtime, cache_tokens=100, keep=0) as desk:
        desk.ask(1, words(30, seed=1), 30)
        desk.ask(2, words(30, seed=2), 20)
        desk.ask(3, words(4, seed=3), 2)
        desk.rounds.step()
        assert [a.number for a in desk.rounds._running] == [1], "the oldest first, whatever fits"
        desk.work()
        assert [len(desk.ids(n)) for n in (1, 2, 3)] == [30, 20, 2]


def test_who_is_alone_is_served_whatever_the_books_say(runtime: NotedRuntime) -> None:
    """An answer that waits for room which nobody holds would wait for ever."""
    with Desk(runtime, cache_tokens=20) as desk:
        desk.ask(1, words(30), 20)
        desk.work()
        assert len(desk.ids(1)) == 20


def test_only_so_many_are_written_at_once(runtime: NotedRuntime) -> None:
    """With too many at once all of them crawl."""
    with Desk(runtime, running=2) as desk:
        for number in range(5):
            desk.ask(number, words(4, seed=number), 3)
        desk.rounds.step()
        assert len(desk.rounds._running) == 2
        desk.work()
        assert all(desk.ended(number) for number in range(5))


def test_kept_texts_are_few_and_make_room(runtime: NotedRuntime) -> None:
    """Kept texts that fill the memory would be worse than none."""
    with Desk(runtime, keep=2, cache_tokens=150) as desk:
        for number in range(4):
            desk.ask(number, words(20, seed=number), 5)
            desk.work()
        assert len(desk.rounds.shelf) == 2
        assert desk.rounds.shelf.tokens <= 150
        desk.ask(9, words(100, seed=9), 40)
        desk.rounds.step()
        assert len(desk.rounds.shelf) == 0
        assert desk.rounds._free >= 0


def test_kept_texts_are_dropped_after_a_while(runtime: NotedRuntime) -> None:
    """A conversation that ended an hour ago must not hold memory."""
    with Desk(runtime, keep_s=-1.0) as desk:
        desk.ask(1, words(20), 5)
        desk.work()
        assert len(desk.rounds.shelf) == 1
        assert desk.rounds.shelf.drop_old() is None
        assert len(desk.rounds.shelf) == 0
    with Desk(runtime, keep_s=50.0) as desk:
        desk.ask(1, words(20), 5)
        desk.work()
        left = desk.rounds.shelf.drop_old()
        assert left is not None
        assert 0 < left <= 50


def test_a_text_without_room_for_the_next_turn_is_not_continued(runtime: NotedRuntime) -> None:
    """A generator's room is fixed: a text that grows beyond it fails in its middle."""
    first = words(20)
    with Desk(runtime, cache_tokens=LONG) as desk:  # too small for room to spare
        desk.ask(1, first, 20)
        desk.work()
        desk.settle()
        second = [*first, *desk.ids(1), *words(4, seed=1)]
        desk.ask(2, second, 20)
        desk.work()
        continued = desk.ids(2)
    assert len(continued) == 20
    assert continued == fresh(runtime, second, 20)


def test_who_leaves_makes_room_whether_waiting_or_served(runtime: NotedRuntime) -> None:
    """Answers that nobody reads would keep the others waiting."""
    with Desk(runtime, running=1) as desk:
        for number in (1, 2, 3):
            desk.ask(number, words(20, seed=number), 30)
        desk.work(lambda: bool(desk.ids(1)))
        desk.rounds.add(Forget(2))
        desk.rounds.add(Forget(1))
        desk.rounds.add(Forget(99))
        desk.work()
        assert not desk.ids(2)
        assert not desk.ended(1)
        assert len(desk.ids(3)) == 30


def test_a_hundred_who_leave_hold_nothing_but_what_the_shelf_may(runtime: NotedRuntime) -> None:
    """A place lost with each of them fills the worker in a day."""
    with Desk(runtime) as desk:
        for number in range(1, 101):
            desk.ask(number, words(5 + number % 30, seed=number), 30)
            for _ in range(number % 4):
                desk.rounds.step()
            if number % 2:
                desk.rounds.add(Forget(number))
            if number % 10 == 0:
                desk.work()
        assert not desk.rounds.busy
        assert len(desk.rounds.shelf) <= runtime.plan.keep
        assert desk.rounds._free == runtime.plan.cache_tokens - desk.rounds.shelf.tokens
        gc.collect()
        assert len(runtime.alive) <= runtime.plan.keep


def test_memory_that_runs_out_fails_that_answer_alone_and_by_its_name(
    runtime: NotedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One text too many for the memory must not end everybody's answers."""
    with Desk(runtime) as desk:
        desk.ask(1, words(4), 10)
        desk.work(lambda: bool(desk.ids(1)))

        def full(*_: object) -> None:
            raise MemoryError("std::bad_alloc")

        monkeypatch.setattr(runtime, "generator", full)
        desk.ask(2, words(40), 10)
        desk.work()
        (failed,) = [r for r in desk.said if isinstance(r, Failure)]
        assert (failed.number, failed.out_of_memory) == (2, True)
        assert len(desk.ids(1)) == 10
        assert not desk.rounds.busy


def test_a_request_that_fails_takes_no_other_with_it(runtime: NotedRuntime) -> None:
    """One bad request must not end everybody's answers."""
    with Desk(runtime, context=4 * LONG) as desk:
        desk.ask(1, words(4), 10)
        desk.ask(2, words(LONG + 5), 10)  # the runtime itself refuses it
        desk.work()
        (failed,) = [r for r in desk.said if isinstance(r, Failure)]
        assert failed.number == 2
        assert not failed.out_of_memory
        assert len(desk.ids(1)) == 10


def test_a_stop_token_ends_an_answer_and_is_the_last_of_it(runtime: NotedRuntime) -> None:
    """A stop token that is missed gives an answer without end."""
    free = fresh(runtime, words(5), 10)
    with Desk(runtime) as desk:
        desk.ask(1, words(5), 10, stop_ids=frozenset({free[4]}))
        desk.work()
        until = free.index(free[4]) + 1
        assert desk.ids(1) == free[:until]
        last = desk.said[-1]
        assert isinstance(last, Piece)
        assert last.tokens.finish is FinishReason.STOP


def test_a_kept_short_text_does_not_serve_a_long_one(runtime: NotedRuntime) -> None:
    """Keys of LongRoPE's short factors under the long ones give other answers, silently."""
    first = words(SHORT - 4)
    with Desk(runtime) as desk:
        desk.ask(1, first, 3)
        desk.work()
        desk.settle()
        second = [*first, *desk.ids(1), *words(20, seed=1)]
        desk.ask(2, second, 8)
        desk.work()
        continued = desk.ids(2)
        runtime.reads.clear()
        desk.settle()
        desk.ask(3, [*second, *continued, 7], 2)
        desk.work(lambda: bool(desk.ids(3)))
        assert sum(runtime.reads) < 2 * CHUNK + 8, "a long one does serve a long one"
    assert continued == fresh(runtime, second, 8)


def test_an_empty_shelf_finds_nothing(runtime: NotedRuntime) -> None:
    """The first visitor of the day."""
    shelf = Shelf(runtime.plan)
    assert shelf.find([1, 2, 3], 10, long=False) is None
    assert not shelf.drop_oldest()
    assert not shelf.settle()


class Line:
    """The arena's end: asks once, is silent, and notes how long the worker would have waited."""

    def __init__(self, desk: Desk, ids: list[int], turns: int) -> None:
        self.waits: list[tuple[float | None, int]] = []
        self._desk = desk
        self._command: Write | None = Write(
            1, TokenRequest(tuple(ids), 20, 0.0, 1.0, 1, frozenset(NEVER))
        )
        self._turns = turns

    def poll(self, timeout: float | None) -> bool:
        if self._command is not None:
            return True
        self.waits.append((timeout, len(self._desk.runtime.reads)))
        if len(self.waits) == self._turns:
            raise EOFError
        return False

    def recv(self) -> Write:
        command, self._command = self._command, None
        assert command is not None
        return command


def test_the_next_question_does_not_wait_for_what_is_read_in_advance(
    runtime: NotedRuntime,
) -> None:
    """A piece takes a tenth of a second, and a question often comes right after an answer."""
    with Desk(runtime) as desk:
        line: Any = Line(desk, words(19), 40)
        with pytest.raises(EOFError):
            serve(line, desk.rounds)
        assert desk.ended(1)
        rests = [index for index, (timeout, _) in enumerate(line.waits) if timeout == REST_S]
        assert len(rests) == 1, "it rests once, after the answer"
        before = line.waits[rests[0]][1]
        assert desk.runtime.reads[before:] == [CHUNK, CHUNK], "what it wrote is read after the rest"
        assert line.waits[-1][0] is not None, "then it waits until a kept text grows old"
        assert (line.waits[-1][0] or 0) > REST_S
