"""What this machine has for the arena, what is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from arena.errors.base import ArenaError
from arena.models.base import Ready, Unavailable
from arena.models.local.device import choose_attention, choose_device, choose_dtypes
from arena.models.local.embedded import find_gguf, is_converted
from arena.models.local.load import weights_whereabouts
from arena.models.local.memory import free_memory, free_ram, gib
from arena.models.local.onnx.build import INSTALL
from arena.models.local.spec import ModelConfig
from arena.models.remote.gemini import gemini_model
from arena.preflight import look
from arena.presets import load_presets
from arena.settings import EMBEDDED, Settings
from arena.stats.alarm import share_alarm
from arena.stats.filters import decide, rules_of
from arena.store.store import VoteStore

LIBRARIES = (
    "gradio",
    "torch",
    "transformers",
    "accelerate",
    "google-genai",
    "openai",
    "SQLAlchemy",
    "alembic",
)
State = Literal["ok", "gap", "bad"]
PROMPTS = Path(__file__).parent.parent / "prompts"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: `gap` where something is missing and the arena works all the same; `bad` where it
            can't run.
        remedy: what to do about a gap; empty otherwise.
    """

    name: str
    state: State
    value: str
    remedy: str = ""


def _gap(name: str, error: ArenaError) -> Finding:
    return Finding(name, "gap", error.sentence, error.remedy_text)


async def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it is printed. Loads no model."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    install = "pip install -r requirements.txt"
    found = [Finding("Python", "ok", python)]
    found += [_package(name, name, "bad", install) for name in LIBRARIES]
    found += await asyncio.to_thread(_preflight, settings)
    if can_run(found):
        found += await asyncio.to_thread(_hardware, settings)
        weights = await asyncio.to_thread(_local_weights, settings)
        stand_in = await asyncio.to_thread(_embedded, settings)
        found += [weights, stand_in]
        if weights.state != "ok" and stand_in.state != "ok":
            found.append(Finding("a local model", "bad", "none can be had", stand_in.remedy))
        found.append(await _gemini(settings))
    return [*found, *await _store(settings), _prompts()]


def _preflight(settings: Settings) -> list[Finding]:
    """What would stop the start, and what is warned of at it."""
    return [
        Finding(
            problem.about,
            "bad" if problem.stops else "gap",
            problem.error.sentence,
            problem.error.remedy_text,
        )
        for problem in look(settings)
    ]


def _package(name: str, package: str, missing: State, remedy: str) -> Finding:
    try:
        return Finding(name, "ok", version(package))
    except PackageNotFoundError:
        return Finding(name, missing, "not installed", remedy)


def _hardware(settings: Settings) -> list[Finding]:
    """Device, memory, number format and attention that the local model would get."""
    device = choose_device()
    dtype = choose_dtypes(settings.local_dtype, device)[0]
    common = [
        Finding("memory free", "ok", gib(free_ram())),
        Finding("number format", "ok", dtype),
        Finding("attention", "ok", choose_attention(device, dtype)),
    ]
    if device != "cpu":
        free = Finding("GPU memory free", "ok", gib(free_memory(device)))
        return [Finding("device", "ok", device), free, *common]
    remedy = "A GPU with 12 GiB or more runs Phi-4-mini many times faster"
    # A CPU writes several times faster with 4-bit models than with dense ones.
    quick = f"{INSTALL}, for 4-bit models on this CPU"
    onnx = _package("ONNX Runtime GenAI", "onnxruntime-genai", "gap", quick)
    return [Finding("device", "gap", device, remedy), *common, onnx]


def _local_weights(settings: Settings) -> Finding:
    """Whether the weights of ARENA_LOCAL_MODEL are here, or could be fetched."""
    name, source = "local model", settings.local_model
    if source == EMBEDDED:
        return Finding(name, "ok", "the embedded model is the wanted one")
    config = ModelConfig(
        slug="",
        source=source,
        revision=settings.local_revision,
        label=source,
        engine=settings.engine,
        device="auto",
        dtype=settings.local_dtype,
    )
    try:
        return Finding(name, "ok", f"{source}: {weights_whereabouts(config)}")
    except ArenaError as error:
        return _gap(name, error)


def _embedded(settings: Settings) -> Finding:
    """Whether the stand-in could serve."""
    name = "embedded model"
    try:
        gguf = find_gguf()
    except ArenaError as error:
        return _gap(name, error)
    if is_converted(settings.cache_dir, gguf):
        return Finding(name, "ok", f"ready in {settings.cache_dir}")
    size = gib(gguf.stat().st_size)
    return Finding(name, "ok", f"installed ({size}), converted at its first start")


async def _gemini(settings: Settings) -> Finding:
    """Whether the key is there and accepted; asks the API for the model's description only."""
    model = gemini_model(settings)
    try:
        await model.start()
        status = model.status()
    finally:
        await model.aclose()
    name = f"Gemini ({settings.gemini_model})"
    if isinstance(status, Ready):
        return Finding(name, "ok", "the key is accepted and the model is there")
    if isinstance(status, Unavailable):
        return _gap(name, status.error)
    return Finding(name, "gap", "no answer", "Try again")


async def _store(settings: Settings) -> list[Finding]:
    """The store, and whether its votes count as they used to."""
    try:
        store = await asyncio.to_thread(VoteStore.open, settings.database_url)
    except ArenaError as error:
        detail = f"{error.sentence} {error.detail}"
        return [Finding("store", "bad", detail, error.remedy_text)]
    try:
        counts = await store.counts()
        counting = await _counting(settings, store)
    finally:
        await store.aclose()
    value = f"{store.place}: {counts.battles} battles, {counts.votes} votes"
    return [Finding("store", "ok", value), *counting]


async def _counting(settings: Settings, store: VoteStore) -> list[Finding]:
    """What is wrong with the share of votes that count, if anything is."""
    name = "votes that count"
    try:
        votes = await store.vote_table()
    except ArenaError as error:
        return [_gap(name, error)]
    rules = rules_of(settings)
    alarm = await asyncio.to_thread(lambda: share_alarm(votes, decide(votes, rules)))
    if alarm is None:
        return []
    return [Finding(name, "gap", alarm.sentence, "Look why: python -m arena leaderboard")]


def _prompts() -> Finding:
    try:
        presets = load_presets(PROMPTS)
    except ArenaError as error:
        return Finding("prompts", "bad", error.sentence, error.remedy_text)
    return Finding("prompts", "ok", f"{len(presets)} examples")


def can_run(findings: Sequence[Finding]) -> bool:
    """Whether a battle and a vote are possible."""
    return all(finding.state != "bad" for finding in findings)
