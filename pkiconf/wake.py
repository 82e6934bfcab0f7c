"""Telling the worker, after a commit, that something is due: a datagram that may be lost, for it polls as well."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import Path
from typing import Final

SOCKET_FILE: Final = "worker.sock"


def wake_worker(state: Path) -> None:
    """Never raises and never waits."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"!", str(state / SOCKET_FILE))


class Alarm:
    """The worker's end. Of several workers of one state folder the last to start is the one that is woken, and the
    others poll; so does one whose state folder has too long a path (AF_UNIX allows some hundred octets)."""

    def __init__(self, state: Path) -> None:
        self._path = state / SOCKET_FILE
        self._own_end, self._bell = os.pipe()
        os.set_blocking(self._own_end, False)
        os.set_blocking(self._bell, False)
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._file = self._path.stat().st_ino
        except OSError:
            self._socket.close()
            self._socket = None

    def wait(self, seconds: float) -> bool:
        """True when woken, False when the time is over."""
        watched = [self._own_end] if self._socket is None else [self._own_end, self._socket.fileno()]
        if not select.select(watched, [], [], seconds)[0]:
            return False
        self._drain()
        return True

    def ring(self) -> None:
        """Wake whoever waits here, from a signal handler or another thread."""
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")

    def close(self) -> None:
        os.close(self._own_end)
        os.close(self._bell)
        if self._socket is not None:
            self._socket.close()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._file:  # not the one of a worker that started later
                    self._path.unlink()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._own_end, 64):
                pass
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None and self._socket.recv(16):
                pass
