"""What `http.client` makes of a stranger's octets within bounds: an answer, or an error that says what is wrong."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.http_bounds import bind, complaint, read_body

WHOLE = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"


def ask(octets: bytes, limit: int = 100, most: int = 10_000) -> tuple[int, bytes]:
    """What a server has answered that has sent `octets` and closed the connection."""
    near, far = socket.socketpair()
    with near, far, closing(http.client.HTTPConnection("stranger.example")) as connection:
        far.sendall(octets)
        far.shutdown(socket.SHUT_WR)
        bind(connection, near, Deadline.within(10), most)
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            return answer.status, read_body(answer, limit)


def test_a_body_and_one_octet_more_than_was_asked_for() -> None:
    for octets in (WHOLE, FRAMED, b"HTTP/1.0 200 OK\r\n\r\nhello world"):
        assert ask(octets) == (200, b"hello world")
        assert ask(octets, limit=11) == (200, b"hello world")
        assert ask(octets, limit=10) == (200, b"hello world")
        assert ask(octets, limit=4) == (200, b"hello")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    assert ask(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\nhello" % status) == (status, b"")


def test_no_more_octets_than_the_limit() -> None:
    for octets in (WHOLE, FRAMED):
        for most in range(1, len(octets) - 30):
            with pytest.raises(http.client.HTTPException, match="too long"):
                ask(octets, most=most)


def test_a_connection_is_not_made_anew() -> None:
    near, far = socket.socketpair()
    with near, far, closing(http.client.HTTPConnection("127.0.0.1", 9)) as connection:
        bind(connection, near, Deadline.within(10), 1000)
        connection.close()
        with pytest.raises(http.client.NotConnected):
            connection.request("GET", "/")


def test_a_deadline_that_is_over() -> None:
    near, far = socket.socketpair()
    with near, far, closing(http.client.HTTPConnection("stranger.example")) as connection:
        bind(connection, near, Deadline.within(1), 1000)
        connection.request("GET", "/")
        with pytest.raises(TimeoutError):
            connection.getresponse()
    near, far = socket.socketpair()
    with near, far, closing(http.client.HTTPConnection("stranger.example")) as connection:
        bind(connection, near, Deadline.within(-1), 1000)
        with pytest.raises(TimeoutError):
            connection.request("GET", "/")


def judged(octets: bytes) -> None:
    """Nothing else is raised, whatever came."""
    try:
        status, body = ask(octets)
    except http.client.HTTPException as ex:
        complaint(ex)
        return
    assert status >= 200
    assert len(body) <= 101


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    for head in (b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", WHOLE[:100], WHOLE[:-50]):
        judged(head + octets)


@given(st.data())
def test_a_bent_answer_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from([WHOLE, FRAMED])))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.sampled_from(b"\r\n\0 \t:;-09aF\xff"))
    judged(bytes(octets))
