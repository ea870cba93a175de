"""What the owner asks of one local model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arena.models.local.download import Fetched, ProgressCallback

Fetch = Callable[[ProgressCallback], Fetched]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model, and what its owner set.

    Attributes:
        source: a Hub id, a folder, or a .gguf file.
        revision: branch, tag or commit of a Hub repository.
        label: name for people.
        engine: `auto`, `transformers`, `onnx` or `zerogpu`.
        device: `auto`, `cuda` or `cpu`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        max_cache_gib: upper limit of the cache.
        batching: False writes one answer at a time.
        fetch: gets the files of transformers' form in place of the Hub.
        build_onnx: makes the form that ONNX Runtime GenAI runs, where the model has none.
    """

    source: str
    revision: str
    label: str
    engine: str
    device: str
    dtype: str
    max_cache_gib: float | None = None
    batching: bool = True
    fetch: Fetch | None = None
    build_onnx: Fetch | None = None
