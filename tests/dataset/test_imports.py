"""Votes of elsewhere come in whole, once, marked, and without a word of ours being changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from arena.dataset.export import export
from arena.dataset.import_rows import imported_voter
from arena.dataset.imports import ImportReport, import_file
from arena.domain import (
    Exchange,
    Exclusion,
    Grade,
    Reason,
    Winner,
)
from arena.errors.store import BadRow, NotImportable, StoreError
from arena.stats.vote_table import VoteFlag
from arena.store.queries import Counts
from arena.store.store import VoteStore
from tests.dataset.row_files import lines, opened, rewrite
from tests.store_tools import Outside, excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, vote

ALL = ("battles", "votes", "exclusions")


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
        assert report.notes[0].startswith("row 2: ")
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


def test_report_is_for_people() -> None:
    """The report says in words what came of the file."""
    report = ImportReport("x.jsonl", "x", 3, 2, 1, 1)
    assert report.text == (
        "x.jsonl: 3 rows; new: 2 battles, 1 votes, marked x; known: 1; left out: 0"
    )
