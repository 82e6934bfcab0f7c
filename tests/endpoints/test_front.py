"""What is answered in front of the framework, and what is left to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from cryptography.x509.ocsp import OCSPCertStatus, load_der_ocsp_response

from pkiconf.clock import SetClock
from pkiconf.endpoints.app import create_app, create_server_app
from pkiconf.endpoints.front import DirectOCSP, DirectTimestamps, Front
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.kept import LARGEST
from pkiconf.revocation.ocsp import OCSPAnswer, OCSPResponder
from pkiconf.settings import ProcessSettings
from tests.revocation.pki import prepare, question, serial_of
from tests.timestamps.stamping import declare
from tests.world import OPERATOR, World

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KNOWN = {("issuing", b"question"): OCSPAnswer(b"answer", NOW, NOW, known=True)}
SIGNED = OCSPAnswer(b"signed now", NOW, None, known=True)


class Knows:
    """A responder of one known answer."""

    def answer(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer:
        return KNOWN.get((authority, request), SIGNED)

    def at_once(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer | None:
        return KNOWN.get((authority, request))


class Behind:
    """The application, which remembers what came to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.bodies.append(environ["wsgi.input"].read())
        start_response("404 Not Found", [])
        return [b"behind"]


def front(behind: Callable[..., Iterable[bytes]]) -> Front:
    return Front(behind, (DirectOCSP(cast(OCSPResponder, Knows()), SetClock(NOW)),))


class Broken(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise OSError("gone")


def call(environ: dict[str, Any], behind: Behind) -> tuple[str, dict[str, str], bytes]:
    told: list[Any] = []
    app = front(behind)
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


def test_another_question_is_answered_without_the_framework_too() -> None:
    behind = Behind()
    assert call(post(b"another"), behind)[2] == call(post(path="/ocsp/other"), behind)[2] == b"signed now"
    assert behind.bodies == []


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
        post(path="/ocsp/issuing/"),
        post(path="/ocsp/issuing/a"),
        post(path="/ocsp/iss\xc3\xbcing"),
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
    assert isinstance(app, Front)
    # A server would have to be waited for, but for a moment after it was asked.
    unless_asked = () if world.parts.db.dialect == "sqlite" else (None,)
    first = pki.answer(request).der

    def ask() -> bytes:
        return b"".join(app(post(request), lambda *_: None))

    def ask_at_once() -> bytes | None:
        found = app.at_once(post(request), request)
        return found and found[1]

    assert ask() == first
    assert ask_at_once() in (first, *unless_asked)
    world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert ask_at_once() is None
    second = ask()
    assert second != first
    assert load_der_ocsp_response(second).certificate_status is OCSPCertStatus.REVOKED
    assert ask_at_once() in (second, *unless_asked)


@pytest.mark.parametrize("slug", ["issuing", "nobody"])
@pytest.mark.parametrize("asked", [b"\x30\x00", b"x" * 200])
def test_nonsense_is_answered_as_the_framework_does(sqlite_world: World, slug: str, asked: bytes) -> None:
    def ask(app: Callable[..., Iterable[bytes]]) -> tuple[str, dict[str, str], bytes]:
        said: list[Any] = []
        rest = {"wsgi.errors": io.StringIO(), "QUERY_STRING": "", "REMOTE_ADDR": "192.0.2.1", "SCRIPT_NAME": ""}
        environ = post(asked, f"/ocsp/{slug}") | rest
        body = b"".join(app(environ, lambda status, headers, _=None: said.extend((status, headers))))
        return said[0], {name.lower(): value for name, value in said[1]}, body

    direct = create_server_app(sqlite_world.services, ProcessSettings())
    assert isinstance(direct, Front)
    assert ask(direct) == ask(create_app(sqlite_world.services, ProcessSettings()))


def test_with_an_access_log_every_request_is_in_it(sqlite_world: World) -> None:
    assert not isinstance(create_server_app(sqlite_world.services, ProcessSettings(access_log="text")), Front)


@pytest.mark.parametrize(
    ("method", "path", "body", "answered"),
    [
        ("POST", "/ocsp/issuing", b"question", True),
        ("GET", "/ocsp/issuing", b"question", False),
        ("POST", "/crl/issuing", b"question", False),
        ("POST", "/ocsp/issuing", b"another", False),
        ("POST", "/ocsp/issuing", b"question" + bytes(LARGEST), False),
    ],
)
def test_what_a_server_may_answer_at_once(method: str, path: str, body: bytes, answered: bool) -> None:
    found = front(Behind()).at_once(post(body, path, REQUEST_METHOD=method), body)
    assert (found is not None) is answered
    if found is not None:
        assert (dict(found[0])["Content-Length"], found[1]) == ("6", b"answer")


@pytest.mark.parametrize(
    ("media_type", "body", "direct"),
    [
        ("application/timestamp-query", b"\x30\x00", True),
        ("", b"\x30\x00", True),
        ("application/octet-stream", b"\x30\x00", True),
        ("application/octet-stream", b"MIIB", False),
        ("", b"MIIB", False),
        ("application/timestamp-query", b"MIIB", True),
    ],
)
def test_the_older_protocol_of_timestamps_is_the_applications(
    sqlite_world: World, media_type: str, body: bytes, direct: bool
) -> None:
    declare(sqlite_world, "enabled: true, record: count")
    behind = Behind()
    app = Front(behind, (DirectTimestamps(sqlite_world.services.timestamps),))
    environ = post(body, "/tsa/issuing", CONTENT_TYPE=media_type)
    assert (app.at_once(environ, body) is not None) is direct
    app(environ, lambda *_: None)
    assert behind.bodies == ([] if direct else [body])


@pytest.mark.parametrize("slug", ["root", "nobody"])
def test_where_no_timestamps_are_the_application_says_so(sqlite_world: World, slug: str) -> None:
    declare(sqlite_world)
    behind = Behind()
    app = Front(behind, (DirectTimestamps(sqlite_world.services.timestamps),))
    environ = post(b"\x30\x00", f"/tsa/{slug}")
    assert app.at_once(environ, b"\x30\x00") is None
    assert b"".join(app(environ, lambda *_: None)) == b"behind"
    assert behind.bodies == [b"\x30\x00"]


@pytest.mark.parametrize(
    "path", ["/", "//tsa/issuing", "/x/tsa/issuing", "tsa/issuing", "/tsa", "/tsa/", "/TSA/issuing"]
)
def test_paths_that_are_not_quite_plain_are_the_applications(sqlite_world: World, path: str) -> None:
    declare(sqlite_world)
    behind = Behind()
    app = Front(behind, (DirectTimestamps(sqlite_world.services.timestamps),))
    assert app.at_once(post(b"\x30\x00", path), b"\x30\x00") is None
    app(post(b"\x30\x00", path), lambda *_: None)
    assert behind.bodies == [b"\x30\x00"]
