"""A store that moves arrives whole and checked, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.domain import Battle, Exchange, Exclusion
from arena.errors.store import CopyDiffers, StoreError, StoreMissing, StoreNotEmpty
from arena.store.move import CopyReport, copy_database
from arena.store.queries import Counts
from arena.store.store import VoteStore
from arena.store.usage import RateWindow
from tests.postgres_server import Server
from tests.store_tools import Outside, excluded_in, pairs_of
from tests.vote_samples import NOON, answer, battle, battles, vote

FROZEN = Path(__file__).with_name("revision_0001.sql")
TABLES = ("battles", "votes", "exclusions", "meta", "daily_counts", "spending", "uses")
_example = count()


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, other: str) -> str:
    """An empty database to move to."""
    if other == "sqlite":
        return f"sqlite:///{tmp_path / 'target.db'}"
    server: Server = request.getfixturevalue("postgres")
    new: Callable[..., str] = request.getfixturevalue("new_database")
    return server.url(new(empty=True))


either_way = pytest.mark.parametrize("other", ["sqlite", "postgres"])


async def filled(url: str) -> VoteStore:
    """A store with something in every table."""
    store = VoteStore.open(url, clock=lambda: NOON)
    failed = answer("", reason="error", error_code="network")
    talk = (Exchange("問い\u2028😀", answer("a" * 5000), (failed,)), Exchange("次", answer()))
    made = [battle(created_at=NOON + timedelta(microseconds=n)) for n in range(230)]
    made += [battle(conversation_a=talk, conversation_b=talk), battle("phi", None, preset=None)]
    await store.restore(made, [vote(one, "tie") for one in made[::2]], [])
    noted = vote(made[1], reasons=("clear",), comment="良い", guess="phi", signed_in=True)
    await store.cast_vote(noted)
    await store.add_exclusion(Exclusion(made[1].id, "x", NOON))
    await store.add_exclusion(Exclusion(made[1].id, "", NOON + timedelta(1), lifted=True))
    await store.salt()
    await store.count_today("gemini", 9)
    await store.reserve_spend("gemini", 10**13, None)
    await store.consume([RateWindow("v", 60, 9), RateWindow("w", 86_400, 9)])
    return store


async def content(store: VoteStore) -> Any:
    records = await pairs_of(store), await excluded_in(store)
    used = await store.today("gemini"), await store.spent_today("gemini")
    kept = await store.salt(), await store.get_meta("restored:x")
    return records, used, kept, await store.consume([RateWindow("v", 60, 1)])


@either_way
async def test_everything_arrives(url: str, target: str) -> None:
    """All tables arrive: records, decisions, salt, marks and caps."""
    store = await filled(url)
    # Drawn at the first start on the new database; it has to give way.
    first = VoteStore.open(target, clock=lambda: NOON)
    await first.salt()
    await first.count_today("gemini", 9)
    await first.count_today("other", 9)
    await first.aclose()
    before = Outside(url).tables(*TABLES)
    report = await copy_database(url, target)
    assert Outside(url).tables(*TABLES) == before
    assert report.rows == {name: len(rows) for name, rows in before.items()}
    assert all(report.rows.values())
    moved = VoteStore.open(target, clock=lambda: NOON)
    assert await content(moved) == await content(store)
    assert await moved.today("other") == 0
    assert (report.source, report.target) == (store.place, moved.place)
    for part in (store.place, moved.place, report.digest, f"{report.rows['votes']} votes"):
        assert part in report.text
    # What was moved can move on, and is still the same.
    await store.aclose()
    await moved.aclose()


async def test_there_and_back_again(
    url: str, postgres: Server, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """After two moves every row is what it was."""
    store = await filled(url)
    await store.aclose()
    there, back = postgres.url(new_database(empty=True)), f"sqlite:///{tmp_path / 'back.db'}"
    first, second = await copy_database(url, there), await copy_database(there, back)
    assert first.digest == second.digest
    assert first.rows == second.rows


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=st.lists(battles, min_size=2, max_size=4, unique_by=lambda b: b.id))
def test_whatever_a_visitor_writes_arrives(
    made: list[Battle], postgres: Server, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """Any text, number and moment of a battle arrives unchanged."""
    source = f"sqlite:///{tmp_path / f'{next(_example)}.db'}"

    async def there() -> None:
        store = VoteStore.open(source)
        await store.restore(made, [], [])
        await store.aclose()
        target = postgres.url(new_database())
        await copy_database(source, target)
        moved = VoteStore.open(target)
        arrived = {found.id: found for found, _ in await pairs_of(moved)}
        assert arrived == {one.id: one for one in made}
        await moved.aclose()

    asyncio.run(there())


@either_way
async def test_store_of_the_first_revision_moves(file: Path, url: str, target: str) -> None:
    """A store of an older revision moves without being opened before."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.executescript(FROZEN.read_text(encoding="utf-8"))
        # SQLite took what no other database takes.
        raw.execute("UPDATE votes SET comment = 'a' || char(0) || 'b'")
        raw.execute("UPDATE battles SET flags = '[\"preset_edited\"]', system_prompt = char(0)")
        raw.commit()
    report = await copy_database(url, target)
    assert (report.rows["battles"], report.rows["votes"]) == (2, 1)
    moved = VoteStore.open(target)
    found = await moved.get_vote(f"{1:032x}")
    assert found is not None
    assert found.comment == "a\ufffdb"
    assert await moved.salt() == "kept"
    await moved.aclose()


