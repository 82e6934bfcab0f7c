"""What arrives over a socket, within one deadline and a limit: a socket's own time-out begins anew with each octet."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pkiconf.egress.deadline import Deadline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Arriving(io.RawIOBase):
    """`too_long` makes what is raised when more than `most` octets come; TimeoutError is raised at the deadline."""

    def __init__(self, s: socket.socket, deadline: Deadline, most: int, too_long: Callable[[], Exception]) -> None:
        self._socket, self._deadline, self._left, self._too_long = s, deadline, most, too_long

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)[: self._left]
        if self._left <= 0:
            raise self._too_long()
        self._socket.settimeout(self._deadline.left())
        count = self._socket.recv_into(room)
        self._left -= count
        return count
