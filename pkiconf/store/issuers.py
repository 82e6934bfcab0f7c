"""Issuers (a subject name with a key), how they are found, and their own CA certificates."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.issuing_locks import forbid
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import ca_certificate, issuer, issuer_hash


@dataclass(frozen=True, slots=True)
class IssuerRow:
    """`state` is next, active, retiring or ended; `subject` is DER; `ski` as its CA certificate has it."""

    id: int
    authority_id: int
    key_id: int
    subject: bytes
    ski: bytes
    generation: int
    state: str
    status_epoch: int
    crl_number: int
    created_at: int


@dataclass(frozen=True, slots=True)
class CACertificateRow:
    """A certificate of an issuer: `role` is self, subordinate, cross or external; `chain` PEM, external only."""

    id: int
    issuer_id: int
    signed_by_issuer_id: int | None
    role: str
    der: bytes
    chain: bytes | None
    not_before: int
    not_after: int
    preferred: int
    created_at: int


_ADD = Prepared(inserting(issuer, "id", "status_epoch", "crl_number", ending="ON CONFLICT DO NOTHING RETURNING id"))
_GET = Prepared(select(issuer).where(issuer.c.id == bindparam("wanted")), IssuerRow)
_LIST = Prepared(select(issuer).order_by(issuer.c.id), IssuerRow)
_OF_AUTHORITY = Prepared(
    select(issuer).where(issuer.c.authority_id == bindparam("of")).order_by(issuer.c.generation), IssuerRow
)
_BY_GENERATION = Prepared(
    select(issuer).where(issuer.c.authority_id == bindparam("of"), issuer.c.generation == bindparam("number")),
    IssuerRow,
)
_BY_SKI = Prepared(select(issuer).where(issuer.c.ski == bindparam("wanted")).order_by(issuer.c.id), IssuerRow)
_BY_HASH = Prepared(
    select(issuer)
    .join(issuer_hash, issuer_hash.c.issuer_id == issuer.c.id)
    .where(
        issuer_hash.c.hash_algorithm == bindparam("algorithm"),
        issuer_hash.c.name_hash == bindparam("name"),
        issuer_hash.c.key_hash == bindparam("key"),
    ),
    IssuerRow,
)
_PUT_HASH = Prepared(inserting(issuer_hash, ending="ON CONFLICT DO NOTHING"))
_SET_STATE = Prepared(text("UPDATE issuer SET state = :new WHERE id = :id AND state = :old"))
_SET_IDENTITY = Prepared(text("UPDATE issuer SET subject = :subject, ski = :ski WHERE id = :id"))
_IS_CA = Prepared(
    text("SELECT 1 FROM certificate WHERE issuer_id = :issuer_id AND serial = :serial AND origin_kind = 'ca'")
)

_ADD_CERTIFICATE = Prepared(inserting(ca_certificate, "id", ending="RETURNING id"))
_CERTIFICATES = Prepared(
    select(ca_certificate).where(ca_certificate.c.issuer_id == bindparam("of")).order_by(ca_certificate.c.id),
    CACertificateRow,
)
_CERTIFICATES_STAMP: Prepared[tuple[int, int]] = Prepared(
    text(
        "SELECT (SELECT coalesce(max(id), 0) FROM ca_certificate),"
        " (SELECT coalesce(sum(id), 0) FROM ca_certificate WHERE preferred = 1)"
    )
)
_PREFERRED = Prepared(
    select(ca_certificate)
    .where(ca_certificate.c.issuer_id == bindparam("of"), ca_certificate.c.preferred == 1)
    .order_by(ca_certificate.c.id.desc())
    .limit(1),
    CACertificateRow,
)
_PREFER = Prepared(
    text("UPDATE ca_certificate SET preferred = CASE WHEN id = :id THEN 1 ELSE 0 END WHERE issuer_id = :issuer_id")
)


def add_issuer(
    c: Connection,
    *,
    authority_id: int,
    key_id: int,
    subject: bytes,
    ski: bytes,
    generation: int,
    state: str,
    created_at: int,
) -> int:
    """The new row's id. Raises Conflict when the authority has this generation already."""
    number = _ADD.scalar(
        c,
        {
            "authority_id": authority_id,
            "key_id": key_id,
            "subject": subject,
            "ski": ski,
            "generation": generation,
            "state": state,
            "created_at": created_at,
        },
    )
    if number is None:
        raise Conflict(f"generation {generation} of this authority exists already", "Plan again")
    return int(number)


