"""What a server can do to its clients: limits, cut connections, frozen servers, power cuts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from arena.domain import Battle
from arena.errors.store import StoreError
from arena.store import queries, settings_table, usage
from arena.store.postgres import BoundedConnection
from arena.store.schema import battles, votes
from arena.store.store import VoteStore
from arena.store.usage import RateWindow
from tests.postgres_server import Server, free_port
from tests.store.test_restore import longer
from tests.store_tools import Outside, until
from tests.vote_samples import NOON, VOTER, battle, vote

DATABASES = ("postgres",)
KILL_ME = text("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
async def other(url: str) -> AsyncIterator[VoteStore]:
    """A second app on the same database."""
    opened = VoteStore.open(url, clock=lambda: NOON)
    yield opened
    await opened.aclose()


def opened_with(url: str, **settings: str) -> VoteStore:
    """A store whose address sets the server's options, as an owner may."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return VoteStore.open(f"{url}&options={options.replace(' ', '%20')}", clock=lambda: NOON)


async def test_limits_are_in_force_on_every_connection(store: VoteStore, outside: Outside) -> None:
    """Each connection of the pool has the timeouts and the safe commit."""
    wanted = {
        "lock_timeout": "10s",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
    }
    with store.database.reader.connect() as one, store.database.writer.connect() as two:
        assert one.connection.dbapi_connection is not two.connection.dbapi_connection
        for connection, isolation, readonly in (
            (one, "repeatable read", "on"),
            (two, "read committed", "off"),
        ):
            found = {name: connection.scalar(text(f"SHOW {name}")) for name in wanted}
            assert found == wanted
            assert connection.scalar(text("SHOW transaction_isolation")) == isolation
            assert connection.scalar(text("SHOW transaction_read_only")) == readonly
            chosen = connection.connection.driver_connection.info.get_parameters()
            assert chosen["connect_timeout"] == "5"
            assert chosen["tcp_user_timeout"] == "25000"


async def test_owner_may_choose_stricter_settings(url: str, outside: Outside) -> None:
    """Timeouts of the address or the server stay; a weak commit does not."""
    name = outside.rows("SELECT current_database()")[0][0]
    outside.rows(f"ALTER DATABASE {name} SET synchronous_commit = 'off'")
    store = opened_with(f"{url}&connect_timeout=3", lock_timeout="2s")
    with store.database.writer.connect() as connection:
        chosen = connection.connection.driver_connection.info.get_parameters()
        assert chosen["connect_timeout"] == "3"
        assert connection.scalar(text("SHOW lock_timeout")) == "2s"
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    await store.aclose()
    outside.rows(f"ALTER DATABASE {name} SET synchronous_commit = 'remote_apply'")
    store = VoteStore.open(url)
    with store.database.writer.connect() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "remote_apply"
    await store.aclose()


async def test_reader_cannot_write(store: VoteStore) -> None:
    """A transaction that reads can't write."""
    with pytest.raises(StoreError) as caught:
        await store.database.read(queries.add_battle, battle(), NOON)
    assert "read-only" in caught.value.detail


async def test_pool_bounds_the_connections(url: str, outside: Outside) -> None:
    """A store has at most `pool` connections, whatever it is asked."""
    store = VoteStore.open(url, pool=3)
    made = [battle() for _ in range(30)]
    most = 0

    async def watch() -> None:
        nonlocal most
        for _ in range(20):
            rows = await asyncio.to_thread(
                outside.rows,
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'arena'",
            )
            most = max(most, rows[0][0])

    await asyncio.gather(watch(), *(store.add_battle(one) for one in made))
    assert (await store.counts()).battles == 30
    assert 1 <= most <= 3
    await store.aclose()
    await until(lambda: not outside.rows("SELECT 1 FROM pg_stat_activity"
                                         " WHERE datname = current_database()"
                                         " AND application_name = 'arena'"))  # fmt: skip


def cut_all(outside: Outside) -> None:
    """Ends all connections but the one that asks, as a restart or a proxy does."""
    outside.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid()"
    )


