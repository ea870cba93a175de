"""The tables, the same on SQLite and on Postgres.

A migration in `migrations/versions/` brings every change of this file to databases that exist; a
test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    select,
    text,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC, aware on every database; SQLite itself gives it back naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC, since SQLite drops the offset.

        Raises:
            ValueError: the moment has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Names for every constraint: a migration can only change what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Small columns first, JSON last: SQLite reads a row from its start, and the statistics need only
# the small ones. Those without a twin in the JSON are part of the record; `model_a` to `seed` are
# copies for filters, written from the record and never read back into it.
battles = Table(
    "battles",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("language", String(16), nullable=False),
    Column("ui_language", String(16), nullable=False),
    Column("category", String(32), nullable=False),
    Column("preset_id", String),
    Column("preset_edited", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("updated_at", UtcTime, nullable=False),
    Column("voter", String(64), nullable=False),
    Column("model_a", String, nullable=False),
    Column("model_b", String),
    Column("base_a", String, nullable=False),
    Column("base_b", String),
    Column("served_model_a", String),
    Column("served_model_b", String),
    Column("finish_a", String(16)),
    Column("finish_b", String(16)),
    Column("temperature", Float, nullable=False),
    Column("top_p", Float, nullable=False),
    Column("max_new_tokens", Integer, nullable=False),
    Column("seed", Integer),
    Column("system_prompt", Text),
    Column("params", JSON, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("spec_a", JSON, nullable=False),
    Column("spec_b", JSON(none_as_null=True)),
    Column("conversation_a", JSON, nullable=False),
    Column("conversation_b", JSON, nullable=False),
    Column("source", String, nullable=False, server_default=text("''")),
    Column("answered_at", UtcTime),
    Column("erased", JSON(none_as_null=True)),
    Index("ix_battles_voter", "voter", "created_at"),
)

# The battle is the key, so the database itself refuses a second vote. `pending_until` is no part of
# the record: it is the moment until which the vote can be taken back, and NULL once it is final.
votes = Table(
    "votes",
    metadata,
    Column("battle_id", String(32), ForeignKey("battles.id"), primary_key=True),
    Column("winner", String(16), nullable=False),
    Column("voter", String(64), nullable=False, index=True),
    Column("cast_at", UtcTime, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("comment", Text),
    Column("guess", Text),
    Column("signed_in", Boolean, nullable=False, server_default=false()),
    Column("grade_a", String(8)),
    Column("grade_b", String(8)),
    Column("source", String, nullable=False, server_default=text("''")),
    Column("pending_until", UtcTime),
    CheckConstraint("winner IN ('model_a', 'model_b', 'tie', 'both_bad')", name="winner"),
)
_pending = votes.c.pending_until.is_not(None)
Index(
    "ix_votes_pending_until",
    votes.c.pending_until,
    sqlite_where=_pending,
    postgresql_where=_pending,
)

# The votes that all readers see: those that can't be taken back any more. `votes` itself is for
# whoever asks whether a battle has a vote of any kind.
final_votes = (
    select(*(column for column in votes.c if column.name != "pending_until"))
    .where(votes.c.pending_until.is_(None))
    .subquery("final_votes")
)

# The owner's decisions about votes. None is ever changed: the latest one of a battle counts.
exclusions = Table(
    "exclusions",
    metadata,
    Column("battle_id", String(32), ForeignKey("battles.id"), primary_key=True),
    Column("decided_at", UtcTime, primary_key=True),
    Column("why", Text, nullable=False),
    Column("lifted", Boolean, nullable=False),
)

# What belongs to the database as a whole, such as the salt of the voters' hashes.
meta = Table(
    "meta",
    metadata,
    Column("key", String(160), primary_key=True),
    Column("value", Text, nullable=False),
)

# How often something was done on one UTC day; caps that protect the owner's bill count here.
daily_counts = Table(
    "daily_counts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("count", Integer, nullable=False),
)

# What was spent on one UTC day in millionths of a dollar: whole numbers add up without rounding.
spending = Table(
    "spending",
    metadata,
    Column("name", String(160), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("micro_usd", BigInteger, nullable=False),
)

# How often a key was used in one window of time. `starts` is in seconds since the epoch, since
# no two databases agree on how to add seconds to a moment.
uses = Table(
    "uses",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("seconds", Integer, primary_key=True),
    Column("starts", BigInteger, primary_key=True, index=True),
    Column("count", Integer, nullable=False),
)

# What is costly to compute from a battle with a vote. It is derived from the record, so it can be
# emptied at any time and is not copied to another database. `version` and `patterns` say by which
# code it was computed. Only `arena.store.features` reads and writes it.
features = Table(
    "features",
    metadata,
    Column("battle_id", String(32), ForeignKey("battles.id"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("patterns", Integer, nullable=False),
    Column("marks", Integer, nullable=False),
    Column("prompt", BigInteger, nullable=False),
    Column("read_seconds", Float),
    Column("chars_a", Integer, nullable=False),
    Column("chars_b", Integer, nullable=False),
    Column("tokens_a", Integer),
    Column("tokens_b", Integer),
    Column("ttft_a", Float),
    Column("ttft_b", Float),
    Column("total_a", Float, nullable=False),
    Column("total_b", Float, nullable=False),
    Column("cost_a", Float),
    Column("cost_b", Float),
    info={"derived": True},
)
