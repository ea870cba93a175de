"""The table `meta` in SQL: texts about the database as a whole, such as the voters' salt."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import Connection, insert, select

from arena.domain import clean
from arena.store.database import inserting
from arena.store.schema import meta

VOTER_SALT: Final = "voter_salt"
LAST_ERASURE: Final = "last_erasure"
"""The moment of the newest erasure of texts."""


def get_meta(connection: Connection, key: str) -> str | None:
    """What is kept about the database under that key, or None."""
    value = connection.scalar(select(meta.c.value).where(meta.c.key == key))
    return None if value is None else str(value)


def set_meta(connection: Connection, key: str, value: str) -> None:
    """Keeps a text about the database under that key of at most 160 characters."""
    kept = clean(value)
    new = inserting(connection, meta).values(key=key, value=kept)
    connection.execute(new.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": kept}))


def probe_write(connection: Connection) -> None:
    """Writes a row and rolls back: all that a vote needs but the last sync of the disk.

    SQLite opens its journal for it, and so notices a file that is read-only or was removed; a plain
    look at the file notices neither.
    """
    row = {"key": f"probe:{secrets.token_hex(8)}", "value": ""}
    connection.execute(insert(meta).values(row))
    connection.rollback()


def salt(connection: Connection) -> str:
    """The salt of the voters' hashes, drawn once in the life of the database."""
    kept = get_meta(connection, VOTER_SALT)
    if kept is None:
        drawn = inserting(connection, meta).values(key=VOTER_SALT, value=secrets.token_hex(32))
        connection.execute(drawn.on_conflict_do_nothing())
        # Another process may have been first: the one in the database counts.
        kept = get_meta(connection, VOTER_SALT)
    assert kept is not None  # noqa: S101 - for the type checker
    return kept
