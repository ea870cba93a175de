"""A store of its own for each test, on SQLite and on Postgres, and other processes that use it.

A test that asks for `url` or `store` runs on both; one that asks for `file` looks into SQLite's
file and runs there alone; a module's own `DATABASES` says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from arena.store.store import VoteStore
from tests.postgres_server import Server, programs
from tests.store_tools import Outside, Worker
from tests.vote_samples import NOON

_number = count()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        both = getattr(metafunc.module, "DATABASES", ("sqlite", "postgres"))
        chosen = ("sqlite",) if "file" in metafunc.fixturenames else both
        metafunc.parametrize("database", chosen, indirect=True)


def server_programs() -> Path:
    """Where initdb is. Its tests are skipped without it, or with ARENA_TEST_POSTGRES=0."""
    if os.environ.get("ARENA_TEST_POSTGRES") == "0":
        pytest.skip("left out: POSTGRES=0")
    found = programs()
    if found is None:
        message = "NO POSTGRES HERE: its tests do not run. Install 'postgresql'."
        if os.environ.get("ARENA_TEST_NO_SKIP"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this run, with a database `template_arena` that has the tables."""
    server = Server(server_programs())
    try:
        server.start()
        server.sql("CREATE DATABASE template_arena")
        store = VoteStore.open(server.url("template_arena"), pool=1)
        store.database.close()
        yield server
    finally:
        server.close()


@pytest.fixture
def new_database(postgres: Server) -> Iterator[Callable[..., str]]:
    """Makes databases and gives their names; empty ones if asked, with the tables otherwise."""
    names: list[str] = []

    def make(*, empty: bool = False) -> str:
        names.append(f"arena_{next(_number)}")
        template = "template0" if empty else "template_arena"
        postgres.sql(f"CREATE DATABASE {names[-1]} TEMPLATE {template}")
        return names[-1]

    yield make
    for name in names:
        postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgres`."""
    return str(request.param)


@pytest.fixture
def file_of(tmp_path: Path) -> Path:
    """Where the test's store is if it is on SQLite."""
    return tmp_path / "data" / "arena.db"


@pytest.fixture
def file(file_of: Path) -> Path:
    """The file of the test's store, which is therefore on SQLite."""
    return file_of


@pytest.fixture
def new_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Makes addresses of further stores of the test's kind."""

    def make(*, empty: bool = False) -> str:
        if database == "sqlite":
            return f"sqlite:///{tmp_path / f'more{next(_number)}.db'}"
        new: Callable[..., str] = request.getfixturevalue("new_database")
        server: Server = request.getfixturevalue("postgres")
        return server.url(new(empty=empty))

    if database == "postgres":
        request.getfixturevalue("new_database")  # here, so that it is ended after what uses it
    return make


@pytest.fixture
def url(database: str, file_of: Path, new_url: Callable[..., str]) -> str:
    """The address of the test's store."""
    return f"sqlite:///{file_of}" if database == "sqlite" else new_url()


@pytest.fixture
async def store(url: str) -> AsyncIterator[VoteStore]:
    """The test's store, open, with a clock that stands at noon."""
    opened = VoteStore.open(url, clock=lambda: NOON)
    yield opened
    await opened.aclose()


@pytest.fixture
def outside(url: str) -> Outside:
    """Looks at the test's store from outside."""
    return Outside(url)


Together = Callable[..., list[str]]


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Starts a worker, and ends it after the test."""
    workers: list[Worker] = []

    def begin(*arguments: str) -> Worker:
        workers.append(Worker(*arguments))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


@pytest.fixture
def two(start: Callable[..., Worker]) -> Together:
    """Runs one command in two processes at the same time; gives what each said."""

    def run(*arguments: str) -> list[str]:
        workers = [start(*arguments) for _ in range(2)]
        assert [worker.line() for worker in workers] == ["ready", "ready"]
        for worker in workers:
            worker.go()
        return [worker.line() for worker in workers]

    return run
