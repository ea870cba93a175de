"""What the arena and its ONNX worker process send each other: these objects, pickled.

The arena sends a `WorkerConfig`, then any number of `Submit` and `Cancel`; closing the connection
ends the worker. The worker answers the config with `RunnerInfo` (or `WorkerFailure`), and each
`Submit` with `NewTokens` up to those that have a finish (or with one `WorkerFailure`).
"""

from __future__ import annotations

from dataclasses import dataclass

from arena.models.local.engine import TokenRequest, Tokens


@dataclass(frozen=True, slots=True)
class Graph:
    """Names of the inputs and outputs in a model's file, and the sizes of its KV cache.

    Attributes:
        file: its name in the folder.
        logits: the output with a score for each token of the vocabulary.
        past, present: inputs and outputs of keys and values, in the same order; keys first.
        kv_heads, head_dim: of one layer's keys for one token.
        in_place: whether a present is its past, extended in the same memory.
    """

    file: str
    input_ids: str
    attention_mask: str
    position_ids: str
    logits: str
    past: tuple[str, ...]
    present: tuple[str, ...]
    kv_heads: int
    head_dim: int
    in_place: bool


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the worker loads, and its limits.

    Attributes:
        folder: a model in the form of ONNX Runtime GenAI.
        threads: that compute one step.
        cache_tokens: tokens that the KV cache may hold, over all sequences.
        max_running: answers that are written at the same time.
        chunk: tokens of a prompt that one call prefills.
        context: most tokens of a sequence.
        short_context: most tokens that LongRoPE's short factors serve; 0 for a model without.
        graph: names in the model's file.
        max_prefixes: sequences that the prefix cache keeps.
        prefix_ttl_s: for how long it keeps each.
    """

    folder: str
    threads: int
    cache_tokens: int
    max_running: int
    chunk: int
    context: int
    short_context: int
    graph: Graph
    max_prefixes: int
    prefix_ttl_s: float

    def needs_long_rope(self, tokens: int) -> bool:
        """Whether a sequence of this length needs LongRoPE's long factors."""
        return bool(self.short_context) and tokens > self.short_context


OUT_OF_MEMORY_STATUS = 12
"""How a worker ends that has no memory left even to say so."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Write this answer."""

    number: int
    request: TokenRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop writing this answer."""

    number: int


@dataclass(frozen=True, slots=True)
class RunnerInfo:
    """What runs the model; as a message it says that the model is loaded and has written something.

    Attributes:
        engine: the library that runs it.
        versions: of the libraries, by name.
        kv_itemsize: bytes of one number in the KV cache.
        max_batch_size: most sequences that one call decodes.
        why_unbatched: why that is one; else empty.
    """

    engine: str
    versions: dict[str, str]
    kv_itemsize: int
    max_batch_size: int
    why_unbatched: str = ""


@dataclass(frozen=True, slots=True)
class NewTokens:
    """New tokens of an answer."""

    number: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Progress:
    """A part of a long prompt is prefilled; says that the worker lives."""


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """An answer failed, or with the number None the worker itself.

    Attributes:
        code: of the `ModelError` that it is.
    """

    number: int | None
    code: str
    detail: str


Command = Submit | Cancel
WorkerMessage = RunnerInfo | NewTokens | Progress | WorkerFailure
