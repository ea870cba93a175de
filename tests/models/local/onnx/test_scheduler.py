"""Who is served when in the ONNX worker, and what is kept; the real runtimes, in this process."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.domain import FinishReason
from arena.models.local.engine import TokenRequest
from arena.models.local.onnx.protocol import Forget, Piece, WorkerFailure, Write
from arena.models.local.onnx.sequence import PrefixCache
from arena.models.local.onnx.worker import REST_S, serve
from tests.models.local.onnx.desk import CHUNK, NEVER, Desk, Noted, fresh, same, watched, words
from tests.models.local.tiny_phi import LONG, SHORT


@pytest.fixture(params=["rows", "generators"])
def runtime(request: pytest.FixtureRequest) -> Noted:
    found: Noted = request.getfixturevalue(f"noted_{request.param}")
    return found


def test_the_next_turn_continues_the_kept_text_and_says_the_same(runtime: Noted) -> None:
    """A conversation that is read from its beginning at each turn gets slower and slower."""
    first = words(19)
    with Desk(runtime) as desk:
        desk.ask(1, first, 20, temperature=1.0)
        desk.work()
        desk.settle()
        second = [*first, *desk.ids(1), *words(5, seed=1)]
        runtime.notes.reads.clear()
        desk.ask(2, second, 6, temperature=1.0)
        desk.work(lambda: bool(desk.ids(2)))
        whole = len(first) + 20 - (len(first) + 20) % CHUNK
        assert sum(runtime.notes.reads) == len(second) - whole
        desk.work()
        continued = desk.ids(2)
    assert continued == fresh(runtime, second, 6, temperature=1.0)


def test_before_an_answer_is_read_anew_its_prompt_alone_is_continued(
    runtime: Noted,
) -> None:
    """What an answer leaves in the cache token by token differs in its last bits."""
    first = words(19)
    with Desk(runtime) as desk:
        desk.ask(1, first, 20)
        desk.work()
        second = [*first, *desk.ids(1), *words(5, seed=1)]
        runtime.notes.reads.clear()
        desk.ask(2, second, 1)
        desk.work()
        assert sum(runtime.notes.reads) == len(second) - 2 * CHUNK


def test_the_same_question_again_is_read_from_its_last_piece(runtime: Noted) -> None:
    """A retry finds its whole prompt kept, and still needs the scores of its last token."""
    ids = words(2 * CHUNK)
    with Desk(runtime) as desk:
        desk.ask(1, ids)
        desk.work()
        runtime.notes.reads.clear()
        desk.ask(2, ids)
        desk.work()
        assert runtime.notes.reads[0] == CHUNK
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
    runtime: Noted,
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
        with watched() as continued:
            desk.ask(2, second, 3, temperature=1.0)
            desk.work()
    with watched() as anew:
        fresh(runtime, second, 3, temperature=1.0)
    assert len(anew[1]) == 3
    assert same(continued[1], anew[1])


def test_everyone_who_writes_gets_a_token_between_two_pieces_of_a_prompt(
    runtime: Noted,
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


def test_two_newcomers_are_read_in_the_same_round(runtime: Noted) -> None:
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
    runtime: Noted,
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


def test_answers_wait_until_the_cache_can_hold_them_to_their_end(runtime: Noted) -> None:
    """Memory that runs out in the middle of an answer ends the worker, and everybody's answers."""
    with Desk(runtime, cache_tokens=100, keep=0) as desk:
        desk.ask(1, words(30, seed=1), 30)
        desk.ask(2, words(30, seed=2), 20)
        desk.ask(3, words(4, seed=3), 2)
        desk.rounds.step()
        assert [a.number for a in desk.rounds._running] == [1], "the oldest first, whatever fits"
        desk.work()
        assert [len(desk.ids(n)) for n in (1, 2, 3)] == [30, 20, 2]


def test_who_is_alone_is_served_whatever_the_books_say(runtime: Noted) -> None:
    """An answer that waits for room which nobody holds would wait for ever."""
    with Desk(runtime, cache_tokens=20) as desk:
        desk.ask(1, words(30), 20)
        desk.work()
        assert len(desk.ids(1)) == 20


def test_only_so_many_are_written_at_once(runtime: Noted) -> None:
    """With too many at once all of them crawl."""
    with Desk(runtime, running=2) as desk:
        for number in range(5):
            desk.ask(number, words(4, seed=number), 3)
        desk.rounds.step()
        assert len(desk.rounds._running) == 2
        desk.work()
        assert all(desk.ended(number) for number in range(5))


def test_kept_texts_are_few_and_make_room(runtime: Noted) -> None:
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


def test_kept_texts_are_dropped_after_a_while(runtime: Noted) -> None:
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


def test_a_text_without_room_for_the_next_turn_is_not_continued(runtime: Noted) -> None:
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


def test_who_leaves_makes_room_whether_waiting_or_served(runtime: Noted) -> None:
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


def test_a_hundred_who_leave_hold_nothing_but_what_the_shelf_may(runtime: Noted) -> None:
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
        assert len(runtime.notes.alive) <= runtime.plan.keep


def test_memory_that_runs_out_fails_that_answer_alone_and_by_its_name(
    runtime: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One text too many for the memory must not end everybody's answers."""
    with Desk(runtime) as desk:
        desk.ask(1, words(4), 10)
        desk.work(lambda: bool(desk.ids(1)))

        def full(*_: object, **__: object) -> None:
            raise MemoryError("std::bad_alloc")

        monkeypatch.setattr(runtime, "text", full)
        desk.ask(2, words(40), 10)
        desk.work()
        (failed,) = [r for r in desk.said if isinstance(r, WorkerFailure)]
        assert (failed.number, failed.out_of_memory) == (2, True)
        assert len(desk.ids(1)) == 10
        assert not desk.rounds.busy


def test_a_request_that_fails_takes_no_other_with_it(runtime: Noted) -> None:
    """One bad request must not end everybody's answers."""
    with Desk(runtime, context=4 * LONG) as desk:
        desk.ask(1, words(4), 10)
        desk.ask(2, words(LONG + 5), 10)  # the runtime itself refuses it
        desk.work()
        (failed,) = [r for r in desk.said if isinstance(r, WorkerFailure)]
        assert failed.number == 2
        assert not failed.out_of_memory
        assert len(desk.ids(1)) == 10


def test_a_stop_token_ends_an_answer_and_is_the_last_of_it(runtime: Noted) -> None:
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


def test_a_kept_short_text_does_not_serve_a_long_one(runtime: Noted) -> None:
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
        runtime.notes.reads.clear()
        desk.settle()
        desk.ask(3, [*second, *continued, 7], 2)
        desk.work(lambda: bool(desk.ids(3)))
        assert sum(runtime.notes.reads) < 2 * CHUNK + 8, "a long one does serve a long one"
    assert continued == fresh(runtime, second, 8)


def test_an_empty_shelf_finds_nothing(runtime: Noted) -> None:
    """The first visitor of the day."""
    shelf = PrefixCache(runtime.plan)
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
        self.waits.append((timeout, len(self._desk.runtime.notes.reads)))
        if len(self.waits) == self._turns:
            raise EOFError
        return False

    def recv(self) -> Write:
        command, self._command = self._command, None
        assert command is not None
        return command


def test_the_next_question_does_not_wait_for_what_is_read_in_advance(
    runtime: Noted,
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
        assert desk.runtime.notes.reads[before:] == [CHUNK, CHUNK], (
            "what it wrote is read after the rest"
        )
        assert line.waits[-1][0] is not None, "then it waits until a kept text grows old"
        assert (line.waits[-1][0] or 0) > REST_S
