"""Telling the worker, after a commit, that something is due, and being told when it has done it: by datagrams that may
be lost, for both sides look by themselves as well."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from pathlib import Path
from typing import Final

SOCKET_FILE: Final = "worker.sock"

_WAKE: Final = b"!"
_ASK: Final = b"?"  # before the name of a thing
_LARGEST: Final = 64  # octets of a datagram
_MOST_ASKED: Final = 1024
_SHORTEST_QUEUE: Final = 10
"""Datagrams that wait at a socket at least before the kernel takes no more (Linux: net.unix.max_dgram_qlen)."""


def wake_worker(state: Path) -> None:
    """Never raises and never waits."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(_WAKE, str(state / SOCKET_FILE))


class Call:
    """One thread's line to the worker. Its end has a name that the kernel gives and takes away again, where it does
    so (Linux, and both in one network namespace); elsewhere nobody is told, and `wait` only sleeps."""

    def __init__(self, state: Path) -> None:
        self._worker = str(state / SOCKET_FILE)
        self._thing = b""
        self._is_asked = False
        self._socket: socket.socket | None = None

    def ask(self, thing: str) -> None:
        """To be told when the worker has done what it could for `thing`. Never raises and never waits."""
        self._thing = thing.encode()
        self._is_asked = False
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = _nameless()
            self._socket.settimeout(0)
            self._socket.sendto(_ASK + self._thing, self._worker)
            self._is_asked = True

    def wait(self, seconds: float) -> bool:
        """True when told, once for each question; False when the time is over."""
        until = time.monotonic() + seconds
        while self._is_asked and self._socket is not None and (left := until - time.monotonic()) > 0:
            try:
                self._socket.settimeout(left)
                told = self._socket.recv(_LARGEST)
            except TimeoutError:
                return False
            except OSError:
                break
            if told == self._thing:  # and not what was asked before
                self._is_asked = False
                return True
        time.sleep(max(0.0, until - time.monotonic()))
        return False

    def close(self) -> None:
        """Until something is asked again: no socket is left behind where nobody waits."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _nameless() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind("")
        if not made.getsockname():
            raise OSError("the kernel gives no names")
    except BaseException:
        made.close()
        raise
    return made


class Alarm:
    """The worker's end. Of several workers of one state folder the last to start is the one that is woken, and the
    others poll; so does one whose state folder has too long a path (AF_UNIX allows some hundred octets)."""

    def __init__(self, state: Path) -> None:
        self._path = state / SOCKET_FILE
        self._own_end, self._bell = os.pipe()
        os.set_blocking(self._own_end, False)
        os.set_blocking(self._bell, False)
        self._asked: dict[str, bytes] = {}
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
        until = time.monotonic() + seconds
        while select.select(watched, [], [], max(0.0, until - time.monotonic()))[0]:
            if self._is_woken():
                return True
        return False

    def ring(self) -> None:
        """Wake whoever waits here, from a signal handler or another thread."""
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")

    def tell(self, thing: str) -> None:
        """Whoever has asked last about `thing`, that it is worth a look. Never raises and never waits; for any
        thread."""
        asker = self._asked.pop(thing, None)
        if asker is not None and self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(thing.encode(), asker)

    def close(self) -> None:
        os.close(self._own_end)
        os.close(self._bell)
        if self._socket is not None:
            self._socket.close()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._file:  # not the one of a worker that started later
                    self._path.unlink()

    def _is_woken(self) -> bool:
        """Takes everything that has come, and remembers who asks."""
        woken = False
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while os.read(self._own_end, 64):
                woken = True
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None:
                said, sender = self._socket.recvfrom(_LARGEST)
                taken += 1
                if said.startswith(_ASK):
                    self._remember(said[1:].decode(errors="replace"), sender)
                else:
                    woken = True
        return woken or taken >= _SHORTEST_QUEUE  # where questions filled the queue, a wake-up may have been lost

    def _remember(self, thing: str, asker: bytes) -> None:
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()  # they wait no more
        self._asked[thing] = asker
