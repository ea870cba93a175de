"""A store of its own for each test, on SQLite and on Postgres."""

from tests.databases import *  # noqa: F403
