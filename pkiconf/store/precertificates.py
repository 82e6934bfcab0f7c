"""Precertificates on their way to being certificates (RFC 6962 §3.1): what was signed for logs, and what they promised.

Of everything that can come only once, the first counts: a second process that did the same work gets what the first
recorded, so that a serial never has two precertificates or two certificates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, literal_column, select, text

from pkiconf.model.certificate import CertificateID
from pkiconf.policy.serials import serial_bytes
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import certificate, certificate_tbs, certificate_timestamp, precertificate


@dataclass(frozen=True, slots=True)
class PrecertificateRow:
    """`tbs` holds the poison; `algorithm` names a signature algorithm of `model.keys`."""

    issuer_id: int
    serial: bytes
    algorithm: str
    tbs: bytes
    signature: bytes | None


_FIND = Prepared(
    select(precertificate).where(
        precertificate.c.issuer_id == bindparam("of"), precertificate.c.serial == bindparam("number")
    ),
    PrecertificateRow,
)
_SIGN = Prepared(
    text(
        "UPDATE precertificate SET signature = :signature"
        " WHERE issuer_id = :issuer_id AND serial = :serial AND signature IS NULL"
    )
)
_ADD_TIMESTAMP = Prepared(inserting(certificate_timestamp, ending="ON CONFLICT DO NOTHING"))
_TIMESTAMPS: Prepared[tuple[bytes, bytes]] = Prepared(
    select(certificate_timestamp.c.log_id, certificate_timestamp.c.sct)
    .where(certificate_timestamp.c.issuer_id == bindparam("of"), certificate_timestamp.c.serial == bindparam("number"))
    .order_by(certificate_timestamp.c.received_at, certificate_timestamp.c.log_id)
)
_ADD_TBS = Prepared(inserting(certificate_tbs, ending="ON CONFLICT DO NOTHING"))
_TBS = Prepared(
    select(certificate_tbs.c.tbs).where(
        certificate_tbs.c.issuer_id == bindparam("of"), certificate_tbs.c.serial == bindparam("number")
    )
)
_POSTPONE = Prepared(
    text(
        "UPDATE certificate SET lease_until = :until"
        " WHERE issuer_id = :issuer_id AND serial = :serial AND status = 'reserved'"
    )
)
_LIST_RESERVED = Prepared(
    select(certificate)
    .join(
        precertificate,
        (precertificate.c.issuer_id == certificate.c.issuer_id) & (precertificate.c.serial == certificate.c.serial),
    )
    .where(certificate.c.status == literal_column("'reserved'"), certificate.c.lease_until <= bindparam("before"))
    .order_by(certificate.c.lease_until)
    .limit(bindparam("most")),
    CertificateRow,
)


def find(c: Connection, id: CertificateID) -> PrecertificateRow | None:
    return _FIND.find(c, _at(id))


def record_signature(c: Connection, id: CertificateID, signature: bytes) -> bytes:
    """The signature that counts: this one, or the one that was there before."""
    _SIGN.count(c, _key(id) | {"signature": signature})
    row = find(c, id)
    assert row is not None
    assert row.signature is not None
    return row.signature


def record_timestamps(c: Connection, id: CertificateID, scts: Iterable[tuple[bytes, bytes]], at: int) -> None:
    """Pairs of log id and SCT; the first of a log stays."""
    for log_id, sct in scts:
        _ADD_TIMESTAMP.count(c, _key(id) | {"log_id": log_id, "sct": sct, "received_at": at})


def list_timestamps(c: Connection, id: CertificateID) -> Mapping[bytes, bytes]:
    """Log id → SCT, in the order in which they came."""
    return {bytes(log_id): bytes(sct) for log_id, sct in _TIMESTAMPS.all(c, _at(id))}


def record_tbs(c: Connection, id: CertificateID, algorithm: str, tbs: bytes) -> bytes:
    """The TBSCertificate that will be signed: this one, or the one that was there before."""
    _ADD_TBS.count(c, _key(id) | {"algorithm": algorithm, "tbs": tbs})
    return bytes(_TBS.scalar(c, _at(id)))


def find_tbs(c: Connection, id: CertificateID) -> bytes | None:
    """None while not enough logs have answered."""
    found = _TBS.scalar(c, _at(id))
    return None if found is None else bytes(found)


def postpone(c: Connection, id: CertificateID, until: int) -> None:
    """Let nobody take it up again before `until`; one that is no intent any more is left as it is."""
    _POSTPONE.count(c, _key(id) | {"until": until})


def list_reserved(c: Connection, lease_before: int, limit: int = 1000) -> list[CertificateRow]:
    """Intents of precertificates whose lease has ended by `lease_before`, the oldest first."""
    return _LIST_RESERVED.all(c, {"before": lease_before, "most": limit})


def _key(id: CertificateID) -> dict[str, object]:
    return {"issuer_id": id.issuer_id, "serial": serial_bytes(id.serial_number)}


def _at(id: CertificateID) -> dict[str, object]:
    return {"of": id.issuer_id, "number": serial_bytes(id.serial_number)}
