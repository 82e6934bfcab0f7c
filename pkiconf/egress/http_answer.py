"""One GET on a connected socket: what came back (RFC 9112), bounded in time and in octets, however slowly it comes.

Only what a challenge needs is read. The standard library's client spends more on the headers than all the rest costs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pkiconf.egress.deadline import Deadline

REDIRECTS: Final = (301, 302, 307, 308)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: .*)?")
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_MOST_OCTETS: Final = 65536  # of headers, and of what frames a body
_MOST_INTERIM: Final = 5
_WITHOUT_BODY: Final = (204, 304)


class NotHTTP(Exception):
    """What came is no HTTP answer, or not a whole one; says why."""


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """`location` is the header's value, empty without one; `body` has at most one octet more than was asked for."""

    status: int
    location: bytes
    body: bytes


def get(s: socket.socket, host: str, target: str, most: int, deadline: Deadline) -> PlainAnswer:
    """GET `target`; at most `most` octets of the body, and one more that tells that there are more.

    `host` and `target` are printable ASCII. Raises OSError and NotHTTP. Of a redirect no body is read.
    """
    s.settimeout(deadline.left())
    s.sendall(
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pkiconf\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    octets = _Octets(s, deadline)
    status, headers = _read_head(octets)
    body = b"" if status in REDIRECTS or status in _WITHOUT_BODY else _read_body(octets, headers, most + 1)
    return PlainAnswer(status, headers.get(b"location", b""), body)


class _Octets:
    """What arrives, with one deadline and one limit for all of it."""

    def __init__(self, s: socket.socket, deadline: Deadline) -> None:
        self._socket, self._deadline = s, deadline
        self.waiting = b""
        self._left = _MOST_OCTETS

    def more(self) -> bool:
        """False at the end of the connection."""
        if self._left <= 0:
            raise NotHTTP("it is too long")
        self._socket.settimeout(self._deadline.left())
        arrived = self._socket.recv(4096)
        self._left -= len(arrived)
        self.waiting += arrived
        return bool(arrived)

    def until(self, end: re.Pattern[bytes]) -> bytes:
        """What stands before `end`, which is left out."""
        while (found := end.search(self.waiting)) is None:
            if not self.more():
                raise NotHTTP("it ended early" if self.waiting else "nothing came")
        taken, self.waiting = self.waiting[: found.start()], self.waiting[found.end() :]
        return taken

    def take(self, count: int) -> bytes:
        """Exactly so many."""
        while len(self.waiting) < count:
            if not self.more():
                raise NotHTTP("it ended early")
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def rest(self, most: int) -> bytes:
        """What comes before the connection ends, at most so many."""
        while len(self.waiting) < most and self.more():
            pass
        return self.waiting[:most]


def _read_head(octets: _Octets) -> tuple[int, Mapping[bytes, bytes]]:
    for _ in range(_MOST_INTERIM):
        first, *lines = octets.until(_END_OF_HEAD).replace(b"\r\n", b"\n").split(b"\n")
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise NotHTTP("it does not begin with a status line")
        if (status := int(found[1])) >= 200:
            return status, _headers(lines)
    raise NotHTTP("it has too many interim answers")


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise NotHTTP("a header cannot be read")
        found[name.lower()] = value.strip(b" \t")
    return found


_END_OF_LINE: Final = re.compile(rb"\r?\n")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


def _read_body(octets: _Octets, headers: Mapping[bytes, bytes], most: int) -> bytes:
    coding = headers.get(b"transfer-encoding", b"").lower()
    if coding:
        if coding != b"chunked":
            raise NotHTTP("it has an unknown transfer coding")
        return _read_chunks(octets, most)
    length = headers.get(b"content-length")
    if length is None:
        return octets.rest(most)
    if not length.isdigit() or len(length) > 18:
        raise NotHTTP("its length cannot be read")
    return octets.take(min(int(length), most))


def _read_chunks(octets: _Octets, most: int) -> bytes:
    body = b""
    while len(body) < most:
        found = _SIZE.fullmatch(octets.until(_END_OF_LINE))
        if found is None:
            raise NotHTTP("a chunk of it cannot be read")
        size = int(found[1], 16)
        if size == 0:
            break
        body += octets.take(min(size, most - len(body)))
        if len(body) < most and octets.until(_END_OF_LINE):
            raise NotHTTP("a chunk of it is longer than it says")
    return body
