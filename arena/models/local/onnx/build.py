"""A 4-bit ONNX model out of a dense one, by ONNX Runtime GenAI's own builder.

It runs in a process of its own: it takes some ten seconds for a small model, and torch with it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from arena.models.local.build_cache import build_once, is_built, package_missing, run_child
from arena.models.local.download import ProgressCallback
from arena.models.local.onnx.folder import is_whole

INSTALL = "pip install -r requirements-cpu.txt"
_NEEDED = ("onnxruntime_genai", "onnx", "onnx_ir")
_BESIDE = ("config.json", "generation_config.json")
"""Files that the builder leaves out; the first says where LongRoPE changes its factors."""
_QUANTISED = (
    "accuracy_level=4",  # computes with 8-bit numbers, a CPU's quickest way
    "algo_config=rtn",
    "is_symmetric=false",
    "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8",
)
"""How 4 bits are made of more. All products in 4 bits are a fifth quicker, but a small model then
falls into loops: its next token was the dense model's in 64 of 100 places, and in 81 this way."""
_LAST_LOGITS_ONLY = "prune_lm_head=true"
"""Only a chunk's last token gets logits; those of the others, a sixth of the work, are not used."""
_LAYER = re.compile(r"Reading layer (\d+)")


def ensure(
    target: Path,
    dense: Callable[[], Path],
    *,
    label: str,
    report: ProgressCallback,
    precision: str = "int4",
) -> None:
    """Build the folder if it is not there; blocks.

    Args:
        target: the folder in the form of ONNX Runtime GenAI.
        dense: gives the folder of the dense model, which is asked for only when it is needed.
        label: the model's name in messages.
        report: hears how far it is.
        precision: `int4`, or `fp32` for the weights as they are.

    Raises:
        ModelUnavailable: a package is missing, or the folder cannot be built.
    """
    if is_built(target, is_whole):
        return
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise package_missing(label, missing[0].replace("_", "-"), INSTALL)
    source = dense()
    report("convert", 0.0)
    build_once(
        target,
        lambda scratch: _build(source, scratch, report=report, precision=precision),
        is_complete=is_whole,
        label=label,
    )


def _build(dense: Path, folder: Path, *, report: ProgressCallback, precision: str) -> None:
    layers = int(json.loads((dense / "config.json").read_text("utf-8"))["num_hidden_layers"])

    def on_line(line: str) -> None:
        if found := _LAYER.match(line):
            report("convert", (int(found[1]) + 1) / (layers + 1))

    with tempfile.TemporaryDirectory(prefix="onnx-build.") as cache:
        command = [sys.executable, "-u", "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(dense), "-o", str(folder), "-p", precision, "-e", "cpu", "-c", cache]
        command += ["--extra_options", "hf_token=false", _LAST_LOGITS_ONLY, *_QUANTISED]
        run_child(command, on_line)
    for name in _BESIDE:
        if (dense / name).is_file():
            shutil.copyfile(dense / name, folder / name)