@either_way
async def test_target_with_battles_is_refused_untouched(url: str, target: str) -> None:
    """A target that holds battles is refused and keeps them."""
    store = await filled(url)
    there = VoteStore.open(target, clock=lambda: NOON)
    await there.add_battle(battle())
    before = Outside(target).tables(*TABLES)
    with pytest.raises(StoreNotEmpty) as caught:
        await copy_database(url, target)
    assert there.place in caught.value.sentence
    assert Outside(target).tables(*TABLES) == before
    for opened in (store, there):
        await opened.aclose()


SPOILERS = {
    "sqlite": {
        "changed": "CREATE TRIGGER spoil AFTER INSERT ON votes WHEN NEW.signed_in BEGIN"
        " UPDATE votes SET comment = 'x' WHERE battle_id = NEW.battle_id; END",
        "lost": "CREATE TRIGGER spoil AFTER INSERT ON uses WHEN NEW.key = 'v' BEGIN"
        " DELETE FROM uses WHERE key = NEW.key; END",
        "refused": "CREATE TRIGGER spoil AFTER INSERT ON exclusions BEGIN"
        " SELECT RAISE(ABORT, 'no'); END",
    },
    "postgres": {
        "changed": "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.signed_in THEN NEW.comment = ''x''; END IF; RETURN NEW; END';"
        "CREATE TRIGGER spoil BEFORE INSERT ON votes FOR EACH ROW EXECUTE FUNCTION spoil()",
        "lost": "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.key = ''v'' THEN RETURN NULL; END IF; RETURN NEW; END';"
        "CREATE TRIGGER spoil BEFORE INSERT ON uses FOR EACH ROW EXECUTE FUNCTION spoil()",
        "refused": "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''no''; END';"
        "CREATE TRIGGER spoil BEFORE INSERT ON exclusions FOR EACH ROW EXECUTE FUNCTION spoil()",
    },
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("changed", "the rows of votes are not the same"),
        ("lost", "uses has 1 rows, not 2"),
        ("refused", None),
    ],
)
@either_way
async def test_what_did_not_arrive_is_found_and_taken_back(
    url: str, target: str, other: str, fault: str, said: str | None
) -> None:
    """Both sides are compared; where they differ, nothing is kept of the copy."""
    store = await filled(url)
    there = VoteStore.open(target, clock=lambda: NOON)
    salt = await there.salt()
    Outside(target).rows(SPOILERS[other][fault])
    with pytest.raises(StoreError) as caught:
        await copy_database(url, target)
    assert isinstance(caught.value, CopyDiffers) == (said is not None)
    assert there.place in caught.value.sentence + caught.value.detail
    if said is not None:
        assert said in caught.value.sentence
    assert await there.counts() == Counts(0, 0)
    assert await there.salt() == salt
    for opened in (store, there):
        await opened.aclose()


