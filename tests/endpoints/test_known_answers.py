"""What is answered in front of the framework, and what is left to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from pkiconf.clock import SetClock
from pkiconf.endpoints.app import create_server_app
from pkiconf.endpoints.known_answers import KnownAnswers
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.kept import LARGEST
from pkiconf.revocation.ocsp import OCSPAnswer
from pkiconf.settings import ProcessSettings
from tests.revocation.pki import prepare, question, serial_of
from tests.world import OPERATOR, World

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KNOWN = {("issuing", b"question"): OCSPAnswer(b"answer", NOW, NOW, known=True)}


class Behind:
    """The application, which remembers what came to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.bodies.append(environ["wsgi.input"].read())
        start_response("404 Not Found", [])
        return [b"behind"]


class Broken(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise OSError("gone")


def call(environ: dict[str, Any], behind: Behind) -> tuple[str, dict[str, str], bytes]:
    told: list[Any] = []
    app = KnownAnswers(behind, lambda slug, body, now: KNOWN.get((slug, body)), SetClock(NOW))
    body = b"".join(app(environ, lambda *given: told.extend(given)))
    return told[0], dict(told[1]), body


def post(body: bytes = b"question", path: str = "/ocsp/issuing", **more: Any) -> dict[str, Any]:
    base = {
        "PATH_INFO": path,
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return {**base, **more}


def test_a_known_question_goes_no_further() -> None:
    behind = Behind()
    status, headers, body = call(post(), behind)
    assert (status, body, behind.bodies) == ("200 OK", b"answer", [])
    assert headers == {
        "Content-Type": "application/ocsp-response", "Cache-Control": "no-store", "Content-Length": "6",
    }  # fmt: skip


@pytest.mark.parametrize(
    "environ",
    [
        post(b"another"),
        post(path="/ocsp/other"),
        post(path="/ocsp/issuing/"),
        post(path="/ocsp/"),
        post(path="/OCSP/issuing"),
        post(path="/crl/issuing"),
        post(REQUEST_METHOD="GET"),
        post(REQUEST_METHOD="PUT"),
        post(CONTENT_LENGTH=""),
        post(CONTENT_LENGTH="-8"),
        post(CONTENT_LENGTH="+8"),
        post(CONTENT_LENGTH="８"),
        post(CONTENT_LENGTH="8 "),
        post(CONTENT_LENGTH=str(LARGEST + 1)),
        post(CONTENT_LENGTH="9" * 5000),
        post(HTTP_TRANSFER_ENCODING="chunked"),
    ],
)
def test_everything_else_does_with_its_body(environ: dict[str, Any]) -> None:
    behind, whole = Behind(), environ["wsgi.input"].getvalue()
    assert call(environ, behind)[2] == b"behind"
    assert behind.bodies == [whole]


def test_a_body_that_breaks_off_is_the_applications_to_refuse() -> None:
    class Refuses(Behind):
        def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            start_response("400 Bad Request", [])
            return []

    environ = post() | {"wsgi.input": Broken()}
    assert call(environ, Refuses())[0] == "400 Bad Request"


def test_a_revocation_ends_a_known_answer_at_once(world: World) -> None:
    pki = prepare(world)
    issued = pki.issue()
    request = question(pki.issuer(), serial_of(issued))
    app = create_server_app(world.services, ProcessSettings())
    assert isinstance(app, KnownAnswers)
    first = pki.answer(request).der
    behind = Behind()
    app._app = behind

    def ask() -> bytes:
        return b"".join(app(post(request), lambda *_: None))

    assert ask() == first
    world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert ask() == b"behind"
    assert pki.answer(request).der != first


def test_with_an_access_log_every_request_is_in_it(sqlite_world: World) -> None:
    assert not isinstance(create_server_app(sqlite_world.services, ProcessSettings(access_log="text")), KnownAnswers)
