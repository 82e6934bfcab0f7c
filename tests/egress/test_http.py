"""One HTTP exchange with servers that behave, and with servers that do not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pkiconf.egress.http import HTTPAnswer, exchange
from pkiconf.errors import Malformed, Unavailable
from tests.egress.servers import until_it_leaves


@contextmanager
def serving(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server that reads one request's beginning and then does what `answer` does; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            with suppress(OSError):
                answer(connection, connection.recv(65536))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join(10)


def saying(data: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _: connection.sendall(data)


def test_get() -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=x\r\nContent-Length: 2\r\n\r\nhi")

    with serving(answer) as url:
        assert exchange(f"{url}/a/b?c=d#e") == HTTPAnswer(200, "text/plain", b"hi")
    assert asked[0].startswith(b"GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"User-Agent: pkiconf\r\n" in asked[0]


def test_post_and_a_chunked_answer() -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        while not request.endswith(b"\x00\x01"):
            request += connection.recv(1024)
        asked.append(request)
        connection.sendall(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n")

    with serving(answer) as url:
        assert exchange(url, body=b"\x00\x01", media_type="application/x") == HTTPAnswer(404, "", b"hi you")
    assert asked[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"Content-Type: application/x\r\n" in asked[0]
    assert b"Content-Length: 2\r\n" in asked[0]


def test_interim_answers_are_passed_over() -> None:
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with serving(saying(data)) as url:
        assert exchange(url) == HTTPAnswer(200, "", b"hi")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    data = f"HTTP/1.1 {status} X\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(saying(data)) as url, pytest.raises(Unavailable, match=r"redirects to 'http://169\.254"):
        exchange(url)


def test_an_answer_that_is_too_large() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + bytes(11)
    with serving(saying(data)) as url, pytest.raises(Unavailable, match="more than 10 octets"):
        exchange(url, limit=10)
    with serving(saying(data)) as url:
        assert len(exchange(url, limit=11).body) == 11


def test_an_endless_answer() -> None:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    with serving(answer) as url, pytest.raises(Unavailable, match="more than"):
        exchange(url)


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"])
def test_an_answer_drop_by_drop(drip: bytes) -> None:
    """Each drop would begin a socket's own time-out anew."""

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(drip)
        for _ in range(1200):
            connection.sendall(b"x")
            time.sleep(0.05)

    began = time.monotonic()
    with serving(answer) as url, pytest.raises(Unavailable, match=r"no whole answer within 0\.4 seconds"):
        exchange(url, seconds=0.4)
    assert time.monotonic() - began < 30


def test_silence() -> None:
    with (
        serving(lambda connection, _: until_it_leaves(connection)) as url,
        pytest.raises(Unavailable, match=r"within 0\.3 seconds"),
    ):
        exchange(url, seconds=0.3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 500_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + bytes(70_000),
        b"\x15\x03\x03\x00\x02\x02\x46",
    ],
    ids=[
        "nothing", "ssh", "cut off", "cut chunk", "negative chunk", "many trailers", "unknown coding", "unknown length",
        "many headers", "long header", "tls alert",
    ],
)  # fmt: skip
def test_what_is_no_whole_http(data: bytes) -> None:
    with serving(saying(data)) as url, pytest.raises(Unavailable):
        exchange(url, seconds=5)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached: Connection refused"):
        exchange(f"http://127.0.0.1:{port}/")


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        exchange("http://no-such-host.invalid/")


def test_plain_http_where_tls_is_expected() -> None:
    with serving(saying(b"HTTP/1.1 400 Bad\r\n\r\n")) as url, pytest.raises(Unavailable, match="cannot be reached"):
        exchange(url.replace("http:", "https:"), seconds=5)


@pytest.mark.parametrize(
    "url",
    [
        "", "pki.corp.example", "ftp://x/", "file:///etc/passwd", "http://", "http:///x", "http://x:0/", "http://x:99999/",
        "http://x:port/", "http://[::1/", "http://x/a b", "http://x/\r\nHost: y", "http://x/\x00", "http://bücher.example/",
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Malformed):
        exchange(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Malformed) as refusal:
        exchange("http://user:hunter2@127.0.0.1/")
    assert "hunter2" not in str(refusal.value)