async def test_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing source is an error, and is not made."""
    missing = tmp_path / "no" / "arena.db"
    with pytest.raises(StoreMissing) as caught:
        await copy_database(f"sqlite:///{missing}", f"sqlite:///{tmp_path / 'target.db'}")
    assert str(missing) in caught.value.sentence
    assert not missing.parent.exists()


@pytest.mark.parametrize("damaged", ["source.db", "target.db"])
async def test_fault_names_its_side(tmp_path: Path, damaged: str) -> None:
    """The error names the database that has the fault."""
    store = await filled(f"sqlite:///{tmp_path / 'source.db'}")
    await store.aclose()
    (tmp_path / damaged).write_text("not a database " * 1000)
    with pytest.raises(StoreError) as caught:
        await copy_database(
            f"sqlite:///{tmp_path / 'source.db'}", f"sqlite:///{tmp_path / 'target.db'}"
        )
    assert damaged in caught.value.sentence


async def test_fault_in_the_middle_of_the_reading_names_the_source(tmp_path: Path) -> None:
    """A damaged row of the source is an error that names the source."""
    source, target = (tmp_path / name for name in ("source.db", "target.db"))
    store = await filled(f"sqlite:///{source}")
    broken = (await pairs_of(store))[-1][0].id
    await store.aclose()
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("pragma ignore_check_constraints = on")
        damage = "update battles set conversation_a = substr(conversation_a, 1, 9) where id = ?"
        assert connection.execute(damage, [broken]).rowcount == 1
    with pytest.raises(StoreError) as caught:
        await copy_database(f"sqlite:///{source}", f"sqlite:///{target}")
    assert "source.db" in caught.value.detail
    assert "target.db" not in caught.value.detail
    kept = VoteStore.open(f"sqlite:///{target}")
    assert await kept.counts() == Counts(0, 0)
    await kept.aclose()
    store = VoteStore.open(f"sqlite:///{source}")
    with pytest.raises(StoreError) as caught:
        await store.get_battle(broken)
    assert "JSONDecodeError" in caught.value.detail
    await store.aclose()


async def test_cancelled_move_ends_before_its_task(url: str, tmp_path: Path) -> None:
    """A cancelled move ends in its thread before its task does."""
    store = await filled(url)
    target = f"sqlite:///{tmp_path / 'target.db'}"
    moving = asyncio.create_task(copy_database(url, target))
    await asyncio.sleep(0)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    moved = VoteStore.open(target)
    assert await moved.counts() == await store.counts()
    await moved.aclose()
    await store.aclose()


async def test_digest_does_not_depend_on_the_order(tmp_path: Path) -> None:
    """The digest is the same in whatever order a database gives its rows."""
    made, digests = [battle() for _ in range(5)], set()
    for name, ordered in (("up", made), ("down", made[::-1])):
        store = VoteStore.open(f"sqlite:///{tmp_path / name}", clock=lambda: NOON)
        for one in ordered:
            await store.add_battle(one)
            await store.cast_vote(vote(one))
        await store.aclose()
        url = f"sqlite:///{tmp_path / name}"
        digests.add((await copy_database(url, f"{url}.moved")).digest)
    assert len(digests) == 1


async def test_empty_store_moves(url: str, tmp_path: Path) -> None:
    """A store without rows moves like any other."""
    store = VoteStore.open(url)
    report = await copy_database(url, f"sqlite:///{tmp_path / 'target.db'}")
    assert isinstance(report, CopyReport)
    assert set(report.rows.values()) == {0}
    await store.aclose()
