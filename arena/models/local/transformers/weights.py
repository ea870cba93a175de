"""Loads a model's weights and tokenizer, after checking that they fit and load rightly."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arena.errors.models import (
    ModelError,
    ModelUnavailable,
    NotFinite,
    OutOfMemory,
    UnsupportedModel,
)
from arena.errors.reasons import ErrorReason
from arena.models.local.device import (
    choose_attention,
    choose_device,
    choose_device_map,
    choose_dtypes,
    device_name,
)
from arena.models.local.download import weight_files
from arena.models.local.engine import Foreign
from arena.models.local.memory import (
    ModelShape,
    free_memory,
    gib,
    is_out_of_memory,
    out_of_memory,
)
from arena.models.local.spec import ZERO_GPU, ModelConfig

log = logging.getLogger(__name__)

PRECISIONS: Mapping[str, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHTS_FACTOR = 1.1
"""What weights take in memory, of what they are by their number of parameters."""
TRIAL = "Why is 2 + 2 = 4? Explain. 偶数と奇数を足すと?\n```python\nfor i in range(3):\n"
"""What a freshly loaded model reads once; short, since a large model on a CPU takes seconds."""
_WRONG_GGUF = ("phi3",)
"""Architectures whose GGUF files transformers reads without their LongRoPE factors."""


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """A model in memory.

    Attributes:
        precision: short name of the dtype, as it stands in ids.
        spread: its layers lie on more than one device, so that only `generate` can run it.
        facts: what the Models tab and the record want to know.
    """

    model: Foreign
    tokenizer: Foreign
    shape: ModelShape
    precision: str
    stop_ids: frozenset[int]
    spread: bool
    facts: Mapping[str, str]


def load(path: Path, config: ModelConfig) -> LoadedWeights:
    """Read weights and tokenizer, and try them once; blocks for seconds to minutes.

    Args:
        path: a folder or a .gguf file.
        config: the model's.

    Raises:
        UnsupportedModel: it would load wrongly, or needs code of its own.
        OutOfMemory: it does not fit.
        NotFinite: it computes no finite numbers, in any dtype that it may have.
        ModelUnavailable: the files are broken.
    """
    device = choose_device() if config.device == "auto" else config.device
    if path.suffix == ".gguf":
        refuse_wrong_gguf(path, config.source)
    first, *others = choose_dtypes(config.dtype, device)
    try:
        return _load_as(first, path, config, device)
    except NotFinite:
        if not others:
            raise
    # Here, what was loaded is gone with the error: the weights may not fit twice.
    log.warning("%s: not finite in %s, so it is loaded in %s", config.label, first, others[0])
    loaded = _load_as(others[0], path, config, device)
    return replace(loaded, facts={**loaded.facts, "not_finite": PRECISIONS[first]})


def _load_as(dtype: str, path: Path, config: ModelConfig, device: str) -> LoadedWeights:
    need = check_memory(path, dtype=dtype, device=device)
    attention = choose_attention(device, dtype)
    # transformers reads from threads of its own, for which ZeroGPU does not imitate a GPU: there
    # the weights are read into RAM, and moved from this thread.
    through_ram = config.engine == ZERO_GPU
    device_map = {"": "cpu"} if through_ram else choose_device_map(device, need)
    try:
        tokenizer, model = _read(path, dtype=dtype, device_map=device_map, attention=attention)
        if through_ram:
            model.to(device)
        if not through_ram:  # there is no GPU yet
            try_once(model, tokenizer)
    except ModelError:
        raise
    except Exception as error:
        raise _explain(error, config, device) from error
    return describe(model, tokenizer, device=device, dtype=dtype)


def _read(
    path: Path, *, dtype: str, device_map: str | dict[str, str], attention: str
) -> tuple[Foreign, Foreign]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = str(path)
    extra: dict[str, Any] = {}
    if path.suffix == ".gguf":
        where, extra = str(path.parent), {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(
        where, trust_remote_code=False, local_files_only=True, **extra
    )
    if extra:
        extra["quantization_config"] = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        where,
        dtype=getattr(torch, dtype),
        device_map=device_map,
        attn_implementation=attention,
        trust_remote_code=False,
        local_files_only=True,
        **extra,
    )
    model.eval()  # type: ignore[no-untyped-call]
    return tokenizer, model.requires_grad_(requires_grad=False)


def try_once(model: Foreign, tokenizer: Foreign) -> None:
    """One pass over a little text.

    Raises:
        NotFinite: a score of it is no finite number.
    """
    import torch

    from arena.models.local.transformers.sampling import check_finite

    ids = torch.tensor([tokenizer(TRIAL, add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits
    check_finite(logits.max().item())


def describe(model: Foreign, tokenizer: Foreign, *, device: str, dtype: str) -> LoadedWeights:
    """A model that is in memory, with its sizes."""
    import torch
    import transformers

    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if window is not None and window >= config.max_position_embeddings:
        # A window as long as the context is none, but the paged cache would treat it as one and
        # give up its sharing of prompts.
        config.sliding_window = None
    devices = set((getattr(model, "hf_device_map", None) or {}).values())
    shape = ModelShape.of(config, _BYTES[dtype])
    precision = PRECISIONS[dtype]
    facts = {
        "device": device_name(device),
        "precision": precision,
        "attention": str(config._attn_implementation),
        "architecture": type(model).__name__,
        "parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        **shape.facts(),
        "kv_bytes_per_token": str(shape.kv_bytes_per_token),
        "memory_mib": str(round(model.get_memory_footprint() / 1024**2)),
        "transformers": transformers.__version__,
        "torch": str(torch.__version__),
    }
    if shape.short_context < shape.context:
        facts["original_context"] = str(shape.short_context)
    return LoadedWeights(
        model=model,
        tokenizer=tokenizer,
        shape=shape,
        precision=precision,
        stop_ids=stop_ids(model, tokenizer),
        spread=len(devices) > 1,
        facts=facts,
    )


def stop_ids(model: Foreign, tokenizer: Foreign) -> frozenset[int]:
    """Tokens that end an answer: those of the generation config, or the tokenizer's."""
    for found in (
        model.generation_config.eos_token_id,
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
    ):
        if found is not None:
            ids = found if isinstance(found, list | tuple) else [found]
            return frozenset(int(i) for i in ids)
    return frozenset()


