"""Headers of every answer under /acme, also of errors (RFC 8555 §6.5, §7.1), and what browsers ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import falcon

from pkiconf.acme.nonces import Nonces
from pkiconf.endpoints.acme.answers import add_link
from pkiconf.endpoints.acme.problems import concerns
from pkiconf.endpoints.acme.whereabouts import Whereabouts
from pkiconf.endpoints.paths import loggable_path
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import PkiconfError
from pkiconf.model.acme_urls import PREFIX

log = logging.getLogger(__name__)

_DIRECTORIES: Final = (f"{PREFIX}/directory", f"{PREFIX}/p/{{policy}}/directory")


class ACMEHeaders:
    """Middleware, as an answer to a request that no resource has seen needs a fresh nonce too."""

    def __init__(self, nonces: Nonces, whereabouts: Whereabouts) -> None:
        self._nonces = nonces
        self._whereabouts = whereabouts

    def process_response(self, req: falcon.Request, resp: Response, resource: object, succeeded: bool) -> None:
        if not concerns(req):
            return
        resp.set_header("Access-Control-Allow-Origin", "*")
        resp.set_header("Access-Control-Expose-Headers", "Link, Replay-Nonce, Location, Retry-After")
        if req.method == "OPTIONS":
            resp.set_header("Access-Control-Allow-Methods", resp.get_header("Allow") or "POST")
            resp.set_header("Access-Control-Allow-Headers", "Content-Type")
            resp.set_header("Access-Control-Max-Age", "86400")
            return
        # Apart, and the nonce first: while the database is away the one can often be made and the other not.
        if req.method == "POST" and resp.get_header("Replay-Nonce") is None:
            self._add(req, "nonce", lambda: resp.set_header("Replay-Nonce", self._nonces.make()))
        if not succeeded or req.uri_template not in _DIRECTORIES:
            self._add(req, "link", lambda: add_link(resp, self._whereabouts.urls().directory(), "index"))

    def _add(self, req: falcon.Request, what: str, add: Callable[[], None]) -> None:
        """The answer stands without: whoever cannot be given one is not served either."""
        try:
            add()
        except PkiconfError as error:
            log.warning("no %s for the answer to %s %r: %s", what, req.method, loggable_path(req), error)
