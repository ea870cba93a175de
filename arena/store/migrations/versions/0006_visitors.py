"""What one visitor has asked and judged is found without reading the others'."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds an index of the battles, and one of the votes, by their visitors."""
    op.create_index("ix_battles_voter", "battles", ["voter", "created_at"])
    op.create_index("ix_votes_voter", "votes", ["voter"])
