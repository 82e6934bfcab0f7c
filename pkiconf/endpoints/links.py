"""Links that were mailed: a certificate to be claimed with a CSR, and profiles for Apple's devices.

Whoever has the link needs nothing else, so it is kept out of caches, search engines, the Referer of other pages, and
our own logs (see `paths`).
"""

from __future__ import annotations

from typing import Final

import falcon

from pkiconf.der.csr import MAX_REQUEST_SIZE
from pkiconf.der.pem import pem_encode
from pkiconf.endpoints.body import read_body
from pkiconf.endpoints.caching import answer_once
from pkiconf.endpoints.wsgi import App
from pkiconf.enrolment.apple_profile import MEDIA_TYPE
from pkiconf.enrolment.bag import Enrolment
from pkiconf.enrolment.claims import Claim
from pkiconf.enrolment.links import CLAIM_PATH, SUFFIX, no_such_link
from pkiconf.errors import Refused
from pkiconf.model.enrolment import LinkEnded
from pkiconf.model.request import Issued, Pending, Rejected
from pkiconf.services import Services

_HOW: Final = """\
A certificate has been approved for you. It will say:

{contents}

To get it, make a key and a certificate request, and send the request to this very address, with openssl and curl:

    openssl req -new -newkey rsa:3072 -noenc -keyout key.pem -subj / -out request.pem
    curl --data-binary @request.pem -o certificate.pem {link}

The key stays with you. certificate.pem gets the certificate, followed by those of its issuers.
This link is good until {expires} UTC, and for one certificate.
"""


class ClaimResource:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._enrolment = services.enrolment

    def on_get(self, req: falcon.Request, resp: falcon.Response, token: str) -> None:
        try:
            claim = self._enrolment.claims.look(token)
        except LinkEnded as ex:
            raise falcon.HTTPGone(description=str(ex)) from None
        resp.content_type = "text/plain; charset=utf-8"
        _keep_to_yourself(resp)
        link = f"{self._services.settings.read().enrolment_url}{CLAIM_PATH}{token}"
        answer_once(resp, _HOW.format(contents=_contents(claim), link=link, expires=_minute(claim)).encode())

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response, token: str) -> None:
        _keep_to_yourself(resp)
        csr = read_body(req, MAX_REQUEST_SIZE)
        try:
            outcome = self._enrolment.claims.claim(token, csr, req.context.client)
        except LinkEnded as ex:
            raise falcon.HTTPGone(description=str(ex)) from None
        match outcome:
            case Rejected(reason):
                raise Refused(reason)
            case Pending():
                resp.status = falcon.HTTP_202
                resp.set_header("Retry-After", str(outcome.retry_after))
                resp.content_type = "text/plain; charset=utf-8"
                answer_once(resp, b"the authority's key has not answered yet: send the same request again\n")
            case Issued():
                resp.content_type = "application/pem-certificate-chain"
                text = "".join(pem_encode("CERTIFICATE", der) for der in (outcome.der, *outcome.chain))
                answer_once(resp, text.encode())


class ProfileResource:
    """`/profile/<token>.mobileconfig`. HEAD tells whether there is one, and fetches nothing."""

    def __init__(self, enrolment: Enrolment) -> None:
        self._enrolment = enrolment

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        try:
            profile = self._enrolment.profiles.fetch(_token(name), req.context.client)
        except LinkEnded as ex:
            raise falcon.HTTPGone(description=str(ex)) from None
        resp.content_type = MEDIA_TYPE
        resp.set_header("Content-Disposition", f'attachment; filename="{profile.name}"')
        _keep_to_yourself(resp)
        answer_once(resp, profile.der)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        try:
            self._enrolment.profiles.look(_token(name))
        except LinkEnded as ex:
            raise falcon.HTTPGone(description=str(ex)) from None
        resp.content_type = MEDIA_TYPE
        _keep_to_yourself(resp)
        resp.set_header("Cache-Control", "no-store")


def _token(name: str) -> str:
    """Raises NotFound."""
    if not name.endswith(SUFFIX):
        raise no_such_link()
    return name.removesuffix(SUFFIX)


def _keep_to_yourself(resp: falcon.Response) -> None:
    resp.set_header("Referrer-Policy", "no-referrer")
    resp.set_header("X-Robots-Tag", "noindex")
    resp.set_header("X-Content-Type-Options", "nosniff")


def _contents(claim: Claim) -> str:
    subject = claim.request.row.subject
    return "\n".join(f"    {line}" for line in (*([subject] if subject else []), *claim.request.names))


def _minute(claim: Claim) -> str:
    return f"{claim.expires_at:%Y-%m-%d %H:%M}"


def mount(app: App, services: Services) -> None:
    app.add_route("/claim/{token}", ClaimResource(services))
    app.add_route("/profile/{name}", ProfileResource(services.enrolment))
