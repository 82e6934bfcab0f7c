"""For the few acts that look at everything: a backup, a verification, an export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy.sql.selectable import Select

from pkiconf.store.database import Connection

_CHUNK: Final = 5000


def lift_time_limits(c: Connection) -> None:
    """Let this transaction's statements and pauses last as long as they need (PostgreSQL; SQLite sets no limit)."""
    if c.dialect.name == "postgresql":
        c.exec_driver_sql("SET LOCAL statement_timeout = 0")
        c.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def stream(c: Connection, query: Select[Any]) -> Iterator[Any]:
    """Rows as they come, some thousands in memory at a time."""
    with c.execute(query.execution_options(yield_per=_CHUNK)) as rows:
        yield from rows
