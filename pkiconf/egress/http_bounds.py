"""`http.client` within bounds: one deadline for an exchange, however slowly it drips, and one limit for its octets."""

from __future__ import annotations

import http.client
import io
import socket
from typing import TYPE_CHECKING, Final, cast

from pkiconf.egress.arriving import Arriving
from pkiconf.egress.deadline import Deadline

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_OF_HEAD: Final = 65536
"""Octets that headers, interim answers and what frames a body may have together."""

_MOST_INTERIM: Final = 5


class NotHTTP(http.client.HTTPException):
    """What came is no HTTP answer, or not a whole one; says why."""


def bind(connection: http.client.HTTPConnection, s: socket.socket, deadline: Deadline, most: int) -> None:
    """Let `connection` speak over `s`, which is connected, and never connect by itself.

    At most `most` octets are received. Its answer, `getresponse`, is the first that is not an interim one. Whoever
    opened `s` closes it. TimeoutError and HTTPException are raised where they are not kept to.
    """
    connection.sock = cast(socket.socket, _Bounded(s, deadline, most))
    connection.auto_open = 0
    connection.response_class = _Answer


def read_body(answer: http.client.HTTPResponse, limit: int) -> bytes:
    """The whole body; of one that has more than `limit` octets, one octet more than that."""
    try:
        body = answer.read(limit + 1)
    except ValueError:  # a chunk with less than no octets
        raise NotHTTP("a chunk of it cannot be read") from None
    if len(body) <= limit and answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return body


def complaint(error: http.client.HTTPException) -> str:
    """What is wrong with an answer, in words that go behind a colon."""
    match error:
        case http.client.IncompleteRead():
            return "it ended early"
        case http.client.RemoteDisconnected():
            return "nothing came"
        case http.client.LineTooLong():
            return "it is too long"
        case http.client.BadStatusLine() | http.client.UnknownProtocol():
            return "it does not begin with a status line"
    return f"{error}"


class _Bounded:
    """What `http.client` uses of a socket."""

    def __init__(self, s: socket.socket, deadline: Deadline, most: int) -> None:
        self._socket, self._deadline, self._most = s, deadline, most

    def sendall(self, data: ReadableBuffer) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(Arriving(self._socket, self._deadline, self._most, _too_long))

    def close(self) -> None:
        """The answer may still have to be read."""


def _too_long() -> NotHTTP:
    return NotHTTP("it is too long")


class _Answer(http.client.HTTPResponse):
    """Passes over every interim answer (RFC 9110 §15.2), and takes no headers for what they are not: the library takes
    100 alone for one, and reads a body to the end of the connection where it cannot read its length."""

    def begin(self) -> None:
        for _ in range(_MOST_INTERIM):
            super().begin()
            if self.status >= http.client.OK:
                _check(self)
                return
            self.headers = None  # type: ignore[assignment]  # so that it begins again
        raise NotHTTP("it has too many interim answers")


def _check(answer: http.client.HTTPResponse) -> None:
    if answer.headers.defects:
        raise NotHTTP("a header cannot be read")
    if answer.chunked:
        return
    if "Transfer-Encoding" in answer.headers:
        raise NotHTTP("it has an unknown transfer coding")
    if "Content-Length" in answer.headers and answer.length is None:
        raise NotHTTP("its length cannot be read")
