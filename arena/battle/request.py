"""A visitor's request, and the record of a battle that is made of it. Pure functions."""

from __future__ import annotations

import contextlib
import random
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from arena.battle.limits import Visitor, check_prompt, check_system_prompt, check_tokens
from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    GenerationParams,
    Message,
    Mode,
    ModelSpec,
    Role,
    Side,
)
from arena.errors.battle import NoContestants
from arena.errors.models import ContentBlocked, EmptyAnswer, ModelError, OnlyThoughts
from arena.models.registry import Entry, Registry
from arena.presets import Preset, preset_use
from arena.settings import Limits

LIBRARIES = ("gradio", "torch", "transformers", "accelerate", "google-genai", "openai")
_KANA = re.compile(r"[\u3041-\u309f\u30a0-\u30ff\uff66-\uff9f]")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_LAST_LATIN = 0x24F  # Latin Extended-B


@dataclass(frozen=True, slots=True)
class BattleRequest:
    """What a visitor sends.

    Attributes:
        session_hash: of the page; it ends when the tab closes.
        model_a, model_b: slugs; chosen in open mode (both) and single mode (a), else None.
    """

    text: str
    mode: Mode
    params: GenerationParams
    visitor: Visitor
    session_hash: str
    ui_language: str = "ja"
    use_gemini: bool = True
    preset: Preset | None = None
    system_prompt: str | None = None
    model_a: str | None = None
    model_b: str | None = None

    @property
    def slugs(self) -> dict[Side, str | None]:
        """The chosen models by side; in blind mode they are drawn instead."""
        if self.mode is Mode.SINGLE:
            return {Side.A: self.model_a}
        return {Side.A: self.model_a, Side.B: self.model_b}


def check_texts(request: BattleRequest, limits: Limits) -> BattleRequest:
    """The request with its texts as they will be sent.

    Raises:
        EmptyPrompt, PromptTooLong: as `check_prompt` says.
    """
    return replace(
        request,
        text=check_prompt(request.text, limits),
        system_prompt=check_system_prompt(request.system_prompt, limits),
    )


def draw_contestants(
    request: BattleRequest, registry: Registry, rng: random.Random
) -> dict[Side, Entry]:
    """The contestants of a battle that begins: drawn in blind mode, else as they were chosen.

    Raises:
        NoContestants: not enough models are ready, or one of the chosen is not there.
    """
    if request.mode is Mode.BLIND:
        first, second = registry.draw(rng, use_gemini=request.use_gemini)
        return {Side.A: first, Side.B: second}
    allowed = {e.slug: e for e in registry.contestants(use_gemini=request.use_gemini)}
    chosen = {side: allowed.get(slug or "") for side, slug in request.slugs.items()}
    found = {side: entry for side, entry in chosen.items() if entry is not None}
    if len(found) < len(chosen):
        raise NoContestants
    return found


def contestants_of(battle: Battle, registry: Registry) -> dict[Side, Entry]:
    """The contestants of a battle by its record, as far as they are there under the same id."""
    there = {entry.model.spec.id: entry for entry in registry.entries}
    specs = {side: battle.spec(side).id for side in battle.sides}
    return {side: there[name] for side, name in specs.items() if name in there}


def build_battle(
    request: BattleRequest,
    entries: Mapping[Side, Entry],
    *,
    seed: int,
    now: datetime,
    limits: Limits,
) -> Battle:
    """The record of a battle that begins.

    Args:
        request: what the visitor sent, its texts checked.
        entries: the contestant of each side.
        seed: taken where the visitor set none.
        now: the wall clock, UTC.
        limits: bounds the budget of new tokens.
    """
    params = request.params
    if params.seed is None:
        params = replace(params, seed=seed)
    if params.max_new_tokens > limits.new_tokens:
        params = replace(params, max_new_tokens=limits.new_tokens)
    specs = {side: entry.model.spec for side, entry in entries.items()}
    preset = preset_use(request.preset, request.text) if request.preset else None
    talk = (Exchange(request.text),)
    return Battle(
        id=secrets.token_hex(16),
        mode=request.mode,
        language=prompt_language(request.text, request.ui_language),
        ui_language=request.ui_language,
        category=request.preset.category if request.preset else Category.FREE,
        preset=preset,
        params=params,
        spec_a=specs[Side.A],
        spec_b=specs.get(Side.B),
        created_at=now,
        voter=request.visitor.voter,
        system_prompt=request.system_prompt,
        conversation_a=talk,
        conversation_b=talk if Side.B in specs else (),
        flags=battle_flags(
            request.mode, specs, request.system_prompt, edited=preset is not None and preset.edited
        ),
        provenance={
            "libraries": library_versions(),
            **{side.value: entry.facts for side, entry in entries.items()},
        },
    )


def prompt_language(text: str, page_language: str) -> str:
    """`ja`, `en` or `other`, judged by script.

    Kana decides for Japanese. Ideographs alone may be Chinese, so they count as Japanese only on
    a Japanese page. Latin letters count as English only where no other script is present.
    """
    if _KANA.search(text):
        return "ja"
    if _IDEOGRAPH.search(text):
        return "ja" if page_language == "ja" else "other"
    if any(ch.isalpha() and ord(ch) > _LAST_LATIN for ch in text):
        return "other"
    return "en" if _LATIN.search(text) else "other"


def check_battle(battle: Battle, limits: Limits) -> None:
    """Whether what each side would be sent is short enough.

    Raises:
        TooManyTokens: a side's conversation is not.
    """
    for side in battle.sides:
        check_tokens(messages_for(battle, side), limits)


def answered(battle: Battle, side: Side) -> bool:
    """Whether that side has a usable answer to the last prompt."""
    last = battle.conversation(side)[-1].answer
    return last is not None and last.usable


def checked_answer(answer: Answer) -> tuple[Answer, ModelError | None]:
    """The answer, and why nobody can judge it although its stream ended well; None if they can.

    One that ended without any text is recorded as an error, since there is nothing to judge.
    """
    finished = answer.finished
    if finished.reason is FinishReason.BLOCKED:
        return answer, ContentBlocked()
    if answer.usable or finished.reason in (FinishReason.ERROR, FinishReason.CANCELLED):
        return answer, None
    thought = finished.reason is FinishReason.LENGTH and bool(finished.thinking_tokens)
    why = OnlyThoughts() if thought else EmptyAnswer()
    finished = replace(finished, reason=FinishReason.ERROR, error_code=why.code)
    return replace(answer, finished=finished), why


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
    if finished.cost_usd is not None:
        return finished.cost_usd
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
