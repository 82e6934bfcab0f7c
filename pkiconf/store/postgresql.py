"""The shared database: PostgreSQL through psycopg 3, for one host or many.

Writes run in READ COMMITTED and are run again when the server asks for it (deadlock, serialization failure) or
the connection is lost before the commit. Reads see one snapshot (REPEATABLE READ, READ ONLY).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from pkiconf.errors import PkiconfError, Unavailable
from pkiconf.steps import Step, kill_point
from pkiconf.store.database import Database
from pkiconf.store.failures import is_lost, is_repeatable, translate

T = TypeVar("T")

_ATTEMPTS: Final = 10
_POOL: Final = 8
_OVERFLOW: Final = 24
_KEPT: Final = 4
"""Connections of each kind that never go back to the pool, where taking one costs more than most statements."""

_STATEMENT_TIMEOUT: Final = 60  # seconds; a migration or a backup lifts it for itself with SET LOCAL


class PostgreSQLDatabase(Database):
    def __init__(self, url: URL, timeout: float) -> None:
        super().__init__()
        self.dialect = "postgresql"
        self.place = url.render_as_string(hide_password=True)
        self._engine = _engine(url, timeout)
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._idle: deque[Connection] = deque()
        self._jotters: deque[Connection] = deque()
        self._readers: deque[Connection] = deque()
        self._writers: deque[Connection] = deque()
        try:
            self.read(lambda c: c.exec_driver_sql("SELECT 1").scalar())
        except BaseException:
            self._engine.dispose()
            raise

    def read(self, fn: Callable[[Connection], T]) -> T:
        self._check_usable()
        return self._again(lambda: self._once(self._snapshots, self._readers, None, fn))

    def look(self, fn: Callable[[Connection], T]) -> T:
        self._check_usable()
        return self._again(lambda: self._glance(fn, self._idle))

    def jot(self, fn: Callable[[Connection], T]) -> T:
        """What `fn` returns, which runs a single statement: it takes effect by itself, and nothing is spent on
        beginning and ending a transaction. For what no step of the program rests on. Raises Unavailable."""
        self._check_usable()
        return self._again(lambda: self._glance(fn, self._jotters))

    def _glance(self, fn: Callable[[Connection], T], idle: deque[Connection]) -> T:
        """On a connection that is kept for this."""
        try:
            c = idle.pop()
        except IndexError:
            c = self._single.connect()  # it never goes back to the pool
            if idle is self._idle:
                c.exec_driver_sql("SET default_transaction_read_only = on")
        try:
            with self._closure:
                result = fn(c)
        except PkiconfError:
            self._keep(c, idle)  # it is about what was found: what the server raises is not translated yet
            raise
        except BaseException:
            # Where one has broken the others have too; each run again would meet the next of them.
            for kept in (c, *self._take_idle()):
                kept.invalidate()
                kept.close()
            raise
        self._keep(c, idle)
        return result

    def _keep(self, c: Connection, idle: deque[Connection]) -> None:
        if len(idle) < _KEPT:
            idle.append(c)
        else:
            if idle is self._idle:
                c.invalidate()  # nobody else can use one that only reads
            c.close()
        if self._closed:
            self.close()

    def _take_idle(self) -> list[Connection]:
        taken = []
        for idle in (self._idle, self._jotters, self._readers, self._writers):
            with suppress(IndexError):
                while True:
                    taken.append(idle.pop())
        return taken

    def write(self, step: Step, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        self._check_usable()
        return self._again(lambda: self._once(self._engine, self._writers, step, fn, durable))

    def close(self) -> None:
        for c in self._take_idle():
            c.close()
        if not self._closed:
            self._closed = True
            self._engine.dispose()

    def _again(self, run: Callable[[], T]) -> T:
        """Run it until it neither deadlocks nor finds its connection lost, a limited number of times."""
        lost = 0
        for attempt in range(_ATTEMPTS):
            try:
                return run()
            except Exception as error:
                if is_lost(error):
                    lost += 1
                    self._engine.dispose()  # where one connection broke, the idle ones may have broken too
                    for kept in self._take_idle():
                        kept.invalidate()
                        kept.close()
                last = attempt + 1 == _ATTEMPTS or lost > 2
                if last or not (is_repeatable(error) or is_lost(error)):
                    raise translate(error, self.place)  # noqa: B904 - it carries its cause
            # Threads that met in a deadlock wait for different times, so that they do not meet again.
            time.sleep(0.002 * 2 ** min(attempt, 6) * (1 + threading.get_native_id() % 7 / 7))
        raise AssertionError("unreachable")

    def _once(
        self, engine: Engine, idle: deque[Connection], step: Step | None, fn: Callable[[Connection], T],
        durable: bool = True,
    ) -> T:  # fmt: skip
        try:
            c = idle.pop()
        except IndexError:
            c = engine.connect()
        try:
            result = self._transact(c, step, fn, durable)
        except BaseException:
            c.close()  # the pool sees to what is left of the transaction
            raise
        self._keep(c, idle)
        return result

    def _transact(self, c: Connection, step: Step | None, fn: Callable[[Connection], T], durable: bool) -> T:
        transaction = c.begin()
        try:
            if not durable:
                c.exec_driver_sql("SET LOCAL synchronous_commit = off")
            with self._closure:
                result = fn(c)
            if step is not None:
                kill_point(step, "before")
        except BaseException:
            _forget_if_broken(c)
            raise  # closing the connection rolls back
        try:
            transaction.commit()
        except Exception as error:
            _forget_if_broken(c)
            if step is not None and is_lost(error):
                raise Unavailable(
                    f"the connection to the database was lost while a write was being committed ({self.place})",
                    "Whether it took place is not known: look before you repeat it",
                ) from error
            raise
        if step is not None:
            kill_point(step, "after")
        return result


def _engine(url: URL, timeout: float) -> Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise Unavailable(
            "the PostgreSQL driver is not installed", "Install it with: pip install 'pkiconf[postgres]'"
        ) from None
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        isolation_level="READ COMMITTED",
        pool_size=_POOL,
        max_overflow=_OVERFLOW,
        pool_timeout=timeout,
        pool_recycle=1800,
        pool_use_lifo=True,
        connect_args={
            "connect_timeout": max(2, int(timeout)),
            "prepare_threshold": 3,
            "application_name": "pkiconf",
            # Of several hosts never a hot standby: it would serve a status that is out of date.
            "target_session_attrs": "read-write",
        },
    )

    @event.listens_for(engine, "connect")
    def limit(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(
            f"SET statement_timeout = '{_STATEMENT_TIMEOUT}s'; SET lock_timeout = '{int(timeout * 1000)}ms';"
            " SET idle_in_transaction_session_timeout = '120s'; SET synchronous_commit = on"
        )
        cursor.close()
        connection.commit()

    return engine


def _forget_if_broken(c: Connection) -> None:
    """Statements run by `prepared` pass SQLAlchemy by, so it does not learn by itself that a connection is gone."""
    if not c.invalidated and getattr(c.connection.dbapi_connection, "broken", False):
        c.invalidate()
