"""What one OCSP question needs, in one statement: whose certificate it is about, and how that one stands."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared


class StatusRow(NamedTuple):
    """`generation` counts the writes of the authority's declaration; `status` is None for a serial that the issuer
    never had, and `status_epoch` was read together with it. `changed_epoch` is the one at which it became so."""

    issuer_id: int
    status_epoch: int
    since: int
    authority_id: int
    generation: int
    status: str | None
    reason: int | None
    revoked_at: int | None
    changed_epoch: int | None


_FIND: Final = Prepared(
    text(
        "SELECT i.id, i.status_epoch, i.created_at, a.id, a.generation, s.status, s.reason, s.revoked_at,"
        " s.changed_epoch"
        " FROM issuer_hash h JOIN issuer i ON i.id = h.issuer_id JOIN authority a ON a.id = i.authority_id"
        " LEFT JOIN certificate s ON s.issuer_id = i.id AND s.serial = :serial"
        " WHERE h.hash_algorithm = :algorithm AND h.name_hash = :name AND h.key_hash = :key AND a.slug = :slug"
    ),
    StatusRow,
)


def find_status(
    c: Connection, slug: str, hash_algorithm: str, name_hash: bytes, key_hash: bytes, serial: bytes
) -> StatusRow | None:
    """None when the authority with this slug has no issuer with these hashes (RFC 6960 §4.1.1)."""
    return _FIND.find(
        c, {"slug": slug, "algorithm": hash_algorithm, "name": name_hash, "key": key_hash, "serial": serial}
    )
