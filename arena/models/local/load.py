"""Brings a local model's weights up on the engine that suits this machine."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from arena.errors.models import ModelError
from arena.models.local.device import choose_device, leave_a_core_free
from arena.models.local.download import ProgressCallback, fetch, whereabouts
from arena.models.local.engine import CrashHandler, LoadedEngine, TokenEngine
from arena.models.local.spec import ModelConfig

if TYPE_CHECKING:
    from arena.models.local.transformers.weights import Loaded

log = logging.getLogger(__name__)

ZERO_GPU = "zerogpu"


def prepare(wanted: ModelConfig, report: ProgressCallback, on_crash: CrashHandler) -> LoadedEngine:
    """Get the files and load them; blocks for seconds to minutes.

    Args:
        wanted: the model.
        report: hears how far it is; what it raises ends the work.
        on_crash: called from the engine's thread when it dies.

    Raises:
        ModelError: says why it cannot answer and what to do.
    """
    from arena.models.local.onnx import load as onnx_loading

    choice = onnx_loading.choose(wanted)
    if choice is None:
        return _on_transformers(wanted, report, on_crash)
    fetched = False
    try:
        files = choice.files(report)
        fetched = True
        report("load", None)
        return onnx_loading.prepare(choice, files, wanted, on_crash)
    except ModelError as error:
        if not onnx_loading.replaceable(choice, wanted, error, fetched=fetched):
            raise
        log.warning("%s: not on ONNX Runtime GenAI: %s %s", wanted.label, error, error.detail)
        why = error.sentence
    prepared = _on_transformers(wanted, report, on_crash)
    return replace(prepared, notice="not_onnx", facts={**prepared.facts, "not_onnx": why})


def weights_whereabouts(wanted: ModelConfig) -> str:
    """Where the files that `prepare` would load are, or would come from; downloads nothing.

    Raises:
        ModelError: they can't be had; says why and what to do.
    """
    from arena.models.local.onnx import load as onnx_loading
    from arena.models.local.onnx.folder import GENAI

    choice = onnx_loading.choose(wanted)
    source, form = (choice.source, GENAI) if choice else (wanted.source, None)
    return whereabouts(source, wanted.revision, wanted.label, form)


def _on_transformers(
    wanted: ModelConfig, report: ProgressCallback, on_crash: CrashHandler
) -> LoadedEngine:
    if wanted.fetch is not None:
        files = wanted.fetch(report)
    else:
        files = fetch(wanted.source, wanted.revision, wanted.label, report)
    report("load", None)

    from arena.models.local.transformers import weights as loading

    leave_a_core_free()
    device = choose_device() if wanted.device == "auto" else wanted.device
    loaded = loading.load(
        files.path,
        label=wanted.label,
        source=wanted.source,
        dtype=wanted.dtype,
        device=device,
        through_ram=wanted.engine == ZERO_GPU,
    )
    return LoadedEngine(
        engine=_engine_for(loaded, wanted, on_crash),
        tokenizer=loaded.tokenizer,
        precision=loaded.precision,
        context=loaded.shape.context,
        stop_ids=loaded.stop_ids,
        source=wanted.source,
        revision=files.revision,
        facts=loading.facts(loaded),
    )


def _engine_for(loaded: Loaded, wanted: ModelConfig, on_crash: CrashHandler) -> TokenEngine:
    device = str(loaded.model.device)
    if wanted.engine == ZERO_GPU:
        from arena.models.local.transformers.zerogpu import ZeroGpuEngine

        return ZeroGpuEngine(loaded.model, shape=loaded.shape, device=device)

    from arena.models.local.transformers.engine import TransformersEngine

    return TransformersEngine(
        loaded.model,
        shape=loaded.shape,
        device=device,
        batching=wanted.batching and not loaded.spread,
        max_cache_gib=wanted.max_cache_gib,
        on_crash=on_crash,
    )
