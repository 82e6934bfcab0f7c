"""OCSP over HTTP (RFC 6960 Appendix A, RFC 9919 §5): POST, and GET with the request in the path."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import falcon

from pkiconf.clock import Clock
from pkiconf.der.ocsp import MAX_REQUEST_SIZE
from pkiconf.endpoints.body import read_body
from pkiconf.endpoints.caching import answer_cacheable, answer_once
from pkiconf.endpoints.metrics import observe_answer
from pkiconf.endpoints.ocsp_path import readings
from pkiconf.endpoints.wsgi import App
from pkiconf.revocation.ocsp import OCSPAnswer, OCSPResponder
from pkiconf.services import Services

MEDIA_TYPE: Final = "application/ocsp-response"
_NO_REQUEST: Final = b""  # answered as malformed


class OCSPResource:
    """Every answer of the responder is HTTP status 200, its errors too (RFC 6960 Appendix A.2)."""

    def __init__(self, responder: OCSPResponder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock

    def on_post(self, req: falcon.Request, resp: falcon.Response, authority: str, request: str = "") -> None:
        resp.content_type = MEDIA_TYPE
        body, now = read_body(req, MAX_REQUEST_SIZE), self._clock.now()
        answer_once(resp, observed(self._responder.answer(authority, body, now), now))

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, request: str = "") -> None:
        now = self._clock.now()
        resp.content_type = MEDIA_TYPE
        answer = self._answer(req, authority, now)
        if answer.expires is None:
            answer_once(resp, answer.der)
            return
        observe_answer(answer.produced_at, now)
        resp.last_modified = answer.produced_at
        answer_cacheable(req, resp, answer.der, now, ends=answer.expires)

    on_head = on_get

    def _answer(self, req: falcon.Request, authority: str, now: datetime) -> OCSPAnswer:
        possible = readings(_path_behind(req)) or (_NO_REQUEST,)
        if len(possible) == 1:
            return self._responder.answer(authority, possible[0], now)
        # Only the reading that a proxy has not spoilt is about a certificate that was issued.
        return self._responder.answer(authority, self._responder.choose(authority, possible) or _NO_REQUEST, now)


def observed(answer: OCSPAnswer, now: datetime) -> bytes:
    """The response, whose age is in the metrics now if it is about certificates of ours."""
    if answer.known:
        observe_answer(answer.produced_at, now)
    return answer.der


def _path_behind(req: falcon.Request) -> str:
    """What stands behind `/ocsp/<authority>/`, as it was sent: the framework's path is decoded and normalised."""
    target = str(req.env.get("RAW_URI") or req.env.get("REQUEST_URI") or req.relative_uri)
    if not target.startswith("/"):  # a proxy's request names the host too (RFC 9112 §3.2.2)
        target = target.partition("://")[2]
        target = target[target.find("/") :]
    return target.partition("/ocsp/")[2].partition("/")[2]


def mount(app: App, services: Services) -> None:
    resource = OCSPResource(services.ocsp, services.parts.clock)
    app.add_route("/ocsp/{authority}", resource)
    app.add_route("/ocsp/{authority}/{request:path}", resource)
