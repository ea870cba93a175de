"""Whether a model runs on ONNX Runtime GenAI here, and what it takes to begin."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arena.errors.models import (
    EngineCrashed,
    ModelError,
    ModelUnavailable,
    OutOfMemory,
    UnsupportedModel,
)
from arena.errors.reasons import ErrorReason
from arena.models.local.build_cache import package_missing
from arena.models.local.device import choose_device, leave_a_core_free
from arena.models.local.download import Fetched, fetch, in_cache
from arena.models.local.engine import CrashHandler, LoadedEngine
from arena.models.local.onnx.build import INSTALL
from arena.models.local.onnx.folder import GENAI, GenAiModel, describe, find_model
from arena.models.local.spec import MAIN, Fetch, ModelConfig

AUTO, ONNX = "auto", "onnx"
BUILDS: Mapping[str, str] = {
    "microsoft/Phi-4-mini-instruct": "microsoft/Phi-4-mini-instruct-onnx",
}
"""The vendors' own 4-bit builds of models that are named by their dense form."""
PACKAGES = {"onnxruntime-genai": "onnxruntime_genai", "onnx": "onnx"}
"""What this engine needs: names of packages, and of the modules in them."""


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """The ONNX form of a model, and how to get it.

    Attributes:
        source: its Hub id, folder or file.
        fetch: gets the files.
    """

    source: str
    fetch: Fetch


def missing_package() -> str | None:
    """The first package that is not installed of those that this engine needs, else None.

    The runtime is looked for and not imported: it runs in a process of its own.
    """
    names = (name for name in PACKAGES if importlib.util.find_spec(PACKAGES[name]) is None)
    return next(names, None)


def choose(config: ModelConfig) -> OnnxSource | None:
    """The ONNX form, if the model is to run in it; None leaves it to another engine.

    Left to itself the arena takes it where there is no GPU, the runtime is installed, and the
    owner asked for no number format that this form has not.

    Raises:
        ModelUnavailable: it was asked for, and the runtime is not installed.
        UnsupportedModel: it was asked for, and there is no such form.
    """
    if config.engine == ONNX:
        if missing := missing_package():
            raise package_missing(config.label, missing, INSTALL)
        found = _source_of(config)
        if found is None:
            raise UnsupportedModel(source=config.source, why=ErrorReason.NO_ONNX)
        return found
    if config.engine != AUTO or missing_package() or config.device not in ("auto", "cpu"):
        return None
    found = _source_of(config)
    # Last, since it takes seconds to ask.
    if found is None or (config.device == "auto" and _has_gpu()):
        return None
    return found


def _has_gpu() -> bool:
    leave_a_core_free()  # before torch is imported, should it serve after all
    return choose_device() == "cuda"


def _source_of(config: ModelConfig) -> OnnxSource | None:
    source = config.source
    if config.build_onnx is not None:
        return OnnxSource(source, config.build_onnx)
    path = Path(source).expanduser()
    if path.is_dir():
        found = find_model(path)
        return None if found is None else OnnxSource(source, lambda _: Fetched(found))
    if path.exists() or path.suffix == ".gguf" or source.startswith((".", "/", "~")):
        return None
    if config.engine != ONNX and config.dtype != "auto":
        return None
    return _on_hub(config)


def _on_hub(config: ModelConfig) -> OnnxSource | None:
    source, revision, label = config.source, config.revision, config.label
    forced = config.engine == ONNX
    build = BUILDS.get(source)
    if build is None and not forced and "onnx" not in source.lower():
        return None
    if build is not None and not forced:
        # A commit of the dense form says nothing about the other; and eight gigabytes that are
        # here already start sooner than four that are not.
        if revision != MAIN:
            return None
        if in_cache(source, revision, label) and not in_cache(build, revision, label, GENAI):
            return None
    origin = build or source
    return OnnxSource(origin, lambda report: fetch(origin, revision, label, report, GENAI))


def may_fall_back(config: ModelConfig, error: ModelError, *, fetched: bool) -> bool:
    """Whether another engine may serve after this error.

    Not where it was asked for; nor where memory is short, since the others need more; nor where
    the files could not be had, since the others' are not to be had either.
    """
    if config.engine == ONNX or isinstance(error, OutOfMemory):
        return False
    return fetched or config.build_onnx is not None or isinstance(error, UnsupportedModel)


def load(
    chosen: OnnxSource, files: Fetched, config: ModelConfig, on_crash: CrashHandler
) -> LoadedEngine:
    """Load it; blocks for seconds to minutes. The engine runs when this returns.

    Raises:
        UnsupportedModel: this kind cannot be run.
        OutOfMemory: it does not fit.
        ModelUnavailable: its files are broken, or the runtime does not work here.
    """
    from arena.models.local.onnx.engine import OnnxEngine

    model = describe(files.path, chosen.source)
    tokenizer, stop_ids = _tokenizer(model, config.label)
    engine = OnnxEngine(model, max_cache_gib=config.max_cache_gib, on_crash=on_crash)
    try:
        engine.start()
    except EngineCrashed as error:
        raise _broken(config.label, error.detail) from error
    return LoadedEngine(
        engine=engine,
        tokenizer=tokenizer,
        precision=model.precision,
        context=model.shape.context,
        stop_ids=model.stop_ids or stop_ids,
        source=chosen.source,
        revision=files.revision,
        facts=_facts(model),
    )


def _tokenizer(model: GenAiModel, label: str) -> tuple[object, frozenset[int]]:
    """The tokenizer, and the token with which it ends a text."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(model.folder), trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise _broken(label, f"tokenizer: {type(error).__name__}: {error}") from error
    end = tokenizer.eos_token_id
    return tokenizer, frozenset() if end is None else frozenset({int(end)})


def _broken(label: str, detail: str) -> ModelUnavailable:
    return ModelUnavailable(detail, label=label, why=ErrorReason.LOAD_FAILED)


def _facts(model: GenAiModel) -> dict[str, str]:
    """What the Models tab and the record want to know, of what does not change."""
    import transformers

    shape = model.shape
    found = {
        "device": "cpu",
        "precision": model.precision,
        "architecture": model.kind,
        **shape.facts(),
        "transformers": transformers.__version__,
    }
    if model.has_longrope:
        found["original_context"] = str(shape.short_context)
    return found
