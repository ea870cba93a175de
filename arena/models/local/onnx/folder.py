"""A folder in the form of ONNX Runtime GenAI: which one to take, and what it says about the model.

Its `genai_config.json` names the model's inputs and sizes. What it does not say (LongRoPE's
original context, for one) stands in transformers' own `config.json`, where that lies beside it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from arena.errors.models import ModelUnavailable, UnsupportedModel
from arena.errors.reasons import ErrorReason
from arena.models.local.download import WeightsForm
from arena.models.local.memory import DEFAULT_WIDENING, ModelShape
from arena.models.local.onnx.protocol import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIG = "genai_config.json"
_OTHER_DEVICES = re.compile(r"cuda|gpu|dml|directml|webgpu|qnn|npu|vitis|openvino|trt|tensorrt")
_LONGROPE_LIMITS: Mapping[str, int] = {"phi3": 4096, "phimoe": 4096, "phi3small": 8192}
"""Where a folder does not say it; the runtime itself has the same numbers built in."""
_F32 = 4


@dataclass(frozen=True, slots=True)
class GenAiModel:
    """A model, as its folder describes it.

    Attributes:
        kind: the runtime's name of the architecture.
        precision: of the weights, as it stands in ids.
        weights_bytes: what they take on the disk.
        graph: names in the model's file.
    """

    folder: Path
    kind: str
    shape: ModelShape
    stop_ids: frozenset[int]
    precision: str
    weights_bytes: int
    graph: Graph

    @property
    def has_longrope(self) -> bool:
        """Whether its rotary factors change with the length."""
        return self.shape.short_context < self.shape.context


def find_model(folder: Path) -> Path | None:
    """The model for a CPU in a folder or below it; None without one that is whole."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob(CONFIG))
    best = choose(found)
    if best is None:
        return None
    chosen = folder / best
    return chosen if is_whole(chosen) else None


def choose(configs: Iterable[str]) -> str | None:
    """Of the paths of `genai_config.json` in a repository, the folder for a CPU; "" is the root.

    4-bit before anything else, and what computes with 8-bit numbers (`acc-level-4`) before what
    does not, since that is a CPU's quickest.
    """

    def rank(folder: str) -> tuple[bool, bool, bool, str]:
        words = folder.lower()
        return ("cpu" not in words, "int4" not in words, "acc-level-4" not in words, folder)

    folders = [str(PurePosixPath(name).parent) for name in configs]
    fitting = [
        "" if folder == "." else folder
        for folder in folders
        if "cpu" in folder.lower() or not _OTHER_DEVICES.search(folder.lower())
    ]
    return min(fitting, key=rank, default=None)


def is_whole(folder: Path) -> bool:
    """Whether a model can be loaded from it: settings, graph, weights and tokenizer."""
    try:
        graph = folder / _decoder(_read(folder / CONFIG))["filename"]
        names = _external(_load_graph(graph))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    tokenizer = any((folder / n).is_file() for n in ("tokenizer.json", "tokenizer.model"))
    return tokenizer and all((folder / name).is_file() for name in names)


def _cpu_files(names: Sequence[str]) -> list[str]:
    """Files of the folder for a CPU; other devices have folders of their own, of gigabytes."""
    best = choose(name for name in names if PurePosixPath(name).name == CONFIG)
    if best is None:
        return []
    prefix = f"{best}/" if best else ""
    inside = [name for name in names if name.startswith(prefix)]
    return [n for n in inside if "/" not in n.removeprefix(prefix) and not n.endswith(".py")]


GENAI = WeightsForm(
    select=_cpu_files,
    locate=find_model,
    missing=ErrorReason.NO_ONNX,
    # The library would miss what was never selected here.
    probe="nothing",
)


