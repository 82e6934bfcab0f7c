"""Authorities of others, made with a stranger's library, and a look at everything a database holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from pkiconf.store.database import Connection
from pkiconf.store.tables import metadata
from tests.world import NOW, World

DAY = timedelta(days=1)


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table: what stands when nothing was changed."""

    def read(c: Connection) -> dict[str, list[tuple[Any, ...]]]:
        tables = metadata.sorted_tables
        return {table.name: sorted((tuple(row) for row in c.execute(select(table))), key=repr) for table in tables}

    return world.parts.db.read(read)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@dataclass
class Elsewhere:
    """An authority that is not ours. `above` issued its certificate; without one it is a root."""

    common_name: str
    above: Elsewhere | None = None
    path_length: int | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    not_before: datetime = NOW - DAY
    not_after: datetime = NOW + 3650 * DAY
    ca: bool = True
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        signer = self.above or self
        self.certificate = signer.certify(
            name(self.common_name), self.key.public_key(), path_length=self.path_length,
            not_before=self.not_before, not_after=self.not_after, ca=self.ca,
        )  # fmt: skip

    def certify(
        self,
        subject: x509.Name,
        key: Any,
        *,
        path_length: int | None = 0,
        not_before: datetime = NOW - DAY,
        not_after: datetime = NOW + 1825 * DAY,
        ca: bool | None = True,
        cert_sign: bool | None = True,
        crl_sign: bool = True,
        ski: bytes | None = None,
        serial: int | None = None,
        issuer: x509.Name | None = None,
        key_of: ec.EllipticCurvePrivateKey | None = None,
        extra: tuple[x509.ExtensionType, ...] = (),
    ) -> x509.Certificate:
        """A certificate for an authority; each argument makes it a little worse."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or name(self.common_name))
            .public_key(key)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
        if cert_sign is not None:
            usage = x509.KeyUsage(not cert_sign, False, False, False, False, cert_sign, crl_sign, False, False)
            builder = builder.add_extension(usage, True)
        identifier = x509.SubjectKeyIdentifier(ski) if ski else x509.SubjectKeyIdentifier.from_public_key(key)
        builder = builder.add_extension(identifier, False)
        for extension in extra:
            builder = builder.add_extension(extension, True)
        return builder.sign(key_of or self.key, hashes.SHA256())

    def crl(self, number: int | None, revoked: dict[int, x509.ReasonFlags], **other: Any) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(other.get("issuer", self.certificate.subject))
            .last_update(NOW - DAY)
            .next_update(NOW + 6 * DAY)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), False)
        for extension, critical in other.get("extra", ()):
            builder = builder.add_extension(extension, critical)
        for serial, reason in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 2 * DAY)
            if reason is not x509.ReasonFlags.unspecified:
                entry = entry.add_extension(x509.CRLReason(reason), False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(other.get("key", self.key), hashes.SHA256()).public_bytes(Encoding.PEM)
