"""Every URL of ACME and what answers it."""

from __future__ import annotations

from pkiconf.endpoints.acme.accounts import AccountResource, KeyChangeResource, NewAccountResource, OrdersResource
from pkiconf.endpoints.acme.authorizations import AuthorizationResource, ChallengeResource, NewAuthorizationResource
from pkiconf.endpoints.acme.certificates import CertificateResource, RenewalResource, RevokeResource
from pkiconf.endpoints.acme.directory import DirectoryResource, NonceResource
from pkiconf.endpoints.acme.door import Door
from pkiconf.endpoints.acme.headers import ACMEHeaders
from pkiconf.endpoints.acme.orders import FinalizeResource, NewOrderResource, OrderResource
from pkiconf.endpoints.acme.whereabouts import Whereabouts
from pkiconf.endpoints.wsgi import App
from pkiconf.model.acme_urls import PREFIX
from pkiconf.services import Services


def mount(app: App, services: Services) -> None:
    whereabouts = Whereabouts(services.parts)
    door = Door(services, whereabouts)
    directory, new_account = DirectoryResource(services, door, whereabouts), NewAccountResource(services, door)
    certificate = CertificateResource(services, door)
    app.add_middleware(ACMEHeaders(services.acme.nonces, whereabouts))
    for path, resource in (
        ("/directory", directory),
        ("/p/{policy}/directory", directory),
        ("/new-nonce", NonceResource(door, services.acme.nonces)),
        ("/new-account", new_account),
        ("/p/{policy}/new-account", new_account),
        ("/acct/{name}", AccountResource(services, door)),
        ("/acct/{name}/orders", OrdersResource(services, door)),
        ("/key-change", KeyChangeResource(services, door)),
        ("/new-order", NewOrderResource(services, door)),
        ("/order/{name}", OrderResource(services, door)),
        ("/order/{name}/finalize", FinalizeResource(services, door)),
        ("/new-authz", NewAuthorizationResource(services, door)),
        ("/authz/{name}", AuthorizationResource(services, door)),
        ("/chall/{name}/{type}", ChallengeResource(services, door)),
        ("/cert/{name}", certificate),
        ("/cert/{name}/{alternate}", certificate),
        ("/revoke-cert", RevokeResource(services, door)),
        ("/renewal-info/{certificate_id}", RenewalResource(services)),
    ):
        app.add_route(PREFIX + path, resource)
