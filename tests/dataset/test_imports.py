"""Votes of elsewhere come in whole, once, marked, and without a word of ours being changed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from arena.dataset.import_rows import imported_voter
from arena.dataset.imports import ImportReport, import_file
from arena.domain import (
    Answer,
    Battle,
    Category,
    Exchange,
    Exclusion,
    FinishReason,
    Grade,
    Mode,
    Reason,
    Vote,
    Winner,
)
from arena.errors.store import BadRow, NotImportable, StoreError
from arena.stats.vote_table import VoteFlag
from arena.store.queries import Counts
from arena.store.store import VoteStore
from tests.store_tools import Outside, excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, answers, battle, battles, vote, votes

ALL = ("battles", "votes", "exclusions")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[VoteStore]:
    """Another store, on SQLite."""
    store = await asyncio.to_thread(VoteStore.open, f"sqlite:///{path}", clock=lambda: NOON)
    try:
        yield store
    finally:
        await store.aclose()


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of either kind, as JSON has them."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    rows = pq.read_table(path).to_pylist()
    return [json.loads(json.dumps(row, default=lambda m: m.isoformat())) for row in rows]


def rewrite(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
async def exported(tmp_path: Path) -> Path:
    """An export of the shape `arena` with three battles: a vote, an excluded vote, no vote."""
    made = [battle(created_at=NOON + timedelta(minutes=n), answered_at=NOON) for n in range(3)]
    failed = answer("", reason="error", error_code="network")
    talk = (Exchange("一つ", answer("答"), (failed,)), Exchange("二つ", answer("え")))
    made[0] = replace(made[0], conversation_a=talk, conversation_b=talk)
    path = tmp_path / "theirs.jsonl"
    async with opened(tmp_path / "theirs.db") as theirs:
        for one in made:
            await theirs.add_battle(one)
        noted = {"reasons": (Reason.CLEAR,), "comment": "良い", "grade_a": Grade.OK, "guess": "phi"}
        await theirs.cast_vote(vote(made[0], "tie", signed_in=True, **noted))
        await theirs.cast_vote(vote(made[1]))
        await theirs.add_exclusion(Exclusion(made[1].id, "同じ人", NOON))
        await export(theirs, path, salt="s")
    return path


async def test_import_brings_all_of_it(store: VoteStore, exported: Path) -> None:
    """Failed attempts, grades and decisions come back too."""
    report = await import_file(store, exported)
    assert (report.rows, report.battles, report.votes, report.known) == (3, 3, 2, 0)
    found = await pairs_of(store)
    first, cast = found[0]
    assert cast is not None
    assert (first.source, cast.source) == ("theirs", "theirs")
    assert first.conversation_a[0].failed[0].finished.error_code == "network"
    assert [turn.prompt for turn in first.conversation_b] == ["一つ", "二つ"]
    assert first.answered_at == NOON
    assert (cast.winner, cast.reasons, cast.comment) == (Winner.TIE, (Reason.CLEAR,), "良い")
    assert (cast.guess, cast.grade_a, cast.grade_b, cast.signed_in) == ("phi", "ok", None, True)
    out = await excluded_in(store)
    assert out == {found[1][0].id: Exclusion(found[1][0].id, "同じ人", NOON)}
    table = await store.vote_table()
    assert list(table.has(VoteFlag.IMPORTED)) == [True, True]
    assert len(table.voters) == 1


async def test_importing_again_changes_nothing(
    store: VoteStore, outside: Outside, exported: Path
) -> None:
    """A second import of a file adds nothing."""
    await import_file(store, exported)
    before = outside.tables(*ALL)
    report = await import_file(store, exported)
    assert (report.battles, report.votes, report.known) == (0, 0, 3)
    assert outside.tables(*ALL) == before


async def test_own_export_changes_nothing(
    store: VoteStore, outside: Outside, tmp_path: Path
) -> None:
    """An import of the arena's own export changes no battle of its own."""
    made, late = battle(), battle()
    await store.add_battle(made)
    await store.add_battle(late)
    await store.cast_vote(vote(made))
    path = tmp_path / "own.jsonl"
    await export(store, path)
    rows = lines(path)
    rows[1] |= {"winner": "tie", "voted_at": NOON.isoformat(), "reasons": [], "signed_in": True}
    before = outside.tables(*ALL)
    report = await import_file(store, rewrite(path, rows))
    assert (report.battles, report.votes, report.known) == (0, 0, 2)
    assert outside.tables(*ALL) == before


async def test_vote_that_came_later_is_added(store: VoteStore, exported: Path) -> None:
    """A newer export of the same arena adds the votes that the older one lacked."""
    rows, other = lines(exported), exported.with_name("others.jsonl")
    older = [{**row, **dict.fromkeys(VOTED)} for row in rows]
    await import_file(store, rewrite(exported, older))
    assert await store.counts() == Counts(3, 0)
    report = await import_file(store, rewrite(exported, rows))
    assert (report.battles, report.votes, report.known) == (0, 2, 1)
    assert await store.counts() == Counts(3, 2)
    rows[2] |= {"winner": "tie", "voted_at": NOON.isoformat(), "reasons": [], "signed_in": True}
    # Another source may not vote on what this one gave.
    assert (await import_file(store, rewrite(other, rows))).votes == 0


VOTED = ("winner", "voted_at", "signed_in", "reasons", "comment", "guess", "grade_a", "grade_b")


