"""The embedded database: SQLite in WAL mode, durable at every commit.

Reads have connections of their own and never wait. Writes of a process are grouped (`group`), groups of several
processes pass one `Gate`, and each closure of a group stands in a SAVEPOINT, so that one that fails takes only
itself back.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar, cast

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from pkiconf.errors import Unavailable
from pkiconf.steps import Step, is_anything_killed, kill_points
from pkiconf.store.database import Database
from pkiconf.store.failures import translate
from pkiconf.store.gate import Gate
from pkiconf.store.group import Entry, GroupCommit

T = TypeVar("T")

_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",  # in WAL mode NORMAL would lose the last commits in a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 4000",  # pages: four times fewer checkpoints than by default, measured a third faster
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
)
_OLDEST: Final = (3, 35, 0)  # RETURNING


class _Write(NamedTuple):
    step: Step
    fn: Callable[[Connection], Any]
    durable: bool


class SQLiteDatabase(Database):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        if sqlite3.sqlite_version_info < _OLDEST:
            raise Unavailable(f"SQLite {sqlite3.sqlite_version} is too old", "Use a Python with SQLite 3.35 or later")
        self.dialect = "sqlite"
        self.path = self._file = path.absolute()
        self.place = str(self._file)
        self._timeout = timeout
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        self._readers: deque[Connection] = deque()
        self._writer: Connection | None = None
        self._writes_durably = True
        self._writing = Lock()
        self._group = GroupCommit[_Write](self._run, timeout)
        _create(self._file)
        self._gate = Gate(self._file)
        try:
            self._use_wal()
            self._readers.append(self._open(read_only=True))
        except BaseException:
            self._gate.close()
            raise

    def read(self, fn: Callable[[Connection], T]) -> T:
        return self._view(fn, "BEGIN", "COMMIT")

    def look(self, fn: Callable[[Connection], T]) -> T:
        return self._view(fn)

    def _view(self, fn: Callable[[Connection], T], begin: str = "", end: str = "") -> T:
        self._check_usable()
        try:
            c = self._readers.pop()
        except IndexError:
            c = self._open(read_only=True)
        driver = _driver(c)
        healthy = False
        try:
            if begin:
                driver.execute(begin)
            self._thread.inside = True
            result = fn(c)
            if end:
                driver.execute(end)
            healthy = True
            return result
        except Exception as error:
            healthy = _rolled_back(driver)
            raise translate(error, self.place)  # noqa: B904 - it carries its cause
        finally:
            self._thread.inside = False
            if healthy and not self._closed:
                self._readers.append(c)
            else:
                c.close()

    def write(self, step: Step, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        self._check_usable()
        result: T = self._group.submit(_Write(step, fn, durable))
        return result

    def close(self) -> None:
        with self._writing:  # a group that is being written comes to its end first
            if self._closed:
                return
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            if self._writer is not None:
                self._writer.close()
            self._gate.close()

    def _run(self, group: Sequence[Entry[_Write]]) -> None:
        try:
            with self._writing:
                self._check_usable()
                with self._gate.held(self._timeout):
                    self._transact(group)
        except Exception as error:
            for entry in group:
                entry.error = entry.error or translate(error, self.place)

    def _transact(self, group: Sequence[Entry[_Write]]) -> None:
        if self._writer is None:
            self._writer = self._open(read_only=False)
            self._writes_durably = True
        c, driver = self._writer, _driver(self._writer)
        durable = any(entry.work.durable for entry in group)
        try:
            # Cannot be changed within a transaction. With NORMAL the log keeps its order and is synced by the next
            # durable commit, and before anything of it goes into the database's file.
            if durable != self._writes_durably:
                driver.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._writes_durably = durable
            driver.execute("BEGIN IMMEDIATE")
            for entry in group:
                self._attempt(c, driver, entry, alone=len(group) == 1)
            self._commit(driver, [entry.work.step for entry in group if entry.error is None])
        except BaseException:
            # Whatever state the connection is in, a new one is in none.
            self._writer = None
            _rolled_back(driver)
            c.close()
            raise

    def _attempt(self, c: Connection, driver: sqlite3.Connection, entry: Entry[_Write], alone: bool) -> None:
        if not alone:
            driver.execute("SAVEPOINT closure")
        try:
            with self._closure:
                entry.result = entry.work.fn(c)
        except Exception as error:
            if not driver.in_transaction:
                raise  # SQLite took the whole transaction back (a full disk, for one): the group has failed
            entry.error = translate(error, self.place)
            if not alone:
                driver.execute("ROLLBACK TO closure")
        if not driver.in_transaction:
            raise Unavailable("the transaction ended inside a closure", "This is an error in pkiconf: report it")
        if not alone:
            driver.execute("RELEASE closure")

    def _commit(self, driver: sqlite3.Connection, steps: Sequence[Step]) -> None:
        if not steps:
            driver.execute("ROLLBACK")
            return
        if not is_anything_killed():
            driver.execute("COMMIT")
            return
        kill_points(steps, "before")
        driver.execute("COMMIT")
        kill_points(steps, "after")

    def _use_wal(self) -> None:
        """The mode stays in the file. Changing it fails at once when another process is in the file, whatever the
        time-out, so the processes that find a new file change it one by one."""
        try:
            with closing(self._connect()) as driver:
                if driver.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                    return
                with self._gate.held(self._timeout):
                    driver.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise translate(error, self.place)  # noqa: B904 - it carries its cause

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._file, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    def _open(self, *, read_only: bool) -> Connection:
        try:
            c = self._engine.connect()
            driver = _driver(c)
            try:
                for pragma in _PRAGMAS:
                    driver.execute(pragma)
                if read_only:
                    driver.execute("PRAGMA query_only = ON")
            except BaseException:
                c.close()
                raise
            return c
        except Exception as error:
            raise translate(error, self.place)  # noqa: B904 - it carries its cause


def _driver(c: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, c.connection.dbapi_connection)


def _rolled_back(driver: sqlite3.Connection) -> bool:
    """Whether the connection is usable again."""
    try:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def _create(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its side files the same mode.

    One that is there is not even opened: closing it would end the locks that SQLite holds on it for this process
    (POSIX), and the next process that closes the database would take away the log that is being written here.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path.resolve(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Unavailable(
            f"database {path} cannot be opened: {error.strerror}",
            "Give the program a state folder it may write to (--state, PKICONF_STATE)",
        ) from error
