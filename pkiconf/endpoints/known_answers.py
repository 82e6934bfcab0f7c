"""OCSP answers that were given before, in front of the framework: it would take longer than finding them.

Everything else, and every question that is not known, goes on to the application as it came.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from pkiconf.clock import Clock
from pkiconf.endpoints.metrics import observe_answer, observe_request
from pkiconf.revocation.kept import LARGEST
from pkiconf.revocation.ocsp import OCSPAnswer

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PREFIX: Final = "/ocsp/"
_OK: Final = "200 OK"
_ONCE: Final = (("Content-Type", "application/ocsp-response"), ("Cache-Control", "no-store"))


class KnownAnswers:
    """`known` is `OCSPResponder.known`. Only POST: what is asked with GET is for caches in front to remember."""

    def __init__(
        self, app: WSGIApplication, known: Callable[[str, bytes, datetime], OCSPAnswer | None], clock: Clock
    ) -> None:
        self._app = app
        self._known = known
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(_PREFIX) or environ["REQUEST_METHOD"] != "POST":
            return self._app(environ, start_response)
        started = time.perf_counter()
        body = _small_body(environ)
        if body is None:
            return self._app(environ, start_response)
        now = self._clock.now()
        answer = self._known(path[len(_PREFIX) :], body, now)
        if answer is None:
            environ["wsgi.input"] = io.BytesIO(body)
            return self._app(environ, start_response)
        start_response(_OK, [*_ONCE, ("Content-Length", str(len(answer.der)))])
        observe_answer(answer.produced_at, now)
        observe_request("ocsp", "POST", 200, time.perf_counter() - started)
        return [answer.der]


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
