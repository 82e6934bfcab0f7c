"""The past of an authority that lived elsewhere: its certificate, its serials, its revocations, its CRL number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkiconf.authority.chains import CheckedChain, check_chain, read_certificates
from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.authority.installed import record_installed
from pkiconf.clock import to_epoch
from pkiconf.der.certificate import Certificate
from pkiconf.der.crl import parse_crl
from pkiconf.der.pem import der_or_pem
from pkiconf.der.verify import check_issued_by, verify_signature
from pkiconf.errors import Malformed, Refused, Unverified
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason, RevokedEntry
from pkiconf.policy.serials import serial_bytes
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store import authorities, compromised_keys, crls, inventory, keys
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection

ORIGIN: Final = "import"

_SERIAL: Final = re.compile("[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{2})+|[0-9A-Fa-f]{1,40}")


@dataclass(frozen=True, slots=True)
class Ends:
    """`spki` is the certificate's key, where the certificate itself was brought along."""

    not_before: int
    not_after: int
    spki: bytes | None = None


@dataclass(frozen=True)
class Imported:
    """`issued` maps every serial already used to its validity; `revoked` holds the last CRL's entries. `signed_by`
    is the issuer of ours that the certificate is from, if it is from one."""

    chain: CheckedChain
    subject: bytes
    issued: Mapping[int, Ends] = field(default_factory=dict)
    revoked: Mapping[int, RevokedEntry] = field(default_factory=dict)
    next_crl_number: int = 1
    signed_by: int | None = None


def check_imported(
    c: Connection, declared: DeclaredAuthority, spki: bytes, subject: bytes, now: datetime
) -> Imported | None:
    """Everything an import brings, checked against the key; None if no certificate comes along.

    Raises Malformed, Refused, Unverified; nothing was recorded then.
    """
    spec, files = declared.spec, declared.files
    if "certificate.file" not in files or spec.key.source != "import":
        if spec.imported is not None or any(path.startswith("import.") for path in files):
            raise Refused(
                f"authority {declared.name!r} imports a past, but not its certificate",
                "Add certificate: {file: …}, or remove import",
            )
        return None
    chain = check_chain(
        files["certificate.file"], files.get("certificate.chain", b""), spki, subject, spec.path_length, now
    )
    signed_by = _check_issuer(c, spec, chain)
    issued = _issued(files["import.issued"], chain.certificate) if "import.issued" in files else {}
    revoked, number = _last_crl(files["import.crl"], chain.certificate) if "import.crl" in files else ({}, 0)
    wished = spec.imported.next_crl_number if spec.imported else None
    if wished is not None and wished <= number:
        raise Refused(
            f"import.next_crl_number of authority {declared.name!r} is {wished}, but its last CRL has number {number}",
            f"Set it to {number + 1} or more, or leave it out",
        )
    return Imported(chain, chain.certificate.subject, issued, revoked, wished or number + 1, signed_by)


def _check_issuer(c: Connection, spec: AuthoritySpec, chain: CheckedChain) -> int | None:
    """Who would issue its next certificate must be who issued this one. The row id of an issuer of ours."""
    if spec.issuer in ("self", "external"):
        if (spec.issuer == "self") == bool(chain.above):
            found = "was issued by another authority" if chain.above else "is self-signed"
            right = "external, or the name of the declared authority that issued it" if chain.above else "self"
            raise Refused(f"issuer is {spec.issuer}, but the imported certificate {found}", f"Set issuer: {right}")
        return None
    above = authorities.get_authority_by_name(c, spec.issuer)
    for row in authorities.list_issuers(c, above.id):
        key = keys.get_key(c, row.key_id)
        if chain.above and (chain.above[0].subject, chain.above[0].spki) == (row.subject, key.spki):
            return row.id
    raise Refused(
        f"the imported certificate was not issued by authority {spec.issuer!r}", "Set issuer: external, or self"
    )


def _last_crl(data: bytes, own: Certificate) -> tuple[dict[int, RevokedEntry], int]:
    """The entries of a full CRL of this authority, and its number (0: it has none)."""
    crl = parse_crl(der_or_pem(data, ("X509 CRL",)))
    if crl.issuer != own.subject:
        raise Refused("import.crl was issued by another authority", "Give the last CRL of this one")
    verify_signature(own.spki, crl.algorithm, crl.tbs, crl.signature)
    critical = [extension.oid for extension in crl.extensions if extension.critical]
    if critical:
        # A delta CRL, or one for a part of the certificates: the other revocations would be forgotten.
        raise Refused(f"import.crl has the critical extension {', '.join(critical)}", "Give the full CRL")
    entries = {entry.serial_number: entry for entry in crl.entries}
    if 0 in entries:
        raise Malformed("import.crl revokes serial number 0, which no certificate may have (RFC 5280 §4.1.2.2)")
    return entries, crl.number or 0


def _issued(data: bytes, own: Certificate) -> dict[int, Ends]:
    """One hex serial a line (`#` starts a comment), or certificates, whose own validity is then known."""
    if b"-----BEGIN" in data:
        return dict(_check_issued(certificate, own) for certificate in read_certificates(data))
    ends = Ends(to_epoch(own.not_before), to_epoch(own.not_after))
    found: dict[int, Ends] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        serial = int(text.replace(":", ""), 16) if _SERIAL.fullmatch(text) else 0
        if not 0 < serial < 1 << 160:
            raise Malformed(f"import.issued, line {number}: {text[:40]!r} is not a serial number in hex")
        found[serial] = ends
    return found


def _check_issued(certificate: Certificate, own: Certificate) -> tuple[int, Ends]:
    """Serials of other authorities would be called good here."""
    try:
        check_issued_by(certificate, own)
    except Unverified:
        raise Unverified(
            f"import.issued: certificate {certificate.serial_number:x} was not issued by this authority",
            "Give only those that it has issued",
        ) from None
    ends = Ends(to_epoch(certificate.not_before), to_epoch(certificate.not_after), certificate.spki)
    return certificate.serial_number, ends


def record_imported(c: Connection, parts: Parts, issuer_id: int, past: Imported, actor: Actor) -> None:
    """Part of the transaction that creates the authority. Serials of unknown validity count to the issuer's end."""
    now = to_epoch(parts.now())
    record_installed(c, issuer_id, past.chain.certificate.spki, past.chain, now, past.signed_by)
    crls.raise_number(c, issuer_id, past.next_crl_number - 1)
    own = past.chain.certificate
    ends = Ends(to_epoch(own.not_before), to_epoch(own.not_after))
    rows = [_row(issuer_id, serial, past, ends, now) for serial in sorted({*past.issued, *past.revoked})]
    inventory.import_certificates(c, rows)
    for row in rows:
        details: dict[str, object] = {"issuer": issuer_id, "serial": row.serial.hex(), "status": row.status}
        parts.record(c, actor, "certificate.import", f"certificate/{issuer_id}/{row.serial.hex()}", details)
    for serial, entry in past.revoked.items():
        spki = past.issued[serial].spki if serial in past.issued else None
        if spki is not None and entry.reason in (RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE):
            compromised_keys.add(c, spki, now)


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
