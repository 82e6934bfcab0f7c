"""Errors by meaning → HTTP. Under /acme they are problem documents, which that room makes."""

from __future__ import annotations

import logging
from typing import Final

import falcon

from pkiconf.endpoints.acme import problems
from pkiconf.endpoints.paths import loggable_path
from pkiconf.endpoints.wsgi import App, Response
from pkiconf.errors import (
    Conflict,
    Malformed,
    NotFound,
    PkiconfError,
    Refused,
    SigningUnavailable,
    Unavailable,
    UnsupportedAlgorithm,
    Unverified,
)

log = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[PkiconfError], str], ...]] = (
    (Malformed, falcon.HTTP_400),
    (Unverified, falcon.HTTP_400),
    (UnsupportedAlgorithm, falcon.HTTP_400),
    (Refused, falcon.HTTP_403),
    (NotFound, falcon.HTTP_404),
    (Conflict, falcon.HTTP_409),
    (SigningUnavailable, falcon.HTTP_503),
    (Unavailable, falcon.HTTP_503),
)

RETRY_AFTER: Final = "30"


def add_error_handlers(app: App) -> None:
    app.add_error_handler(Exception, _internal)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(PkiconfError, _known)


def _known(req: falcon.Request, resp: Response, ex: PkiconfError, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    status = next((status for kind, status in _STATUS if isinstance(ex, kind)), falcon.HTTP_500)
    # Why the machine cannot serve is its operator's business; a client learns only that it should come back.
    known = status != falcon.HTTP_500 and status != falcon.HTTP_503
    if not known:
        log.error("%s %s: %s", req.method, loggable_path(req), ex)
    _text(resp, status, str(ex) if known else "not available now")


def _http(req: falcon.Request, resp: Response, ex: falcon.HTTPError, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    for name, value in dict(ex.headers or {}).items():
        resp.set_header(name, value)
    _text(resp, ex.status, ex.description or ex.title or "")


def _internal(req: falcon.Request, resp: Response, ex: Exception, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    log.error("%s %s failed", req.method, loggable_path(req), exc_info=ex)
    _text(resp, falcon.HTTP_500, "internal error")


def _text(resp: Response, status: str | int, text: str) -> None:
    resp.status = status
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("X-Content-Type-Options", "nosniff")  # it may repeat what the client sent
    resp.set_header("Cache-Control", "no-store")
    if status == falcon.HTTP_503:
        resp.set_header("Retry-After", RETRY_AFTER)
    resp.data = f"{text}\n".encode()
