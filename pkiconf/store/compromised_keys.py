"""Public keys whose private keys strangers are known to have: what was revoked for it is never certified again.

A key is remembered by the SHA-256 of its SubjectPublicKeyInfo, for ever, whatever becomes of its certificates and of
the authority that issued them.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import bindparam, select

from pkiconf.store.database import Connection
from pkiconf.store.issuing_locks import forbid_key
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import compromised_key

_ADD = Prepared(inserting(compromised_key, ending="ON CONFLICT DO NOTHING"))
_FIND = Prepared(select(compromised_key.c.recorded_at).where(compromised_key.c.spki_sha256 == bindparam("wanted")))


def add(c: Connection, spki: bytes, recorded_at: int) -> None:
    """Belongs into the transaction that revokes. A key that is known already stays as it is."""
    forbid_key(c, spki)
    _ADD.count(c, {"spki_sha256": hashlib.sha256(spki).digest(), "recorded_at": recorded_at})


def known(c: Connection, spki: bytes) -> frozenset[bytes]:
    """The digest of `spki` if that key is compromised, else nothing: what `policy.keys` asks for."""
    digest = hashlib.sha256(spki).digest()
    return frozenset((digest,)) if _FIND.find(c, {"wanted": digest}) else frozenset()
