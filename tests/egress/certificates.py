"""Certificates as tls-alpn-01 wants them, and as it does not; made by a stranger's library."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")

Made = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def digest_of(key_authorization: str) -> bytes:
    """The extension's value: an OCTET STRING of 32 octets."""
    return b"\x04\x20" + sha256(key_authorization.encode()).digest()


def name_of(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def self_signed(
    names: Sequence[str | x509.GeneralName],
    value: bytes | None = None,
    *,
    critical: bool = True,
    oid: x509.ObjectIdentifier = ACME_IDENTIFIER,
    signed_by: ec.EllipticCurvePrivateKey | None = None,
    issuer: str = "x",
) -> Made:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        listed = [name_of(name) if isinstance(name, str) else name for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    if value is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=critical)
    return builder.sign(signed_by or key, hashes.SHA256()), key


def from_an_authority(names: Sequence[str]) -> tuple[x509.Certificate, Made]:
    """An authority's certificate, and one for a server that it issued, strict enough for every verifier."""
    signer, key, now = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
        datetime.now(UTC),
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of a test")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = (
        begun(name, signer.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    server = begun(x509.Name([]), key.public_key()).add_extension(
        x509.SubjectAlternativeName([name_of(text) for text in names]), critical=True
    )
    return authority.sign(signer, hashes.SHA256()), (server.sign(signer, hashes.SHA256()), key)


def context_with(made: Made, *protocols: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server's context; `version` is the only one that it speaks."""
    certificate, key = made
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(Encoding.PEM))
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    return context
