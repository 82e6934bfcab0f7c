"""The authorities we run, and through `issuers` the keys and certificates they run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, text, update

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.issuers import (
    CACertificateRow,
    IssuerRow,
    add_ca_certificate,
    add_issuer,
    ca_certificates_stamp,
    find_ca_certificate,
    find_issuer_by_generation,
    find_issuer_by_hash,
    find_issuer_by_ski,
    get_issuer,
    is_ca_certificate,
    list_ca_certificates,
    list_issuers,
    prefer_ca_certificate,
    put_issuer_hash,
    set_issuer_identity,
    set_issuer_state,
)
from pkiconf.store.issuing_locks import forbid
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import authority

__all__ = [
    "AuthorityRow",
    "CACertificateRow",
    "IssuerRow",
    "add_authority",
    "add_ca_certificate",
    "add_issuer",
    "ca_certificates_stamp",
    "delete_authority",
    "find_authority",
    "find_authority_by_slug",
    "find_ca_certificate",
    "find_issuer_by_generation",
    "find_issuer_by_hash",
    "find_issuer_by_ski",
    "get_authority",
    "get_authority_by_name",
    "get_generation",
    "get_issuer",
    "is_ca_certificate",
    "list_authorities",
    "list_ca_certificates",
    "list_issuers",
    "prefer_ca_certificate",
    "put_issuer_hash",
    "set_issuer_identity",
    "set_issuer_state",
    "update_authority",
]


@dataclass(frozen=True, slots=True)
class AuthorityRow:
    """`lifecycle` is creating, waiting_certificate, active, retired or destroyed; `spec` the resolved declaration
    as canonical JSON; `generation` counts the writes of the row."""

    id: int
    slug: str
    name: str
    owner: str
    lifecycle: str
    spec: str
    spec_digest: str
    generation: int
    current_issuer_id: int | None
    created_at: int
    retired_at: int | None


_ADD = Prepared(
    inserting(authority, "id", "current_issuer_id", "retired_at", ending="ON CONFLICT DO NOTHING RETURNING id")
)
_GET = Prepared(select(authority).where(authority.c.id == bindparam("wanted")), AuthorityRow)
_FIND = Prepared(select(authority).where(authority.c.name == bindparam("wanted")), AuthorityRow)
_BY_SLUG = Prepared(select(authority).where(authority.c.slug == bindparam("wanted")), AuthorityRow)
_LIST = Prepared(select(authority).order_by(authority.c.name), AuthorityRow)
_GENERATION = Prepared(select(authority.c.generation).where(authority.c.id == bindparam("wanted")))
_DELETE = (
    "DELETE FROM ocsp_answer WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM crl_withheld WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM crl_partition WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM crl WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM service_certificate WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM ca_certificate WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM issuer_hash WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM certificate_name WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM certificate_timestamp WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM precertificate WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM certificate_signature WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM certificate_tbs WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM certificate WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM sealed_secret WHERE name IN (SELECT s.sealed_as FROM scep_secret s"
    " JOIN template t ON t.id = s.template_id WHERE t.authority_id = :id)",
    "DELETE FROM scep_secret WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM scep_challenge WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM scep_tries WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM scep_intune WHERE issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id) OR attempt_id IN"
    " (SELECT s.id FROM scep_transaction s JOIN template t ON t.id = s.template_id WHERE t.authority_id = :id)",
    "DELETE FROM scep_transaction WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM approval WHERE request_id IN (SELECT r.id FROM request r JOIN template t ON t.id = r.template_id"
    " WHERE t.authority_id = :id)",
    "DELETE FROM mail WHERE request_id IN (SELECT r.id FROM request r JOIN template t ON t.id = r.template_id"
    " WHERE t.authority_id = :id)",
    "DELETE FROM enrolment_grant WHERE request_id IN (SELECT r.id FROM request r"
    " JOIN template t ON t.id = r.template_id WHERE t.authority_id = :id)",
    "DELETE FROM request WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM acme_order_authorization WHERE order_id IN (SELECT o.id FROM acme_order o"
    " JOIN template t ON t.id = o.template_id WHERE t.authority_id = :id)",
    "DELETE FROM acme_issued_name WHERE order_id IN (SELECT o.id FROM acme_order o"
    " JOIN template t ON t.id = o.template_id WHERE t.authority_id = :id)",
    "DELETE FROM acme_order WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM template_version WHERE template_id IN (SELECT id FROM template WHERE authority_id = :id)",
    "DELETE FROM template WHERE authority_id = :id",
    "UPDATE ca_certificate SET signed_by_issuer_id = NULL"
    " WHERE signed_by_issuer_id IN (SELECT id FROM issuer WHERE authority_id = :id)",
    "DELETE FROM issuer WHERE authority_id = :id",
    "DELETE FROM authority WHERE id = :id",
)


def add_authority(
    c: Connection, *, slug: str, name: str, owner: str, lifecycle: str, spec: str, spec_digest: str, created_at: int
) -> int:
    """The new row's id; its generation is 1. Raises Conflict for a name or slug in use."""
    number = _ADD.scalar(
        c,
        {
            "slug": slug,
            "name": name,
            "owner": owner,
            "lifecycle": lifecycle,
            "spec": spec,
            "spec_digest": spec_digest,
            "generation": 1,
            "created_at": created_at,
        },
    )
    if number is None:
        raise Conflict(f"an authority {name!r} exists already", "Plan again")
    return int(number)


