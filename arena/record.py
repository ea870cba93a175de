"""What is written down of a battle, computed from what is known of it. Pure functions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from arena.domain import Battle, Finished, Flag, Message, Mode, ModelSpec, Role, Side
from arena.models.base import Ready
from arena.models.registry import Entry

LIBRARIES = ("gradio", "torch", "transformers", "accelerate", "google-genai")


def answered(battle: Battle, side: Side) -> bool:
    """Whether that side has a usable answer to the last prompt."""
    last = battle.conversation(side)[-1].answer
    return last is not None and last.usable


def battle_flags(
    mode: Mode, specs: Mapping[Side, ModelSpec], system_prompt: str | None, *, edited: bool
) -> frozenset[Flag]:
    """What a reader of the statistics must know from the start."""
    wanted = {
        Flag.OPEN_MODE: mode is Mode.OPEN,
        Flag.PRESET_EDITED: edited,
        Flag.STAND_IN: any(spec.stand_in for spec in specs.values()),
        Flag.VARIANT: any(spec.variant_of for spec in specs.values()),
        Flag.SYSTEM_PROMPT: system_prompt is not None,
    }
    return frozenset(flag for flag, on in wanted.items() if on)


def ready_facts(entry: Entry) -> dict[str, str]:
    """The model's facts, which make an answer repeatable; empty if it is not ready."""
    status = entry.model.status()
    return dict(status.facts) if isinstance(status, Ready) else {}


def messages_for(battle: Battle, side: Side) -> tuple[Message, ...]:
    """What that side's model is sent: the visitor's system prompt, then the turns in order.

    An answer that was cut or failed is never sent back as the model's own words.
    """
    messages = []
    if battle.system_prompt:
        messages.append(Message(Role.SYSTEM, battle.system_prompt))
    for turn in battle.conversation(side):
        messages.append(Message(Role.USER, turn.prompt))
        if turn.answer is not None and turn.answer.usable:
            messages.append(Message(Role.ASSISTANT, turn.answer.text))
    return tuple(messages)


def cost_usd(spec: ModelSpec, finished: Finished) -> float | None:
    """US dollars for one answer; None where a price or a count is not known.

    Prices are per million tokens, and thinking is billed as output.
    """
    if spec.price_in is None or spec.price_out is None:
        return None
    if spec.price_in == 0 and spec.price_out == 0:
        return 0.0
    if finished.prompt_tokens is None or finished.completion_tokens is None:
        return None
    generated = finished.completion_tokens + (finished.thinking_tokens or 0)
    return (finished.prompt_tokens * spec.price_in + generated * spec.price_out) / 1e6


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape an answer; those not installed are left out."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
