"""What the arena and its ONNX worker process say to each other: these objects, pickled.

The arena sends a `Plan`, then any number of `Write` and `Forget`; closing the connection ends the
worker. The worker answers the plan with `WorkerReady` (or `WorkerFailure`), and each `Write` with
pieces up to the one that has a finish (or with one `WorkerFailure`).
"""

from __future__ import annotations

from dataclasses import dataclass

from arena.models.local.engine import TokenRequest, Tokens


@dataclass(frozen=True, slots=True)
class Graph:
    """What a model's file calls its inputs and outputs, and the sizes of its cache.

    Attributes:
        file: its name in the folder.
        ids, mask, position: inputs: tokens, which of them count, and their places.
        logits: the output with a score for each token of the vocabulary.
        past, present: inputs and outputs of keys and of values, in the same order; keys first.
        kv_heads, head_dim: of one layer's keys for one token.
        shared: whether a present is its past, written on in place.
    """

    file: str
    ids: str
    mask: str
    position: str
    logits: str
    past: tuple[str, ...]
    present: tuple[str, ...]
    kv_heads: int
    head_dim: int
    shared: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What the worker shall load, and its bounds.

    Attributes:
        folder: a model in the form of ONNX Runtime GenAI.
        threads: that compute one step.
        cache_tokens: keys and values for so many tokens may be held, over all texts.
        running: answers that are written at the same time.
        chunk: a prompt is read in pieces of this many tokens.
        context: longest text of the model.
        short_context: longest text that LongRoPE's short factors serve; 0 for a model without.
        graph: names in the model's file.
        keep: texts that are kept for a continuation after their answer has ended.
        keep_s: for how long.
    """

    folder: str
    threads: int
    cache_tokens: int
    running: int
    chunk: int
    context: int
    short_context: int
    graph: Graph
    keep: int
    keep_s: float


@dataclass(frozen=True, slots=True)
class Write:
    """Write this answer."""

    number: int
    request: TokenRequest


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody reads this answer any more."""

    number: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The model is loaded and has written something.

    Attributes:
        engine: what the worker runs it with.
        versions: of the libraries, by name.
        kv_itemsize: bytes of one number in the cache.
        together: most answers that are written on in one call.
        why_alone: why that is one; else empty.
    """

    engine: str
    versions: dict[str, str]
    kv_itemsize: int
    together: int
    why_alone: str


@dataclass(frozen=True, slots=True)
class Piece:
    """New tokens of an answer."""

    number: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """An answer, or with the number None the worker itself, came to nothing."""

    number: int | None
    out_of_memory: bool
    detail: str


Command = Write | Forget
WorkerMessage = WorkerReady | Piece | WorkerFailure
