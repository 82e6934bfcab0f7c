"""Certificates on their way: reserved, complete, held, released, revoked, given up.

The narrow row is updated; TBS and signature lie in tables that are only added to, and together they are the
certificate. Serial numbers are octets here, without a sign octet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, literal_column, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.model.certificate import CertificateID
from pkiconf.policy.serials import serial_bytes
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import (
    certificate,
    certificate_name,
    certificate_signature,
    certificate_tbs,
    issuer,
    precertificate,
)


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """`status` is a CertificateStatus, `reason` a CRLReason code; `bucket` 0 marks an imported serial."""

    issuer_id: int
    serial: bytes
    bucket: int
    template_version_id: int | None
    status: str
    reason: int | None
    revoked_at: int | None
    invalidity_at: int | None
    not_before: int
    not_after: int
    crl_shard: int
    origin_kind: str
    origin_id: str
    reserved_at: int
    lease_until: int
    changed_epoch: int = 0
    """The issuer's status epoch when the status last changed; 0 for one that is as it was issued."""

    @property
    def id(self) -> CertificateID:
        return CertificateID(self.issuer_id, int.from_bytes(self.serial))


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """An intent: what is recorded before the key works. `algorithm` names a signature algorithm of `model.keys`.

    `tbs` is the certificate's own; or that of its precertificate, which logs are shown first."""

    issuer_id: int
    serial: bytes
    bucket: int
    template_version_id: int | None
    not_before: int
    not_after: int
    origin_kind: str
    origin_id: str
    reserved_at: int
    lease_until: int
    algorithm: str
    tbs: bytes
    crl_shard: int = 0
    is_precertificate: bool = False


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What OCSP says, and the issuer's `status_epoch` that it holds for."""

    status: str
    reason: int | None
    revoked_at: int | None
    invalidity_at: int | None
    not_after: int
    status_epoch: int


class Stored(NamedTuple):
    tbs: bytes
    algorithm: str
    signature: bytes | None


class OriginTaken(Conflict):
    """The origin has a certificate, or an intent for one, already."""


class NotReserved(Conflict):
    """The certificate is not, or no longer, an intent."""


_RESERVE = Prepared(
    text(
        "INSERT INTO certificate (issuer_id, serial, bucket, template_version_id, status, not_before, not_after,"
        " crl_shard, origin_kind, origin_id, reserved_at, lease_until) VALUES (:issuer_id, :serial, :bucket,"
        " :template_version_id, 'reserved', :not_before, :not_after, :crl_shard, :origin_kind, :origin_id,"
        " :reserved_at, :lease_until) ON CONFLICT (origin_kind, origin_id) DO NOTHING"
    )
)
_ADD_TBS = Prepared(inserting(certificate_tbs))
_ADD_PRECERTIFICATE = Prepared(inserting(precertificate, "signature"))
_ADD_SIGNATURE = Prepared(inserting(certificate_signature))
_ADD_NAME = Prepared(inserting(certificate_name, ending="ON CONFLICT DO NOTHING"))
_COMPLETE = Prepared(
    text(
        "UPDATE certificate SET status = 'good'"
        " WHERE issuer_id = :issuer_id AND serial = :serial AND status = 'reserved'"
    )
)
_FREE_ORIGIN = Prepared(
    text(
        "UPDATE certificate SET origin_id = :freed"
        " WHERE origin_kind = :kind AND origin_id = :wanted AND status = 'abandoned'"
    )
)
_RENEW_LEASE = Prepared(
    text(
        "UPDATE certificate SET lease_until = :until WHERE issuer_id = :issuer_id AND serial = :serial"
        " AND status = 'reserved' AND lease_until = :expected"
    )
)
_EPOCH = Prepared(text("UPDATE issuer SET status_epoch = status_epoch + 1 WHERE id = :id RETURNING status_epoch"))
_SET_STATUS = Prepared(
    text(
        "UPDATE certificate SET status = :new, reason = :reason, revoked_at = :revoked_at,"
        " invalidity_at = :invalidity_at, changed_epoch = :epoch"
        " WHERE issuer_id = :issuer_id AND serial = :serial AND status = :old"
    )
)
_KEY = (certificate.c.issuer_id == bindparam("of"), certificate.c.serial == bindparam("number"))
_FIND = Prepared(select(certificate).where(*_KEY), CertificateRow)
_HOLD_STILL = Prepared(select(certificate.c.status).where(*_KEY).with_for_update(read=True))
_BY_SERIAL = Prepared(
    # By way of the issuers, because certificates are indexed by issuer first.
    select(certificate)
    .join(issuer, issuer.c.id == certificate.c.issuer_id)
    .where(certificate.c.serial == bindparam("number"))
    .order_by(issuer.c.id),
    CertificateRow,
    # Which table comes first is SQLite's to choose unless the join is a cross join; 3.46 would read all certificates.
    sqlite=text(
        f"SELECT {', '.join(f'certificate.{column.name}' for column in certificate.columns)} FROM issuer CROSS JOIN"  # noqa: S608
        " certificate ON certificate.issuer_id = issuer.id WHERE certificate.serial = :number ORDER BY issuer.id"
    ),
)
_FIND_BY_ORIGIN = Prepared(
    select(certificate).where(
        certificate.c.origin_kind == bindparam("kind"), certificate.c.origin_id == bindparam("wanted")
    ),
    CertificateRow,
)
_STORED = Prepared(
    select(certificate_tbs.c.tbs, certificate_tbs.c.algorithm, certificate_signature.c.signature)
    .select_from(
        certificate_tbs.outerjoin(
            certificate_signature,
            (certificate_signature.c.issuer_id == certificate_tbs.c.issuer_id)
            & (certificate_signature.c.serial == certificate_tbs.c.serial),
        )
    )
    .where(certificate_tbs.c.issuer_id == bindparam("of"), certificate_tbs.c.serial == bindparam("number")),
    Stored,
)
_STATUS = Prepared(
    select(
        certificate.c.status,
        certificate.c.reason,
        certificate.c.revoked_at,
        certificate.c.invalidity_at,
        certificate.c.not_after,
        issuer.c.status_epoch,
    )
    .join(issuer, issuer.c.id == certificate.c.issuer_id)
    .where(*_KEY),
    StatusRow,
)
_IS_DISCLOSED = (
    select(precertificate.c.serial)
    .where(precertificate.c.issuer_id == certificate.c.issuer_id, precertificate.c.serial == certificate.c.serial)
    .exists()
)
# The status is no parameter: only then may the databases use the index of the rows that have it.
_RESERVED = Prepared(
    select(certificate)
    .where(
        certificate.c.status == literal_column("'reserved'"),
        certificate.c.lease_until <= bindparam("before"),
        ~_IS_DISCLOSED,
    )
    .order_by(certificate.c.lease_until)
    .limit(bindparam("most")),
    CertificateRow,
)


