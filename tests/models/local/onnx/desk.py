"""A desk before the ONNX worker's rounds, in this process, with the real runtimes.

They note what they are called for.
"""

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
from arena.models.local.onnx import worker as onnx_worker
from arena.models.local.onnx.batch import BatchedRunner, agrees
from arena.models.local.onnx.folder import describe
from arena.models.local.onnx.genai import Generators
from arena.models.local.onnx.protocol import Piece, Plan, WorkerFailure, WorkerMessage, Write
from arena.models.local.onnx.sequence import TokenSequence
from arena.models.local.onnx.worker import Scheduler
from tests.models.local.tiny_phi import LONG, SHORT

CHUNK = 8
NEVER = frozenset({10**6})


def plan_of(folder: Path) -> Plan:
    return Plan(
        folder=str(folder), threads=1, cache_tokens=4096, running=8, chunk=CHUNK,
        context=LONG, short_context=SHORT, graph=describe(folder, "x").graph,
        keep=4, keep_s=1000.0,
    )  # fmt: skip


class Notes:
    """What a runtime was called for.

    Attributes:
        reads: how many tokens each text read at once.
        calls: of the texts that were written on in each call, whether they are long.
        alive: texts that somebody still refers to.
    """

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.calls: list[list[bool]] = []
        self.alive: weakref.WeakSet[TokenSequence] = weakref.WeakSet()


class NotedGenerators(Generators):
    """The real runtime."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, "the test wants it")
        self.notes = Notes()

    def text(self, capacity: int, *, long: bool) -> TokenSequence:
        made = super().text(capacity, long=long)
        self.notes.alive.add(made)
        read = made._read

        def noted(ids: Sequence[int]) -> None:
            self.notes.reads.append(len(ids))
            read(ids)

        made._read = noted  # type: ignore[method-assign]
        return made

    def write(self, texts: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        self.notes.calls.append([text.long for text in texts])
        super().write(texts, tokens)


class NotedRows(BatchedRunner):
    """The real runtime; `moves` counts the texts that were copied to another row."""

    def __init__(self, plan: Plan) -> None:
        self.notes = Notes()
        self.moves = 0
        super().__init__(plan)
        move = self._cache._move

        def counted(text: Any, row: int) -> None:
            self.moves += 1
            move(text, row)

        self._cache._move = counted  # type: ignore[method-assign]
        assert agrees(self), "in f32, too, on any processor that was tried"

    def text(self, capacity: int, *, long: bool) -> TokenSequence:
        made = super().text(capacity, long=long)
        self.notes.alive.add(made)
        return made

    def run(self, texts: Any, ids: Sequence[Sequence[int]]) -> None:
        self.notes.reads += [len(ids[0])] * len(texts)
        super().run(texts, ids)

    def write(self, texts: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        self.notes.calls.append([text.long for text in texts])
        super().write(texts, tokens)


Noted = NotedGenerators | NotedRows


class Desk:
    """Rounds with what they say; other bounds may be set than the runtime's."""

    def __init__(self, runtime: Noted, **bounds: Any) -> None:
        self.runtime = runtime
        self.said: list[WorkerMessage] = []
        runtime.notes.reads.clear()
        runtime.notes.calls.clear()
        self._plan = runtime.plan
        runtime.plan = replace(runtime.plan, **bounds)
        self.rounds = Scheduler(runtime, self.said.append)

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
            r.number == number and (isinstance(r, WorkerFailure) or r.tokens.finish is not None)
            for r in self.said
            if isinstance(r, Piece | WorkerFailure)
        )


def words(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(5, 460, size=count)]


def fresh(runtime: Noted, ids: list[int], count: int = 4, **values: Any) -> list[int]:
    with Desk(runtime, keep=0) as desk:
        desk.ask(1, ids, count, **values)
        desk.work()
        return desk.ids(1)


@contextmanager
def watched() -> Iterator[dict[int, list[Any]]]:
    """All scores that tokens are drawn from, by the request's seed."""
    found: dict[int, list[Any]] = {}
    draw = onnx_worker.draw

    def noting(scores: Any, *, seed: int, **values: Any) -> int:
        found.setdefault(seed, []).append(scores.copy())
        return draw(scores, seed=seed, **values)

    with mock.patch.object(onnx_worker, "draw", noting):
        yield found


def same(one: list[Any], other: list[Any]) -> bool:
    """To the last bit."""
    return len(one) == len(other) and all(map(np.array_equal, one, other))
