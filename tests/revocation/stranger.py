"""A certification authority and its OCSP responder made by a stranger's library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiconf.der.certificate import Certificate, parse_certificate

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Party:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def parsed(self) -> Certificate:
        return parse_certificate(self.certificate.public_bytes(Encoding.DER))


def make_party(
    name: str,
    issuer: Party | None = None,
    *,
    ca: bool = True,
    usages: Sequence[x509.ObjectIdentifier] = (),
    crl_sign: bool = True,
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + DAY,
    serial: int | None = None,
) -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(_key_usage(ca, crl_sign), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Party(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _key_usage(ca: bool, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca and crl_sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make_answer(
    leaf: Party,
    issuer: Party,
    responder: Party,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: datetime = NOW - HOUR,
    next_update: datetime | None = NOW + HOUR,
    hash_algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
    by: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.HASH,
    include: Sequence[Party] = (),
    reason: x509.ReasonFlags | None = None,
) -> bytes:
    """A response about `leaf` signed by `responder`, DER."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=leaf.certificate, issuer=issuer.certificate, algorithm=hash_algorithm or hashes.SHA1(),
            cert_status=status, this_update=this_update, next_update=next_update,
            revocation_time=NOW - DAY if revoked else None, revocation_reason=reason if revoked else None,
        )
        .responder_id(by, responder.certificate)
    )  # fmt: skip
    if include:
        builder = builder.certificates([party.certificate for party in include])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_crl(
    issuer: Party,
    *,
    this_update: datetime = NOW - HOUR,
    next_update: datetime = NOW + HOUR,
    signer: Party | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    return builder.sign((signer or issuer).key, hashes.SHA256()).public_bytes(Encoding.DER)
