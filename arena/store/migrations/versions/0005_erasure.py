"""Battles whose texts were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds a column, empty for every battle that is there: those have their texts."""
    op.add_column("battles", sa.Column("erased", sa.JSON()))
