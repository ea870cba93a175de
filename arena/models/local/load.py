"""Brings a local model's weights up on the engine that suits this machine."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from arena.errors.models import ModelError
from arena.models.local.device import leave_a_core_free
from arena.models.local.download import ProgressCallback, fetch, whereabouts
from arena.models.local.engine import CrashHandler, LoadedEngine, TokenEngine
from arena.models.local.spec import ZERO_GPU, ModelConfig

if TYPE_CHECKING:
    from arena.models.local.transformers.weights import LoadedWeights

log = logging.getLogger(__name__)


def load(config: ModelConfig, report: ProgressCallback, on_crash: CrashHandler) -> LoadedEngine:
    """Get the files and load them; blocks for seconds to minutes.

    Args:
        config: the model.
        report: hears how far it is; what it raises ends the work.
        on_crash: called from the engine's thread when it dies.

    Raises:
        ModelError: says why it cannot answer and what to do.
    """
    from arena.models.local.onnx import load as onnx

    chosen = onnx.choose(config)
    if chosen is None:
        return _on_transformers(config, report, on_crash)
    fetched = False
    try:
        files = chosen.fetch(report)
        fetched = True
        report("load", None)
        return onnx.load(chosen, files, config, on_crash)
    except ModelError as error:
        if not onnx.may_fall_back(config, error, fetched=fetched):
            raise
        log.warning("%s: not on ONNX Runtime GenAI: %s %s", config.label, error, error.detail)
        why = error.sentence
    loaded = _on_transformers(config, report, on_crash)
    return replace(loaded, notice="not_onnx", facts={**loaded.facts, "not_onnx": why})


def weights_whereabouts(config: ModelConfig) -> str:
    """Where the files that `load` would load are, or would come from; downloads nothing.

    Raises:
        ModelError: they can't be had; says why and what to do.
    """
    from arena.models.local.onnx import load as onnx
    from arena.models.local.onnx.folder import GENAI

    chosen = onnx.choose(config)
    source, form = (chosen.source, GENAI) if chosen else (config.source, None)
    return whereabouts(source, config.revision, config.label, form)


def _on_transformers(
    config: ModelConfig, report: ProgressCallback, on_crash: CrashHandler
) -> LoadedEngine:
    if config.fetch is not None:
        files = config.fetch(report)
    else:
        files = fetch(config.source, config.revision, config.label, report)
    report("load", None)

    from arena.models.local.transformers import weights

    leave_a_core_free()
    loaded = weights.load(files.path, config)
    return LoadedEngine(
        engine=_engine_for(loaded, config, on_crash),
        tokenizer=loaded.tokenizer,
        precision=loaded.precision,
        context=loaded.shape.context,
        stop_ids=loaded.stop_ids,
        source=config.source,
        revision=files.revision,
        facts=loaded.facts,
    )


def _engine_for(loaded: LoadedWeights, config: ModelConfig, on_crash: CrashHandler) -> TokenEngine:
    device = str(loaded.model.device)
    if config.engine == ZERO_GPU:
        from arena.models.local.transformers.zerogpu import ZeroGpuEngine

        return ZeroGpuEngine(loaded.model, shape=loaded.shape, device=device)

    from arena.models.local.transformers.engine import TransformersEngine

    return TransformersEngine(
        loaded.model,
        shape=loaded.shape,
        device=device,
        batching=not loaded.spread,
        max_cache_gib=config.max_cache_gib,
        on_crash=on_crash,
    )
