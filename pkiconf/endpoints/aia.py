"""Authorities' certificates and chains (RFC 5280 §4.2.2.1), and their practice statements."""

from __future__ import annotations

from typing import Final

import falcon

from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs7 import encode_certs_only
from pkiconf.endpoints.caching import answer_cacheable
from pkiconf.endpoints.whereabouts import find_authority, find_issuer, split_name
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import NotFound
from pkiconf.issuance.issuer import authority_spec, path_to_root
from pkiconf.services import Services
from pkiconf.store import authorities
from pkiconf.store.database import Connection

_MEDIA_TYPES: Final = {
    "crt": "application/pkix-cert",
    "pem": "application/x-pem-file",
    "p7c": "application/pkcs7-mime; smime-type=certs-only",
}


class CertificateResource:
    """`/ca/<authority>/<generation>.crt` and `.pem`; `/ca/<authority>/chain.p7c` and `.pem`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, name: str) -> None:
        parts = self._services.parts
        body, form = parts.db.read(lambda c: _certificates(c, authority, name))
        resp.content_type = _MEDIA_TYPES[form]
        answer_cacheable(req, resp, body, parts.now())

    on_head = on_get


class PracticeStatementResource:
    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str) -> None:
        row = self._services.parts.db.read(lambda c: find_authority(c, authority))
        cps = authority_spec(row).cps
        if cps is None or not cps.text:
            raise NotFound("this authority has published no practice statement")
        resp.content_type = "text/plain; charset=utf-8"
        answer_cacheable(req, resp, cps.text.encode(), self._services.parts.now())

    on_head = on_get


def _certificates(c: Connection, slug: str, name: str) -> tuple[bytes, str]:
    """The body, and its form."""
    stem, _, form = name.rpartition(".")
    if stem == "chain" and form in ("p7c", "pem"):
        return _chain(c, slug, form), form
    generation, form = split_name(name)
    if form not in ("crt", "pem"):
        raise NotFound("there is no such file", "Ask for <generation>.crt or <generation>.pem")
    certificate = authorities.find_ca_certificate(c, find_issuer(c, slug, generation).id)
    if certificate is None:
        raise NotFound("this authority has no certificate yet")
    return certificate.der if form == "crt" else pem_encode("CERTIFICATE", certificate.der).encode(), form


def _chain(c: Connection, slug: str, form: str) -> bytes:
    """The current generation's certificate and everything above it, the root included."""
    current = find_authority(c, slug).current_issuer_id
    path = path_to_root(c, current) if current is not None else ()
    if not path:
        raise NotFound("this authority has no certificate yet")
    return encode_certs_only(path) if form == "p7c" else "".join(pem_encode("CERTIFICATE", d) for d in path).encode()


def mount(app: App, services: Services) -> None:
    app.add_route("/ca/{authority}/{name}", CertificateResource(services))
    app.add_route("/cps/{authority}", PracticeStatementResource(services))
