"""The ONNX worker's scheduler in this process, over the real runners, whose calls are logged."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from unittest import mock

import numpy as np

from arena.models.local.engine import TokenRequest
from arena.models.local.onnx import scheduler as onnx_scheduler
from arena.models.local.onnx.batch import BatchedRunner, BatchedSequence, batch_invariant
from arena.models.local.onnx.folder import describe
from arena.models.local.onnx.genai import GenaiRunner, GeneratorSequence
from arena.models.local.onnx.protocol import (
    NewTokens,
    Submit,
    WorkerConfig,
    WorkerFailure,
    WorkerMessage,
)
from arena.models.local.onnx.scheduler import Scheduler
from arena.models.local.onnx.sequence import TokenSequence
from tests.models.local.tiny_phi import LONG, SHORT

CHUNK = 8
NEVER = frozenset({10**6})


def config_of(folder: Path) -> WorkerConfig:
    return WorkerConfig(
        folder=str(folder), threads=1, cache_tokens=4096, max_running=8, chunk=CHUNK,
        context=LONG, short_context=SHORT, graph=describe(folder, "x").graph,
        max_prefixes=4, prefix_ttl_s=1000.0,
    )  # fmt: skip


class CallLog:
    """What a runner was called for.

    Attributes:
        prefills: how many tokens each call computed of a sequence.
        batches: of the sequences of each decode step, whether they are `long_rope`.
        alive: sequences that are still referred to.
    """

    def __init__(self) -> None:
        self.prefills: list[int] = []
        self.batches: list[list[bool]] = []
        self.alive: weakref.WeakSet[TokenSequence] = weakref.WeakSet()


class LoggedGenai(GenaiRunner):
    """The real runner."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config, "the test wants it")
        self.log = CallLog()

    def new_sequence(self, capacity: int, *, long_rope: bool) -> TokenSequence:
        log = self.log

        class Logged(GeneratorSequence):
            def prefill(self, ids: Sequence[int]) -> None:
                log.prefills.append(len(ids))
                super().prefill(ids)

        made = Logged(self, capacity, long_rope=long_rope)
        log.alive.add(made)
        return made

    def decode_step(self, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        self.log.batches.append([sequence.long_rope for sequence in sequences])
        super().decode_step(sequences, tokens)


class LoggedBatched(BatchedRunner):
    """The real runner; `moves` counts the sequences that were copied to another row."""

    def __init__(self, config: WorkerConfig) -> None:
        self.log = CallLog()
        self.moves = 0
        super().__init__(config)
        move = self.cache.move

        def counted(sequence: Any, row: int) -> None:
            self.moves += 1
            move(sequence, row)

        self.cache.move = counted  # type: ignore[method-assign]
        assert batch_invariant(self), "in f32, too, on any processor that was tried"

    def new_sequence(self, capacity: int, *, long_rope: bool) -> TokenSequence:
        made = super().new_sequence(capacity, long_rope=long_rope)
        self.log.alive.add(made)
        return made

    def run(self, sequences: Sequence[BatchedSequence], ids: Sequence[Sequence[int]]) -> None:
        self.log.prefills += [len(ids[0])] * len(sequences)
        super().run(sequences, ids)

    def decode_step(self, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        self.log.batches.append([sequence.long_rope for sequence in sequences])
        super().decode_step(sequences, tokens)


LoggedRunner = LoggedGenai | LoggedBatched


class Harness:
    """A scheduler and what it sends; limits other than the runner's own may be set."""

    def __init__(self, runner: LoggedRunner, **limits: Any) -> None:
        self.runner = runner
        self.sent: list[WorkerMessage] = []
        runner.log.prefills.clear()
        runner.log.batches.clear()
        self._config = runner.config
        runner.config = replace(runner.config, **limits)
        self.scheduler = Scheduler(runner, self.sent.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.config = self._config

    def ask(self, number: int, ids: list[int], count: int = 4, **values: Any) -> None:
        given = {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop_ids": NEVER, **values}
        self.scheduler.add(Submit(number, TokenRequest(tuple(ids), count, **given)))

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(5000):
            if until() or not self.scheduler.busy:
                return
            self.scheduler.step()
        raise AssertionError("no end")

    def prefill_ahead(self) -> None:
        while self.scheduler.prefix_cache.prefill_chunk():
            pass

    def running(self) -> list[int]:
        return [scheduled.number for scheduled in self.scheduler.running]

    def ids(self, number: int) -> list[int]:
        sent = [m for m in self.sent if isinstance(m, NewTokens) and m.number == number]
        return [i for message in sent for i in message.tokens.ids]

    def ended(self) -> list[int]:
        """Numbers of the answers that came to their end, in this order."""
        return [m.number for m in self.sent if isinstance(m, NewTokens) and m.tokens.finish]

    def failed(self) -> list[WorkerFailure]:
        return [m for m in self.sent if isinstance(m, WorkerFailure)]


def words(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(5, 460, size=count)]


def fresh(runner: LoggedRunner, ids: list[int], count: int = 4, **values: Any) -> list[int]:
    """The answer without a prefix cache."""
    with Harness(runner, max_prefixes=0) as harness:
        harness.ask(1, ids, count, **values)
        harness.work()
        return harness.ids(1)


@contextmanager
def watched() -> Iterator[dict[int, list[Any]]]:
    """All logits that tokens are drawn from, by the request's seed."""
    found: dict[int, list[Any]] = {}
    draw = onnx_scheduler.draw

    def noting(logits: Any, *, seed: int, **values: Any) -> int:
        found.setdefault(seed, []).append(logits.copy())
        return draw(logits, seed=seed, **values)

    with mock.patch.object(onnx_scheduler, "draw", noting):
        yield found


def same(one: list[Any], other: list[Any]) -> bool:
    """To the last bit."""
    return len(one) == len(other) and all(map(np.array_equal, one, other))
