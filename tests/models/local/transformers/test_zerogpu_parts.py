"""The parts of the ZeroGPU engine that need no other process."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import FinishReason
from arena.errors.models import EngineCrashed, ModelError, OutOfMemory, Overloaded, QuotaSpent
from arena.errors.reasons import ErrorReason
from arena.models.local.engine import TokenRequest, Tokens
from arena.models.local.transformers.zerogpu import (
    LONGEST_S,
    SHORTEST_S,
    GpuFailure,
    GpuOutput,
    _Call,
    _Mailbox,
    gpu_seconds,
    typed,
)


def asking(prompt: int, new: int) -> TokenRequest:
    return TokenRequest([1] * prompt, new, 0.0, 1.0, 1, frozenset())


@given(prompt=st.integers(1, 100_000), new=st.integers(1, 20_000), more=st.integers(0, 5_000))
def test_gpu_time_grows_with_the_request_within_its_bounds(
    prompt: int, new: int, more: int
) -> None:
    """Seconds are whole, and never fewer for a longer request."""
    seconds = gpu_seconds(asking(prompt, new))
    assert isinstance(seconds, int)
    assert SHORTEST_S <= seconds <= LONGEST_S
    assert gpu_seconds(asking(prompt, new + more)) >= seconds
    assert gpu_seconds(asking(prompt + more, new)) >= seconds


def test_gpu_time_of_usual_requests() -> None:
    """An unregistered visitor's two minutes are enough for several answers."""
    assert gpu_seconds(asking(1, 1)) == SHORTEST_S
    assert 30 <= gpu_seconds(asking(200, 1024)) <= 40
    assert gpu_seconds(asking(200, 4096)) == LONGEST_S


class Raised(Exception):
    """In form like Gradio's error."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(message)
        self.title, self.message = title, message


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (Raised("ZeroGPU quota exceeded", "You have exceeded your free ZeroGPU quota (60s "
                "requested vs. 3s left). Try again in 1 day, 2:03:04. "),
         QuotaSpent, "1 day, 2:03:04"),
        (Raised("ZeroGPU quota exceeded", "You have exceeded your ZeroGPU runs limit. "),
         QuotaSpent, "later"),
        (Raised("ZeroGPU quota exceeded", "Space app has reached its GPU limit. Try re-running"),
         QuotaSpent, "Sign in"),
        (Raised("ZeroGPU quota exceeded", "No GPU was available after 60s. Try re-running"),
         Overloaded, "minute"),
        (Raised("ZeroGPU queue timeout", "No GPU was available after 60s Retry later"),
         Overloaded, "minute"),
        (Raised("ZeroGPU client error", "No GPU was available"), Overloaded, "minute"),
        (Raised("ZeroGPU illegal duration", "The requested GPU duration (120s) is larger than"),
         QuotaSpent, "maximum of tokens"),
        (Raised("ZeroGPU pending credits exceeded", "You have too many ZeroGPU credits"),
         QuotaSpent, "other answers"),
        (Raised("ZeroGPU client error", "Expired ZeroGPU proxy token"), QuotaSpent, "Reload"),
        (Raised("ZeroGPU worker error", "OutOfMemoryError"), OutOfMemory, "shorter"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), OutOfMemory, "shorter"),
        (Raised("ZeroGPU worker error", "GPU task aborted"), EngineCrashed, "again"),
        (Raised("ZeroGPU worker error", "RuntimeError"), EngineCrashed, "again"),
        (RuntimeError("ZeroGPU API /schedule error: 500"), EngineCrashed, "again"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_remedy(error: Exception, kind: type[ModelError], remedy: str) -> None:
    """Quota, no free GPU, memory and crash are told apart."""
    found = typed(error)
    assert type(found) is kind
    assert remedy in found.remedy_text
    assert found.sentence
    assert str(error)[:20] in found.detail


@given(
    st.sampled_from([
        OutOfMemory("cuda", need=ErrorReason.MORE, free="1.0 GiB", remedy=ErrorReason.DO_SHORTER),
        EngineCrashed("ValueError: x"),
    ])
)  # fmt: skip
def test_errors_cross_between_processes_whole(error: ModelError) -> None:
    """A pickled failure is the same error on the other side."""
    sent = pickle.loads(pickle.dumps(GpuFailure.of(error)))  # noqa: S301 - our own
    found = sent.error()
    assert (type(found), found.detail) == (type(error), error.detail)
    assert (found.sentence, found.remedy_text) == (error.sentence, error.remedy_text)


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=6), st.booleans())
def test_tokens_before_an_error_are_not_lost(parts: list[list[int]], fails: bool) -> None:  # noqa: FBT001
    """They come first, and the error after them."""
    box = _Mailbox()
    for ids in parts:
        box.push(Tokens(ids))
    box.push(EngineCrashed("x") if fails else Tokens([7], FinishReason.STOP))
    got: list[int] = []
    piece: GpuOutput = box.take(0.0)
    while isinstance(piece, Tokens) and piece.finish is None:
        got += piece.ids
        piece = box.take(0.0)
    if isinstance(piece, Tokens):
        got += piece.ids
    assert isinstance(piece, GpuFailure) == fails
    assert got == [i for ids in parts for i in ids] + ([] if fails else [7])
    assert box.take(0.0) == Tokens([])


class Steps:
    """A generator of two steps that waits inside the first one, and the threads that use it."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.closed_by: list[str] = []
        self.ends = 0
        self.call = _Call(self._run(), self._ended)

    def _run(self) -> Generator[GpuOutput, None, None]:
        try:
            self.inside.set()
            assert self.go_on.wait(20)
            yield Tokens([1])
            yield Tokens([2])
        finally:
            self.closed_by.append(threading.current_thread().name)

    def _ended(self) -> None:
        self.ends += 1


def test_the_thread_inside_a_step_closes_it() -> None:
    """Exactly one thread closes the generator, and its slot is freed once."""
    steps = Steps()
    inside = threading.Thread(target=steps.call.advance, name="inside")
    inside.start()
    assert steps.inside.wait(20)
    steps.call.close(0.0)
    assert steps.ends == 0, "a step is under way"
    steps.go_on.set()
    inside.join(20)
    steps.call.close(0.0)
    assert steps.call.advance() is None
    assert (steps.closed_by, steps.ends) == (["inside"], 1)


def test_a_call_that_ends_or_fails_frees_its_slot_once() -> None:
    """Whether it is closed after that or not."""
    steps = Steps()
    steps.go_on.set()
    assert [steps.call.advance() for _ in range(3)] == [Tokens([1]), Tokens([2]), None]
    steps.call.close(1.0)
    assert steps.ends == 1

    def failing() -> Generator[GpuOutput, None, None]:
        raise RuntimeError
        yield

    ends: list[int] = []
    call = _Call(failing(), lambda: ends.append(1))
    with pytest.raises(RuntimeError):
        call.advance()
    call.close(1.0)
    assert ends == [1]


def test_a_call_never_begun_is_closed_too() -> None:
    """A reader that leaves before the first step frees the slot."""
    steps = Steps()
    steps.call.close(1.0)
    assert steps.call.advance() is None
    assert (steps.closed_by, steps.ends) == ([], 1)
    assert not steps.inside.is_set()
