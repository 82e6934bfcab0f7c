"""OCSP questions as nearly all clients ask them, in front of the framework: it would take longer than the answer.

Everything else goes on to the application as it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Protocol

from pkiconf.clock import Clock
from pkiconf.endpoints.metrics import observe_answer, observe_request
from pkiconf.revocation.kept import LARGEST
from pkiconf.revocation.ocsp import OCSPAnswer

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

_PREFIX: Final = "/ocsp/"
_OK: Final = "200 OK"
_ONCE: Final = (("Content-Type", "application/ocsp-response"), ("Cache-Control", "no-store"))


class Responder(Protocol):
    """What is needed of an OCSPResponder."""

    def answer(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer: ...
    def known(self, authority: str, request: bytes, now: datetime, *, wait: bool) -> OCSPAnswer | None: ...


class OCSPFront:
    """Only POST, and requests about one certificate: what is asked with GET is for caches in front to remember."""

    def __init__(self, app: WSGIApplication, responder: Responder, clock: Clock) -> None:
        self._app = app
        self._responder = responder
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        authority = _authority(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        body = None if authority is None else _small_body(environ)
        if authority is None or body is None:
            return self._app(environ, start_response)
        started, now = time.perf_counter(), self._clock.now()
        headers, der = _given(self._responder.answer(authority, body, now), now, started)
        start_response(_OK, headers)
        return [der]

    def at_once(self, method: str, path: str, body: bytes) -> tuple[Headers, bytes] | None:
        """Headers and body of an answer that is known without waiting for anything; for a server that asks before it
        gives the request to a thread."""
        authority = _authority(method, path)
        if authority is None or len(body) > LARGEST:
            return None
        started, now = time.perf_counter(), self._clock.now()
        answer = self._responder.known(authority, body, now, wait=False)
        return None if answer is None else _given(answer, now, started)


def _given(answer: OCSPAnswer, now: datetime, started: float) -> tuple[Headers, bytes]:
    if answer.known:
        observe_answer(answer.produced_at, now)
    observe_request("ocsp", "POST", 200, time.perf_counter() - started)
    return [*_ONCE, ("Content-Length", str(len(answer.der)))], answer.der


def _authority(method: str, path: str) -> str | None:
    """Who is asked; None where that is not quite plain."""
    if method != "POST" or not path.startswith(_PREFIX):
        return None
    name = path[len(_PREFIX) :]
    return name if name and name.isascii() and "/" not in name else None


def _small_body(environ: dict[str, Any]) -> bytes | None:
    """The body of a request about one certificate; None for one that this is not about, unread."""
    size = environ.get("CONTENT_LENGTH")
    if not size or not size.isascii() or not size.isdigit() or len(size) > 3 or int(size) > LARGEST:
        return None
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    try:
        body: bytes = environ["wsgi.input"].read(int(size))
    except Exception:  # each server has its own, for a client that breaks off; the application meets it again
        return None
    return body
