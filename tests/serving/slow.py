"""Clients that are slow on purpose, many at once, and whether the server lets go of them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

PATIENCE = 120.0
"""Seconds in which the server must have cut off every client, however loaded the machine is."""
BETWEEN = 0.1
"""Seconds between two octets of a client: no time-out that a test sets passes in it."""


@dataclass
class Slow:
    """Sends `first` at once and then an octet of `then` again and again; reads what it is answered, if it `reads`."""

    first: bytes
    then: bytes = b""
    reads: bool = True
    _sent: int = field(default=0, init=False)

    def take_turn(self, connection: socket.socket) -> bool:
        """Whether the connection is still there."""
        try:
            if self._sent < len(self.first):
                self._sent += connection.send(self.first[self._sent :])
            elif self.then:
                connection.send(bytes([self.then[self._sent % len(self.then)]]))
                self._sent += 1
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            return False
        return not self.reads or not is_cut_off(connection)


def connected(port: int, patience: float = PATIENCE) -> socket.socket:
    """With little room for answers that are not read. What blocks does so for at most `patience` seconds."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.settimeout(patience)
    connection.connect(("127.0.0.1", port))
    return connection


def is_cut_off(connection: socket.socket) -> bool:
    """Whether the server has ended a connection that does not block. Reads what was answered before."""
    try:
        while connection.recv(1 << 16):
            pass
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    except OSError:
        return True  # a reset, or an end without TLS's own
    return True


def remaining(clients: Mapping[str, tuple[socket.socket, Slow]]) -> list[str]:
    """Take turns until the server has cut off every client that reads. The names of those that it did not."""
    held = {name: client for name, client in clients.items() if client[1].reads}
    others = [client for name, client in clients.items() if name not in held]
    deadline = time.monotonic() + PATIENCE
    while held and time.monotonic() < deadline:
        for connection, slow in others:
            slow.take_turn(connection)
        held = {name: (connection, slow) for name, (connection, slow) in held.items() if slow.take_turn(connection)}
        time.sleep(BETWEEN)
    return sorted(held)
