"""Connections, and the moment at which a write is durable.

`read` and `write` are given closures that take a connection. A closure touches nothing but the database and may
be run again: on PostgreSQL after a deadlock or a lost connection. What it raises is raised to the caller, and
nothing of it is recorded.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

from sqlalchemy import text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from pkiconf.errors import Malformed, PkiconfError
from pkiconf.steps import Step
from pkiconf.store.prepared import Prepared

__all__ = ["DATABASE_FILE", "TIMEOUT", "Connection", "Database", "database_file", "open_database"]

T = TypeVar("T")

DATABASE_FILE: Final = "pkiconf.db"
TIMEOUT: Final = 10.0
"""Seconds that a read or a write waits for others before it is Unavailable."""

_SAVEPOINT: Final = Prepared(text("SAVEPOINT one_of_many"))
_ROLLBACK: Final = Prepared(text("ROLLBACK TO SAVEPOINT one_of_many"))
_RELEASE: Final = Prepared(text("RELEASE SAVEPOINT one_of_many"))


class _Inside:
    """Marks that this thread runs a closure, so that `read` and `write` inside it are noticed."""

    def __init__(self, thread: threading.local) -> None:
        self._thread = thread

    def __enter__(self) -> None:
        self._thread.inside = True

    def __exit__(self, *_: object) -> None:
        self._thread.inside = False


class Database(ABC):
    """One database, for all threads of one process.

    A closure must not call `read` or `write` itself, and a process that was forked off must open its own.
    """

    dialect: Literal["sqlite", "postgresql"]
    place: str
    """Where it is, for people: a path, or a URL without its password."""
    path: Path | None = None
    """The file of an SQLite database."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._thread = threading.local()
        self._closure = _Inside(self._thread)
        self._closed = False

    @abstractmethod
    def read(self, fn: Callable[[Connection], T]) -> T:
        """What `fn` returns from one unchanging view of the database. Raises Unavailable."""

    def look(self, fn: Callable[[Connection], T]) -> T:
        """`read` for a closure that runs a single statement, which is one view of the database by itself: nothing is
        spent on beginning and ending a transaction. Raises Unavailable."""
        return self.read(fn)

    @abstractmethod
    def write(self, step: Step, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What `fn` returns, once all it wrote is durable. Around the commit stand the kill points of `step`.

        With `durable` false it does not wait for the disk: others see it at once, and a killed process loses nothing
        of it, but a power cut may, of this transaction as a whole and never of an earlier or a durable later one alone.

        Raises what `fn` raises; Unavailable when the database is busy, full, read-only or not reachable;
        Conflict when a unique value is already taken. After any of them nothing of it is recorded, unless the
        message says that this is not known.
        """

    def write_all(self, step: Step, fns: Sequence[Callable[[Connection], None]]) -> list[PkiconfError | None]:
        """Several closures in one durable transaction; for each, the error that took back it alone, or None.

        Raises what `write` raises when all of them failed together.
        """

        def run(c: Connection) -> list[PkiconfError | None]:
            return [_tried(c, fn) for fn in fns]

        return self.write(step, run) if fns else []

    @abstractmethod
    def close(self) -> None:
        """End all connections. Using the database afterwards is an error; closing it again is none."""

    def _check_usable(self) -> None:
        if getattr(self._thread, "inside", False):
            raise RuntimeError("read or write called inside a closure of read or write")
        if self._closed:
            raise RuntimeError("the database is closed")
        if os.getpid() != self._process:
            raise RuntimeError("the database was opened before this process was forked off")


def _tried(c: Connection, fn: Callable[[Connection], None]) -> PkiconfError | None:
    _SAVEPOINT.count(c)
    refused: PkiconfError | None = None
    try:
        fn(c)
    except PkiconfError as error:
        refused = error.anew()  # and not itself: its frames hold what is returned
        _ROLLBACK.count(c)
    _RELEASE.count(c)
    return refused


def open_database(url: str | None, state: Path, *, timeout: float = TIMEOUT) -> Database:
    """The database that `url` names, or `pkiconf.db` in the state folder, made when it is missing.

    Accepts `sqlite:///PATH` and `postgresql://…`. The schema is not looked at (see `migrate`).
    Raises Malformed for another kind of URL; Unavailable when it cannot be opened.
    """
    from pkiconf.store.sqlite import SQLiteDatabase

    if url is None:
        return SQLiteDatabase(state / DATABASE_FILE, timeout)
    parsed = _parse(url)
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise Malformed("the database URL names no file", "Write sqlite:////absolute/path/pkiconf.db")
        return SQLiteDatabase(Path(parsed.database), timeout)
    if kind in ("postgresql", "postgres"):
        from pkiconf.store.postgresql import PostgreSQLDatabase

        return PostgreSQLDatabase(parsed, timeout)
    raise Malformed(f"a database of kind {kind!r} is not supported", "Use postgresql://… or sqlite:///…")


def database_file(url: str | None, state: Path) -> Path | None:
    """The file of the SQLite database that `open_database` would open; None for a server. Raises Malformed."""
    if url is None:
        return state / DATABASE_FILE
    parsed = _parse(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise Malformed(
            "the database URL cannot be read", "Write postgresql://user@host/name or sqlite:////absolute/path"
        ) from None
