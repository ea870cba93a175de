"""The first tables: battles, votes, meta, daily_counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the four tables."""
    _battles()
    op.create_table(
        "votes",
        sa.Column("battle_id", sa.String(32), nullable=False),
        sa.Column("winner", sa.String(16), nullable=False),
        sa.Column("voter", sa.String(64), nullable=False),
        sa.Column("cast_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text()),
        sa.Column("guess", sa.Text()),
        sa.PrimaryKeyConstraint("battle_id", name="pk_votes"),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name="fk_votes_battle_id"),
        sa.CheckConstraint(
            "winner IN ('model_a', 'model_b', 'tie', 'both_bad')", name=op.f("ck_votes_winner")
        ),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "daily_counts",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "day", name="pk_daily_counts"),
    )


def _battles() -> None:
    op.create_table(
        "battles",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("ui_language", sa.String(16), nullable=False),
        sa.Column("category", sa.String(32), nullable=False),
        sa.Column("preset_id", sa.String()),
        sa.Column("preset_edited", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("voter", sa.String(64), nullable=False),
        sa.Column("model_a", sa.String(), nullable=False),
        sa.Column("model_b", sa.String()),
        sa.Column("base_a", sa.String(), nullable=False),
        sa.Column("base_b", sa.String()),
        sa.Column("served_model_a", sa.String()),
        sa.Column("served_model_b", sa.String()),
        sa.Column("finish_a", sa.String(16)),
        sa.Column("finish_b", sa.String(16)),
        sa.Column("temperature", sa.Float(), nullable=False),
        sa.Column("top_p", sa.Float(), nullable=False),
        sa.Column("max_new_tokens", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer()),
        sa.Column("system_prompt", sa.Text()),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("spec_a", sa.JSON(), nullable=False),
        sa.Column("spec_b", sa.JSON()),
        sa.Column("conversation_a", sa.JSON(), nullable=False),
        sa.Column("conversation_b", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_battles"),
    )
    op.create_index("ix_battles_created_at", "battles", ["created_at"])
