"""The directory (RFC 8555 §7.1.1) and new-nonce (§7.2)."""

from __future__ import annotations

import json
from typing import Any

import falcon

from pkiconf.acme.nonces import Nonces
from pkiconf.endpoints.acme.answers import send
from pkiconf.endpoints.acme.door import Door
from pkiconf.endpoints.acme.whereabouts import Whereabouts
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import NotFound
from pkiconf.model.acme_urls import URLs, is_name
from pkiconf.services import Services
from pkiconf.spec.acme import ACMEPolicySpec
from pkiconf.spec.settings import Settings
from pkiconf.store import acme_policies
from pkiconf.store.acme_policies import PolicyRow


class DirectoryResource:
    """`/acme/directory` for everybody, `/acme/p/<policy>/directory` for one policy."""

    def __init__(self, services: Services, door: Door, whereabouts: Whereabouts) -> None:
        self._services = services
        self._door = door
        self._whereabouts = whereabouts

    def on_get(self, req: falcon.Request, resp: Response, policy: str | None = None) -> None:
        settings, urls = self._whereabouts.read()
        row = self._policy(policy)
        resp.set_header("Cache-Control", "no-cache")
        send(
            resp,
            _directory(settings, urls, policy, ACMEPolicySpec.model_validate(json.loads(row.spec)) if row else None),
        )

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: Response, policy: str | None = None) -> None:
        """POST-as-GET (§6.3)."""
        self._door.by_account(req).check_fetch()
        self.on_get(req, resp, policy)

    def _policy(self, slug: str | None) -> PolicyRow | None:
        """The policy whose profiles are told of: that of the URL, else the only one there is."""
        db = self._services.parts.db
        if slug is not None:
            row = db.look(lambda c: acme_policies.find_policy_by_slug(c, slug)) if is_name(slug) else None
            if row is None:
                raise NotFound("there is no such ACME policy")
            return row
        active = [row for row in db.look(acme_policies.list_policies) if row.lifecycle == "active"]
        return active[0] if len(active) == 1 else None


class NonceResource:
    def __init__(self, door: Door, nonces: Nonces) -> None:
        self._door = door
        self._nonces = nonces

    def on_head(self, req: falcon.Request, resp: Response) -> None:
        resp.set_header("Replay-Nonce", self._nonces.make())
        resp.set_header("Cache-Control", "no-store")

    def on_get(self, req: falcon.Request, resp: Response) -> None:
        self.on_head(req, resp)
        resp.status = falcon.HTTP_204

    def on_post(self, req: falcon.Request, resp: Response) -> None:
        """POST-as-GET (§6.3)."""
        self._door.by_account(req).check_fetch()
        self.on_get(req, resp)


def _directory(settings: Settings, urls: URLs, policy: str | None, spec: ACMEPolicySpec | None) -> dict[str, Any]:
    return {
        "newNonce": urls.resource("new-nonce"),
        "newAccount": urls.new_account(policy),
        "newOrder": urls.resource("new-order"),
        "newAuthz": urls.resource("new-authz"),
        "revokeCert": urls.resource("revoke-cert"),
        "keyChange": urls.resource("key-change"),
        "renewalInfo": urls.resource("renewal-info"),
        "meta": _meta(settings, policy, spec),
    }


def _meta(settings: Settings, policy: str | None, spec: ACMEPolicySpec | None) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if settings.acme.terms_of_service is not None:
        made["termsOfService"] = settings.acme.terms_of_service
    if settings.acme.website is not None:
        made["website"] = settings.acme.website
    if settings.acme.caa_identities:
        made["caaIdentities"] = list(settings.acme.caa_identities)
    # At the common directory only a binding says to which policy an account belongs.
    made["externalAccountRequired"] = policy is None or spec is None or spec.external_account_required
    if spec is not None:
        made["profiles"] = {name: f"Certificates of the template {of}" for name, of in sorted(spec.offered.items())}
    return made
