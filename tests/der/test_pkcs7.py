from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs7 import MAX_BAG_SIZE, encode_certs_only, parse_certs_only
from pkiconf.errors import Malformed, PkiconfError
from tests.keys import ec_key
from tests.tools import accepted, run_tool
from tests.vectors.construct import oid, tlv


def certificate(name: str) -> bytes:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = ec_key()
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, start, start + timedelta(days=36500))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


CHAIN = [certificate(name) for name in ("leaf.example", "Issuing CA", "Root CA")]
BAG = encode_certs_only(CHAIN)


def bag(
    certificates: bytes,
    content_type: str = "1.2.840.113549.1.7.2",
    signed_data: bytes | None = None,
    after: bytes = b"",
) -> bytes:
    inner = signed_data or tlv(
        0x30, b"\x02\x01\x01\x31\x00", tlv(0x30, oid("1.2.840.113549.1.7.1")), tlv(0xA0, certificates), b"\x31\x00"
    )
    return tlv(0x30, oid(content_type), tlv(0xA0, inner), after)


def test_cryptography_finds_the_certificates() -> None:
    found = pkcs7.load_der_pkcs7_certificates(BAG)
    assert {each.public_bytes(Encoding.DER) for each in found} == set(CHAIN)


def test_bytes_are_those_of_cryptography() -> None:
    theirs = pkcs7.serialize_certificates([x509.load_der_x509_certificate(each) for each in CHAIN], Encoding.DER)
    assert theirs == BAG


def test_openssl_and_gnutls_find_the_certificates(tmp_path: Path) -> None:
    file = tmp_path / "chain.p7c"
    file.write_bytes(BAG)
    text = accepted(run_tool("openssl", "pkcs7", "-inform", "DER", "-in", file, "-print_certs", "-noout"))
    assert text.count("subject=") == 3
    assert "Number of certificates: 3" in accepted(run_tool("certtool", "--p7-info", "--inder", "--infile", file))


def test_a_certificate_given_twice_lies_there_once() -> None:
    assert encode_certs_only([*CHAIN, CHAIN[0]]) == BAG


def test_an_empty_bag_is_read() -> None:
    assert parse_certs_only(encode_certs_only([])) == []


@pytest.mark.parametrize("label", ["PKCS7", "CMS", None])
def test_what_is_encoded_is_read_again(label: str | None) -> None:
    data = pem_encode(label, BAG).encode() if label else BAG
    assert sorted(parse_certs_only(data)) == sorted(CHAIN)


def test_bags_of_openssl_are_read_in_their_order(tmp_path: Path) -> None:
    files = []
    for number, der in enumerate(CHAIN):
        files.append(tmp_path / f"{number}.pem")
        files[-1].write_text(pem_encode("CERTIFICATE", der))
    arguments = [part for file in files for part in ("-certfile", file)]
    made = run_tool("openssl", "crl2pkcs7", "-nocrl", *arguments)
    assert parse_certs_only(made.stdout) == CHAIN


def test_indefinite_lengths_are_read() -> None:
    certificates = b"\xa0\x80" + b"".join(CHAIN) + b"\0\0"
    inner = b"\x02\x01\x01\x31\x00" + tlv(0x30, oid("1.2.840.113549.1.7.1")) + certificates + b"\x31\x00"
    data = b"\x30\x80" + oid("1.2.840.113549.1.7.2") + b"\xa0\x80\x30\x80" + inner + b"\0\0" * 3
    assert parse_certs_only(data) == CHAIN


def test_a_bag_without_certificates_field_is_empty() -> None:
    inner = tlv(0x30, b"\x02\x01\x01\x31\x00", tlv(0x30, oid("1.2.840.113549.1.7.1")), b"\x31\x00")
    assert parse_certs_only(bag(b"", signed_data=inner)) == []


BROKEN = {
    "empty": b"",
    "text": b"no bag",
    "a certificate": CHAIN[0],
    "a PEM certificate": pem_encode("CERTIFICATE", CHAIN[0]).encode(),
    "plain data": tlv(0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x04, b"hello"))),
    "enveloped data": bag(b"", content_type="1.2.840.113549.1.7.3"),
    "unknown content": bag(b"", content_type="1.2.3.4"),
    "attribute certificate": bag(tlv(0xA2, b"\x02\x01\x01")),
    "other format": bag(tlv(0xA3, oid("1.2.3"), b"\x05\x00")),
    "a number among certificates": bag(CHAIN[0] + b"\x02\x01\x01"),
    "truncated": BAG[:-10],
    "trailing data": BAG + b"\0",
    "no content": tlv(0x30, oid("1.2.840.113549.1.7.2")),
    "too long": bag(tlv(0x30, tlv(0x04, bytes(MAX_BAG_SIZE)))),
    "deeply nested": b"\x30\x80" * 5000,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_bags_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_certs_only(data)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    with contextlib.suppress(PkiconfError):
        parse_certs_only(data)
    with contextlib.suppress(PkiconfError):
        parse_certs_only(b"\x30" + data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_raises_only_our_errors(data: st.DataObject) -> None:
    small = bag(tlv(0x30, tlv(0x30, b"\x02\x01\x01"), tlv(0x30), b"\x03\x01\x00"))
    at = data.draw(st.integers(0, len(small) - 1))
    with contextlib.suppress(PkiconfError):
        parse_certs_only(small[:at] + data.draw(st.binary(max_size=3)) + small[at + data.draw(st.integers(0, 3)) :])
