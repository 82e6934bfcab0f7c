"""A server's process that is told to end: whoever was told that the connection stays open is answered once more."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.ports import free_port
from tests.serving.application import LONG
from tests.serving.running import ROOT, eventually


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[bytes], http.client.HTTPConnection]]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tests.serving.application", str(port)], cwd=ROOT) as process:
        try:
            eventually(lambda: listens(port))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.auto_open = False
            connection.connect()
            yield process, connection
            connection.close()
            assert process.wait(40) == 0
        finally:
            process.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path)
    return connection.getresponse()


def test_an_answer_in_the_making_says_that_it_is_the_last() -> None:
    with served() as (process, connection):
        assert ask(connection, "/").read() == b"it is answered"
        connection.request("GET", "/slow")
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.read(), answer.getheader("Connection")) == (b"it is answered", "close")


@pytest.mark.parametrize("pause", [0, 1.3])
def test_a_client_that_read_slowly_has_time_for_its_next_request(pause: float) -> None:
    """The head was sent before the end was known; the rest of the answer takes longer than idle connections live."""
    for _ in range(3):
        with served() as (process, connection):
            connection.request("GET", "/long")
            answer = connection.getresponse()
            assert answer.getheader("Connection") == "keep-alive"
            process.send_signal(signal.SIGTERM)
            time.sleep(4)
            begun = time.monotonic()
            assert len(answer.read()) == LONG
            time.sleep(pause)
            try:
                answer = ask(connection, "/")
                assert (answer.read(), answer.getheader("Connection")) == (b"it is answered", "close")
            except (OSError, http.client.HTTPException):
                if time.monotonic() - begun < 1.9:
                    raise
                continue  # this program itself stood still for longer than a server that ends waits
            return
    pytest.fail("this machine is too busy to tell")


def test_idle_connections_have_a_moment_and_no_more() -> None:
    with served() as (process, connection):
        assert ask(connection, "/").read() == b"it is answered"
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert process.wait(40) == 0
        assert time.monotonic() - begun < 10  # less than the 15 s that a connection may be idle otherwise
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(connection, "/")
