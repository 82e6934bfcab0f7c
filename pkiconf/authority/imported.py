"""The past of an authority that lived elsewhere: its certificate, its serials, its revocations, its CRL number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.authority.installed import CheckedChain, check_chain, read_certificates, record_installed
from pkiconf.clock import to_epoch
from pkiconf.der.crl import parse_crl
from pkiconf.der.pem import der_or_pem
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Malformed, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason, RevokedEntry
from pkiconf.policy.serials import serial_bytes
from pkiconf.store import crls, inventory
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection

ORIGIN: Final = "import"


@dataclass(frozen=True, slots=True)
class Ends:
    not_before: int
    not_after: int


@dataclass(frozen=True)
class Imported:
    """`issued` maps every serial already used to its validity; `revoked` holds the last CRL's entries."""

    chain: CheckedChain
    subject: bytes
    issued: Mapping[int, Ends] = field(default_factory=dict)
    revoked: Mapping[int, RevokedEntry] = field(default_factory=dict)
    next_crl_number: int = 1


def check_imported(declared: DeclaredAuthority, spki: bytes, subject: bytes, now: datetime) -> Imported | None:
    """Everything an import brings, checked against the key; None if no certificate comes along.

    Raises Malformed, Refused, Unverified; nothing was recorded then.
    """
    spec, files = declared.spec, declared.files
    if "certificate.file" not in files or spec.key.source != "import":
        return None
    chain = check_chain(
        files["certificate.file"], files.get("certificate.chain", b""), spki, subject, spec.path_length, now
    )
    ends = Ends(to_epoch(chain.certificate.not_before), to_epoch(chain.certificate.not_after))
    issued = _issued(files["import.issued"], ends) if "import.issued" in files else {}
    revoked: dict[int, RevokedEntry] = {}
    number = 0
    if "import.crl" in files:
        crl = parse_crl(der_or_pem(files["import.crl"], ("X509 CRL",)))
        if crl.issuer != chain.certificate.subject:
            raise Refused(f"import.crl of authority {declared.name!r} was issued by another authority")
        verify_signature(spki, crl.algorithm, crl.tbs, crl.signature)
        revoked = {entry.serial_number: entry for entry in crl.entries}
        number = crl.number or 0
    wished = spec.imported.next_crl_number if spec.imported else None
    if wished is not None and wished <= number:
        raise Refused(
            f"import.next_crl_number of authority {declared.name!r} is {wished}, but its last CRL has number {number}",
            f"Set it to {number + 1} or more, or leave it out",
        )
    return Imported(chain, chain.certificate.subject, issued, revoked, wished or number + 1)


def _issued(data: bytes, ends: Ends) -> dict[int, Ends]:
    """One hex serial a line (`#` starts a comment), or certificates, whose own validity is then known."""
    if b"-----BEGIN" in data:
        return {
            certificate.serial_number: Ends(to_epoch(certificate.not_before), to_epoch(certificate.not_after))
            for certificate in read_certificates(data)
        }
    found: dict[int, Ends] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found[int(text.replace(":", ""), 16)] = ends
        except ValueError:
            raise Malformed(f"import.issued, line {number}: {text[:40]!r} is not a serial number in hex") from None
    return found


def record_imported(c: Connection, parts: Parts, issuer_id: int, past: Imported, actor: Actor) -> None:
    """Part of the transaction that creates the authority. Serials of unknown validity count to the issuer's end."""
    now = to_epoch(parts.now())
    record_installed(c, issuer_id, past.chain.certificate.spki, past.chain, now)
    crls.raise_number(c, issuer_id, past.next_crl_number - 1)
    own = past.chain.certificate
    ends = Ends(to_epoch(own.not_before), to_epoch(own.not_after))
    rows = [_row(issuer_id, serial, past, ends, now) for serial in sorted({*past.issued, *past.revoked})]
    inventory.import_certificates(c, rows)
    for row in rows:
        details: dict[str, object] = {"issuer": issuer_id, "serial": row.serial.hex(), "status": row.status}
        parts.record(c, actor, "certificate.import", f"certificate/{issuer_id}/{row.serial.hex()}", details)


def _row(issuer_id: int, serial: int, past: Imported, ends: Ends, now: int) -> CertificateRow:
    entry = past.revoked.get(serial)
    validity = past.issued.get(serial, ends)
    return CertificateRow(
        issuer_id=issuer_id, serial=serial_bytes(serial), bucket=0, template_version_id=None, status=_status(entry),
        reason=entry.reason.code if entry else None, revoked_at=to_epoch(entry.revoked_at) if entry else None,
        invalidity_at=to_epoch(entry.invalidity_date) if entry and entry.invalidity_date else None,
        not_before=validity.not_before, not_after=validity.not_after, crl_shard=0,
        origin_kind=ORIGIN, origin_id=f"{issuer_id}:{serial:x}", reserved_at=now, lease_until=now,
    )  # fmt: skip


def _status(entry: RevokedEntry | None) -> str:
    if entry is None:
        return CertificateStatus.GOOD
    return CertificateStatus.HELD if entry.reason is RevocationReason.CERTIFICATE_HOLD else CertificateStatus.REVOKED
