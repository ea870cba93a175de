"""A store of its own for each test, on SQLite and on Postgres."""

from tests.databases import (  # noqa: F401
    database,
    file,
    file_of,
    new_database,
    new_url,
    outside,
    postgres,
    pytest_generate_tests,
    start,
    store,
    two,
    url,
)