def reserve(c: Connection, new: NewCertificate) -> None:
    """Record an intent: serial and TBS, before the key works. Raises OriginTaken."""
    values = {
        "issuer_id": new.issuer_id,
        "serial": new.serial,
        "bucket": new.bucket,
        "template_version_id": new.template_version_id,
        "not_before": new.not_before,
        "not_after": new.not_after,
        "crl_shard": new.crl_shard,
        "origin_kind": new.origin_kind,
        "origin_id": new.origin_id,
        "reserved_at": new.reserved_at,
        "lease_until": new.lease_until,
    }
    if _RESERVE.count(c, values) == 0:
        raise OriginTaken(f"{new.origin_kind} {new.origin_id} has a certificate already")
    add = _ADD_PRECERTIFICATE if new.is_precertificate else _ADD_TBS
    add.count(c, {"issuer_id": new.issuer_id, "serial": new.serial, "algorithm": new.algorithm, "tbs": new.tbs})


def complete(
    c: Connection,
    issuer_id: int,
    serial: bytes,
    signature: bytes,
    signed_at: int,
    names: Iterable[tuple[str, str]] = (),
) -> None:
    """Record the signature of an intent, and the names (kind, lower-case value) it is searched by.

    Raises NotReserved when it is complete already, or was given up.
    """
    key = {"issuer_id": issuer_id, "serial": serial}
    if _COMPLETE.count(c, key) == 0:
        raise NotReserved(f"certificate {serial.hex()} of issuer {issuer_id} is no open intent")
    _ADD_SIGNATURE.count(c, {**key, "signature": signature, "signed_at": signed_at})
    add_names(c, issuer_id, serial, names)


def add_names(c: Connection, issuer_id: int, serial: bytes, names: Iterable[tuple[str, str]]) -> None:
    rows = [{"kind": kind, "value": value, "issuer_id": issuer_id, "serial": serial} for kind, value in names]
    if rows:
        _ADD_NAME.many(c, rows)


def renew_lease(c: Connection, issuer_id: int, serial: bytes, expected: int, until: int) -> bool:
    """Take over an intent whose lease ends at `expected`; False when another process was faster."""
    values = {"issuer_id": issuer_id, "serial": serial, "expected": expected, "until": until}
    return _RENEW_LEASE.count(c, values) == 1


def revoke(
    c: Connection,
    issuer_id: int,
    serial: bytes,
    status: str,
    reason: int | None,
    at: int,
    invalidity_at: int | None = None,
    *,
    allowed: Collection[str] = ("good", "held"),
) -> int:
    """Make a certificate `revoked` or `held`; the issuer's new status epoch.

    A held one that is revoked keeps nothing of the hold. Raises NotFound; Conflict when its status is not one of
    `allowed`.
    """
    return _move(c, issuer_id, serial, allowed, (status, reason, at, invalidity_at))


