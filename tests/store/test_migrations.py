"""A database is what schema.py says, whoever made it and however many start at once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, insert, inspect

from arena.domain import Erasure, Exchange, Exclusion, Grade, Reason, Vote, Winner
from arena.errors.battle import UndoTooLate
from arena.errors.store import StoreError, StoreTooNew
from arena.store import migrations
from arena.store.database import make_engine, open_engine, write_engine
from arena.store.queries import Counts
from arena.store.schema import battles, meta, metadata, votes
from arena.store.serialization import battle_row, vote_row
from arena.store.store import VoteStore
from arena.store.usage import RateWindow
from tests.store_tools import Outside, decisions_in, excluded_in, pairs_of, tally
from tests.vote_samples import NOON, VOTER, answer, battle, spec, vote

FROZEN = Path(__file__).with_name("revision_0001.sql")
FROZEN_2 = Path(__file__).with_name("revision_0002.sql")
FROZEN_3 = Path(__file__).with_name("revision_0003.sql")
FROZEN_4 = Path(__file__).with_name("revision_0004.sql")
FROZEN_5 = Path(__file__).with_name("revision_0005.sql")


def content(file: Path) -> bytes:
    return file.read_bytes()


def shape(engine: Engine, tables: Iterable[str] = tuple(metadata.tables)) -> dict[str, Any]:
    """All that reflection sees of our tables."""
    found = inspect(engine)
    return {
        table: {
            "columns": [{**c, "type": str(c["type"])} for c in found.get_columns(table)],
            "key": found.get_pk_constraint(table),
            "foreign": found.get_foreign_keys(table),
            "unique": found.get_unique_constraints(table),
            "checks": found.get_check_constraints(table),
            # The condition of a partial index is an object that equals itself alone.
            "indexes": [
                {name: str(value) for name, value in (i | i.get("dialect_options", {})).items()}
                | {"dialect_options": None}
                for i in found.get_indexes(table)
            ],
        }
        for table in tables
    }


@pytest.fixture
def url(database: str, file_of: Path, new_url: Callable[..., str]) -> str:
    """An empty database, not yet of the arena."""
    return f"sqlite:///{file_of}" if database == "sqlite" else new_url(empty=True)


def to_revision(url: str, revision: str) -> None:
    """Brings a database up to a revision."""
    config, engine = migrations.alembic_config(), make_engine(url)
    with write_engine(engine).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


async def test_migrations_make_the_schema(store: VoteStore, new_url: Callable[..., str]) -> None:
    """The migrations together make the tables of schema.py."""
    with store.database.reader.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    # compare_metadata does not look at CHECK constraints and keys.
    direct = make_engine(new_url(empty=True))
    metadata.create_all(direct)
    assert shape(store.database.reader) == shape(direct)
    direct.dispose()


@pytest.mark.parametrize(
    "frozen",
    [FROZEN, FROZEN_2, FROZEN_3, FROZEN_4, FROZEN_5],
    ids=["0001", "0002", "0003", "0004", "0005"],
)
def test_frozen_store_of_every_revision_comes_to_one_shape(frozen: Path, file: Path) -> None:
    """A store that any revision wrote has the tables of a new one after the upgrade."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(frozen.read_text(encoding="utf-8"))
    old, new = (open_engine(f"sqlite:///{path}") for path in (file, file.with_name("new.db")))
    assert shape(old) == shape(new)
    old.dispose()
    new.dispose()


def test_each_revision_adds_its_tables(url: str) -> None:
    """The migrations run one by one, on both databases."""
    engine = make_engine(url)
    for revision, (there, not_yet) in {
        "0001": ("votes", "uses"),
        "0002": ("uses", "features"),
    }.items():
        to_revision(url, revision)
        tables = inspect(engine).get_table_names()
        assert (there in tables, not_yet in tables) == (True, False)
    engine.dispose()


