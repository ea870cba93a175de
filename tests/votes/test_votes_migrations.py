"""A database is what schema.py says, whoever made it and however many start at once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect
from vote_samples import NOON, answer, battle, spec, vote

from arena.domain import Exchange
from arena.errors import StoreError, StoreTooNew
from arena.votes import migrations
from arena.votes.engine import make_engine
from arena.votes.schema import metadata
from arena.votes.store import Counts, VoteStore

FROZEN = Path(__file__).with_name("revision_0001.sql")


def content(file: Path) -> bytes:
    return file.read_bytes()


def shape(engine: Engine) -> dict[str, Any]:
    """All that reflection sees of our tables."""
    found = inspect(engine)
    return {
        table: {
            "columns": [{**c, "type": str(c["type"])} for c in found.get_columns(table)],
            "key": found.get_pk_constraint(table),
            "foreign": found.get_foreign_keys(table),
            "unique": found.get_unique_constraints(table),
            "checks": found.get_check_constraints(table),
            "indexes": found.get_indexes(table),
        }
        for table in metadata.tables
    }


async def test_migrations_make_the_schema(store: VoteStore, tmp_path: Path) -> None:
    """A column was added to schema.py, and every database that existed broke."""
    with store._reader.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    # compare_metadata does not look at CHECK constraints and keys.
    direct = make_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(direct)
    assert shape(store._reader) == shape(direct)
    direct.dispose()


async def test_first_revision_stays_readable(file: Path, url: str) -> None:
    """An update of the arena lost, or could no longer read, the votes of last year."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN.read_text(encoding="utf-8"))
    failed = answer("", reason="error", error_code="network")
    first = battle(
        id=f"{1:032x}",
        spec_b=spec(
            "phi-steps",
            variant_of="phi",
            system_prompt="一歩ずつ",
            overrides={"temperature": 0.2},
        ),
        conversation_a=(Exchange("1+1は？", answer("2"), (failed,)),),
    )
    second = battle("phi", None, id=f"{2:032x}", preset=None)
    store = VoteStore.open(url, clock=lambda: NOON)
    found = [pair async for pair in store.iter_battles()]
    noted = vote(first, "tie", reasons=("clear",), comment="良い", guess="a=phi")
    assert found == [(first, noted), (second, None)]
    assert await store.salt() == "kept"
    assert await store.today("gemini") == 1
    await store.aclose()


async def test_opening_again_changes_nothing(url: str, file: Path) -> None:
    """Every start ran the migrations anew."""
    store = VoteStore.open(url)
    made = battle()
    await store.add_battle(made)
    await store.aclose()
    before = content(file)
    again = VoteStore.open(url)
    assert content(file) == before
    assert await again.get_battle(made.id) == made
    assert await again.counts() == Counts(1, 0)
    await again.aclose()


async def test_newer_database_is_refused_untouched(url: str, file: Path) -> None:
    """After a downgrade the old code wrote into tables that it did not know."""
    store = VoteStore.open(url)
    await store.aclose()
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = content(file)
    with pytest.raises(StoreTooNew) as caught:
        VoteStore.open(url)
    assert "9999" in caught.value.detail
    assert str(file) in caught.value.sentence
    assert content(file) == before


def test_migration_that_fails_leaves_nothing(url: str, file: Path) -> None:
    """Half the tables were made, and the next start failed on them for ever."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("CREATE TABLE votes (battle_id TEXT)")
    with pytest.raises(StoreError):
        VoteStore.open(url)
    with closing(sqlite3.connect(file)) as raw:
        tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert tables == [("votes",)]


def test_two_processes_start_on_an_empty_file(url: str, two: Callable[..., list[str]]) -> None:
    """Two replicas that start together both made the tables, and one of them died."""
    assert two("open", url) == ["0", "0"]


async def test_threads_start_on_an_empty_file(url: str) -> None:
    """The same within one process; on several files too, as Alembic's state is the process's."""
    urls = [f"{url}{n // 2}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(VoteStore.open, urls))
    for store in stores:
        assert await store.counts() == Counts(0, 0)
        await store.aclose()


async def test_logging_is_left_alone(url: str) -> None:
    """Alembic's usual env.py turned the application's loggers off."""
    mine, root = logging.getLogger("arena.some"), logging.getLogger()
    before = (root.level, list(root.handlers), mine.disabled, mine.level)
    store = VoteStore.open(url)
    assert (root.level, list(root.handlers), mine.disabled, mine.level) == before
    await store.aclose()


def test_folder_with_percent_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A percent sign in the path of the installation was read as a reference."""
    monkeypatch.setattr(migrations, "__file__", "/srv/100%s/migrations/__init__.py")
    assert migrations._config().get_main_option("script_location") == "/srv/100%s/migrations"
