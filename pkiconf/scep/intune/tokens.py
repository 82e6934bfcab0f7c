"""Tokens of Entra ID: OAuth 2.0 client credentials (RFC 6749 §4.4), one for Graph and one for Intune."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final
from urllib.parse import quote, urlencode

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import HTTPSAnswer, HTTPSClient
from pkiconf.errors import Unavailable
from pkiconf.model.intune import IntuneAccess
from pkiconf.scep.intune.answers import OK, complaint, read_object

_MARGIN: Final = 120
"""Seconds before its end that a token is not used any more: ours is not the only clock."""

_LONGEST: Final = 86400

_HINTS: Final = (
    ("AADSTS7000215", "client_secret is wrong: take the secret's Value, not its Secret ID"),
    ("AADSTS7000222", "client_secret has expired: make another one in the app registration"),
    ("AADSTS700016", "The tenant knows no application with this client_id"),
    ("AADSTS90002", "There is no such tenant: check tenant_id"),
    ("AADSTS500011", "The tenant does not know the resource: it has no Intune, or it is in another cloud"),
)


class Resource(Enum):
    GRAPH = "Microsoft Graph"
    INTUNE = "Intune"


@dataclass(frozen=True, slots=True)
class Token:
    """`skew` is how many seconds Entra's clock was ahead of ours, None where it does not say."""

    value: str = field(repr=False)
    good_until: datetime
    skew: float | None = None

    @property
    def roles(self) -> tuple[str, ...] | None:
        """The application permissions that stand in it; None where it cannot be read, as only Microsoft has to."""
        try:
            part = self.value.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            roles = claims.get("roles", [])
        except (ValueError, IndexError, AttributeError, RecursionError):
            return None
        return tuple(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else None


class Tokens:
    """Of one access. Whoever comes while one is fetched waits for it."""

    def __init__(self, https: HTTPSClient, access: IntuneAccess, now: Callable[[], datetime]) -> None:
        self._https, self._access, self._now = https, access, now
        self._fetching = threading.Lock()
        self._known: dict[Resource, Token] = {}

    def get(self, resource: Resource, deadline: Deadline) -> Token:
        """Raises Unavailable, with what to do about it."""
        known = self._usable(resource)
        if known is not None:
            return known
        if not self._fetching.acquire(timeout=deadline.left()):
            raise TimeoutError
        try:
            known = self._usable(resource)
            if known is None:
                known = self._known[resource] = self._fetch(resource, deadline)
            return known
        finally:
            self._fetching.release()

    def forget(self, token: Token) -> None:
        """Exactly this one: another thread may have a newer one already."""
        for resource, known in list(self._known.items()):
            if known is token:
                self._known.pop(resource, None)

    def _usable(self, resource: Resource) -> Token | None:
        known = self._known.get(resource)
        return known if known is not None and self._now() < known.good_until else None

    def _fetch(self, resource: Resource, deadline: Deadline) -> Token:
        access, asked = self._access, self._now()
        form = {
            "grant_type": "client_credentials",
            "client_id": access.client_id,
            "client_secret": access.client_secret.reveal(),
            "scope": self._scope(resource),
        }
        answer = self._https.request(
            "POST",
            f"{access.authority_url}{quote(access.tenant_id, safe='')}/oauth2/v2.0/token",
            body=urlencode(form).encode("ascii"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            seconds=deadline.left(),
        )
        return _read(answer, resource, asked)

    def _scope(self, resource: Resource) -> str:
        """Intune's has two slashes: its URL ends in one, and Microsoft's own clients add another."""
        if resource is Resource.GRAPH:
            return f"{self._access.graph_url}.default"
        return f"{self._access.resource_url}/.default"


def _read(answer: HTTPSAnswer, resource: Resource, asked: datetime) -> Token:
    if answer.status != OK:
        said = complaint(answer)
        hint = next((hint for code, hint in _HINTS if f"{code}:" in said), "")
        raise Unavailable(f"Entra gives no token for {resource.value}: {answer.status} {said}", hint)
    found = read_object(answer, "Entra")
    value, seconds = found.get("access_token"), found.get("expires_in")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        raise Unavailable(f"Entra answered without a token for {resource.value}")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds <= 0:
        raise Unavailable(f"Entra gave a token for {resource.value}, but not how long it is good")
    return Token(value, asked + timedelta(seconds=min(seconds, _LONGEST) - _MARGIN), _skew(answer, asked))


def _skew(answer: HTTPSAnswer, asked: datetime) -> float | None:
    try:
        return (parsedate_to_datetime(answer.headers.get("date", "")) - asked).total_seconds()
    except (ValueError, TypeError):
        return None