def describe(folder: Path, source: str) -> GenAiModel:
    """Read what a folder says.

    Args:
        folder: one with a `genai_config.json`.
        source: what the owner set, for messages.

    Raises:
        ModelUnavailable: the files are broken.
        UnsupportedModel: it is no language model.
    """
    try:
        config = _read(folder / CONFIG)
        beside = folder / "config.json"
        return _describe(folder, config, _read(beside) if beside.is_file() else {})
    except KeyError as error:
        raise UnsupportedModel(
            f"{CONFIG} has no {error}", source=source, why=ErrorReason.UNKNOWN_ARCHITECTURE
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ModelUnavailable(
            f"{type(error).__name__}: {error}", label=folder.name, why=ErrorReason.WEIGHTS_BROKEN
        ) from error


def _read(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text("utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"{file.name} holds no object")
    return found


def _decoder(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config["model"]["decoder"]
    return found


def _describe(folder: Path, genai: Mapping[str, Any], config: Mapping[str, Any]) -> GenAiModel:
    model = genai["model"]
    decoder = model["decoder"]
    graph_file = folder / decoder["filename"]
    graph = _load_graph(graph_file)
    files = [graph_file, *(folder / name for name in _external(graph))]
    stop = model.get("eos_token_id")
    shape = _shape(model, config)
    return GenAiModel(
        folder=folder,
        kind=str(model["type"]),
        shape=shape,
        stop_ids=frozenset(stop if isinstance(stop, list) else [] if stop is None else [stop]),
        precision=_precision(graph, folder.name),
        weights_bytes=sum(file.stat().st_size for file in files),
        graph=_graph(decoder, genai.get("search", {}), shape),
    )


def _graph(decoder: Mapping[str, Any], search: Mapping[str, Any], shape: ModelShape) -> Graph:
    """Names as the runtime takes them, and its own where the folder has none."""
    inputs, outputs = decoder.get("inputs", {}), decoder.get("outputs", {})

    def each_layer(given: Mapping[str, Any], which: str, usual: str) -> list[str]:
        template = str(given.get(which, usual))
        return [template.replace("%d", str(layer)) for layer in range(shape.layers)]

    return Graph(
        file=str(decoder["filename"]),
        input_ids=str(inputs.get("input_ids", "input_ids")),
        attention_mask=str(inputs.get("attention_mask", "attention_mask")),
        position_ids=str(inputs.get("position_ids", "position_ids")),
        logits=str(outputs.get("logits", "logits")),
        past=(
            *each_layer(inputs, "past_key_names", "past_key_values.%d.key"),
            *each_layer(inputs, "past_value_names", "past_key_values.%d.value"),
        ),
        present=(
            *each_layer(outputs, "present_key_names", "present.%d.key"),
            *each_layer(outputs, "present_value_names", "present.%d.value"),
        ),
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        in_place=search.get("past_present_share_buffer") is True,
    )


def _shape(model: Mapping[str, Any], config: Mapping[str, Any]) -> ModelShape:
    decoder = model["decoder"]
    heads, hidden = int(decoder["num_attention_heads"]), int(decoder["hidden_size"])
    context = int(model["context_length"])
    return ModelShape(
        layers=int(decoder["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(decoder.get("num_key_value_heads") or heads),
        head_dim=int(decoder.get("head_size") or hidden // heads),
        hidden=hidden,
        intermediate=int(config.get("intermediate_size") or DEFAULT_WIDENING * hidden),
        vocabulary=int(model["vocab_size"]),
        context=context,
        short_context=min(context, _short_context(str(model["type"]), config) or context),
        itemsize=_F32,
    )


def _short_context(kind: str, config: Mapping[str, Any]) -> int | None:
    """Where LongRoPE changes its factors; None for a model without it."""
    if not config:
        return _LONGROPE_LIMITS.get(kind)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if (rope.get("rope_type") or rope.get("type")) not in ("longrope", "su"):
        return None
    limit = rope.get("original_max_position_embeddings")
    return int(limit or config.get("original_max_position_embeddings") or 0) or None


def _precision(model: ModelProto, name: str) -> str:
    """By the graph's quantised products (an attribute `bits`), else by the folder's name."""
    attributes = (a for node in model.graph.node for a in node.attribute)
    bits = Counter(attribute.i for attribute in attributes if attribute.name == "bits")
    if bits:
        return f"int{bits.most_common(1)[0][0]}"
    return next((known for known in ("bf16", "f16") if known in name.replace("fp16", "f16")), "f32")


def _load_graph(file: Path) -> ModelProto:
    """The graph without the weights that lie in files of their own.

    Raises:
        OSError: it can't be read.
        ValueError: it is no graph.
    """
    import onnx  # 0.8 s, and only where a model runs on ONNX Runtime
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{file.name}: {error}") from error


def _external(model: ModelProto) -> set[str]:
    """Names of the files that hold the graph's weights, as the graph itself has them."""
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}