def find_authority(c: Connection, name: str) -> AuthorityRow | None:
    return _FIND.find(c, {"wanted": name})


def find_authority_by_slug(c: Connection, slug: str) -> AuthorityRow | None:
    return _BY_SLUG.find(c, {"wanted": slug})


def get_authority(c: Connection, authority_id: int) -> AuthorityRow:
    found = _GET.find(c, {"wanted": authority_id})
    if found is None:
        raise NotFound(f"there is no authority {authority_id}")
    return found


def get_generation(c: Connection, authority_id: int) -> int:
    """How often its row was written: whether what is known of its declaration still stands. Raises NotFound."""
    found = _GENERATION.scalar(c, {"wanted": authority_id})
    if found is None:
        raise NotFound(f"there is no authority {authority_id}")
    return int(found)


def get_authority_by_name(c: Connection, name: str) -> AuthorityRow:
    """Raises NotFound, naming those there are."""
    found = find_authority(c, name)
    if found is None:
        known = ", ".join(row.name for row in list_authorities(c)) or "none yet"
        raise NotFound(f"there is no authority {name!r}", f"Known authorities: {known}")
    return found


def list_authorities(c: Connection) -> list[AuthorityRow]:
    return _LIST.all(c)


def update_authority(c: Connection, authority_id: int, generation: int, **columns: Any) -> int:  # noqa: ANN401
    """Write `columns` of a row that is at `generation`; its new generation.

    Raises Conflict when the row is at another generation, or the new name is in use.
    """
    forbid(c)
    if "name" in columns and (other := find_authority(c, columns["name"])) and other.id != authority_id:
        raise Conflict(f"an authority {columns['name']!r} exists already", "Plan again")
    statement = (
        update(authority)
        .where(authority.c.id == authority_id, authority.c.generation == generation)
        .values(**columns, generation=generation + 1)
    )
    if c.execute(statement).rowcount == 0:
        raise Conflict(f"authority {get_authority(c, authority_id).name!r} was changed meanwhile", "Plan again")
    return generation + 1


def delete_authority(c: Connection, authority_id: int) -> list[int]:
    """Remove an authority and all that hangs on it, but for its keys; the ids of those keys.

    The tombstone (`slugs`) and the destruction of the keys (`keys`) are the caller's.
    """
    used = [row.key_id for row in list_issuers(c, authority_id)]
    used += [key_id for (key_id,) in _SERVICE_KEYS.all(c, {"wanted": authority_id})]
    for statement in _DELETE:
        c.execute(text(statement), {"id": authority_id})
    return sorted(set(used))


_SERVICE_KEYS: Prepared[tuple[int]] = Prepared(
    text(
        "SELECT s.key_id FROM service_certificate s JOIN issuer i ON i.id = s.issuer_id WHERE i.authority_id = :wanted"
    )
)
