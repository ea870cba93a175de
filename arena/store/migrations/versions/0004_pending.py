"""Votes that can be taken back until a moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds a column, empty for every vote that is there: those are final."""
    op.add_column("votes", sa.Column("pending_until", sa.DateTime(timezone=True)))
    pending = sa.text("pending_until IS NOT NULL")
    op.create_index(
        "ix_votes_pending_until",
        "votes",
        ["pending_until"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
