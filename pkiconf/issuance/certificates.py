"""Issued certificates, for people: find, list, search, export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import Certificate, assemble_certificate, parse_certificate
from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs7 import encode_certs_only
from pkiconf.errors import Conflict, NotFound
from pkiconf.issuance.issuer import chain_of
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import SYSTEM_OWNER, find_template
from pkiconf.model.certificate import CertificateID
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.policy.serials import parse_serial_text, serial_bytes
from pkiconf.store import authorities, certificates, inventory, templates
from pkiconf.store.database import Connection

FORMATS: Final = ("pem", "der", "chain", "p7b")


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list; None leaves a criterion out. `name` matches a CN or SAN, `*` standing for anything."""

    authority: str | None = None
    template: str | None = None
    status: str | None = None
    name: str | None = None
    expires_before: datetime | None = None
    include_system: bool = False
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate with its row and the names of its authority and template. `template_version` is the digest of the
    version it was made from (None for an imported one); `der` is None while only reserved."""

    row: certificates.CertificateRow
    authority: str
    template: str
    template_version: str | None
    der: bytes | None
    names: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> CertificateID:
        return CertificateID(self.row.issuer_id, int.from_bytes(self.row.serial, "big"))

    @property
    def certificate(self) -> Certificate | None:
        return parse_certificate(self.der) if self.der is not None else None


@dataclass(frozen=True, slots=True)
class Certificates:
    parts: Parts

    def get(self, serial: str, authority: str | None = None) -> Found:
        """By serial number: hex (colons allowed) or decimal; `authority` tells two apart that share it.

        Raises Malformed for text that is no serial, NotFound, and Conflict when the authority is needed.
        """
        number = parse_serial_text(serial)
        return self.parts.db.read(lambda c: self._get(c, number, serial, authority))

    def search(self, wanted: Filter) -> list[Found]:
        """Newest first. Raises NotFound for an authority or template that does not exist."""

        def read(c: Connection) -> list[Found]:
            return [self._describe(c, row) for row in inventory.list_newest(c, _wish(c, wanted), wanted.limit)]

        return self.parts.db.read(read)

    def export(self, found: Found, form: str) -> bytes:
        """`pem`, `der`, `chain` (leaf first, PEM, without the root) or `p7b` (DER, certs-only)."""
        if found.der is None:
            raise Conflict("the certificate is reserved but not signed yet", "Run `pkiconf worker --once`")
        chain = self.parts.db.read(lambda c: chain_of(c, found.row.issuer_id))
        path = (found.der, *(der for der in chain if der != found.der))
        match form:
            case "der":
                return found.der
            case "p7b":
                return encode_certs_only(path)
            case "chain":
                return "".join(pem_encode("CERTIFICATE", der) for der in path).encode()
            case _:
                return pem_encode("CERTIFICATE", found.der).encode()

    def _get(self, c: Connection, number: int, text: str, authority: str | None) -> Found:
        found = [self._describe(c, row) for row in certificates.list_by_serial(c, serial_bytes(number))]
        if authority is not None:
            authorities.get_authority_by_name(c, authority)
            found = [one for one in found if one.authority == authority]
        if not found:
            where = f" of authority {authority!r}" if authority else ""
            raise NotFound(f"there is no certificate{where} with serial {text}", "See `pkiconf cert list`")
        if len(found) > 1:
            names = ", ".join(sorted({one.authority for one in found}))
            raise Conflict(f"serial {text} was issued more than once", f"Add --authority, one of {names}")
        return found[0]

    def _describe(self, c: Connection, row: certificates.CertificateRow) -> Found:
        authority = authorities.get_authority(c, authorities.get_issuer(c, row.issuer_id).authority_id).name
        template, digest = "(imported)", None
        if row.template_version_id is not None:
            version = templates.get_template_version(c, row.template_version_id)
            template, digest = templates.get_template(c, version.template_id).name, version.digest
        stored = certificates.find_stored(c, row.issuer_id, row.serial)
        der = None
        if stored is not None and stored.signature is not None:
            der = assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature)
        return Found(row, authority, template, digest, der, tuple(inventory.names_of(c, row.issuer_id, row.serial)))


def _wish(c: Connection, wanted: Filter) -> inventory.Wish:
    issuer_ids = None
    if wanted.authority is not None:
        authority = authorities.get_authority_by_name(c, wanted.authority)
        issuer_ids = [row.id for row in authorities.list_issuers(c, authority.id)]
    template_id = None
    if wanted.template:
        template_id = find_template(c, wanted.template, include_system=wanted.include_system).id
    return inventory.Wish(
        issuer_ids=issuer_ids,
        template_id=template_id,
        statuses=(wanted.status,) if wanted.status else (),
        name=wanted.name,
        not_after_until=to_epoch(wanted.expires_before) if wanted.expires_before else None,
        not_owned_by=None if wanted.include_system else SYSTEM_OWNER,
    )
