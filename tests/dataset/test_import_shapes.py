"""Rows in LMArena's columns come in, and what is exported comes back as it was."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from arena.dataset.export import ExportShape, FileFormat, export
from arena.dataset.imports import import_file
from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Exclusion,
    FinishReason,
    Mode,
    Vote,
    Winner,
)
from arena.errors.store import BadRow
from arena.stats.vote_table import VoteFlag
from arena.store.store import VoteStore
from tests.dataset.row_files import lines, opened, rewrite
from tests.store_tools import pairs_of
from tests.vote_samples import NOON, answer, answers, battle, battles, vote, votes


def lmarena_row(**changes: Any) -> dict[str, Any]:
    """A row as LMArena publishes it, from the public description of the set."""

    def message(role: str, text: str) -> dict[str, Any]:
        part = {"type": "text", "text": text, "image": None, "mimeType": None}
        return {"role": role, "content": [part]}

    talk = [message("user", "Hi"), message("assistant", "Hello")]
    row = {
        "id": "2388de59-aecd-44df-a342-61af9303a92d",
        "model_a": "gemini-2.5-pro",
        "model_b": "claude-3-7-sonnet",
        "winner": "both_bad",
        "evaluation_session_id": "1a2b",
        "evaluation_order": 1,
        "conversation_a": talk,
        "conversation_b": talk,
        "full_conversation": [{"user": talk[0], "model_side_a": talk[1], "model_side_b": talk[1]}],
        "conv_metadata": {"turns": 1},
        "category_tag": {"math_v0.1": {"math": True}},
        "is_code": False,
        "language": "pl",
        "timestamp": "2025-06-01T12:00:00",
    }
    return row | changes


async def test_lmarena_rows_come_in(store: VoteStore, tmp_path: Path) -> None:
    """Rows of LMArena's set become battles and votes that are marked with their source."""
    path = rewrite(
        tmp_path / "lmarena.jsonl",
        [lmarena_row(), lmarena_row(id="other", is_code=True, language="ja", winner="model_b")],
    )
    report = await import_file(store, path)
    assert (report.battles, report.votes) == (2, 2)
    one = await store.get_battle("2388de59aecd44dfa34261af9303a92d")
    assert one is not None
    assert (one.spec_a.id, one.language, one.category, one.mode) == (
        "gemini-2.5-pro", "other", Category.MATH, Mode.BLIND,
    )  # fmt: skip
    assert one.created_at == NOON
    assert one.conversation_a == (Exchange("Hi", one.conversation_a[0].answer),)
    cast = await store.get_vote(one.id)
    assert cast == Vote(one.id, Winner.BOTH_BAD, one.voter, NOON, source="lmarena")
    table = await store.vote_table()
    assert len(table.voters) == 1
    assert table.has(VoteFlag.IMPORTED).all()
    assert (await import_file(store, path)).known == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"winner": "tie (bothbad)"}, "winner"),
        ({"id": ""}, "id"),
        ({"model_a": None}, "model_a"),
        ({"timestamp": "June"}, "moment"),
        ({"conversation_a": []}, "different prompts"),
        ({"conversation_a": [], "conversation_b": []}, "usable"),
        ({"conversation_b": [{"role": "user", "content": "Hi"}]}, "missing"),
        (
            {"conversation_a": [{"role": "user", "content": [{"type": "image", "text": ""}]}]},
            "only text",
        ),
        ({"extra": 1}, "unknown"),
    ],
)
async def test_bad_lmarena_row_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """A prompt with a picture is refused: without it the vote is about another question."""
    path = rewrite(tmp_path / "l.jsonl", [lmarena_row(**change)])
    async with opened(tmp_path / "ours.db") as store:
        with pytest.raises(BadRow) as caught:
            await import_file(store, path)
    assert words in caught.value.sentence


async def test_parquet_of_others_comes_in(store: VoteStore, tmp_path: Path) -> None:
    """Times without a zone, as LMArena's Parquet has them, are in UTC."""
    row = lmarena_row(timestamp=NOON.replace(tzinfo=None))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "l.parquet")
    assert (await import_file(store, tmp_path / "l.parquet")).votes == 1
    assert [v.cast_at for _, v in await pairs_of(store) if v] == [NOON]


