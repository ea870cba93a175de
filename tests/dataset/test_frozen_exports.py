"""The exports of a store of revision 0003, which files of that time in `frozen/` hold."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from arena.dataset.export import ExportShape, FileFormat, export
from arena.dataset.imports import import_file
from arena.store.store import VoteStore

HERE = Path(__file__).parent
FROZEN = HERE / "frozen"
STORE = HERE.parent / "store" / "revision_0003.sql"


# What exports have gained since: fields of an answer, as they stand in JSON and in a table's cell.
ADDED = (b', "usage_doubtful": false', b', ""usage_doubtful"": false')


def content(file: Path) -> bytes:
    """The bytes of an export without what was added since."""
    found = file.read_bytes()
    for field in ADDED:
        found = found.replace(field, b"")
    return found


@pytest.fixture
async def frozen(tmp_path: Path) -> AsyncIterator[VoteStore]:
    with closing(sqlite3.connect(tmp_path / "frozen.db")) as raw:
        raw.executescript(STORE.read_text(encoding="utf-8"))
    store = VoteStore.open(f"sqlite:///{tmp_path / 'frozen.db'}")
    yield store
    await store.aclose()


@pytest.mark.parametrize("file", sorted(FROZEN.iterdir()), ids=lambda file: file.name)
async def test_exports_are_the_same_to_the_byte(
    frozen: VoteStore, tmp_path: Path, file: Path
) -> None:
    """Programs that read an export of an earlier version can read one of this version."""
    await export(
        frozen,
        tmp_path / file.name,
        shape=ExportShape(file.stem.removesuffix("-masked")),
        file_format=FileFormat(file.suffix[1:]),
        ties=True,
        mask=file.stem.endswith("-masked"),
        salt="frozen",
    )
    assert content(tmp_path / file.name) == content(file)


@pytest.mark.parametrize(("shape", "battles", "votes"), [("arena", 10, 7), ("lmarena-140k", 5, 5)])
async def test_exports_can_be_imported(
    tmp_path: Path, shape: str, battles: int, votes: int
) -> None:
    """An export of an earlier version is imported whole."""
    store = VoteStore.open(f"sqlite:///{tmp_path / 'new.db'}")
    report = await import_file(store, FROZEN / f"{shape}.jsonl", source="earlier")
    assert (report.battles, report.votes, report.bad) == (battles, votes, 0)
    await store.aclose()
