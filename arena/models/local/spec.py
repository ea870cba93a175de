"""The settings of one local model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arena.models.local.download import Fetched, ProgressCallback

Fetch = Callable[[ProgressCallback], Fetched]

ZERO_GPU = "zerogpu"
MAIN = "main"
"""The branch of a Hub repository where no revision is named."""
RESTART_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A local model, and how to run it.

    Attributes:
        slug: stable key; the spec's id is it plus the precision, once that is known.
        label: name for people.
        source: a Hub id, a folder, or a .gguf file.
        revision: branch, tag or commit of a Hub repository.
        engine: `auto`, `transformers`, `onnx`, or `zerogpu`, which `load_now` alone starts.
        device: `auto`, `cuda` or `cpu`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        licence: name of the licence, for people.
        stand_in: whether it only serves where another model could not be had.
        max_cache_gib: upper limit of the KV cache.
        restart_after_s: pause before a dead engine is started again; None leaves that to `start`.
        fetch: gets the files of transformers' form in place of the Hub.
        build_onnx: makes the form that ONNX Runtime GenAI runs, where the model has none.
    """

    slug: str
    label: str
    source: str
    revision: str = MAIN
    engine: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    licence: str = ""
    stand_in: bool = False
    max_cache_gib: float | None = None
    restart_after_s: float | None = RESTART_AFTER_S
    fetch: Fetch | None = None
    build_onnx: Fetch | None = None
