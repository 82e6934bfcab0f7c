"""Short questions as nearly all clients ask them, in front of the framework: it would take longer than the answer.

Everything else goes on to the application as it came.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from pkiconf.clock import Clock
from pkiconf.endpoints.metrics import observe_request
from pkiconf.endpoints.ocsp import MEDIA_TYPE, observed
from pkiconf.endpoints.timestamp import REPLY, counted, is_older_protocol
from pkiconf.errors import NotFound
from pkiconf.revocation.kept import LARGEST
from pkiconf.revocation.ocsp import OCSPResponder
from pkiconf.timestamps.service import Timestamps

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

_OK: Final = "200 OK"


class Direct(Protocol):
    """A service that takes its questions without the framework, at `/<path>/<name>`, with POST. Its answers have status
    200 and are nobody's to keep."""

    @property
    def path(self) -> str: ...

    @property
    def media_type(self) -> str: ...

    def takes(self, content_type: str, question: bytes) -> bool:
        """Whether it is a question that this is about."""

    def answer(self, name: str, question: bytes) -> bytes | None:
        """None for what the application has to answer."""

    def at_once(self, name: str, question: bytes) -> bytes | None:
        """`answer`, where nothing has to be waited for; else None."""


class DirectOCSP:
    path: Final = "ocsp"
    media_type: Final = MEDIA_TYPE

    def __init__(self, responder: OCSPResponder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock

    def takes(self, content_type: str, question: bytes) -> bool:
        return True

    def answer(self, name: str, question: bytes) -> bytes | None:
        now = self._clock.now()
        return observed(self._responder.answer(name, question, now), now)

    def at_once(self, name: str, question: bytes) -> bytes | None:
        now = self._clock.now()
        answer = self._responder.at_once(name, question, now)
        return None if answer is None else observed(answer, now)


class DirectTimestamps:
    path: Final = "tsa"
    media_type: Final = REPLY

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps

    def takes(self, content_type: str, question: bytes) -> bool:
        return not is_older_protocol(content_type, question)

    def answer(self, name: str, question: bytes) -> bytes | None:
        try:
            return counted(*self._timestamps.answer(name, question))
        except NotFound:
            return None

    def at_once(self, name: str, question: bytes) -> bytes | None:
        answer = self._timestamps.at_once(name, question)
        return None if answer is None else counted(*answer)


class Front:
    """Only POST, and short questions: what is asked with GET is for caches in front to remember."""

    def __init__(self, app: WSGIApplication, services: Sequence[Direct]) -> None:
        self._app = app
        self._services = {service.path: service for service in services}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = self._find(environ)
        body = None if found is None else _small_body(environ)
        if found is None or body is None:
            return self._app(environ, start_response)
        started = time.perf_counter()
        service, name = found
        answer = service.answer(name, body) if service.takes(environ.get("CONTENT_TYPE", ""), body) else None
        if answer is None:
            environ["wsgi.input"] = io.BytesIO(body)
            return self._app(environ, start_response)
        start_response(_OK, _given(service, answer, started))
        return [answer]

    def at_once(self, environ: Mapping[str, Any], body: bytes) -> tuple[Headers, bytes] | None:
        """Headers and body of an answer that has to wait for nothing; for a server that asks before it gives the
        request to a thread."""
        found = self._find(environ)
        if found is None or len(body) > LARGEST:
            return None
        started = time.perf_counter()
        service, name = found
        answer = service.at_once(name, body) if service.takes(environ.get("CONTENT_TYPE", ""), body) else None
        return None if answer is None else (_given(service, answer, started), answer)

    def _find(self, environ: Mapping[str, Any]) -> tuple[Direct, str] | None:
        """Which service is asked, under which name; None where that is not quite plain."""
        if environ["REQUEST_METHOD"] != "POST":
            return None
        empty, _, rest = environ["PATH_INFO"].partition("/")
        path, _, name = rest.partition("/")
        service = self._services.get(path)
        plain = not empty and name and name.isascii() and "/" not in name
        return (service, name) if service is not None and plain else None


def _given(service: Direct, answer: bytes, started: float) -> Headers:
    observe_request(service.path, "POST", 200, time.perf_counter() - started)
    return [
        ("Content-Type", service.media_type), ("Cache-Control", "no-store"), ("Content-Length", str(len(answer))),
    ]  # fmt: skip


def _small_body(environ: dict[str, Any]) -> bytes | None:
    """The body of a short request; None for one that this is not about, unread."""
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
