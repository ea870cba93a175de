"""Grades, sources of imported votes, when the answers were complete; the table of features."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds columns and a table; every row that is there stays as it is."""
    for table in ("battles", "votes"):
        source = sa.Column("source", sa.String(), nullable=False, server_default=sa.text("''"))
        if table == "votes":
            op.add_column(table, sa.Column("grade_a", sa.String(8)))
            op.add_column(table, sa.Column("grade_b", sa.String(8)))
        op.add_column(table, source)
    op.add_column("battles", sa.Column("answered_at", sa.DateTime(timezone=True)))
    op.create_table(
        "features",
        sa.Column("battle_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("patterns", sa.Integer(), nullable=False),
        sa.Column("marks", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.BigInteger(), nullable=False),
        sa.Column("read_seconds", sa.Float()),
        sa.Column("chars_a", sa.Integer(), nullable=False),
        sa.Column("chars_b", sa.Integer(), nullable=False),
        sa.Column("tokens_a", sa.Integer()),
        sa.Column("tokens_b", sa.Integer()),
        sa.Column("ttft_a", sa.Float()),
        sa.Column("ttft_b", sa.Float()),
        sa.Column("total_a", sa.Float(), nullable=False),
        sa.Column("total_b", sa.Float(), nullable=False),
        sa.Column("cost_a", sa.Float()),
        sa.Column("cost_b", sa.Float()),
        sa.PrimaryKeyConstraint("battle_id", name="pk_features"),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name="fk_features_battle_id"),
    )
