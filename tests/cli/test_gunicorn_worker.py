"""The main loop of a server's process, which all of its clients share."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from pkiconf.cli.connection import Connection
from pkiconf.cli.gunicorn_worker import DeadlineWorker
from pkiconf.cli.plain_http import PlainRequest

REQUEST = PlainRequest({"REQUEST_METHOD": "POST", "PATH_INFO": "/ocsp/issuing"}, 0, 0, keep_alive=True)
CONNECTION: Any = SimpleNamespace(body_of=lambda request: b"question")


def worker(at_once: Any) -> Any:
    made = object.__new__(DeadlineWorker)
    made.wsgi = SimpleNamespace(at_once=at_once)
    made.alive = True
    made.max_keepalived = 10
    made._waiting = {}
    made.log = logging.getLogger("worker")
    return made


def test_a_request_that_fails_at_once_is_a_threads(caplog: pytest.LogCaptureFixture) -> None:
    def fails(environ: object, body: bytes) -> None:
        raise IndexError("a bug")

    assert not worker(fails)._answer_at_once(CONNECTION, REQUEST)
    assert "Error answering at once" in caplog.text


@pytest.mark.parametrize("alive", [True, False])
def test_what_has_to_wait_is_a_threads(alive: bool) -> None:
    """And everything is, once the process is to end: its connections are closed behind an answer."""
    asked: list[bytes] = []

    def waits(environ: object, body: bytes) -> None:
        asked.append(body)

    made = worker(waits)
    made.alive = alive
    assert not made._answer_at_once(CONNECTION, REQUEST)
    assert asked == [b"question"] * alive


def test_an_application_that_answers_nothing_at_once() -> None:
    made = worker(None)
    made.wsgi = SimpleNamespace()
    assert not made._answer_at_once(CONNECTION, REQUEST)


# --- connections whose time is over -----------------------------------------------------------------------------------


@pytest.fixture
def idle() -> Iterator[tuple[Any, Connection, socket.socket]]:
    """A worker, its one connection, which may be idle for a minute, and the client's end of that."""
    made = worker(None)
    made.cfg, made._busy, made._look_at, made.nr_conns = Config(), {}, 0.0, 1
    server, client = socket.socketpair()
    client.setblocking(False)
    with client, selectors.DefaultSelector() as made.poller:
        conn = Connection(Config(), server, ("127.0.0.1", 1), ("127.0.0.1", 2), {})
        made._wait(conn, 60)
        yield made, conn, client
        server.close()


def pass_time(made: Any, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """And let the worker look at its clients."""
    now = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made.murder_keepalived()


def test_an_idle_connection_is_closed_when_its_time_is_over(
    idle: tuple[Any, Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, conn, client = idle
    pass_time(made, monkeypatch, 59)
    assert list(made._waiting) == [conn]
    pass_time(made, monkeypatch, 2)
    assert (made._waiting, made.nr_conns, client.recv(1)) == ({}, 0, b"")


def test_a_process_told_to_end_before_its_first_look_gives_a_moment(
    idle: tuple[Any, Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, conn, client = idle
    made.alive = False
    for _ in range(3):  # looks do not lengthen it
        pass_time(made, monkeypatch, STOP_KEEPALIVE_LINGER / 4)
        assert list(made._waiting) == [conn]
    pass_time(made, monkeypatch, STOP_KEEPALIVE_LINGER)
    assert (made._waiting, client.recv(1)) == ({}, b"")


@pytest.mark.parametrize("alive", [True, False])
def test_a_request_that_came_just_in_time_is_read(
    idle: tuple[Any, Connection, socket.socket], monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    made, conn, client = idle
    made.alive = alive
    client.sendall(b"GET")
    pass_time(made, monkeypatch, 61)
    pass_time(made, monkeypatch, 61)
    assert list(made._waiting) == [conn]
    [(key, _)] = made.poller.select(0)
    key.data(key.fileobj)
    assert conn.octets == b"GET"
    pass_time(made, monkeypatch, 29)
    assert list(made._waiting) == [conn]
    pass_time(made, monkeypatch, 2)  # and the rest of it has the time that a request has
    assert made._waiting == {}


def test_who_left_or_was_told_all_is_closed_whatever_it_sent(
    idle: tuple[Any, Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, conn, client = idle
    client.sendall(b"GET")
    conn.ended = True
    pass_time(made, monkeypatch, 61)
    assert made._waiting == {}


def test_nothing_is_left_open_at_the_end(idle: tuple[Any, Connection, socket.socket]) -> None:
    made, _, client = idle
    client.sendall(b"GET")
    made.murder_keepalived(force=True)
    assert made._waiting == {}
