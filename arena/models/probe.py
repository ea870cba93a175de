"""What this machine has for running models; looks, and loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from arena.errors.base import ArenaError
from arena.models.base import Ready, Unavailable
from arena.models.local.device import choose_attention, choose_device, choose_dtype
from arena.models.local.download import whereabouts
from arena.models.local.embedded import find_gguf, is_converted
from arena.models.local.memory import free_memory, free_ram, gib
from arena.models.local.onnx import load as onnx_loading
from arena.models.local.onnx.build import INSTALL
from arena.models.local.onnx.folder import GENAI
from arena.models.local.spec import ModelConfig
from arena.models.remote.gemini import GeminiModel
from arena.settings import EMBEDDED, Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: `ok`, `gap` (something is missing, the arena works all the same) or `bad`.
        remedy: what to do about a gap; empty otherwise.
    """

    name: str
    state: str
    value: str
    remedy: str = ""


def libraries(names: tuple[str, ...]) -> list[Finding]:
    """Versions of the libraries; one that is missing is bad."""
    found = []
    for name in names:
        try:
            found.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            remedy = "pip install -r requirements.txt"
            found.append(Finding(name, "bad", "not installed", remedy))
    return found


def hardware(settings: Settings) -> list[Finding]:
    """Device, memory, number format and attention that the local model would get."""
    device = choose_device()
    dtype = choose_dtype(settings.local_dtype, device)
    attention = choose_attention(device, dtype)
    found = [Finding("device", "ok", device)]
    if device == "cpu":
        remedy = "A GPU with 12 GiB or more runs Phi-4-mini many times faster"
        found = [Finding("device", "gap", "cpu", remedy)]
    else:
        found.append(Finding("GPU memory free", "ok", gib(free_memory(device))))
    found.append(Finding("memory free", "ok", gib(free_ram())))
    found.append(Finding("number format", "ok", dtype))
    found.append(Finding("attention", "ok", attention))
    if device == "cpu":
        found.append(_quick_engine())
    return found


def _quick_engine() -> Finding:
    """Whether 4-bit models can run, which a CPU does several times faster than dense ones."""
    name = "ONNX Runtime GenAI"
    if onnx_loading.is_installed():
        return Finding(name, "ok", version("onnxruntime-genai"))
    return Finding(name, "gap", "not installed", f"{INSTALL}, for 4-bit models on this CPU")


def local_weights(settings: Settings) -> Finding:
    """Whether the wanted model's weights are here, or could be fetched."""
    name = "local model"
    if settings.local_model == EMBEDDED:
        return Finding(name, "ok", "the embedded model is the wanted one")
    wanted = ModelConfig(
        source=settings.local_model,
        revision=settings.local_revision,
        label=settings.local_model,
        engine=settings.engine,
        device="auto",
        dtype=settings.local_dtype,
    )
    try:
        choice = onnx_loading.choose(wanted)
        source, form = (choice.source, GENAI) if choice else (settings.local_model, None)
        where = whereabouts(source, settings.local_revision, wanted.label, form)
        return Finding(name, "ok", f"{settings.local_model}: {where}")
    except ArenaError as error:
        return Finding(name, "gap", error.sentence, error.remedy_text)


def embedded(settings: Settings) -> Finding:
    """Whether the stand-in could serve."""
    try:
        gguf = find_gguf()
    except ArenaError as error:
        return Finding("embedded model", "gap", error.sentence, error.remedy_text)
    if is_converted(settings.cache_dir, gguf):
        return Finding("embedded model", "ok", f"ready in {settings.cache_dir}")
    size = gib(Path(gguf).stat().st_size)
    return Finding("embedded model", "ok", f"installed ({size}), converted at its first start")


async def gemini(settings: Settings) -> Finding:
    """Whether the key is there and accepted; asks the API for the model's description only."""
    key = settings.gemini_api_key
    model = GeminiModel(
        api_key=key.get_secret_value() if key else None,
        model=settings.gemini_model,
        fallback_model=settings.gemini_fallback_model,
        base_url=settings.gemini_base_url,
    )
    try:
        await model.start()
        status = model.status()
    finally:
        await model.aclose()
    name = f"Gemini ({settings.gemini_model})"
    if isinstance(status, Ready):
        return Finding(name, "ok", "the key is accepted and the model is there")
    if isinstance(status, Unavailable):
        return Finding(name, "gap", status.error.sentence, status.error.remedy_text)
    return Finding(name, "gap", "no answer", "Try again")
