"""Brings a database to the tables of `schema.py`, whatever version of the arena made it.

env.py: what Alembic runs for each upgrade.
versions/: one file per change of the schema, oldest first.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from arena.errors.store import StoreTooNew

LOCK: Final = 0x6172656E_01
"""The key of Postgres's advisory lock: a number that no other program is likely to use."""

# Alembic keeps the migration that runs in a module, so one process runs one at a time.
_ALEMBIC = Lock()


def upgrade(engine: Engine, place: str) -> None:
    """Runs the migrations that the database lacks, all in one transaction.

    A lock that the transaction takes first is what makes it safe for processes: a second one
    waits for it, and then finds nothing left to do.

    Args:
        engine: one that writes (`arena.store.database.write_engine`).
        place: the database in words, for the error.

    Raises:
        StoreError: the database is of a newer arena; nothing was changed.
        sqlalchemy.exc.SQLAlchemyError: the database can't be written.
    """
    config = alembic_config()
    with _ALEMBIC, engine.begin() as connection:
        _lock(connection)
        known = ScriptDirectory.from_config(config)
        present = MigrationContext.configure(connection).get_current_heads()
        for revision in present:
            _check_known(known, revision, place)
        if set(present) != set(known.get_heads()):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _lock(connection: Connection) -> None:
    """Waits until no other process migrates. SQLite's transaction has its write lock already."""
    if connection.dialect.name == "postgresql":
        # Another one's migration may take longer than a visitor would wait.
        connection.execute(text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def _check_known(known: ScriptDirectory, revision: str, place: str) -> None:
    try:
        known.get_revision(revision)
    except CommandError as error:
        raise StoreTooNew(f"unknown revision {revision}", place=place) from error


def alembic_config() -> Config:
    """Alembic's configuration for the migrations of this folder."""
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
