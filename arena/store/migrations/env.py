"""Run by Alembic, on the connection and in the transaction of `upgrade`. Leaves logging alone."""

from __future__ import annotations

from alembic import context

from arena.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can't alter most of a table in place.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
