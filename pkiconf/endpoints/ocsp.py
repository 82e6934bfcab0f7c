"""OCSP over HTTP (RFC 6960 Appendix A, RFC 9919 §5): POST, and GET with the request in the path."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

import falcon

from pkiconf.clock import Clock
from pkiconf.der.ocsp import MAX_REQUEST_SIZE
from pkiconf.endpoints.caching import answer_cacheable, answer_once
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import Malformed
from pkiconf.revocation.ocsp import OCSPResponder
from pkiconf.services import Services

MEDIA_TYPE: Final = "application/ocsp-response"


class OCSPResource:
    def __init__(self, responder: OCSPResponder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock

    def on_post(self, req: falcon.Request, resp: falcon.Response, authority: str, request: str = "") -> None:
        # One octet more than is allowed is read, so that too long a request is seen as malformed.
        body = req.bounded_stream.read(MAX_REQUEST_SIZE + 1)
        resp.content_type = MEDIA_TYPE
        answer_once(resp, self._responder.answer(authority, body, self._clock.now()).der)

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, request: str = "") -> None:
        now = self._clock.now()
        answer = self._responder.answer(authority, _request_of(req, authority), now)
        resp.content_type = MEDIA_TYPE
        if answer.expires is None:
            answer_once(resp, answer.der)
        else:
            answer_cacheable(req, resp, answer.der, made=answer.produced_at, ends=answer.expires, now=now)


def _request_of(req: falcon.Request, authority: str) -> bytes:
    """The request's octets; b"" for a path that holds none, which is then answered as malformed."""
    # The framework's path is decoded and normalised; a request must be read from what the client really sent.
    raw = str(req.env.get("RAW_URI") or req.env.get("REQUEST_URI") or req.relative_uri)
    try:
        return decode_path(raw.partition(f"/ocsp/{authority}")[2])
    except Malformed:
        return b""


def decode_path(path: str) -> bytes:
    """The request in what stands behind the responder's URL.

    Clients differ: `/`, `+` and `=` come escaped or not, escapes in either case, `+` as a space, the padding or a
    slash lost on the way through a proxy, and the URL-safe alphabet is used. Raises Malformed.
    """
    text = unquote_to_bytes(path.partition("?")[0].removeprefix("/")).replace(b" ", b"+")
    text = text.replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the path holds no base64") from None


def mount(app: App, services: Services) -> None:
    resource = OCSPResource(services.ocsp, services.parts.clock)
    app.add_route("/ocsp/{authority}", resource)
    app.add_route("/ocsp/{authority}/{request:path}", resource)
