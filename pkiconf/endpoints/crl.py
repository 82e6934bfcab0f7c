"""CRLs over HTTP (RFC 5280 §4.2.1.13): DER under `.crl`, PEM under `.pem`."""

from __future__ import annotations

import falcon

from pkiconf.der.pem import pem_encode
from pkiconf.endpoints.caching import answer_cacheable
from pkiconf.endpoints.whereabouts import find_issuer, split_name
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import NotFound
from pkiconf.services import Services


class CRLResource:
    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, name: str) -> None:
        generation, form = split_name(name)
        if form not in ("crl", "pem"):
            raise NotFound("there is no such CRL", "Ask for <generation>.crl or <generation>.pem")
        parts = self._services.parts
        issuer = parts.db.read(lambda c: find_issuer(c, authority, generation))
        crl = self._services.crls.current(issuer.id)
        resp.content_type = "application/pkix-crl" if form == "crl" else "application/x-pem-file"
        body = crl.der if form == "crl" else pem_encode("X509 CRL", crl.der).encode()
        digest = crl.digest if form == "crl" else f"{crl.digest}-pem"
        answer_cacheable(req, resp, body, parts.now(), ends=crl.next_update, version=crl.this_update, digest=digest)

    on_head = on_get


def mount(app: App, services: Services) -> None:
    app.add_route("/crl/{authority}/{name}", CRLResource(services))
