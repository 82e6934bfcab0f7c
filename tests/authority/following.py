"""What relying parties ask about certificates of a world, read by a stranger's library."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.store import authorities
from tests.world import OPERATOR, World

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def loaded(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def current(world: World, name: str) -> x509.Certificate:
    return loaded(world.services.lookup.export(name, "der"))


def issuers(world: World, name: str) -> list[authorities.IssuerRow]:
    return list(world.services.lookup.get(name).issuers)


def answer(world: World, slug: str, leaf: x509.Certificate, issuer: x509.Certificate) -> ocsp.OCSPResponse:
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    return ocsp.load_der_ocsp_response(
        world.services.ocsp.answer(slug, request.public_bytes(Encoding.DER), world.clock.now()).der
    )


def crl(world: World, issuer_id: int) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(world.services.crls.current(issuer_id).der)


def revoke(world: World, certificate: CertificateID) -> None:
    world.services.revocations.revoke(certificate, RevocationReason.SUPERSEDED, OPERATOR)


def ski(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def aki(certificate: x509.Certificate) -> bytes | None:
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def length(certificate: x509.Certificate) -> timedelta:
    """Both ends count (RFC 5280 §4.1.2.5)."""
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc + timedelta(seconds=1)
