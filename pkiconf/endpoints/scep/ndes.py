"""`/certsrv/<authority>/<template>/mscep_admin/`: where MDMs fetch one-time challenges, as from Microsoft's NDES.

Every outcome that a client is to understand is HTTP status 200 and a page; 401 is a wrong user name or password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

import falcon

from pkiconf.endpoints.scep.pages import (
    cache_full_page,
    challenge_page,
    encoded,
    information_page,
    no_permission_page,
)
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import NotFound, Refused, Unavailable
from pkiconf.model.actor import Actor
from pkiconf.model.scep_urls import ADMIN_PAGE, NDES, SCEPURLs
from pkiconf.policy.scep import find_address
from pkiconf.scep.access import check_may_fetch
from pkiconf.scep.challenges import CacheFull
from pkiconf.scep.terms import SCEPTerms
from pkiconf.services import Services
from pkiconf.store import authorities

_TIMES: Final = re.compile("/{2,}")
_REALM: Final = 'Basic realm="Network Device Enrollment Service", charset="UTF-8"'
_PROXIED: Final = ("X-Forwarded-For", "Forwarded", "Via")
"""By which a proxy shows, whether it is trusted or not."""


class AnyCase:
    """IIS takes paths in any case, and clients are configured with all of them."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        path = _TIMES.sub("/", req.path)
        if path[: len(NDES)].lower() == NDES:
            req.path = path.lower()


class ChallengePageResource:
    """Each GET (and POST: some scripts do that) makes another challenge; HEAD is refused, because it would make one for
    nobody."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response, authority: str, template: str) -> None:
        terms = self._services.scep.terms.find(authority, template)
        if terms is None or not terms.spec.ndes.enabled:
            raise NotFound("there is no such page")
        check_may_fetch(terms, req.context.client)
        _check_secure(req)
        actor = self._fetcher(req, resp, terms)
        if actor is None:
            return
        if not req.path.endswith("/"):
            raise falcon.HTTPMovedPermanently(f"{req.path.rpartition('/')[2]}/")
        body, media_type = encoded(self._page(terms, actor), terms.spec.ndes.encoding)
        resp.data, resp.content_type = body, media_type
        resp.set_header("Cache-Control", "no-store")

    on_post = on_get

    def _fetcher(self, req: falcon.Request, resp: falcon.Response, terms: SCEPTerms) -> Actor | None:
        """Whoever may open the page; None after answering 401."""
        scep, client = self._services.scep, req.context.client
        given = _credentials(req.get_header("Authorization") or "")
        if given is not None:
            if scep.tries.are_used_up(terms, client):
                raise falcon.HTTPTooManyRequests(description="too many wrong passwords came from your address")
            if scep.passphrases.is_fetcher(terms, *given):
                return Actor("ndes", given[0], "basic-authentication")
            scep.tries.record(terms, client)
        resp.status = falcon.HTTP_401
        resp.set_header("WWW-Authenticate", _REALM)
        resp.content_type, resp.data = "text/plain; charset=utf-8", b"wrong user name or password\n"
        return None

    def _page(self, terms: SCEPTerms, actor: Actor) -> str:
        minutes = -(-terms.spec.ndes.challenge_ttl.seconds // 60)
        thumbprint = self._thumbprint(terms)
        try:
            challenge = self._services.scep.challenges.create(terms.template_id, actor)
        except CacheFull:
            return cache_full_page(terms.spec.ndes.max_outstanding, minutes)
        except Refused:
            return no_permission_page()
        return challenge_page(thumbprint, challenge.reveal().decode(), minutes)

    def _thumbprint(self, terms: SCEPTerms) -> str:
        """MD5, because that is what clients compare it with; nothing here trusts it."""
        issuer_id = terms.place.issuer_id
        found = (
            self._services.parts.db.look(lambda c: authorities.find_ca_certificate(c, issuer_id))
            if issuer_id is not None
            else None
        )
        if found is None:
            raise Unavailable(f"{terms.place.authority} has no certificate yet")
        return hashlib.md5(found.der, usedforsecurity=False).hexdigest()


def answer_information(resp: falcon.Response, terms: SCEPTerms) -> None:
    """For whoever opens the URL of devices in a browser."""
    place = SCEPURLs("", terms.place.authority_slug, terms.place.slug)
    page = information_page(place.admin_page if terms.spec.ndes.enabled else None)
    resp.data, resp.content_type = encoded(page, terms.spec.ndes.encoding)


def _check_secure(req: falcon.Request) -> None:
    """A password is asked for over TLS only (RFC 7617 §4), or on this machine, where a proxy that says nothing of TLS
    has been no part of the way. Raises Refused."""
    address = find_address(req.context.client)
    is_direct = not any(req.get_header(name) is not None for name in _PROXIED)
    if req.context.secure or (is_direct and address is not None and address.is_loopback):
        return
    raise Refused(
        "this page is given over https only",
        "Use the TLS listener, or a proxy that is among the trusted ones and sends X-Forwarded-Proto",
    )


def _credentials(header: str) -> tuple[str, str] | None:
    """User name, whole as it was sent, and password (RFC 7617 §2). None where there are none."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        octets = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    username, colon, password = text.partition(":")
    return (username, password) if colon else None


def mount(app: App, services: Services) -> None:
    app.add_middleware(AnyCase())
    page = ChallengePageResource(services)
    app.add_route(ADMIN_PAGE, page)
    app.add_route(ADMIN_PAGE.removesuffix("/"), page)
