"""Errors by meaning → HTTP. Under /acme they are problem documents, which that room makes."""

from __future__ import annotations

import logging

import falcon

from pkiconf.endpoints.acme import problems
from pkiconf.endpoints.paths import loggable_path
from pkiconf.endpoints.statuses import RETRY_AFTER, status_of
from pkiconf.endpoints.wsgi import App, Response
from pkiconf.errors import PkiconfError

log = logging.getLogger(__name__)


def add_error_handlers(app: App) -> None:
    app.add_error_handler(Exception, _internal)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(PkiconfError, _known)


def _known(req: falcon.Request, resp: Response, ex: PkiconfError, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    status = status_of(ex)
    # Why the machine cannot serve is its operator's business; a client learns only that it should come back.
    known = status < 500
    if not known:
        log.error("%s %r: %s", req.method, loggable_path(req), ex)
    _text(resp, status, str(ex) if known else "not available now")


def _http(req: falcon.Request, resp: Response, ex: falcon.HTTPError, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    for name, value in dict(ex.headers or {}).items():
        resp.set_header(name, value)
    _text(resp, falcon.http_status_to_code(ex.status), ex.description or ex.title or "")


def _internal(req: falcon.Request, resp: Response, ex: Exception, params: object) -> None:
    if problems.concerns(req):
        problems.answer_error(req, resp, ex)
        return
    log.error("%s %r failed", req.method, loggable_path(req), exc_info=ex)
    _text(resp, 500, "internal error")


def _text(resp: Response, status: int, text: str) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("X-Content-Type-Options", "nosniff")  # it may repeat what the client sent
    resp.set_header("Cache-Control", "no-store")
    if status == 503:
        resp.set_header("Retry-After", str(RETRY_AFTER))
    resp.data = f"{text}\n".encode()
