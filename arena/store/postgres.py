"""Connections to a Postgres server, with a bound on every wait."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext

T = TypeVar("T")

# Settings of the server: name, our value, and the default that it replaces (None: any value). A
# value that the owner or the address has chosen stays. The idle timeout frees the rows of a process
# that froze in a transaction. A vote that was acknowledged must survive a power cut, so only `off`
# is replaced in synchronous_commit: `remote_apply` and the like are stricter.
_SETTINGS: Final = (
    ("lock_timeout", "10s", "0"),
    ("statement_timeout", "30s", "0"),
    ("idle_in_transaction_session_timeout", "60s", "0"),
    ("synchronous_commit", "on", "off"),
    ("timezone", "UTC", None),
)
# For a server that has frozen. Longer than its own limits, of which the errors say more.
_SILENCE_S: Final = 35.0
# Defaults that the address may replace; libpq's names.
_CONNECT: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "client_encoding": "utf8",
    "application_name": "arena",
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server is silent for too long."""

    silence_s: float = _SILENCE_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Waits for the server's reply.

        Raises:
            psycopg.OperationalError: there was none in time; the connection is closed.
        """
        if timeout is not None:
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=self.silence_s)
        except psycopg.errors._WaitTimeout as error:
            # The reply may still come, so the connection can't be used again.
            # (That error has no public name; the driver is pinned.)
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server did not answer for {self.silence_s} s"
            ) from error


def postgres_engine(address: URL, pool: int, common: dict[str, Any]) -> Engine:
    """An engine of at most `pool` connections. Connects when it is first used.

    Raises:
        ImportError: the driver of the address is not installed.
    """
    engine = create_engine(
        address,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=10,
        # One short question before each use finds the connections that a restart of the server,
        # or a proxy's idle limit, has cut.
        pool_pre_ping=True,
        connect_args={k: v for k, v in _CONNECT.items() if k not in address.query},
        **common,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "handle_error", _hide_rows)
    return engine


def _connect(
    _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]
) -> BoundedConnection:
    return BoundedConnection.connect(*arguments, **options)


def _set_up(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for name, value, not_chosen in _SETTINGS:
        cursor.execute(
            "SELECT set_config(%s, %s, false) WHERE coalesce(current_setting(%s) = %s, true)",
            (name, value, name, not_chosen),
        )
    cursor.close()
    connection.commit()


def _hide_rows(context: ExceptionContext) -> None:
    """Takes the failing row, which may hold what a visitor wrote, out of the error's text."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, psycopg.Error) and error.diag.message_detail:
        error.args = (error.diag.message_primary,)
        if wrapped is not None:
            wrapped.args = (f"({type(error).__name__}) {error.diag.message_primary}",)
