"""`/scep/<authority>/<template>`: GetCACaps, GetCACert, GetNextCACert and PKIOperation (RFC 8894 §4).

What is refused is an answer too, with HTTP status 200. Another status says that no answer could be made.
"""

from __future__ import annotations

from typing import Final

import falcon

from pkiconf.der.scep import MAX_MESSAGE_SIZE
from pkiconf.endpoints.body import read_body
from pkiconf.endpoints.scep.ndes import answer_information
from pkiconf.endpoints.scep.query import decode_message, read_query
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import Malformed, NotFound
from pkiconf.model.scep_urls import MSCEP, NDES
from pkiconf.scep.access import check_may_enrol
from pkiconf.scep.places import Place
from pkiconf.services import Services

CA_CERT: Final = "application/x-x509-ca-cert"
CA_RA_CERT: Final = "application/x-x509-ca-ra-cert"
NEXT_CA_CERT: Final = "application/x-x509-next-ca-cert"
PKI_MESSAGE: Final = "application/x-pki-message"

_OPERATIONS: Final = "GetCACaps, GetCACert, GetNextCACert or PKIOperation"


class OperationResource:
    """A `message` of GetCACaps and GetCACert names an authority, in the drafts before the RFC; the URL does here."""

    def __init__(self, services: Services) -> None:
        self._scep = services.scep

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, template: str) -> None:
        known = self._check_may_enrol(req, resp, authority, template)
        operation, message = read_query(req.query_string)
        place = known or self._scep.places.find(authority, template)
        match operation:
            case "getcacaps":
                resp.content_type = "text/plain"
                resp.data = self._scep.certificates.capabilities(place).encode()
            case "getcacert":
                found = self._scep.certificates.current(place)
                resp.content_type = CA_RA_CERT if found.is_bag else CA_CERT
                resp.data = found.der
            case "getnextcacert":
                resp.data = self._scep.certificates.next(place)
                resp.content_type = NEXT_CA_CERT
            case "pkioperation":
                self._answer(req, resp, place, decode_message(message))
            case "" if req.path.startswith(NDES):
                answer_information(resp, place.terms)
            case _:
                raise Malformed(
                    f"operation {operation[:40]!r} is not known" if operation else "the URL names no operation",
                    f"Add ?operation= with {_OPERATIONS}",
                )

    def on_post(self, req: falcon.Request, resp: falcon.Response, authority: str, template: str) -> None:
        """The body is the message, whatever its type is said to be; old clients leave the operation out."""
        known = self._check_may_enrol(req, resp, authority, template)
        operation, _ = read_query(req.query_string)
        if operation not in ("", "pkioperation"):
            raise Malformed(f"operation {operation[:40]!r} is not done by POST", "Use GET, or PKIOperation")
        place = known or self._scep.places.find(authority, template)
        body = read_body(req, MAX_MESSAGE_SIZE)
        if len(body) > MAX_MESSAGE_SIZE:
            raise falcon.HTTPContentTooLarge(description=f"the message has more than {MAX_MESSAGE_SIZE} octets")
        self._answer(req, resp, place, body)

    def _check_may_enrol(
        self, req: falcon.Request, resp: falcon.Response, authority: str, template: str
    ) -> Place | None:
        """Before a place is made, which may open keys and make a registration authority; one that stands is returned.
        Raises NotFound for what names no template, Refused for addresses that SCEP is not offered to."""
        resp.set_header("Cache-Control", "no-store")
        known = self._scep.places.find_known(authority, template)
        terms = known.terms if known is not None else self._scep.terms.find(authority, template)
        if terms is None:
            raise NotFound("there is no such template")
        check_may_enrol(terms, req.context.client)
        return known

    def _answer(self, req: falcon.Request, resp: falcon.Response, place: Place, message: bytes) -> None:
        resp.data = self._scep.responder.answer(place, message, req.context.client)
        resp.content_type = PKI_MESSAGE


def mount(app: App, services: Services) -> None:
    """Cisco's and Microsoft's clients put `pkiclient.exe` behind every URL."""
    resource = OperationResource(services)
    for path in (
        "/scep/{authority}/{template}",
        "/scep/{authority}/{template}/",
        "/scep/{authority}/{template}/pkiclient.exe",
        "/scep/{authority}/{template}/cgi-bin/pkiclient.exe",
        "/certsrv/{authority}/{template}/mscep/",
        MSCEP,
        f"{MSCEP}/pkiclient.exe",
    ):
        app.add_route(path, resource)