def get_issuer(c: Connection, issuer_id: int) -> IssuerRow:
    found = _GET.find(c, {"wanted": issuer_id})
    if found is None:
        raise NotFound(f"there is no issuer {issuer_id}")
    return found


def list_issuers(c: Connection, authority_id: int | None = None) -> list[IssuerRow]:
    """Of one authority by generation, or all."""
    return _LIST.all(c) if authority_id is None else _OF_AUTHORITY.all(c, {"of": authority_id})


def find_issuer_by_generation(c: Connection, authority_id: int, generation: int) -> IssuerRow | None:
    return _BY_GENERATION.find(c, {"of": authority_id, "number": generation})


def find_issuer_by_ski(c: Connection, ski: bytes) -> IssuerRow | None:
    return _BY_SKI.find(c, {"wanted": ski})


def find_issuer_by_hash(c: Connection, hash_algorithm: str, name_hash: bytes, key_hash: bytes) -> IssuerRow | None:
    """The issuer that a CertID means (RFC 6960 §4.1.1): hashes of its DER name and of its key's bits."""
    return _BY_HASH.find(c, {"algorithm": hash_algorithm, "name": name_hash, "key": key_hash})


def put_issuer_hash(c: Connection, hash_algorithm: str, name_hash: bytes, key_hash: bytes, issuer_id: int) -> None:
    """Recording the same hashes again does nothing."""
    values = {"hash_algorithm": hash_algorithm, "name_hash": name_hash, "key_hash": key_hash, "issuer_id": issuer_id}
    _PUT_HASH.count(c, values)


def set_issuer_state(c: Connection, issuer_id: int, old: str, new: str) -> None:
    """Raises Conflict when the issuer is not in state `old`."""
    forbid(c)
    if _SET_STATE.count(c, {"id": issuer_id, "old": old, "new": new}) == 0:
        raise Conflict(f"issuer {issuer_id} is not {old} but {get_issuer(c, issuer_id).state}", "Plan again")


def set_issuer_identity(c: Connection, issuer_id: int, subject: bytes, ski: bytes) -> None:
    """For a certificate that came back with the name (DER) in another encoding, or another key identifier."""
    _SET_IDENTITY.count(c, {"id": issuer_id, "subject": subject, "ski": ski})


def is_ca_certificate(c: Connection, issuer_id: int, serial: bytes) -> bool:
    """Whether this certificate belongs to one of our authorities: its origin says so."""
    return _IS_CA.scalar(c, {"issuer_id": issuer_id, "serial": serial}) is not None


def add_ca_certificate(
    c: Connection,
    *,
    issuer_id: int,
    signed_by_issuer_id: int | None,
    role: str,
    der: bytes,
    not_before: int,
    not_after: int,
    created_at: int,
    preferred: bool | int = True,
    chain: bytes | None = None,
) -> int:
    """The new row's id. A preferred one takes the place of the one preferred before."""
    number = int(
        _ADD_CERTIFICATE.scalar(
            c,
            {
                "issuer_id": issuer_id,
                "signed_by_issuer_id": signed_by_issuer_id,
                "role": role,
                "der": der,
                "chain": chain,
                "not_before": not_before,
                "not_after": not_after,
                "preferred": 0,
                "created_at": created_at,
            },
        )
    )
    if preferred:
        prefer_ca_certificate(c, issuer_id, number)
    return number


def prefer_ca_certificate(c: Connection, issuer_id: int, ca_certificate_id: int) -> None:
    """Make one of an issuer's certificates the one that is served and chained to."""
    _PREFER.count(c, {"issuer_id": issuer_id, "id": ca_certificate_id})


def find_ca_certificate(c: Connection, issuer_id: int) -> CACertificateRow | None:
    """The preferred one."""
    return _PREFERRED.find(c, {"of": issuer_id})


def ca_certificates_stamp(c: Connection) -> tuple[int, int]:
    """Another one when a certificate has come, or another one is preferred."""
    newest, preferred = _CERTIFICATES_STAMP.all(c)[0]
    return int(newest), int(preferred)


def list_ca_certificates(c: Connection, issuer_id: int) -> list[CACertificateRow]:
    """In the order in which they came."""
    return _CERTIFICATES.all(c, {"of": issuer_id})