@pytest.mark.parametrize("kind", [FileFormat.JSONL, FileFormat.PARQUET])
async def test_lmarena_round_trip(tmp_path: Path, kind: FileFormat) -> None:
    """An export in LMArena's columns comes back as the same votes."""
    made = battle(conversation_b=(Exchange("1+1は？", answer("# 二\n```py\n1\n```")),))
    first, second = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    async with opened(tmp_path / "a.db") as a, opened(tmp_path / "b.db") as b:
        await a.add_battle(made)
        await a.cast_vote(vote(made, "model_b", cast_at=NOON + timedelta(minutes=1)))
        await export(a, first, shape=ExportShape.LMARENA, file_format=kind)
        await import_file(b, first)
        await export(b, second, shape=ExportShape.LMARENA, file_format=kind)
    # The tokens and the tag, which the columns do not hold in full, may become unknown.
    loose = ("evaluation_session_id", "conv_metadata", "category_tag")
    (one,), (two,) = lines(first), lines(second)
    assert {k: v for k, v in one.items() if k not in loose} == {
        k: v for k, v in two.items() if k not in loose
    }


usable = st.builds(
    lambda text, made: Answer(
        "答" + text, replace(made.finished, reason=FinishReason.STOP), made.cost_usd
    ),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9),
    made=answers,
)


@st.composite
def stored(draw: st.DrawFn) -> tuple[Battle, Vote | None, bool]:
    """A battle as the store can hold it, perhaps with a vote, perhaps excluded."""
    made = draw(battles)
    # The arena gives every contestant an id.
    assume(all(made.spec(side).id for side in made.sides))
    if made.spec_b is None or made.mode is Mode.SINGLE:
        return replace(made, source=""), None, False
    prompts = [turn.prompt for turn in made.conversation_a] or ["問"]
    talks = [
        tuple(
            Exchange(prompt, draw(usable), tuple(draw(st.lists(answers, max_size=1))))
            for prompt in prompts
        )
        for _ in "ab"
    ]
    made = replace(made, source="", conversation_a=talks[0], conversation_b=talks[1])
    guess = draw(st.sampled_from([None, made.spec_a.id, made.spec_b.id]))
    cast = replace(draw(votes), battle_id=made.id, voter=made.voter, guess=guess, source="")
    return made, cast, draw(st.booleans())


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cases=st.lists(stored(), max_size=3, unique_by=lambda c: c[0].id),
    kind=st.sampled_from([FileFormat.JSONL, FileFormat.PARQUET]),
)
async def test_round_trip_is_equal(
    cases: list[tuple[Battle, Vote | None, bool]], kind: FileFormat
) -> None:
    """Every row that an export writes is read back as the same records."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with opened(folder / "a.db") as store:
            for made, cast, out in cases:
                await store.add_battle(made)
                if cast is not None:
                    await store.cast_vote(cast)
                if out:
                    await store.add_exclusion(Exclusion(made.id, "理由", NOON))
            await export(store, folder / f"first.{kind}", file_format=kind, salt="s")
        for before, after in (("first", "second"), ("second", "third")):
            async with opened(folder / f"{after}.db") as store:
                path = folder / f"{before}.{kind}"
                report = await import_file(store, path, source="elsewhere")
                assert report.battles == len(cases)
                path = folder / f"{after}.{kind}"
                await export(store, path, file_format=kind, salt="s")
        first, second, third = (
            lines(folder / f"{name}.{kind}") for name in ("first", "second", "third")
        )
    # Only the voters' hashes and the source may differ, and the same voters are the same.
    changed = {"voter": None, "source": None}
    assert [row | changed for row in first] == [row | changed for row in second]
    assert [row | {"voter": None} for row in second] == [row | {"voter": None} for row in third]
    assert all(row["source"] == "elsewhere" for row in second)
    for other in (second, third):
        pairs = {(a["voter"], b["voter"]) for a, b in zip(first, other, strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
