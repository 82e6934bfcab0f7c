"""Whoever opens a link that was mailed, without HTTP."""

from __future__ import annotations

from typing import Final

from pkiconf.enrolment.links import Links
from pkiconf.services import Services
from pkiconf.store import grants

NUMBER: Final = 5
"""The request that the link is for: the installations that scenarios start from have four."""

FETCH: Final = ("acme-client", "fetch")


def fetch(services: Services) -> None:
    links = Links(services.parts)
    links.open()
    grant = services.parts.db.read(lambda c: grants.get_grant(c, NUMBER))
    assert grant.token_salt is not None
    token = links.token(grant.token_salt, NUMBER).reveal().decode()
    services.enrolment.profiles.fetch(token, "192.0.2.7")