def refuse_wrong_gguf(path: Path, source: str) -> None:
    """Refuse what transformers would read without an error, and get wrong.

    Raises:
        UnsupportedModel: the architecture is one of those, or the file is no GGUF.
    """
    from gguf import GGUFReader

    try:
        field = GGUFReader(path).get_field("general.architecture")
        architecture = str(field.contents()) if field is not None else ""
    except (ValueError, OSError, IndexError) as error:
        raise UnsupportedModel(str(error), source=source, why=ErrorReason.BROKEN_GGUF) from error
    if architecture in _WRONG_GGUF:
        raise UnsupportedModel(source=source, why=ErrorReason.WRONG_GGUF, architecture=architecture)


def weights_bytes(path: Path, dtype: str) -> int:
    """Bytes that the weights take in memory."""
    if path.suffix == ".gguf":
        from gguf import GGUFReader

        return sum(int(t.n_elements) for t in GGUFReader(path).tensors) * _BYTES[dtype]
    from huggingface_hub import parse_local_safetensors_file_metadata

    total = 0
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            counts = parse_local_safetensors_file_metadata(file).parameter_count
            total += sum(counts.values()) * _BYTES[dtype]
        else:
            total += file.stat().st_size
    return total


def check_memory(path: Path, *, dtype: str, device: str) -> int:
    """Refuse weights that do not fit, before the system starts to swap or ends the process.

    Returns:
        Bytes that the weights need.

    Raises:
        OutOfMemory: with the numbers, and the setting that would help.
        ModelUnavailable: the weights are missing or broken.
    """
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        need = int(weights_bytes(path, dtype) * _WEIGHTS_FACTOR)
    except (ValueError, OSError, SafetensorsParsingError) as error:
        raise ModelUnavailable(
            f"{type(error).__name__}: {error}", label=path.name, why=ErrorReason.WEIGHTS_BROKEN
        ) from error
    free = free_memory(device)
    if need <= free:
        return need
    halved = dtype == "float32" and need / 2 <= free
    remedy = ErrorReason.DO_HALVE if halved else ErrorReason.DO_MORE_MEMORY
    raise OutOfMemory(f"weights of {path}", need=gib(need), free=gib(free), remedy=remedy)


def _explain(error: Exception, config: ModelConfig, device: str) -> ModelError:
    detail = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        return out_of_memory(error, device, ErrorReason.DO_SMALLER_OR_HALVE)
    if "trust_remote_code" in str(error):
        return UnsupportedModel(detail, source=config.source, why=ErrorReason.OWN_CODE)
    if "Unrecognized" in str(error) or "does not recognize" in str(error):
        return UnsupportedModel(detail, source=config.source, why=ErrorReason.UNKNOWN_ARCHITECTURE)
    return ModelUnavailable(detail, label=config.label, why=ErrorReason.LOAD_FAILED)
