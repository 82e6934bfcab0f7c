"""Telling the worker, after a commit, that something is due: a datagram that may be lost, for it polls as well."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Final

SOCKET_FILE: Final = "worker.sock"


def wake_worker(state: Path) -> None:
    """Never raises and never waits."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"!", str(state / SOCKET_FILE))


class Alarm:
    """The worker's end. AF_UNIX paths are short: a state folder whose path is too long is polled only."""

    def __init__(self, state: Path) -> None:
        self._path = state / SOCKET_FILE
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
        except OSError:
            self._socket.close()
            self._socket = None

    def wait(self, seconds: float) -> bool:
        """True when woken, False when the time is over."""
        if self._socket is None:
            time.sleep(seconds)
            return False
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(16)
        except TimeoutError:
            return False
        self._drain()
        return True

    def ring(self) -> None:
        """Wake whoever waits, from a signal handler."""
        wake_worker(self._path.parent)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)

    def _drain(self) -> None:
        assert self._socket is not None
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(16):
                pass
