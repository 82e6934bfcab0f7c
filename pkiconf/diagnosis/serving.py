"""Whose status is told, and what is asked first where it is told late."""

from __future__ import annotations

from typing import Final

from pkiconf.store import authorities
from pkiconf.store.authorities import AuthorityRow, IssuerRow
from pkiconf.store.database import Connection

WORKER: Final = "Is `pkiconf worker` (or `pkiconf up`) running? `pkiconf worker --once` does it now"


def serving(c: Connection) -> list[tuple[AuthorityRow, IssuerRow]]:
    return [
        (authorities.get_authority(c, issuer.authority_id), issuer)
        for issuer in authorities.list_issuers(c)
        if issuer.state in ("active", "retiring")
    ]
