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

_PAUSES: Final = (0.0001,) * 5 + (0.0005,) * 40 + (0.002,)  # seconds; the last one repeats


class Gate:
    """Lock files `<database>-turn` and `<database>-gate`, made on first use with the database's permissions."""

    def __init__(self, database: Path) -> None:
        self._turn = _open(database, "-turn")
        try:
            self._gate = _open(database, "-gate")
        except BaseException:
            os.close(self._turn)
            raise

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Raises Unavailable when no turn came within `timeout` seconds."""
        until = time.monotonic() + timeout
        _lock(self._turn, until, timeout)
        try:
            _lock(self._gate, until, timeout)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._turn)
        os.close(self._gate)


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


def _lock(file: int, until: float, timeout: float) -> None:
    for attempt in range(1_000_000_000):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Unavailable(
                    f"the database is busy: other processes have been writing for {timeout:g} seconds",
                    "Try again; if it stays busy, look for a stuck process that holds the state folder",
                ) from None
            time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
