"""Certificates: fetched (RFC 8555 §7.4.2), revoked (§7.6), and when to renew them (RFC 9773)."""

from __future__ import annotations

import falcon

from pkiconf.der.pem import pem_encode
from pkiconf.endpoints.acme.answers import add_link, moment, send
from pkiconf.endpoints.acme.door import AccountRequest, Door
from pkiconf.endpoints.acme.orders import check_name
from pkiconf.endpoints.acme.payloads import number_of, octets_of
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import NotFound
from pkiconf.services import Services


class CertificateResource:
    """`/acme/cert/<order>` is the chain that suits most; `/<n>` behind it, another one."""

    def __init__(self, services: Services, door: Door) -> None:
        self._orders = services.acme.orders
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str, alternate: str = "0") -> None:
        asked = self._door.by_account(req)
        asked.check_fetch()
        check_name(name, "certificate")
        number = _number(alternate)
        chain = self._orders.certificate(asked.account, name, number)
        for other in range(chain.alternates + 1):
            if other != number:
                add_link(resp, asked.urls.certificate(name, other), "alternate")
        resp.content_type = "application/pem-certificate-chain"
        resp.data = "".join(pem_encode("CERTIFICATE", der) for der in chain.certificates).encode()


class RevokeResource:
    """Signed by an account, or by the certificate's own key."""

    def __init__(self, services: Services, door: Door) -> None:
        self._revocations = services.acme.revocations
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response) -> None:
        asked = self._door.by_either(req)
        wish = asked.wish()
        certificate, reason = octets_of(wish, "certificate"), number_of(wish, "reason")
        if isinstance(asked, AccountRequest):
            self._revocations.by_account(asked.account, certificate, reason)
        else:
            self._revocations.by_key(asked.key.account_key.spki, certificate, reason)


class RenewalResource:
    """RFC 9773 §4: anybody may ask, without a signature."""

    def __init__(self, services: Services) -> None:
        self._renewals = services.acme.renewals

    def on_get(self, req: falcon.Request, resp: Response, certificate_id: str) -> None:
        window = self._renewals.window(certificate_id)
        made: dict[str, object] = {"suggestedWindow": {"start": moment(window.start), "end": moment(window.end)}}
        if window.explanation is not None:
            made["explanationURL"] = window.explanation
        resp.set_header("Retry-After", str(window.retry_after))
        send(resp, made)

    on_head = on_get


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4 or text != str(int(text)):
        raise NotFound("there is no such chain")
    return int(text)
