"""One GET on a connected socket: what came back, bounded in time and in octets, however slowly it comes."""

from __future__ import annotations

import http.client
import io
import socket
from dataclasses import dataclass
from typing import Any, Final

from pkiconf.egress.deadline import Deadline

_MOST_OCTETS: Final = 96 * 1024  # of one answer, headers included


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """`location` is the header's value, empty without one; `body` has at most one octet more than was asked for."""

    status: int
    location: str
    body: bytes


def get(s: socket.socket, host: str, target: str, most: int, deadline: Deadline) -> PlainAnswer:
    """GET `target`; at most `most` octets of the body, and one more that tells that there are more.

    `host` and `target` are printable ASCII. Raises OSError and http.client.HTTPException.
    """
    s.settimeout(deadline.left())
    s.sendall(
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pkiconf\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    response = http.client.HTTPResponse(_Source(s, deadline))  # type: ignore[arg-type]
    try:
        response.begin()
        body = b"" if response.status in (301, 302, 307, 308) else response.read(most + 1)
        return PlainAnswer(response.status, response.headers.get("Location", ""), body)
    finally:
        response.close()


class _Source:
    """What `HTTPResponse` takes for a socket."""

    def __init__(self, s: socket.socket, deadline: Deadline) -> None:
        self._octets = _Octets(s, deadline)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._octets, 4096)


class _Octets(io.RawIOBase):
    """Reads that all share one deadline and one limit."""

    def __init__(self, s: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._socket, self._deadline, self._left = s, deadline, _MOST_OCTETS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever holds octets
        if self._left <= 0:
            raise http.client.HTTPException("the answer is too long")
        self._socket.settimeout(self._deadline.left())
        count = self._socket.recv_into(buffer)
        self._left -= count
        return count
