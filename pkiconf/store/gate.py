"""The door that one writing process at a time passes.

SQLite lets one writer in and makes the others poll with growing pauses, so that under load some wait for
seconds. Here writers of all processes queue at two lock files instead. A process takes the *turn* first and
the *gate* second, and gives the turn back once it is through: whoever has just written must take the turn
again, which the next in line is holding, so nobody is starved. The kernel drops a dead process's locks.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pkiconf.errors import Unavailable

_SHORTEST: Final = 0.0002
_LONGEST: Final = 0.002
"""Seconds between two tries."""

_LONGEST_USUAL: Final = 4 * _LONGEST


class Gate:
    """Lock files `<database>-turn` and `<database>-gate`, made on first use with the database's permissions."""

    def __init__(self, database: Path) -> None:
        self._turn = _Lock(_open(database, "-turn"))
        try:
            self._gate = _Lock(_open(database, "-gate"))
        except BaseException:
            self._turn.close()
            raise

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Raises Unavailable when no turn came within `timeout` seconds."""
        until = time.monotonic() + timeout
        self._turn.take(until, timeout)
        try:
            self._gate.take(until, timeout)
        finally:
            self._turn.give_back()
        try:
            yield
        finally:
            self._gate.give_back()

    def close(self) -> None:
        self._turn.close()
        self._gate.close()


class _Lock:
    """One thread of this process takes it at a time. Processes that wait cannot be told that it is free, so they try
    again: first when it has mostly become free, by what waiting took before, then at a quarter of that."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._usual = 2 * _SHORTEST  # seconds until it is free, where it must be waited for

    def take(self, until: float, timeout: float) -> None:
        """Raises Unavailable when that has not been possible until then, `timeout` seconds in all."""
        if self._is_taken():
            return
        begun = now = time.monotonic()
        pause = self._usual * 3 / 4
        while now < until:
            time.sleep(min(max(pause, _SHORTEST), _LONGEST))
            pause = self._usual / 4
            now = time.monotonic()
            if self._is_taken():
                self._usual += (min(now - begun, _LONGEST_USUAL) - self._usual) / 8
                return
        raise Unavailable(
            f"the database is busy: other processes have been writing for {timeout:g} seconds",
            "Try again; if it stays busy, look for a stuck process that holds the state folder",
        )

    def give_back(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)

    def _is_taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _open(database: Path, ending: str) -> int:
    path = database.with_name(database.name + ending)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            # As SQLite does for its side files: what root makes here, the database's owner must be able to open.
            os.fchown(file, database.stat().st_uid, database.stat().st_gid)
    except OSError as error:
        raise Unavailable(
            f"lock file {path} cannot be opened: {error.strerror}",
            "Give the program a state folder it may write to (--state, PKICONF_STATE)",
        ) from error
    return file
