"""Between what lets a certificate be issued and what forbids it.

A transaction that has found that it may issue, and another that commits meanwhile that nobody may, do not see each
other in READ COMMITTED: the second would be acknowledged, and the certificate come after it. So on PostgreSQL whoever
reserves a certificate holds locks in common with all others who do, from before it looks until its commit, and
whoever forbids waits for those and keeps new ones waiting. They are advisory: locks on rows in common would be written
to disk for each certificate, and would let a stream of issuers keep an `apply` waiting for ever. On SQLite, writes
follow one another.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared

_ISSUING: Final = 0x706B69636F6E66  # "pkiconf"
_SHARE = Prepared(
    text(
        "SELECT pg_advisory_xact_lock_shared(CAST(:all AS BIGINT)), pg_advisory_xact_lock_shared(CAST(:key AS BIGINT))"
    )
)
_FORBID = Prepared(text("SELECT pg_advisory_xact_lock(CAST(:what AS BIGINT))"))


def share(c: Connection, spki: bytes) -> None:
    """Nothing is forbidden until this transaction ends, which issues for the key `spki`. To be called before it looks
    whether it may: what a statement sees is decided when it begins, not when it has waited."""
    if c.dialect.name == "postgresql":
        _SHARE.scalar(c, {"all": _ISSUING, "key": _number_of(spki)})


def forbid(c: Connection) -> None:
    """Nobody is about to issue, nor begins to, until this transaction ends: it takes a declaration or a secret away."""
    if c.dialect.name == "postgresql":
        _FORBID.scalar(c, {"what": _ISSUING})


def forbid_key(c: Connection, spki: bytes) -> None:
    """The same for one key alone."""
    if c.dialect.name == "postgresql":
        _FORBID.scalar(c, {"what": _number_of(spki)})


def _number_of(spki: bytes) -> int:
    # Two keys of one number wait for each other now and then.
    return int.from_bytes(hashlib.sha256(spki).digest()[:8], "big", signed=True)
