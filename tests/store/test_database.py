"""An address is understood or refused, and its password is never said."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection

from arena.errors.store import DriverMissing, StoreError
from arena.preflight import look
from arena.store import database
from arena.store.database import Database, make_engine, place_of, store_errors
from arena.store.store import VoteStore
from tests.environment import settings_from

ROOT = Path(__file__).parents[2]
PRAGMAS = database._PRAGMAS
POSTGRES = "postgresql+psycopg://"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("sqlite:///data/arena.db", str(ROOT / "data/arena.db")),
        ("sqlite:////srv/arena.db", "/srv/arena.db"),
        (f"{POSTGRES}host/arena", "postgresql://host/arena"),
        (f"{POSTGRES}me:secret@host:5433/arena", "postgresql://me@host:5433/arena"),
        (f"{POSTGRES}me:se%40cret@host/arena", "postgresql://me@host/arena"),
        (f"{POSTGRES}me@host/arena?password=secret&sslmode=require", "postgresql://me@host/arena"),
        (f"{POSTGRES}me@/arena?host=/run/pg&passfile=secret", None),
        # A password with odd characters that were not percent-encoded.
        (f"{POSTGRES}me:p@secret@host/arena", "postgresql"),
        (f"{POSTGRES}me/my:secret@host/arena", "postgresql"),
        (f"{POSTGRES}me:sec/ret:secret?secret#@host/arena", None),
        (f"{POSTGRES}me:p@secret:secret@host/arena", None),
        (f"{POSTGRES}me@host:secret/arena", None),
        ("secret", None),
        ("", None),
    ],
)
def test_place_never_shows_a_password(url: str, place: str | None) -> None:
    """The name of a database that people see holds no password."""
    found = place_of(url)
    assert "secret" not in found
    assert found
    if place is not None:
        assert found == place


@pytest.mark.parametrize(
    "url",
    [
        f"{POSTGRES}me:p@secret@host/arena",
        f"{POSTGRES}me/my:secret@host/arena",
        f"{POSTGRES}me@host:secret/arena",
        "secret",
    ],
)
def test_address_that_is_no_address_is_refused_without_its_words(url: str) -> None:
    """A wrong address is a typed error that does not quote it."""
    with pytest.raises(StoreError) as caught:
        VoteStore.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in f"{error} {getattr(error, 'detail', '')} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


NAMES = ["a b", "what?", "a#b", "50%", "%20", "日本語 の 投票", "~", "x?mode=memory", "a&b=c", "@:"]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_stands(tmp_path: Path, name: str) -> None:
    """Whatever signs are in a path, the store lies there and nowhere else."""
    file = tmp_path / "in" / name / f"{name}.db"
    url = f"sqlite:///{file}"
    assert settings_from({"ARENA_DATABASE_URL": url}).database_url == url
    asyncio.run(VoteStore.open(url).aclose())
    assert [path for path in (tmp_path / "in").rglob("*") if path.is_file()] == [file]
    assert place_of(url) == str(file)


def test_home_and_relative_paths_do_not_depend_on_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/ is the home folder; a relative path begins at the checkout."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:///~/votes/arena.db") == str(tmp_path / "me/votes/arena.db")
    assert place_of("sqlite:///data/arena.db") == str(ROOT / "data/arena.db")
    assert place_of("sqlite:///~tilde.db") == str(ROOT / "~tilde.db")


def test_options_after_a_path_do_not_make_a_second_store(tmp_path: Path) -> None:
    """An address that was read as path and options stops the start; its store is not forgotten."""
    (tmp_path / "arena.db").touch()
    settings = settings_from({"ARENA_DATABASE_URL": f"sqlite:///{tmp_path}/arena.db?timeout=30"})
    (problem,) = [each for each in look(settings) if each.about == "ARENA_DATABASE_URL"]
    assert problem.stops
    assert f"sqlite:///{tmp_path}/arena.db\n" in problem.error.remedy_text + "\n"


def test_missing_driver_has_a_remedy() -> None:
    """Without the driver of Postgres the error says what to install."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from arena.errors.store import DriverMissing\n"
        "from arena.store.store import VoteStore\n"
        "try: VoteStore.open('postgresql+psycopg://me:secret@host/arena')\n"
        "except DriverMissing as error: print(error.sentence, error.remedy_text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "requirements-postgres.txt" in done.stdout
    assert "me@host/arena" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    assert (ROOT / "requirements-postgres.txt").exists()
    assert issubclass(DriverMissing, StoreError)


def test_sqlite_needs_no_driver_of_postgres(tmp_path: Path) -> None:
    """A store on SQLite opens without the driver of Postgres."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from arena.store.store import VoteStore\n"
        f"VoteStore.open('sqlite:///{tmp_path}/a.db')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_what_is_not_the_databases_fault_passes() -> None:
    """Errors that are not of the database or a record stay as they are."""
    with pytest.raises(KeyError), store_errors("x"):
        raise KeyError
    with pytest.raises(StoreError), store_errors("x"):
        raise OSError
    assert make_engine(f"{POSTGRES}host/arena", pool=7).pool.size() == 7


async def test_writers_of_one_process_wait_for_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None asks SQLite for a turn that another thread has, so none has to give up."""
    impatient = [(name, "0" if name == "busy_timeout" else value) for name, value in PRAGMAS]
    monkeypatch.setattr(database, "_PRAGMAS", impatient)
    opened = Database.open(f"sqlite:///{tmp_path / 'arena.db'}", 10)
    running: list[int] = []

    def write(connection: Connection, number: int) -> int:
        running.append(number)
        connection.exec_driver_sql(f"create table t{number} (x)")
        assert running.pop() == number, "two write at once"
        return number

    done = await asyncio.gather(*(opened.write(write, number) for number in range(30)))
    assert done == [*range(30)]
    await opened.aclose()
