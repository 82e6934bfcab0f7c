"""Authorizations and their challenges (RFC 8555 §7.4.1, §7.5)."""

from __future__ import annotations

from typing import Final

import falcon

from pkiconf.endpoints.acme.answers import add_link, challenge_record, send, send_authorization
from pkiconf.endpoints.acme.door import Door
from pkiconf.endpoints.acme.orders import check_name
from pkiconf.endpoints.acme.payloads import is_deactivation
from pkiconf.endpoints.acme.strict import malformed
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import NotFound
from pkiconf.model.acme import Authorization, Challenge, ChallengeType
from pkiconf.policy.acme import parse_identifiers
from pkiconf.services import Services

_TYPES: Final = frozenset(known.value for known in ChallengeType)


class NewAuthorizationResource:
    """Pre-authorization (§7.4.1)."""

    def __init__(self, services: Services, door: Door) -> None:
        self._authorizations = services.acme.authorizations
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response) -> None:
        asked = self._door.by_account(req)
        identifier = asked.wish().get("identifier")
        if not isinstance(identifier, dict):
            raise malformed("member 'identifier' is not an object with type and value")
        (wanted,) = parse_identifiers([identifier])
        authorization, is_new = self._authorizations.create(asked.account, wanted)
        resp.set_header("Location", asked.urls.authorization(authorization.name))
        send_authorization(resp, asked.urls, authorization, falcon.HTTP_201 if is_new else falcon.HTTP_200)


class AuthorizationResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._authorizations = services.acme.authorizations
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str) -> None:
        asked = self._door.by_account(req)
        check_name(name, "authorization")
        if asked.is_fetch:
            found = self._authorizations.get(asked.account, name)
        elif is_deactivation(asked.wish()):
            found = self._authorizations.deactivate(asked.account, name)
        else:
            raise malformed('an authorization can be fetched (empty payload) or given {"status":"deactivated"} only')
        send_authorization(resp, asked.urls, found)


class ChallengeResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._authorizations = services.acme.authorizations
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str, type: str) -> None:
        """An object says that the client is ready (§7.5.1): `{}`, or what older clients put into it."""
        asked = self._door.by_account(req)
        check_name(name, "authorization")
        if type not in _TYPES:
            raise NotFound("there is no such challenge")
        wanted = ChallengeType(type)
        if asked.is_fetch:
            found = self._authorizations.get(asked.account, name)
        else:
            asked.wish()
            found = self._authorizations.respond(asked.account, name, wanted)
        add_link(resp, asked.urls.authorization(name), "up")
        if found.retry_after is not None:
            resp.set_header("Retry-After", str(found.retry_after))
        send(resp, challenge_record(asked.urls, name, _challenge(found, wanted)))


def _challenge(authorization: Authorization, type: ChallengeType) -> Challenge:
    found = next((challenge for challenge in authorization.challenges if challenge.type is type), None)
    if found is None:
        raise NotFound("this challenge is not offered, or is not any more")
    return found
