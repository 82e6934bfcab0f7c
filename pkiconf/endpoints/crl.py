"""CRLs over HTTP (RFC 5280 §4.2.1.13): DER under `.crl`, PEM under `.pem`."""

from __future__ import annotations

from threading import Lock
from typing import Final

import falcon

from pkiconf.der.pem import pem_encode
from pkiconf.endpoints.caching import answer_cacheable
from pkiconf.endpoints.whereabouts import find_issuer, split_name
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import NotFound
from pkiconf.revocation.crl import PublishedCRL
from pkiconf.revocation.crl_schedule import Place
from pkiconf.services import Services
from pkiconf.store.crls import FULL, FULL_LIST, Part

_MEDIA_TYPES: Final = {"crl": "application/pkix-crl", "pem": "application/x-pem-file"}
_DELTA: Final = "delta"


class CRLResource:
    """`<generation>.crl` is the full list, `<generation>/<part>.crl` a part of it, and `<generation>/delta.crl` or
    `<generation>/<part>-delta.crl` what has changed since."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._armoured: dict[Place, tuple[str, bytes]] = {}
        self._armouring = Lock()

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, authority: str, name: str, below: str | None = None
    ) -> None:
        if below is not None:
            number, _ = split_name(f"{name}.crl")
            part, form = _part(below)
        else:
            part, (number, form) = FULL_LIST, split_name(name)
        if form not in _MEDIA_TYPES:
            raise NotFound("there is no such CRL", "Ask for <generation>.crl or <generation>.pem")
        parts = self._services.parts
        issuer = parts.db.read(lambda c: find_issuer(c, authority, number))
        crl = self._services.crl_downloads.current(issuer.id, part)
        resp.content_type = _MEDIA_TYPES[form]
        body = crl.der if form == "crl" else self._armour((issuer.id, part), crl)
        digest = crl.digest if form == "crl" else f"{crl.digest}-pem"
        resp.last_modified = crl.this_update
        answer_cacheable(req, resp, body, parts.now(), ends=crl.next_update, digest=digest)

    on_head = on_get

    def _armour(self, place: Place, crl: PublishedCRL) -> bytes:
        # A list of a million entries takes a second and 200 MB: once, not for whoever asks, nor for several at once.
        with self._armouring:
            digest, pem = self._armoured.get(place, ("", b""))
            if digest != crl.digest:
                pem = pem_encode("X509 CRL", crl.der).encode()
                self._armoured[place] = crl.digest, pem
            return pem


def _part(name: str) -> tuple[Part, str]:
    stem, _, form = name.partition(".")
    if stem == _DELTA:
        return Part(FULL, delta=True), form
    shard, dash, rest = stem.partition("-")
    if dash and rest != _DELTA:
        raise NotFound("there is no such CRL")
    return Part(split_name(f"{shard}.{form}")[0], bool(dash)), form


def mount(app: App, services: Services) -> None:
    resource = CRLResource(services)
    app.add_route("/crl/{authority}/{name}", resource)
    app.add_route("/crl/{authority}/{name}/{below}", resource)
