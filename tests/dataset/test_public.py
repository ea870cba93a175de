"""Votes for every visitor: masked, one file at a time, and nothing where the owner said no."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from arena.dataset import public as export_public
from arena.dataset.columns import ExportShape, FileFormat
from arena.dataset.public import PublicExports, PublicFile
from arena.domain import Exchange
from arena.errors.store import ExportBusy, ExportOff, ExportTooLarge, StoreError
from arena.store.store import VoteStore
from tests.vote_samples import answer, battle, vote


class Clock:
    """Seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def voted(store: VoteStore) -> None:
    """One battle with a vote, with an e-mail address in it."""
    talk = (Exchange("Mail taro@example.com", answer("I wrote to taro@example.com.")),)
    made = battle(conversation_a=talk, conversation_b=talk)
    await store.add_battle(made)
    await store.cast_vote(vote(made, comment="call 090-1234-5678"))


def folders(path: Path) -> list[Path]:
    """Where files are or were made."""
    return list(path.glob("arena-export-*"))


def rows_of(file: PublicFile) -> list[dict[str, Any]]:
    """What a visitor reads in the file."""
    with zipfile.ZipFile(file.path) as packed:
        assert packed.testzip() is None
        name = next(name for name in packed.namelist() if name != "README.md")
        return [json.loads(line) for line in packed.read(name).decode().splitlines()]


async def test_file_is_masked_and_tells_what_it_is(store: VoteStore, tmp_path: Path) -> None:
    """What visitors download is always masked."""
    await voted(store)
    exports = PublicExports(store, on=True, folder=tmp_path)
    file = await exports.make(ExportShape.ARENA, FileFormat.JSONL)
    with zipfile.ZipFile(file.path) as packed:
        card = packed.read("README.md").decode()
        text = packed.read("arena-votes-arena.jsonl").decode()
    assert "taro" not in text
    assert "1234" not in text
    assert "[email]" in text
    assert 'data_files: "arena-votes-arena.jsonl"' in card
    assert "1 phone" in card
    assert file.report.rows == 1
    await exports.aclose()
    assert folders(tmp_path) == []


async def test_owner_who_did_not_ask_hands_nothing_out(store: VoteStore, tmp_path: Path) -> None:
    """A raw call gets nothing where the owner does not allow it."""
    await voted(store)
    with pytest.raises(ExportOff):
        await PublicExports(store, on=False, folder=tmp_path).make(
            ExportShape.ARENA, FileFormat.CSV
        )
    assert folders(tmp_path) == []


async def test_file_is_shared_for_a_minute_and_then_made_again(
    store: VoteStore, tmp_path: Path
) -> None:
    """One file is made a minute, and old files are removed."""
    await voted(store)
    clock = Clock()
    exports = PublicExports(store, on=True, folder=tmp_path, clock=clock)
    asked = [exports.make(ExportShape.ARENA, FileFormat.JSONL) for _ in range(5)]
    first = (await asyncio.gather(*asked))[0]
    voter = rows_of(first)[0]["voter"]
    clock.now = export_public.FRESH_S - 1
    assert await exports.make(ExportShape.ARENA, FileFormat.JSONL) is first
    other = await exports.make(ExportShape.DPO, FileFormat.CSV)
    assert len(folders(tmp_path)) == 2
    clock.now = export_public.FRESH_S
    again = await exports.make(ExportShape.ARENA, FileFormat.JSONL)
    assert again.path != first.path
    assert not first.path.exists()
    assert other.path.exists()
    # Two files can't be joined by their voters.
    assert rows_of(again)[0]["voter"] != voter


async def test_one_file_at_a_time(
    store: VoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exports are made one after another; a visitor who would wait too long is told so."""
    exports = PublicExports(store, on=True, folder=tmp_path)
    going, most = 0, 0
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = export_public.export

    async def counted(*given: Any, **options: Any) -> Any:
        nonlocal going, most
        going += 1
        most = max(most, going)
        begun.set()
        await go_on.wait()
        made = await real(*given, **options)
        going -= 1
        return made

    monkeypatch.setattr(export_public, "export", counted)
    first, *others = [
        asyncio.create_task(exports.make(shape, FileFormat.CSV)) for shape in ExportShape
    ]
    await begun.wait()
    with monkeypatch.context() as shorter:
        shorter.setattr(export_public, "WAIT_S", 0.01)
        with pytest.raises(ExportBusy):
            await exports.make(ExportShape.DPO, FileFormat.JSONL)
    go_on.set()
    assert (await first).path.exists()
    await asyncio.gather(*others)
    assert most == 1


async def test_failed_file_leaves_nothing(
    store: VoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed export leaves no file, and the next visitor gets a whole one."""
    await voted(store)
    exports = PublicExports(store, on=True, folder=tmp_path)
    monkeypatch.setattr(export_public, "MOST_BATTLES", 0)
    with pytest.raises(ExportTooLarge):
        await exports.make(ExportShape.ARENA, FileFormat.JSONL)
    monkeypatch.undo()

    def broken(_rows: Path) -> Path:
        raise StoreError("full", place="disk")

    monkeypatch.setattr(export_public, "_packed", broken)
    with pytest.raises(StoreError):
        await exports.make(ExportShape.ARENA, FileFormat.JSONL)
    assert folders(tmp_path) == []
    monkeypatch.undo()
    assert (await exports.make(ExportShape.ARENA, FileFormat.JSONL)).report.rows == 1


@pytest.mark.parametrize("shape", list(ExportShape))
async def test_battle_without_a_vote_is_in_no_public_file(
    store: VoteStore, tmp_path: Path, shape: ExportShape
) -> None:
    """Before the vote neither rows, counts nor card of a public file know of a battle."""
    await voted(store)
    waiting = battle("secret-left", "secret-right")
    await store.add_battle(waiting)
    exports = PublicExports(store, on=True, folder=tmp_path)
    file = await exports.make(shape, FileFormat.JSONL)
    assert file.report.battles == 1
    assert "no_vote" not in file.report.left_out
    with zipfile.ZipFile(file.path) as packed:
        assert b"secret" not in b"".join(packed.read(name) for name in packed.namelist())
    await store.cast_vote(vote(waiting))
    later = PublicExports(store, on=True, folder=tmp_path)
    assert (await later.make(shape, FileFormat.JSONL)).report.battles == 2