OLD_TABLES = ("battles", "votes", "meta", "daily_counts")
# What revisions after the first added to a row, in the order of the columns.
NEW_OF_BATTLE = {"source": "", "answered_at": None, "erased": None}
NEW_OF_VOTE = {
    "signed_in": False, "grade_a": None, "grade_b": None, "source": "", "pending_until": None,
}  # fmt: skip


def as_now(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the first revision as they stand after the migrations."""
    return tables | {
        "battles": [(*row, *NEW_OF_BATTLE.values()) for row in tables["battles"]],
        "votes": [(*row, *NEW_OF_VOTE.values()) for row in tables["votes"]],
    }


async def test_first_revision_stays_readable(file: Path, url: str, outside: Outside) -> None:
    """A store of that revision keeps its rows, and all that came later works on them."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN.read_text(encoding="utf-8"))
    before = outside.tables(*OLD_TABLES)
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
        conversation_b=(Exchange("1+1は？", answer()),),
    )
    second = battle("phi", None, id=f"{2:032x}", preset=None)
    store = VoteStore.open(url, clock=lambda: NOON)
    found = await pairs_of(store)
    noted = vote(first, "tie", reasons=("clear",), comment="良い", guess="a=phi")
    assert found == [(first, noted), (second, None)]
    assert not noted.signed_in
    assert await store.salt() == "kept"
    assert await store.today("gemini") == 1
    assert outside.tables(*OLD_TABLES) == as_now(before)
    # What is new works on the old rows.
    await store.add_exclusion(Exclusion(first.id, "x", NOON))
    assert await tally(store) == {}
    await store.aclose()


async def test_first_revision_moves_up_on_both(url: str, outside: Outside) -> None:
    """The tables of the first revision are upgraded on SQLite and on Postgres."""
    to_revision(url, "0001")
    made, alone = battle(), battle("phi", None, created_at=NOON + timedelta(hours=1))
    cast = vote(made, "tie", reasons=("clear",), comment="良い", guess="a=phi")
    engine = make_engine(url)
    with write_engine(engine).begin() as connection:
        for one in (made, alone):
            row = {k: v for k, v in battle_row(one).items() if k not in NEW_OF_BATTLE}
            connection.execute(insert(battles).values(**row, updated_at=NOON))
        row = {k: v for k, v in vote_row(cast).items() if k not in NEW_OF_VOTE}
        connection.execute(insert(votes).values(**row))
        connection.execute(insert(meta).values(key="voter_salt", value="kept"))
    engine.dispose()
    before = outside.tables(*OLD_TABLES)
    store = VoteStore.open(url)
    assert await pairs_of(store) == [(made, cast), (alone, None)]
    assert await store.salt() == "kept"
    assert outside.tables(*OLD_TABLES) == as_now(before)
    await store.aclose()


