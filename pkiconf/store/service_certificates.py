"""Keys and certificates for what an issuer answers with: OCSP responses, timestamps, SCEP replies, TLS."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import service_certificate


@dataclass(frozen=True, slots=True)
class ServiceCertificateRow:
    """`serial` is None until its certificate is complete; it serves from `from_at` until `until_at`."""

    id: int
    issuer_id: int
    purpose: str
    key_id: int
    serial: bytes | None
    from_at: int
    until_at: int


_ADD = Prepared(inserting(service_certificate, "id", ending="RETURNING id"))
_GET = Prepared(
    select(service_certificate).where(service_certificate.c.id == bindparam("wanted")), ServiceCertificateRow
)
_CURRENT = Prepared(
    select(service_certificate)
    .where(
        service_certificate.c.issuer_id == bindparam("of"),
        service_certificate.c.purpose == bindparam("wish"),
        service_certificate.c.serial.is_not(None),
        service_certificate.c.from_at <= bindparam("now"),
        service_certificate.c.until_at > bindparam("now"),
    )
    .order_by(service_certificate.c.until_at.desc(), service_certificate.c.id.desc())
    .limit(1),
    ServiceCertificateRow,
)
_LIST = Prepared(select(service_certificate).order_by(service_certificate.c.id), ServiceCertificateRow)
_OF_ISSUER = Prepared(
    select(service_certificate)
    .where(service_certificate.c.issuer_id == bindparam("of"))
    .order_by(service_certificate.c.id),
    ServiceCertificateRow,
)
_COMPLETE = Prepared(
    text(
        "UPDATE service_certificate SET serial = :serial, from_at = :from_at, until_at = :until_at"
        " WHERE id = :id AND serial IS NULL"
    )
)
_END = Prepared(text("UPDATE service_certificate SET until_at = :at WHERE id = :id AND until_at > :at"))
_DELETE = Prepared(text("DELETE FROM service_certificate WHERE id = :id"))


def add_service_certificate(
    c: Connection,
    *,
    issuer_id: int,
    purpose: str,
    key_id: int,
    from_at: int,
    until_at: int,
    serial: bytes | None = None,
) -> int:
    values = {
        "issuer_id": issuer_id,
        "purpose": purpose,
        "key_id": key_id,
        "serial": serial,
        "from_at": from_at,
        "until_at": until_at,
    }
    return int(_ADD.scalar(c, values))


def get_service_certificate(c: Connection, service_certificate_id: int) -> ServiceCertificateRow:
    found = _GET.find(c, {"wanted": service_certificate_id})
    if found is None:
        raise NotFound(f"there is no service certificate {service_certificate_id}")
    return found


def find_service_certificate(c: Connection, issuer_id: int, purpose: str, now: int) -> ServiceCertificateRow | None:
    """The complete one that serves now, the one that lasts longest if there are several."""
    return _CURRENT.find(c, {"of": issuer_id, "wish": purpose, "now": now})


def list_service_certificates(c: Connection, issuer_id: int | None = None) -> list[ServiceCertificateRow]:
    return _LIST.all(c) if issuer_id is None else _OF_ISSUER.all(c, {"of": issuer_id})


def complete_service_certificate(
    c: Connection, service_certificate_id: int, serial: bytes, from_at: int, until_at: int
) -> None:
    """Raises Conflict when it is complete already."""
    values = {"id": service_certificate_id, "serial": serial, "from_at": from_at, "until_at": until_at}
    if _COMPLETE.count(c, values) == 0:
        raise Conflict(f"service certificate {service_certificate_id} is complete already")


def end_service_certificate(c: Connection, service_certificate_id: int, at: int) -> None:
    """Stop serving with it (it was revoked)."""
    _END.count(c, {"id": service_certificate_id, "at": at})


def delete_service_certificate(c: Connection, service_certificate_id: int) -> None:
    _DELETE.count(c, {"id": service_certificate_id})