def release(c: Connection, issuer_id: int, serial: bytes) -> int:
    """Make a held certificate good again; the issuer's new status epoch. Raises NotFound, Conflict."""
    return _move(c, issuer_id, serial, ("held",), ("good", None, None, None))


def set_standing(
    c: Connection,
    issuer_id: int,
    serial: bytes,
    old: str,
    new: str,
    *,
    reason: int | None,
    revoked_at: int | None,
    invalidity_at: int | None,
) -> int:
    """Write what was decided for a certificate that is `old` now; the issuer's new status epoch.

    Raises NotFound; Conflict when it is no longer `old`.
    """
    return _move(c, issuer_id, serial, (old,), (new, reason, revoked_at, invalidity_at))


def abandon(c: Connection, issuer_id: int, serial: bytes, at: int) -> int:
    """Give up an intent, which counts as revoked from now on; the issuer's new status epoch.

    Raises NotFound; NotReserved when it is no open intent.
    """
    return _move(c, issuer_id, serial, ("reserved",), ("abandoned", None, at, None), NotReserved)


def free_origin(c: Connection, origin_kind: str, origin_id: str) -> None:
    """Let an origin have another certificate: the one that was given up for it goes on under another origin."""
    found = find_by_origin(c, origin_kind, origin_id)
    if found is not None:
        freed = f"{origin_id}/given-up/{found.serial.hex()}"
        _FREE_ORIGIN.count(c, {"kind": origin_kind, "wanted": origin_id, "freed": freed})


def _move(
    c: Connection,
    issuer_id: int,
    serial: bytes,
    allowed: Collection[str],
    to: tuple[str, int | None, int | None, int | None],
    wrong: type[Conflict] = Conflict,
) -> int:
    # The issuer's row first, always: two that change many certificates each cannot block one another then.
    epoch = _EPOCH.scalar(c, {"id": issuer_id})
    row = find(c, issuer_id, serial)
    if epoch is None or row is None:
        raise NotFound(f"issuer {issuer_id} has no certificate {serial.hex()}")
    status, reason, revoked_at, invalidity_at = to
    values = {
        "issuer_id": issuer_id,
        "serial": serial,
        "old": row.status,
        "new": status,
        "reason": reason,
        "revoked_at": revoked_at,
        "invalidity_at": invalidity_at,
        "epoch": epoch,
    }
    if row.status not in allowed or _SET_STATUS.count(c, values) == 0:
        raise wrong(f"certificate {serial.hex()} is {row.status}, so it cannot become {status}")
    return int(epoch)


def status(c: Connection, issuer_id: int, serial: bytes) -> StatusRow | None:
    """One statement, so that status and epoch belong together."""
    return _STATUS.find(c, {"of": issuer_id, "number": serial})


def find(c: Connection, issuer_id: int, serial: bytes) -> CertificateRow | None:
    return _FIND.find(c, {"of": issuer_id, "number": serial})


def hold_still(c: Connection, issuer_id: int, serial: bytes) -> str | None:
    """Its status, which does not change before the transaction ends; None for one that is not there."""
    found = _HOLD_STILL.scalar(c, {"of": issuer_id, "number": serial})
    return None if found is None else str(found)


def get_certificate(c: Connection, id: CertificateID) -> CertificateRow:
    found = find(c, id.issuer_id, serial_bytes(id.serial_number))
    if found is None:
        raise NotFound(f"issuer {id.issuer_id} has no certificate {id.serial_number:x}")
    return found


def find_by_origin(c: Connection, origin_kind: str, origin_id: str) -> CertificateRow | None:
    return _FIND_BY_ORIGIN.find(c, {"kind": origin_kind, "wanted": origin_id})


def get_stored(c: Connection, id: CertificateID) -> Stored:
    """What a certificate is assembled from. Raises NotFound for an unknown one, and for an imported serial."""
    found = _STORED.find(c, {"of": id.issuer_id, "number": serial_bytes(id.serial_number)})
    if found is None:
        raise NotFound(f"certificate {id.serial_number:x} of issuer {id.issuer_id} is not stored here")
    return found


def find_stored(c: Connection, issuer_id: int, serial: bytes) -> Stored | None:
    """None for imported serials, whose certificates are elsewhere."""
    return _STORED.find(c, {"of": issuer_id, "number": serial})


def list_by_serial(c: Connection, serial: bytes) -> list[CertificateRow]:
    """Of every issuer."""
    return _BY_SERIAL.all(c, {"number": serial})


def list_reserved(c: Connection, lease_before: int, limit: int = 1000) -> list[CertificateRow]:
    """Intents whose lease has ended by `lease_before`, the oldest first. Those that logs are shown are listed in
    `precertificates`."""
    return _RESERVED.all(c, {"before": lease_before, "most": limit})
