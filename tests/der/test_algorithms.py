from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.algorithms import encode_algorithm, parse_algorithm
from pkiconf.der.tlv import encode_sequence, encode_tlv, read_sequence
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, Hash, KeyType, Padding, SignatureAlgorithm

ROWS = list(SIGNATURE_ALGORITHMS.values())
HASHES: dict[Hash, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    Hash.SHA256: hashes.SHA256(),
    Hash.SHA384: hashes.SHA384(),
    Hash.SHA512: hashes.SHA512(),
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
ML_DSA: dict[int, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    44: mldsa.MLDSA44PrivateKey.generate,
    65: mldsa.MLDSA65PrivateKey.generate,
    87: mldsa.MLDSA87PrivateKey.generate,
}


def key_for(row: SignatureAlgorithm) -> CertificateIssuerPrivateKeyTypes:
    match row.key_type:
        case KeyType.RSA:
            return RSA_KEY
        case KeyType.EC:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.ED448:
            return ed448.Ed448PrivateKey.generate()
    return ML_DSA[row.key_bits or 0]()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_identifier_is_the_one_others_write(row: SignatureAlgorithm) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    hash = HASHES[row.hash] if row.hash else None
    pss = padding.PSS(padding.MGF1(hash), padding.PSS.DIGEST_LENGTH) if hash and row.padding is Padding.PSS else None
    request = builder.sign(key_for(row), hash, rsa_padding=pss)
    theirs = read_sequence(request.public_bytes(Encoding.DER), "a request")[1].der
    assert encode_algorithm(row) == theirs
    assert parse_algorithm(theirs) is row


def oid(dotted: str) -> bytes:
    return asn1.encode_der(x509.ObjectIdentifier(dotted))


def pss(hash: bytes, mgf_hash: bytes, salt: int) -> bytes:
    mgf = encode_sequence([oid("1.2.840.113549.1.1.8"), mgf_hash])
    fields = (hash, mgf, asn1.encode_der(salt))
    parameters = encode_sequence(encode_tlv(0xA0 | n, field) for n, field in enumerate(fields))
    return encode_sequence([oid("1.2.840.113549.1.1.10"), parameters])


SHA256_BARE = encode_sequence([oid("2.16.840.1.101.3.4.2.1")])
SHA256_NULL = encode_sequence([oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00"])
SHA384_NULL = encode_sequence([oid("2.16.840.1.101.3.4.2.2"), b"\x05\x00"])
SHA1_NULL = encode_sequence([oid("1.3.14.3.2.26"), b"\x05\x00"])


@pytest.mark.parametrize(
    "der",
    [
        pss(SHA256_BARE, SHA256_BARE, 32),
        pss(SHA256_BARE, SHA256_NULL, 32),
        pss(SHA256_NULL, SHA256_BARE, 32),
        pss(SHA256_NULL, SHA256_NULL, 222),
        pss(SHA256_NULL, SHA256_NULL, 0),
    ],
)
def test_forms_of_pss_that_others_write_are_read(der: bytes) -> None:
    assert parse_algorithm(der) is SIGNATURE_ALGORITHMS["rsassaPss-sha256"]


def test_rsa_with_absent_parameters_is_read() -> None:
    der = encode_sequence([oid("1.2.840.113549.1.1.11")])
    assert parse_algorithm(der) is SIGNATURE_ALGORITHMS["sha256WithRSAEncryption"]


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (encode_sequence([oid("1.2.840.113549.1.1.5"), b"\x05\x00"]), "SHA-1 with RSA"),
        (encode_sequence([oid("1.2.840.113549.1.1.4"), b"\x05\x00"]), "MD5"),
        (encode_sequence([oid("1.2.840.10045.4.1")]), "ECDSA with SHA-1"),
        (encode_sequence([oid("1.3.6.1.4.1.2.267.7.6.5")]), "before its standard"),
        (encode_sequence([oid("1.3.6.1.4.1.2.267.12.6.5")]), "before its standard"),
        (encode_sequence([oid("2.16.840.1.101.3.4.3.33")]), "HashML-DSA"),
        (encode_sequence([oid("2.16.840.1.101.3.4.3.20")]), "SLH-DSA"),
        (encode_sequence([oid("1.2.3.4")]), "1.2.3.4"),
        (pss(SHA1_NULL, SHA1_NULL, 20), "RSASSA-PSS"),
        (pss(SHA256_NULL, SHA384_NULL, 32), "RSASSA-PSS"),
        (encode_sequence([oid("1.2.840.113549.1.1.10"), encode_sequence([])]), "RSASSA-PSS"),
    ],
)
def test_what_we_do_not_do_is_named(der: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedAlgorithm) as refusal:
        parse_algorithm(der)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x00",
        b"\x05\x00",
        encode_sequence([b"\x05\x00"]),
        encode_sequence([oid("1.2.840.10045.4.3.2"), b"\x05\x00"]),
        encode_sequence([oid("1.3.101.112"), b"\x05\x00"]),
        encode_sequence([oid("2.16.840.1.101.3.4.3.18"), b"\x05\x00"]),
        encode_sequence([oid("1.2.840.113549.1.1.11"), b"\x02\x01\x05"]),
        encode_sequence([oid("1.2.840.113549.1.1.11"), b"\x05\x00", b"\x05\x00"]),
        encode_sequence([oid("1.2.840.113549.1.1.10")]),
        encode_sequence([oid("1.2.840.113549.1.1.10"), b"\x05\x00"]),
        pss(SHA256_NULL, SHA256_NULL, -1),
        pss(SHA256_NULL, SHA256_NULL, 5000),
        pss(SHA256_NULL, SHA256_NULL, 1 << 60000),
        encode_algorithm(ROWS[0]) + b"\x00",
        encode_algorithm(ROWS[0])[:-1],
    ],
)
def test_parameters_that_do_not_belong_there_are_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_algorithm(der)


@given(st.binary(max_size=80))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    with pytest.raises((Malformed, UnsupportedAlgorithm)):
        parse_algorithm(data)


@given(st.sampled_from(ROWS), st.data())
def test_a_changed_identifier_is_read_or_refused(row: SignatureAlgorithm, data: st.DataObject) -> None:
    der = bytearray(encode_algorithm(row))
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed, UnsupportedAlgorithm):
        parse_algorithm(bytes(der))
