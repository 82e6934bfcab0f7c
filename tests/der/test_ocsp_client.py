"""Requests that strangers read, and strangers' responses taken apart."""

from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.ocsp import Good, ResponseStatus, Revoked, Unknown, error_response, parse_ocsp_request
from pkiconf.der.ocsp_client import (
    OCSPResponse,
    encode_cert_id,
    encode_ocsp_request,
    parse_ocsp_response,
    same_certificate,
)
from pkiconf.errors import Malformed, PkiconfError, UnsupportedAlgorithm
from pkiconf.model.revocation import RevocationReason
from tests.revocation.stranger import DAY, HOUR, NOW, make_answer, make_party

ROOT = make_party("Root")
LEAF = make_party("leaf", ROOT, ca=False, serial=0x80FF00)
RESPONDER = make_party("Responder", ROOT, ca=False, usages=[x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING])
ANSWER = make_answer(LEAF, ROOT, RESPONDER, include=[RESPONDER], nonce=b"n" * 16)


@pytest.mark.parametrize(("name", "algorithm"), [("sha1", hashes.SHA1()), ("sha256", hashes.SHA256())])
@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0x80FF00, (1 << 159) - 1])
def test_a_request_is_what_a_stranger_would_send(name: str, algorithm: hashes.HashAlgorithm, serial: int) -> None:
    leaf = make_party("leaf", ROOT, ca=False, serial=serial)
    theirs = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, ROOT.certificate, algorithm)
    ours = encode_ocsp_request(encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, serial, name))
    assert ours == theirs.build().public_bytes(Encoding.DER)


def test_a_nonce_is_where_strangers_and_our_own_responder_look() -> None:
    ours = encode_ocsp_request(encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, 5), b"n" * 32)
    read = ocsp.load_der_ocsp_request(ours)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
    assert read.serial_number == 5
    assert parse_ocsp_request(ours).nonce == b"\x04\x20" + b"n" * 32


def test_hashes_that_nobody_uses() -> None:
    with pytest.raises(UnsupportedAlgorithm, match="md5"):
        encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, 5, "md5")


def test_a_response_by_key_hash() -> None:
    read = parse_ocsp_response(ANSWER)
    theirs = ocsp.load_der_ocsp_response(ANSWER)
    assert isinstance(read, OCSPResponse)
    assert read.tbs == theirs.tbs_response_bytes
    assert read.signature == theirs.signature
    assert read.responder_key_hash == theirs.responder_key_hash
    assert read.responder_name is None
    assert read.certificates == (RESPONDER.certificate.public_bytes(Encoding.DER),)
    assert read.nonce == b"\x04\x10" + b"n" * 16
    assert read.produced_at == theirs.produced_at_utc
    (single,) = read.answers
    assert single.status == Good()
    assert (single.this_update, single.next_update) == (NOW - HOUR, NOW + HOUR)


def test_a_response_by_name_without_end() -> None:
    data = make_answer(LEAF, ROOT, ROOT, by=ocsp.OCSPResponderEncoding.NAME, next_update=None)
    read = parse_ocsp_response(data)
    assert isinstance(read, OCSPResponse)
    assert read.responder_name == ROOT.parsed.subject
    assert read.responder_key_hash is None
    assert read.certificates == ()
    assert read.nonce is None
    assert read.answers[0].next_update is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, RevocationReason.UNSPECIFIED),
        (x509.ReasonFlags.key_compromise, RevocationReason.KEY_COMPROMISE),
        (x509.ReasonFlags.certificate_hold, RevocationReason.CERTIFICATE_HOLD),
    ],
)
def test_revoked(reason: x509.ReasonFlags | None, expected: RevocationReason) -> None:
    data = make_answer(LEAF, ROOT, ROOT, status=ocsp.OCSPCertStatus.REVOKED, reason=reason)
    read = parse_ocsp_response(data)
    assert isinstance(read, OCSPResponse)
    assert read.answers[0].status == Revoked(NOW - DAY, expected)


def test_unknown() -> None:
    read = parse_ocsp_response(make_answer(LEAF, ROOT, ROOT, status=ocsp.OCSPCertStatus.UNKNOWN))
    assert isinstance(read, OCSPResponse)
    assert read.answers[0].status == Unknown()


@pytest.mark.parametrize("status", [status for status in ResponseStatus if status is not ResponseStatus.SUCCESSFUL])
def test_no_answer(status: ResponseStatus) -> None:
    assert parse_ocsp_response(error_response(status)) is status


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x00",
        b"\x30\x03\x0a\x01\x00",  # successful, and nothing else
        b"\x30\x03\x0a\x01\x04",  # a status that does not exist
        b"\x30\x03\x02\x01\x01",
        b"<html>",
        ANSWER + b"\0",
        ANSWER[:-1],
        b"\x30\x80" + ANSWER[4:] + b"\0\0",
    ],
)
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_ocsp_response(data)


def test_a_critical_extension_that_is_not_understood() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(LEAF.certificate, ROOT.certificate, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW, None, None)
        .responder_id(ocsp.OCSPResponderEncoding.HASH, ROOT.certificate)
    )
    tolerated = builder.add_extension(unknown, critical=False).sign(ROOT.key, hashes.SHA256())
    assert isinstance(parse_ocsp_response(tolerated.public_bytes(Encoding.DER)), OCSPResponse)
    refused = builder.add_extension(unknown, critical=True).sign(ROOT.key, hashes.SHA256())
    with pytest.raises(Malformed, match=r"1\.2\.3\.4"):
        parse_ocsp_response(refused.public_bytes(Encoding.DER))


def test_cert_ids_compare_by_what_they_mean() -> None:
    """OpenSSL leaves the NULL of the hash's parameters out in some versions."""
    ours = encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, 5)
    bare = ours.replace(b"\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00", b"\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a")
    bare = b"\x30" + bytes((bare[1] - 2,)) + bare[2:]
    assert same_certificate(ours, bare)
    for other in (
        encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, 6),
        encode_cert_id(LEAF.parsed.subject, ROOT.parsed.spki, 5),
        encode_cert_id(ROOT.parsed.subject, LEAF.parsed.spki, 5),
        encode_cert_id(ROOT.parsed.subject, ROOT.parsed.spki, 5, "sha256"),
    ):
        assert not same_certificate(ours, other)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(ANSWER) - 1), value=st.integers(0, 255))
def test_an_altered_octet_never_crashes(at: int, value: int) -> None:
    data = ANSWER[:at] + bytes((value,)) + ANSWER[at + 1 :]
    with contextlib.suppress(PkiconfError):
        parse_ocsp_response(data)
