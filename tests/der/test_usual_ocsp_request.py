"""What is read by hand is what the full reader reads; and it reads what clients really send."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.ocsp import OCSPRequest, parse_ocsp_request
from pkiconf.der.usual_ocsp_request import read_usual
from pkiconf.errors import Malformed
from tests.vectors.construct import extension, tlv

SHA1 = bytes.fromhex("300906052b0e03021a0500")
SHA256 = bytes.fromhex("300b0609608648016503040201")
NONCE_OID = "1.3.6.1.5.5.7.48.1.2"


def request(algorithm: bytes = SHA1, size: int = 20, serial: bytes = b"\x05", nonce: bytes | None = None) -> bytes:
    cert_id = tlv(0x30, algorithm, tlv(0x04, b"n" * size), tlv(0x04, b"k" * size), tlv(0x02, serial))
    wrapped = b"" if nonce is None else tlv(0xA2, tlv(0x30, extension(NONCE_OID, nonce)))
    return tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, cert_id)), wrapped))


USUAL = [
    request(), request(serial=b"\x00"), request(serial=b"\x00\x80"), request(serial=b"\x7f" * 20),
    request(nonce=tlv(0x04, b"r" * 16)), request(nonce=tlv(0x04, b"r" * 32), serial=b"\x41" * 19), request(nonce=b"r"),
    request(SHA256, 32), request(SHA256, 32, b"\x41" * 20, tlv(0x04, b"r" * 32)),
]  # fmt: skip
OTHERS = [
    request(SHA256, 20), request(SHA1, 32), request(serial=b""), request(serial=b"\xff"), request(serial=b"\x00\x05"),
    request()[:-1], request() + b"\0", b"\x30\x81" + request()[1:], b"", b"\x30", b"\x30\x80" + request()[2:] + b"\0\0",
    request(nonce=b"r").replace(bytes.fromhex("2b0601050507300102"), bytes.fromhex("2b0601050507300103")),
    b"\x30\x82\x00" + request()[1:], b"\x31" + request()[1:],
]  # fmt: skip


def in_full(data: bytes) -> OCSPRequest | None:
    with patch("pkiconf.der.ocsp.read_usual", lambda _: None):
        try:
            return parse_ocsp_request(data)
        except Malformed:
            return None


@pytest.mark.parametrize("data", USUAL)
def test_what_clients_send_is_read_by_hand(data: bytes) -> None:
    assert read_usual(data) is not None
    assert parse_ocsp_request(data) == in_full(data) is not None


@pytest.mark.parametrize("data", OTHERS)
def test_what_is_otherwise_is_left_to_the_full_reader(data: bytes) -> None:
    assert read_usual(data) is None


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_a_strangers_library_writes_usual_requests(algorithm: hashes.HashAlgorithm) -> None:
    digest = b"h" * algorithm.digest_size
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(digest, digest, 1 << 150, algorithm)
    for made in (builder, builder.add_extension(x509.OCSPNonce(b"r" * 32), False)):
        assert read_usual(made.build().public_bytes(Encoding.DER)) is not None


@given(st.sampled_from(USUAL), st.data())
@settings(max_examples=1500)
def test_of_damaged_requests_nothing_else_is_read_than_in_full(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    damaged = der[:at] + data.draw(st.binary(max_size=3)) + der[at + data.draw(st.integers(0, 3)) :]
    if read_usual(damaged) is None:
        return
    found = in_full(damaged)
    try:
        assert parse_ocsp_request(damaged) == found
    except Malformed:  # a nonce that is too long
        assert found is None


@given(st.integers(0, 60), st.integers(0, 70))
def test_every_length_is_read_alike(serial: int, nonce: int) -> None:
    der = request(SHA256, 32, b"\x41" * serial, tlv(0x04, b"r" * nonce))
    try:
        found: OCSPRequest | None = parse_ocsp_request(der)
    except Malformed:
        found = None
    assert found == in_full(der)
