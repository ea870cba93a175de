"""A store of its own for each test, on SQLite and on Postgres."""

from tests.databases import *  # noqa: F403
from tests.dataset.hub_space import hub, one  # noqa: F401
