"""A judge that never objects is none: what `cryptography` builds well passes, what it builds ill does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from tests.judges.pkilint import Kind, pkilint_findings
from tests.keys import ec_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = ec_key("secp256r1")
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp Root CA")])
SKI = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
USAGE = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
AKI = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(SKI)


def certificate(*, name: str = "*.corp.example", critical: bool = True) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(0x40 << 120)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(True, None), critical=critical)
        .add_extension(USAGE, critical=True)
        .add_extension(SKI, critical=False)
        .add_extension(AKI, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(KEY, hashes.SHA256())


def crl(*, critical: bool = False) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=7))
        .add_extension(x509.CRLNumber(1), critical=critical)
        .add_extension(AKI, critical=False)
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def response(*, days: int = 1) -> bytes:
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate(),
        issuer=certificate(),
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=NOW,
        next_update=NOW + timedelta(days=days),
        revocation_time=None,
        revocation_reason=None,
    )
    return (
        builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate())
        .sign(KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def test_a_sound_certificate_is_accepted() -> None:
    assert pkilint_findings(certificate().public_bytes(Encoding.DER), "certificate") == []


def test_a_certificate_that_breaks_a_rule_is_not() -> None:
    findings = pkilint_findings(certificate(critical=False).public_bytes(Encoding.DER), "certificate")
    assert any("basic_constraints" in finding for finding in findings), findings


@pytest.mark.parametrize("name", ["-web.corp.example", "web.corp.example.", "a..b"])
def test_a_bad_name_is_not_taken_for_a_wildcard(name: str) -> None:
    findings = pkilint_findings(certificate(name=name).public_bytes(Encoding.DER), "certificate")
    assert findings
    assert "domain_name" in findings[0]


def test_a_sound_crl_is_accepted() -> None:
    assert pkilint_findings(crl(), "crl") == []


def test_a_crl_that_breaks_a_rule_is_not() -> None:
    assert pkilint_findings(crl(critical=True), "crl") != []


def test_a_sound_ocsp_response_is_accepted() -> None:
    assert pkilint_findings(response(), "ocsp") == []


def test_an_ocsp_response_that_breaks_a_rule_is_not() -> None:
    assert pkilint_findings(response(days=-1), "ocsp") != []


@pytest.mark.parametrize("kind", ["certificate", "crl", "ocsp"])
@pytest.mark.parametrize(
    "der", [b"", b"garbage", b"\x30\x03\x02\x01\x05", certificate().public_bytes(Encoding.DER)[:-1]]
)
def test_what_it_cannot_read_is_a_finding(kind: Kind, der: bytes) -> None:
    assert pkilint_findings(der, kind) != []


def test_lesser_findings_are_told_on_demand() -> None:
    der = certificate(critical=True).public_bytes(Encoding.DER)
    assert len(pkilint_findings(der, "certificate", "INFO")) >= len(pkilint_findings(der, "certificate"))
