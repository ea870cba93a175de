"""Signed-in votes, exclusions, spending and rate windows; room for longer keys in `meta`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds a column and three tables; every row that is there stays as it is."""
    op.add_column(
        "votes", sa.Column("signed_in", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "exclusions",
        sa.Column("battle_id", sa.String(32), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("lifted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("battle_id", "decided_at", name="pk_exclusions"),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name="fk_exclusions_battle_id"),
    )
    op.create_table(
        "spending",
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "day", name="pk_spending"),
    )
    op.create_table(
        "uses",
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", "seconds", "starts", name="pk_uses"),
    )
    op.create_index("ix_uses_starts", "uses", ["starts"])
    # The name of a dataset is part of a key, and Postgres keeps to the length.
    with op.batch_alter_table("meta") as meta:
        meta.alter_column(
            "key",
            existing_type=sa.String(64),
            type_=sa.String(160),
            existing_nullable=False,
        )