async def test_voters_stay_apart(store: VoteStore, exported: Path) -> None:
    """A voter of elsewhere is no voter of this arena, nor of another source."""
    ours = battle()
    await store.add_battle(ours)
    await store.cast_vote(vote(ours))
    rows = lines(exported)
    for row in rows:
        row["voter"] = VOTER
    await import_file(store, rewrite(exported, rows))
    rows = [{**row, "id": f"{n:032x}"} for n, row in enumerate(rows, 77_000)]
    await import_file(store, rewrite(exported, rows), source="third")
    voters = {b.voter for b, _ in await pairs_of(store)}
    assert voters == {VOTER, imported_voter("theirs", VOTER), imported_voter("third", VOTER)}
    assert all(len(voter) == 64 for voter in voters)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"winner": "model_c"}, "winner"),
    ({"winner": None}, "no winner"),
    ({"reasons": ["because"]}, "reasons"),
    ({"grade_a": "great"}, "grade_a"),
    ({"guess": "llama"}, "guess"),
    ({"voted_at": "yesterday"}, "cast_at"),
    ({"voted_at": "2025-06-01T12:00:00"}, "time zone"),
    ({"signed_in": None}, "signed_in"),
    ({"id": "x"}, "hexadecimal"),
    ({"id": 7}, "id"),
    ({"language": "fr"}, "language"),
    ({"mode": "single"}, "usable"),
    ({"category_tag": "cooking"}, "category"),
    ({"voter": None}, "voter"),
    ({"flags": ["new"]}, "flags"),
    ({"params": {"temperature": 9.0}}, "params"),
    ({"model_a": "llama"}, "model_a"),
    ({"conversation_a": []}, "missing"),
    ({"conversation_a": [{"role": "robot", "content": "x"}]}, "role"),
    ({"turns_a": []}, "messages more than turns"),
    ({"turns_a": [7]}, "not a row"),
    ({"turns_b": [{"finished": None}]}, "a turn has the fields"),
    ({"spec_b": None, "model_b": None}, "usable"),
    ({"surprise": 1}, "unknown: ['surprise']"),
    ({"excluded": 7}, "excluded"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[f"{n}-{w}" for n, (_, w) in enumerate(BAD)])
async def test_bad_row_is_named_and_nothing_comes_in(
    tmp_path: Path, exported: Path, change: dict[str, Any], words: str
) -> None:
    """An unknown value refuses the whole file and names the row."""
    rows = lines(exported)
    rows[1] |= change
    async with opened(tmp_path / "ours.db") as store:
        with pytest.raises(BadRow) as caught:
            await import_file(store, rewrite(exported, rows))
        assert caught.value.values["row"] == 2
        assert words in caught.value.sentence
        assert await store.counts() == Counts(0, 0)
        report = await import_file(store, exported, skip_bad=True)
        assert (report.rows, report.battles, report.bad) == (3, 2, 1)
        assert report.notes[0].row == 2
        assert words in report.text


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"a": 1}\n{', '"x"'])
async def test_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    """A file of another kind is refused with a sentence."""
    path = tmp_path / "strange.jsonl"
    path.write_text(text)
    async with opened(tmp_path / "ours.db") as store:
        with pytest.raises(NotImportable) as caught:
            await import_file(store, path)
    assert "strange.jsonl" in caught.value.sentence


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet", "broken.parquet", "."])
async def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """A path without a file is an error that names it."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not")
    async with opened(tmp_path / "ours.db") as store:
        with pytest.raises(NotImportable):
            await import_file(store, tmp_path / name)


async def test_row_that_is_there_twice_is_refused(store: VoteStore, exported: Path) -> None:
    """Two rows of one battle are refused."""
    rows = lines(exported)
    with pytest.raises(BadRow) as caught:
        await import_file(store, rewrite(exported, [*rows, rows[0]]))
    assert caught.value.values["row"] == 4
    mixed = [*rows, {"evaluation_session_id": "x"}]
    with pytest.raises(BadRow) as caught:
        await import_file(store, rewrite(exported, mixed))
    assert "among rows of arena" in caught.value.sentence


async def test_failure_in_the_store_leaves_nothing(
    store: VoteStore, outside: Outside, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure in a later batch leaves nothing of the earlier ones."""
    monkeypatch.setattr("arena.dataset.imports._BATCH", 1)
    outside.rows("DROP TABLE exclusions")
    with pytest.raises(StoreError):
        await import_file(store, exported)
    assert await store.counts() == Counts(0, 0)


async def test_small_batches_bring_the_same(
    store: VoteStore, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that are full, or the last one, are stored whole."""
    for size, number in ((1, 3), (2, 3), (3, 3)):
        monkeypatch.setattr("arena.dataset.imports._BATCH", size)
        report = await import_file(store, exported)
        assert report.rows == number
    assert await store.counts() == Counts(3, 2)


async def test_cancelled_import_ends_its_thread(tmp_path: Path, exported: Path) -> None:
    """A cancelled import waits until its thread has ended."""
    async with opened(tmp_path / "ours.db") as store:
        importing = asyncio.create_task(import_file(store, exported))
        await asyncio.sleep(0)
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
        assert await store.counts() in (Counts(0, 0), Counts(3, 2))


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
    assert (report.shape, report.battles, report.votes) == (ExportShape.LMARENA, 2, 2)
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


def test_report_is_for_people() -> None:
    """The report says in words what came of the file."""
    report = ImportReport("x.jsonl", ExportShape.ARENA, "x", 3, 2, 1, 1, 0, ())
    assert report.text == (
        "x.jsonl: 3 rows; new: 2 battles, 1 votes, marked x; known: 1; left out: 0"
    )