async def test_connection_that_was_cut_while_idle_is_replaced(
    store: VoteStore, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    """The first visitors after a restart of the database each got an error.

    Found before it is used: the one repetition is left for a cut in the middle.
    """
    made = battle()
    await asyncio.gather(*(store.counts() for _ in range(5)))
    cut_all(outside)
    await store.add_battle(made)
    cut_all(outside)
    assert await store.get_battle(made.id) == made
    assert "once more" not in caplog.text


async def test_work_that_was_cut_before_its_commit_is_done_once_more(store: VoteStore) -> None:
    """Work of which the connection broke before COMMIT is repeated once, not twice."""
    made, rounds = battle(), []

    def cut_once(connection: Connection) -> int:
        queries.add_battle(connection, made, NOON)
        rounds.append(1)
        if len(rounds) == 1:
            connection.execute(KILL_ME)
        return len(rounds)

    assert await store.database.write(cut_once) == 2
    assert (await store.counts()).battles == 1

    def always_cut(connection: Connection) -> None:
        rounds.append(1)
        connection.execute(KILL_ME)

    del rounds[:]
    with pytest.raises(StoreError):
        await store.database.read(always_cut)
    assert len(rounds) == 2


async def test_work_that_was_cut_in_its_commit_is_not_repeated(
    store: VoteStore, outside: Outside
) -> None:
    """A COMMIT that broke is an error: it is open whether it was done."""
    outside.rows(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
    )
    outside.rows(
        "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON battles"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    rounds = []

    def add(connection: Connection) -> None:
        rounds.append(1)
        queries.add_battle(connection, battle(), NOON)

    with pytest.raises(StoreError):
        await store.database.write(add)
    assert len(rounds) == 1


async def test_lock_that_is_held_too_long_is_an_error(url: str, outside: Outside) -> None:
    """Waiting for a lock ends with an error."""
    store = opened_with(url, lock_timeout="300ms")
    with outside.holding(), pytest.raises(StoreError) as caught:
        await store.add_battle(battle())
    assert "LockNotAvailable" in caught.value.detail
    await store.aclose()


async def test_query_that_takes_too_long_is_an_error(url: str) -> None:
    """A query that runs too long ends with an error."""
    store = opened_with(url, statement_timeout="300ms")
    with pytest.raises(StoreError) as caught:
        await store.database.read(
            lambda connection: connection.execute(text("SELECT pg_sleep(20)"))
        )
    assert "QueryCanceled" in caught.value.detail
    await store.aclose()


async def test_frozen_app_does_not_hold_its_rows(url: str, store: VoteStore) -> None:
    """The server ends a transaction that does nothing for too long."""
    made = battle()
    await store.add_battle(made)
    frozen = opened_with(url, idle_in_transaction_session_timeout="300ms")
    with frozen.database.writer.connect() as connection:
        connection.execute(select(battles).where(battles.c.id == made.id).with_for_update())
        await store.cast_vote(vote(made))
        connection.invalidate()
    await frozen.aclose()


async def test_silent_connection_is_given_up_and_replaced(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection from which no reply comes is closed and replaced."""
    rounds = []

    def look(connection: Connection) -> int:
        rounds.append(connection.scalar(text("SELECT pg_backend_pid()")))
        if len(rounds) == 1:
            os.kill(rounds[0], signal.SIGSTOP)
            monkeypatch.setattr(BoundedConnection, "silence_s", 0.5)
        else:
            monkeypatch.undo()  # a busy server may answer late
        return connection.scalar(text("SELECT 7")) or 0

    try:
        assert await store.database.read(look) == 7
    finally:
        os.kill(rounds[0], signal.SIGCONT)
    assert len(set(rounds)) == 2


async def test_frozen_server_is_an_error(
    postgres: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer is an error, and the store still closes."""
    store = VoteStore.open(f"{url}&connect_timeout=2")
    monkeypatch.setattr(BoundedConnection, "silence_s", 0.5)
    postgres.freeze()
    try:
        with pytest.raises(StoreError):
            await store.counts()
    finally:
        postgres.thaw()
    monkeypatch.undo()
    assert (await store.counts()).battles == 0
    await store.aclose()


def test_server_that_is_not_there_is_an_error() -> None:
    """A server that can't be reached is a typed error without the password."""
    address = f"postgresql+psycopg://me:secret%40word@127.0.0.1:{free_port()}/arena"
    with pytest.raises(StoreError) as caught:
        VoteStore.open(address)
    said = f"{caught.value.sentence} {caught.value.remedy_text} {caught.value.detail}"
    assert "127.0.0.1" in caught.value.sentence
    assert "secret" not in said


async def test_password_opens_and_is_never_said(
    postgres: Server, new_database: Callable[..., str]
) -> None:
    """A password of any characters opens the store; a wrong one is in no error."""
    postgres.sql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'p@ss:wo/rd'")
    name = new_database()
    store = VoteStore.open(postgres.tcp_url(name, "guarded:p%40ss%3Awo%2Frd"))
    assert (await store.counts()).battles == 0
    await store.aclose()
    with pytest.raises(StoreError) as caught:
        VoteStore.open(postgres.tcp_url(name, "guarded:hidden%40word"))
    error: BaseException | None = caught.value
    while error is not None:
        assert "hidden" not in str(error)
        error = error.__cause__
    assert "authentication failed" in caught.value.detail
    postgres.sql("DROP ROLE guarded")


async def test_failing_row_is_not_in_the_error(store: VoteStore, outside: Outside) -> None:
    """An error does not quote the row that failed."""
    made = battle()
    await store.add_battle(made)
    await store.cast_vote(vote(made))
    outside.rows("ALTER TABLE votes ADD CONSTRAINT clean CHECK (comment != 'private\nwords')")
    with pytest.raises(StoreError) as caught:
        await store.annotate_vote(made.id, VOTER, comment="private\nwords")
    error: BaseException | None = caught.value
    while error is not None:
        assert "words" not in f"{error} {getattr(error, 'detail', '')} {error.args}"
        assert VOTER not in str(error)
        error = error.__cause__
    assert "clean" in caught.value.detail


async def test_database_that_has_no_unicode_is_a_typed_error(
    postgres: Server, new_database: Callable[..., str]
) -> None:
    """A database of another encoding is a typed error."""
    postgres.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    store = VoteStore.open(postgres.url("latin"))
    with pytest.raises(StoreError):
        await store.add_battle(battle(system_prompt="日本語"))
    await store.aclose()
    postgres.sql("DROP DATABASE latin")


async def while_a_vote_is_cast(
    made: Battle, work: Coroutine[Any, Any, object], other: VoteStore, outside: Outside
) -> asyncio.Task[object]:
    """The task of the work, which had to wait for another app's vote on that battle."""
    with other.database.writer.begin() as connection:
        queries.cast_vote(connection, vote(made))
        task = asyncio.create_task(work)
        await until(lambda: bool(outside.rows("SELECT 1 FROM pg_locks WHERE NOT granted")))
    return task


async def test_restore_waits_for_a_vote_that_is_being_cast(
    store: VoteStore, other: VoteStore, outside: Outside
) -> None:
    """A restore does not replace a battle on which a vote is being cast."""
    made = battle()
    await store.add_battle(made)
    restoring = store.restore([longer(made)], [], [])
    await (await while_a_vote_is_cast(made, restoring, other, outside))
    assert await store.get_battle(made.id) == made


async def test_answer_waits_for_a_vote_that_is_being_cast(
    store: VoteStore, other: VoteStore, outside: Outside
) -> None:
    """An update waits for a vote that is being cast, and is refused after it."""
    made = battle()
    await store.add_battle(made)
    changing = await while_a_vote_is_cast(made, store.update_battle(longer(made)), other, outside)
    with pytest.raises(Exception, match="closed"):
        await changing
    assert await store.get_battle(made.id) == made


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_first_uses_of_two_apps_meet(
    store: VoteStore, other: VoteStore, outside: Outside, end: str
) -> None:
    """Two apps that insert the first row of a count both succeed, and both count."""
    windows = [RateWindow("v", 60, 9)]
    with other.database.writer.connect() as connection:
        first = settings_table.salt(connection)
        usage.count_today(connection, NOON, "gemini", 9)
        usage.reserve_spend(connection, NOON, "gemini", 5, None)
        usage.consume(connection, NOON, windows)
        waiting = asyncio.gather(
            store.salt(),
            store.count_today("gemini", 9),
            store.reserve_spend("gemini", 5, None),
            store.consume(windows),
        )
        await until(lambda: len(outside.rows("SELECT 1 FROM pg_locks WHERE NOT granted")) == 4)
        if end == "commit":
            connection.commit()
        else:
            connection.rollback()
    both = 2 if end == "commit" else 1
    salt, counted, reserved, refused = await waiting
    assert (salt == first) == (end == "commit")
    assert await other.salt() == salt
    assert (counted, await store.today("gemini")) == (True, both)
    assert (reserved is not None, await store.spent_today("gemini")) == (True, 5 * both)
    assert (refused, outside.rows("SELECT count FROM uses")) == (None, [(both,)])


async def test_iteration_sees_one_moment(store: VoteStore, other: VoteStore) -> None:
    """A transaction that reads sees one moment, whatever is committed meanwhile."""
    made = battle()

    def look(connection: Connection) -> tuple[int, int]:
        ids = connection.scalars(select(battles.c.id)).all()
        with other.database.writer.begin() as writer:
            queries.add_battle(writer, made, NOON)
            queries.cast_vote(writer, vote(made))
        return len(ids), len(connection.scalars(select(votes.c.battle_id)).all())

    assert await store.database.read(look) == (0, 0)


async def test_ended_windows_that_another_removes_are_not_waited_for(
    store: VoteStore, other: VoteStore
) -> None:
    """Rows that another app is removing are skipped."""
    with other.database.writer.begin() as connection:
        for n in range(5):
            connection.execute(text("INSERT INTO uses VALUES (:key, 60, 0, 1)"), {"key": f"old{n}"})
    with other.database.writer.begin() as connection:
        # Has removed them, and not committed.
        usage.consume(connection, NOON, [RateWindow("a", 60, 9)])
        assert await store.consume([RateWindow("b", 60, 9)]) is None
