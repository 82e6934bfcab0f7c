"""The file beside an SQLite database that remembers redeemed nonces: shared by processes, never synced.

SQLite's WAL without any fsync survives the death of a process, as what was written lies with the kernel; it does not
survive the kernel. So an epoch is bound to one run of the machine. Each epoch has a file that carries it in its name,
and `nonces.epoch` says which one counts: no process can mistake a new file for the one it redeemed in before.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from pkiconf.errors import Unavailable
from pkiconf.store.failures import translate

T = TypeVar("T")

POINTER: Final = "nonces.epoch"
_LOCK: Final = "nonces.lock"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_WAIT: Final = 10.0  # seconds for another process, which opens, closes or changes the file in some microseconds
_PAUSE: Final = 0.0002
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE nonce (value BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE floor (value BLOB NOT NULL);
INSERT INTO floor (value) VALUES (x'');
"""
_REDEEM: Final = "INSERT OR IGNORE INTO nonce SELECT ?1 WHERE ?1 >= (SELECT value FROM floor)"
# What says nothing about the content of the file, and another file would meet as well.
_SURROUNDINGS: Final = frozenset(
    {
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    }
)  # fmt: skip


def read_boot_id() -> str | None:
    """What the kernel calls the time since it was started; None where it has no name for it."""
    try:
        return str(UUID(_BOOT_ID.read_text("ascii").strip()))
    except (OSError, ValueError):
        return None


class SideFile:
    """For all threads of one process. `folder` is the database's; `boot` names this run of the machine, and without
    it every process that opens begins a new epoch."""

    def __init__(self, folder: Path, boot: str | None) -> None:
        self._folder = folder.absolute()
        self._name = boot or "-"
        self._lock = threading.Lock()
        self._epoch: bytes | None = None
        # What a file says that was there before this process proves nothing where the machine's runs have no names.
        self._trusted = boot is not None
        self._driver: sqlite3.Connection | None = None

    def epoch(self) -> bytes:
        known = self._epoch
        if known is not None:
            return known
        with self._lock, self._explained():
            return self._current()

    def redeem(self, epoch: bytes, value: bytes) -> bool:
        with self._lock:
            if epoch == self._epoch and self._driver is not None:
                with suppress(sqlite3.Error):  # what is looked into below
                    return self._driver.execute(_REDEEM, (value,)).rowcount == 1
            with self._explained():
                if epoch != self._current() and epoch != self._reopened():
                    return False
                return self._run(_REDEEM, value) == 1

    def prune(self, before: int) -> int:
        floor = before.to_bytes(4, "big")
        with self._lock, self._explained():
            if self._epoch is None:
                epoch = self._read_pointer()
                if epoch is None or not self._connect(epoch):
                    return 0  # who redeems will see to it
                self._epoch = epoch
            self._run("UPDATE floor SET value = ?1 WHERE value < ?1", floor)
            forgotten = self._run("DELETE FROM nonce WHERE value < ?1", floor)
            if not self._trusted:
                self._forget()
            return max(0, forgotten)

    def close(self) -> None:
        with self._lock:
            self._forget()

    @property
    def _pointer(self) -> Path:
        return self._folder / POINTER

    def _file(self, epoch: bytes) -> Path:
        return self._folder / f"nonces-{epoch.hex()}.sqlite"

    def _current(self) -> bytes:
        if self._epoch is None:
            self._epoch = self._open()
        return self._epoch

    def _reopened(self) -> bytes:
        """The epoch that counts now, where another process may have begun a new one."""
        if self._read_pointer() != self._epoch:
            self._forget()
        return self._current()

    def _forget(self) -> None:
        driver, self._driver, self._epoch = self._driver, None, None
        if driver is not None:
            driver.close()

    def _run(self, statement: str, value: bytes) -> int:
        """A damaged file is given up, and its epoch with it: nothing of it is accepted any more."""
        driver = self._driver
        assert driver is not None
        try:
            return _patiently(lambda: driver.execute(statement, (value,)).rowcount)
        except sqlite3.Error as error:
            if _code(error) in _SURROUNDINGS:
                raise
            damaged = self._epoch
            self._forget()
            self._epoch = self._open(other_than=damaged)
            return 0

    def _open(self, other_than: bytes | None = None) -> bytes:
        epoch = self._read_pointer()
        if self._trusted and epoch is not None and epoch != other_than and self._connect(epoch):
            return epoch
        with self._alone():
            epoch = self._read_pointer()  # another process may have been first
            if not self._trusted or epoch is None or epoch == other_than or not self._connect(epoch):
                epoch = self._begin()
            self._trusted = True
            return epoch

    def _read_pointer(self) -> bytes | None:
        """None where there is none, it cannot be read, it is of another run of the machine, or beside a copy of the
        file that it was written for: a copy may remember less."""
        try:
            text, boot, inode = self._pointer.read_text("ascii").split()
            epoch = bytes.fromhex(text)
            written_here = boot == self._name and int(inode) == self._file(epoch).stat().st_ino
            return epoch if len(epoch) == 4 and written_here else None
        except (FileNotFoundError, ValueError):
            return None

    def _connect(self, epoch: bytes) -> bool:
        """Whether the file of that epoch could be opened, and was the one that counts afterwards still: it may be
        removed by a process that begins another, which it says first."""
        try:
            driver = _connected(f"{self._file(epoch).as_uri()}?mode=rw")
        except sqlite3.Error:
            return False
        try:
            sound = _patiently(lambda: _is_sound(driver))  # whoever opens it first or closes it last keeps others out
        except sqlite3.Error as error:
            driver.close()
            if _code(error) in _SURROUNDINGS:
                raise
            return False
        if not sound or self._read_pointer() != epoch:
            driver.close()
            return False
        self._driver = driver
        return True

    def _begin(self) -> bytes:
        epoch = secrets.token_bytes(4)
        path = self._file(epoch)
        os.close(self._make(path, os.O_RDWR | os.O_EXCL))
        with closing(_connected(path.as_uri())) as driver:
            driver.executescript(_SCHEMA)
        draft = self._pointer.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(self._make(draft, os.O_WRONLY | os.O_EXCL), "w") as file:
            file.write(f"{epoch.hex()} {self._name} {path.stat().st_ino}\n")
        draft.replace(self._pointer)
        for old in self._folder.glob("nonces-*.sqlite*"):
            if not old.name.startswith(path.name):
                old.unlink(missing_ok=True)
        if not self._connect(epoch):
            raise Unavailable(f"the file {path} cannot be used although it has just been made", "Check the disk")
        return epoch

    def _make(self, path: Path, flags: int) -> int:
        """Open a file, made where there is none, that only the folder's owner may read: what root makes here, the
        server that runs as another user must be able to open."""
        file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            folder = self._folder.stat()
            os.fchown(file, folder.st_uid, folder.st_gid)
        return file

    @contextmanager
    def _alone(self) -> Iterator[None]:
        file = self._make(self._folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"the nonces beside the database cannot be kept: {error.strerror}",
                "Give the program a state folder it may write to (--state, PKICONF_STATE)",
            ) from error
        except sqlite3.Error as error:
            raise translate(error, str(self._folder)) from error


def _connected(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


def _is_sound(driver: sqlite3.Connection) -> bool:
    """Makes it ready for use, too."""
    driver.execute("PRAGMA synchronous = OFF")
    driver.execute("SELECT value FROM nonce LIMIT 1").fetchall()
    return bool(driver.execute("SELECT count(*) FROM floor").fetchone() == (1,))


def _patiently(act: Callable[[], T]) -> T:
    """Again and again while another process is at the file."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            return act()
        except sqlite3.Error as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