async def test_second_revision_stays_readable(file: Path, url: str, outside: Outside) -> None:
    """A store of that revision keeps its rows, and all that came later works on them."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN_2.read_text(encoding="utf-8"))
    kept = ("exclusions", "meta", "daily_counts", "spending", "uses")
    before = outside.tables(*kept)
    assert all(before.values())
    store = VoteStore.open(url, clock=lambda: NOON)
    first, alone, third = await pairs_of(store)
    assert outside.tables(*kept) == before
    noted = Vote(f"{1:032x}", Winner.TIE, VOTER, NOON, (Reason.CLEAR,), "良い", "a=phi", True)
    assert (first[1], alone[1]) == (noted, None)
    assert third[1] is not None
    assert third[1].reasons == (Reason.WRONG, Reason.TOO_LONG)
    assert first[0].conversation_a[0].failed[0].finished.error_code == "network"
    assert {(b.source, b.answered_at) for b, _ in (first, alone, third)} == {("", None)}
    assert (await excluded_in(store)).keys() == {third[0].id}
    assert await store.spent_today("gemini") == 1234
    # What is new works on the old rows.
    await store.annotate_vote(first[0].id, VOTER, grade_a=Grade.GOOD, grade_b=Grade.BAD)
    graded = await store.get_vote(first[0].id)
    assert graded == replace(noted, grade_a=Grade.GOOD, grade_b=Grade.BAD)
    await store.aclose()


async def test_third_revision_stays_readable(
    file: Path, url: str, outside: Outside, new_url: Callable[..., str]
) -> None:
    """A store of that revision keeps its rows, and what is read and written again is the same."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN_3.read_text(encoding="utf-8"))
    # Features are computed anew by newer code.
    kept = [name for name in metadata.tables if name != "features"]
    before = outside.tables(*kept)
    assert all(before.values())
    # Every vote of before is final, and every battle has its texts.
    before |= {name: [(*row, None) for row in before[name]] for name in ("battles", "votes")}
    copied = new_url(empty=True)
    store, copy = (
        VoteStore.open(url, clock=lambda: NOON),
        VoteStore.open(copied, clock=lambda: NOON),
    )
    for found, cast in await pairs_of(store):
        await copy.add_battle(found)
        if cast is not None:
            await copy.cast_vote(cast)
    for decision in await decisions_in(store):
        await copy.add_exclusion(decision)
    await store.vote_table()
    await copy.vote_table()
    assert outside.tables(*kept) == before
    assert await pairs_of(copy) == await pairs_of(store)
    records = ("votes", "exclusions", "features")
    again, here = Outside(copied).tables(*records), outside.tables(*records)
    assert {name: sorted(again[name]) for name in records} == {
        name: sorted(here[name]) for name in records
    }
    assert await store.salt() == "kept"
    assert (await store.today("gemini"), await store.spent_today("google")) == (2, 1234)
    assert await store.consume([RateWindow("a" * 16, 60, 2)]) is not None
    await store.aclose()
    await copy.aclose()


async def test_third_revision_moves_up_on_both(url: str) -> None:
    """Votes of that revision are final after the upgrade, on SQLite and on Postgres."""
    to_revision(url, "0003")
    made = battle()
    cast = vote(made, "tie", comment="良い")
    engine = make_engine(url)
    with write_engine(engine).begin() as connection:
        row = {k: v for k, v in battle_row(made).items() if k != "erased"}
        connection.execute(insert(battles).values(**row, updated_at=NOON))
        connection.execute(insert(votes).values(**vote_row(cast)))
    engine.dispose()
    store = VoteStore.open(url)
    assert await pairs_of(store) == [(made, cast)]
    assert await store.pending_votes() == {}
    with pytest.raises(UndoTooLate):
        await store.undo_vote(made.id, VOTER, NOON)
    await store.aclose()


async def test_fourth_revision_stays_readable(file: Path, url: str, outside: Outside) -> None:
    """A store of that revision has its rows, its texts too; its pending vote still is one."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN_4.read_text(encoding="utf-8"))
    before = outside.tables(*metadata.tables)
    before["battles"] = [(*row, None) for row in before["battles"]]
    store = VoteStore.open(url, clock=lambda: NOON)
    assert outside.tables(*metadata.tables) == before
    (_, final), (waits, none) = await pairs_of(store)
    assert final is not None
    assert none is None
    until = NOON + timedelta(minutes=1, seconds=5)
    assert await store.pending_votes() == {waits.id: until}
    assert await store.finalise_votes(until) == [waits.id]
    assert await store.get_vote(waits.id) == vote(
        waits, "both_bad", cast_at=NOON + timedelta(minutes=1), guess="phi", reasons=("wrong",)
    )
    await store.aclose()


async def test_fifth_revision_stays_readable(file: Path, url: str, outside: Outside) -> None:
    """A store of that revision opens as it is; its erased battle still is one, and counts."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN_5.read_text(encoding="utf-8"))
    before = outside.tables(*metadata.tables)
    store = VoteStore.open(url, clock=lambda: NOON)
    assert outside.tables(*metadata.tables) == before
    (bare, cast), (whole, none) = await pairs_of(store)
    assert (bare.erased, cast) == (Erasure(NOON, 1 << 17, 1234567890123456789, 21, 4), vote(bare))
    assert (whole.erased, none) == (None, None)
    outside.rows("DELETE FROM features")
    assert list((await store.vote_table()).chars_a) == [21]
    await store.aclose()


