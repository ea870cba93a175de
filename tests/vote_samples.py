"""Battles by hand and by Hypothesis, for the tests of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

from hypothesis import strategies as st

from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Finished,
    FinishReason,
    Flag,
    GenerationParams,
    Grade,
    Mode,
    ModelSpec,
    PresetUse,
    Reason,
    Vote,
    Winner,
)

VOTER = "a" * 64
NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
_number = count()


def spec(model_id: str, **changes: object) -> ModelSpec:
    base = ModelSpec(
        id=model_id, label=model_id.title(), provider="local", source=f"hub/{model_id}"
    )
    return replace(base, **changes)


def answer(text: str = "答え", served: str = "v1", reason: str = "stop", **more: object) -> Answer:
    finished = Finished(
        reason=FinishReason(reason),
        prompt_tokens=5,
        completion_tokens=7,
        ttft_s=0.25,
        total_s=1.5,
        served_model=served,
        sent={"temperature": 0.7, "seed": 1},
        **more,
    )
    return Answer(text=text, finished=finished, cost_usd=0.0)


def battle(
    id_a: str = "phi",
    id_b: str | None = "gemini",
    *,
    served_a: str = "v1",
    served_b: str = "v1",
    **changes: object,
) -> Battle:
    """A battle that can be voted on, of a new id."""
    single = id_b is None
    base = Battle(
        id=f"{next(_number):032x}",
        mode=Mode.SINGLE if single else Mode.BLIND,
        language="ja",
        ui_language="ja",
        category=Category.MATH,
        preset=PresetUse("sums", edited=True),
        params=GenerationParams(seed=42),
        spec_a=spec(id_a),
        spec_b=None if single else spec(id_b),
        created_at=NOON,
        voter=VOTER,
        conversation_a=(Exchange("1+1は？", answer(served=served_a)),),
        conversation_b=() if single else (Exchange("1+1は？", answer("正解", served=served_b)),),
        flags=frozenset({Flag.PRESET_EDITED}),
        provenance={"versions": {"torch": "2"}, "a": {"template": "abc"}},
    )
    return replace(base, **changes)


def vote(on: Battle, winner: str = "model_a", **changes: object) -> Vote:
    base = Vote(battle_id=on.id, winner=Winner(winner), voter=on.voter, cast_at=NOON)
    return replace(base, **changes)


def hexes(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=length, max_size=length)


# Everything that Unicode has but lone surrogates and NUL, which `clean` replaces.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
some = st.none() | texts
floats = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**31 - 1)
moments = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - the zone is drawn
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(
        [UTC, timezone(timedelta(hours=9)), timezone(timedelta(minutes=-90))]
    ),
)
params = st.builds(
    GenerationParams,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1, exclude_min=True),
    max_new_tokens=st.integers(1, 10**6),
    seed=st.none() | counts,
)
specs = st.builds(
    ModelSpec,
    id=texts,
    label=texts,
    provider=texts,
    source=texts,
    revision=texts,
    context_tokens=st.none() | counts,
    price_in=st.none() | floats,
    price_out=st.none() | floats,
    variant_of=some,
    system_prompt=some,
    overrides=st.dictionaries(texts, floats | counts, max_size=2),
    stand_in=st.booleans(),
)
finishes = st.builds(
    Finished,
    reason=st.sampled_from(FinishReason),
    error_code=some,
    prompt_tokens=st.none() | counts,
    completion_tokens=st.none() | counts,
    thinking_tokens=st.none() | counts,
    ttft_s=st.none() | floats,
    total_s=floats,
    served_model=texts,
    sent=st.dictionaries(texts, floats | counts | some, max_size=2),
)
answers = st.builds(Answer, text=texts, finished=finishes, cost_usd=st.none() | floats)
conversations = st.lists(
    st.builds(
        Exchange,
        prompt=texts,
        answer=st.none() | answers,
        failed=st.lists(answers, max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
battles = st.builds(
    Battle,
    id=hexes(32),
    mode=st.sampled_from(Mode),
    language=st.sampled_from(["ja", "en", "other"]),
    ui_language=st.sampled_from(["ja", "en"]),
    category=st.sampled_from(Category),
    preset=st.none() | st.builds(PresetUse, id=texts, edited=st.booleans()),
    params=params,
    spec_a=specs,
    spec_b=st.none() | specs,
    created_at=moments,
    voter=hexes(64),
    system_prompt=some,
    conversation_a=conversations,
    conversation_b=conversations,
    flags=st.frozensets(st.sampled_from(Flag)),
    provenance=st.dictionaries(texts, st.dictionaries(texts, texts, max_size=2), max_size=2),
    source=texts,
    answered_at=st.none() | moments,
)
votes = st.builds(
    Vote,
    battle_id=hexes(32),
    winner=st.sampled_from(Winner),
    voter=hexes(64),
    cast_at=moments,
    reasons=st.lists(st.sampled_from(Reason), max_size=3).map(tuple),
    comment=some,
    guess=some,
    signed_in=st.booleans(),
    grade_a=st.none() | st.sampled_from(Grade),
    grade_b=st.none() | st.sampled_from(Grade),
    source=texts,
)
