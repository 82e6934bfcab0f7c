"""The main loop of a server's process, which all of its clients share."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

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