async def test_long_names_fit_as_keys(store: VoteStore) -> None:
    """The mark of a dataset and the budget of a model fit with their longest names."""
    mark = "restored:" + "x" * 96
    await store.set_meta(mark, "1")
    assert await store.get_meta(mark) == "1"
    assert await store.reserve_spend("openai:" + "x" * 96, 1, None) is not None


async def test_opening_again_changes_nothing(url: str, file: Path) -> None:
    """Opening a store that is up to date does not write."""
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


async def test_newer_database_is_refused_untouched(url: str, outside: Outside) -> None:
    """A revision that is not known is a typed error, and nothing is changed."""
    store = VoteStore.open(url)
    await store.aclose()
    outside.rows("UPDATE alembic_version SET version_num = '9999'")
    outside.rows("DROP TABLE uses")
    with pytest.raises(StoreTooNew) as caught:
        VoteStore.open(url)
    assert "9999" in caught.value.detail
    assert store.place in caught.value.sentence
    assert outside.rows("SELECT version_num FROM alembic_version") == [("9999",)]
    engine = make_engine(url)
    assert "uses" not in inspect(engine).get_table_names()
    engine.dispose()


async def test_newer_file_is_not_touched(url: str, file: Path) -> None:
    """The file of a newer revision stays the same to the byte."""
    store = VoteStore.open(url)
    await store.aclose()
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = content(file)
    with pytest.raises(StoreTooNew):
        VoteStore.open(url)
    assert content(file) == before


@pytest.mark.parametrize(
    "fault",
    [
        (None, "TABLE votes (battle_id TEXT)", "signed_in"),
        ("0001", "TABLE uses (battle_id TEXT)", "signed_in"),
        ("0002", "TABLE features (battle_id TEXT)", "grade_a"),
        ("0003", "INDEX ix_votes_pending_until ON votes (winner)", "pending_until"),
    ],
)
def test_migration_that_fails_leaves_nothing(
    url: str, file_of: Path, outside: Outside, fault: tuple[str | None, str, str]
) -> None:
    """All migrations are one transaction: after a fault none has run."""
    present, obstacle, new = fault
    file_of.parent.mkdir(exist_ok=True)
    if present:
        to_revision(url, present)
    outside.rows(f"CREATE {obstacle}")
    engine = make_engine(url)
    before = sorted(inspect(engine).get_table_names())
    with pytest.raises(StoreError):
        VoteStore.open(url)
    found = inspect(engine)
    assert sorted(found.get_table_names()) == before
    assert all(c["name"] != new for c in found.get_columns("votes"))
    engine.dispose()


def test_two_processes_start_on_an_empty_database(url: str, two: Callable[..., list[str]]) -> None:
    """Two processes that start at once both get the tables."""
    assert two("open", url) == ["0", "0"]


async def test_threads_start_on_an_empty_database(url: str, new_url: Callable[..., str]) -> None:
    """Threads of one process that open several stores at once all get the tables."""
    urls = [url, *(new_url(empty=True) for _ in range(3))]
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(VoteStore.open, [urls[n // 2] for n in range(8)]))
    for store in stores:
        assert await store.counts() == Counts(0, 0)
        await store.aclose()


async def test_logging_is_left_alone(url: str) -> None:
    """Opening a store changes no logger."""
    mine, root = logging.getLogger("arena.some"), logging.getLogger()
    before = (root.level, list(root.handlers), mine.disabled, mine.level)
    store = VoteStore.open(url)
    assert (root.level, list(root.handlers), mine.disabled, mine.level) == before
    await store.aclose()


def test_folder_with_percent_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the installation may hold a percent sign."""
    monkeypatch.setattr(migrations, "__file__", "/srv/100%s/migrations/__init__.py")
    assert migrations.alembic_config().get_main_option("script_location") == "/srv/100%s/migrations"
