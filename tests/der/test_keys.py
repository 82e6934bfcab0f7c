from __future__ import annotations

import contextlib
import hashlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.keys import key_bits, key_identifier, load_public_key, parse_public_key
from pkiconf.der.tlv import encode_sequence
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.keys import KeyType


def spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


RSA_KEY = rsa.generate_private_key(65537, 2048).public_key()
P256 = ec.generate_private_key(ec.SECP256R1()).public_key()
KEYS: list[tuple[PublicKeyTypes, KeyType, int, str]] = [
    (RSA_KEY, KeyType.RSA, 2048, "rsa-2048"),
    (P256, KeyType.EC, 256, "ec-p256"),
    (ec.generate_private_key(ec.SECP384R1()).public_key(), KeyType.EC, 384, "ec-p384"),
    (ec.generate_private_key(ec.SECP521R1()).public_key(), KeyType.EC, 521, "ec-p521"),
    (ed25519.Ed25519PrivateKey.generate().public_key(), KeyType.ED25519, 256, "ed25519"),
    (ed448.Ed448PrivateKey.generate().public_key(), KeyType.ED448, 456, "ed448"),
    (mldsa.MLDSA44PrivateKey.generate().public_key(), KeyType.ML_DSA, 44, "ml-dsa-44"),
    (mldsa.MLDSA65PrivateKey.generate().public_key(), KeyType.ML_DSA, 65, "ml-dsa-65"),
    (mldsa.MLDSA87PrivateKey.generate().public_key(), KeyType.ML_DSA, 87, "ml-dsa-87"),
]
ALL = [spki(key) for key, _, _, _ in KEYS]


@pytest.mark.parametrize(("key", "kind", "bits", "text"), KEYS, ids=[text for _, _, _, text in KEYS])
def test_every_kind_of_key_is_known(key: PublicKeyTypes, kind: KeyType, bits: int, text: str) -> None:
    facts = parse_public_key(spki(key))
    assert (facts.type, facts.bits, str(facts)) == (kind, bits, text)
    assert load_public_key(spki(key)) == key


def test_numbers_of_an_rsa_key_are_given() -> None:
    facts = parse_public_key(spki(RSA_KEY))
    assert (facts.modulus, facts.exponent) == (RSA_KEY.public_numbers().n, 65537)


@pytest.mark.parametrize("key", [key for key, _, _, _ in KEYS], ids=[text for _, _, _, text in KEYS])
def test_the_key_identifier_is_the_one_others_compute(key: PublicKeyTypes) -> None:
    theirs = x509.SubjectKeyIdentifier.from_public_key(key)  # type: ignore[arg-type]
    assert key_identifier(spki(key)) == theirs.digest
    assert hashlib.sha1(key_bits(spki(key))).digest() == theirs.digest


def info(algorithm: bytes, bits: bytes, padding: int = 0) -> bytes:
    return encode_sequence([algorithm, asn1.encode_der(asn1.BitString(bits, padding))])


def algorithm(dotted: str, *parameters: bytes) -> bytes:
    return encode_sequence([asn1.encode_der(x509.ObjectIdentifier(dotted)), *parameters])


def rsa_key(modulus: int, exponent: int) -> bytes:
    return encode_sequence([asn1.encode_der(modulus), asn1.encode_der(exponent)])


NULL = b"\x05\x00"
RSA = algorithm("1.2.840.113549.1.1.1", NULL)
P256_OID = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.3.1.7"))
EC = algorithm("1.2.840.10045.2.1", P256_OID)
POINT = P256.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
COMPRESSED = P256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
MODULUS = RSA_KEY.public_numbers().n


MALFORMED = [
    b"",
    b"\x30\x00",
    ALL[0] + b"\x00",
    ALL[1][:-1],
    b"\x30\x80" + ALL[1][2:] + b"\x00\x00",
    info(RSA, b"\x80", padding=7),
    info(RSA, b""),
    info(RSA, rsa_key(-MODULUS, 65537)),
    info(RSA, rsa_key(MODULUS, -3)),
    info(RSA, rsa_key(0, 3)),
    info(RSA, rsa_key(MODULUS, 0)),
    info(RSA, rsa_key(MODULUS, MODULUS)),
    info(RSA, rsa_key(1 << 16384, 65537)),
    info(RSA, rsa_key(MODULUS, 65537) + b"\x00"),
    info(RSA, encode_sequence([asn1.encode_der(MODULUS)])),
    info(RSA, encode_sequence([b"\x02\x02\x00\x7f", asn1.encode_der(3)])),
    info(algorithm("1.2.840.113549.1.1.1"), rsa_key(MODULUS, 65537)),
    info(algorithm("1.2.840.113549.1.1.1", P256_OID), rsa_key(MODULUS, 65537)),
    info(algorithm("1.2.840.113549.1.1.1", NULL, NULL), rsa_key(MODULUS, 65537)),
    info(encode_sequence([NULL]), POINT),
    info(encode_sequence([]), POINT),
    info(EC, b""),
    info(EC, b"\x00"),
    info(EC, POINT[:-1]),
    info(EC, POINT + b"\x00"),
    info(EC, POINT[:-1] + bytes([POINT[-1] ^ 1])),
    info(EC, b"\x04" + bytes(64)),
    info(EC, b"\x06" + POINT[1:]),
    info(algorithm("1.3.101.112"), bytes(31)),
    info(algorithm("1.3.101.112"), bytes(33)),
    info(algorithm("1.3.101.112", NULL), bytes(32)),
    info(algorithm("1.3.101.113"), bytes(56)),
    info(algorithm("2.16.840.1.101.3.4.3.18"), bytes(1312)),
    info(algorithm("2.16.840.1.101.3.4.3.18", NULL), bytes(1952)),
    info(algorithm("2.16.840.1.101.3.4.3.17"), b"\x04\x82\x05\x20" + bytes(1312)),
]


@pytest.mark.parametrize("der", MALFORMED, ids=map(str, range(len(MALFORMED))))
def test_bytes_that_are_no_such_key_are_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_public_key(der)


NOT_OURS = [
    (spki(ec.generate_private_key(ec.SECP256K1()).public_key()), "1.3.132.0.10"),
    (spki(ec.generate_private_key(ec.BrainpoolP256R1()).public_key()), "1.3.36.3.3.2.8.1.1.7"),
    (spki(x25519.X25519PrivateKey.generate().public_key()), "1.3.101.110"),
    (spki(dsa.generate_private_key(2048).public_key()), "1.2.840.10040.4.1"),
    (info(EC, COMPRESSED), "compressed"),
    (info(algorithm("1.2.840.10045.2.1", encode_sequence([b"\x02\x01\x01"])), POINT), "not given by name"),
    (info(algorithm("1.2.840.10045.2.1"), POINT), "not given by name"),
    (info(algorithm("1.2.840.113549.1.1.10"), rsa_key(MODULUS, 65537)), "RSASSA-PSS"),
    (info(algorithm("1.3.6.1.4.1.2.267.7.4.4"), bytes(1312)), "before its standard"),
    (info(algorithm("2.16.840.1.101.3.4.3.32"), bytes(1312)), "HashML-DSA"),
    (info(algorithm("2.16.840.1.101.3.4.3.24"), bytes(64)), "SLH-DSA"),
    (info(algorithm("1.2.3"), b""), "1.2.3"),
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("der", "reason"), NOT_OURS, ids=[reason for _, reason in NOT_OURS])
def test_kinds_of_keys_that_are_not_ours_are_named(der: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedAlgorithm) as refusal:
        parse_public_key(der)
    assert reason in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_weak_keys_are_read_for_others_to_judge(exponent: int) -> None:
    facts = parse_public_key(info(RSA, rsa_key((1 << 511) + 1, exponent)))
    assert (facts.bits, facts.exponent) == (512, exponent)


def test_a_key_bound_to_pss_by_openssl_is_named() -> None:
    def openssl(*arguments: str, given: bytes = b"") -> bytes:
        return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout

    private = openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    public = openssl("pkey", "-pubout", "-outform", "DER", given=private)
    with pytest.raises(UnsupportedAlgorithm, match="RSASSA-PSS"):
        parse_public_key(public)


@given(st.binary(max_size=120), st.sampled_from([RSA, EC, algorithm("1.3.101.112"), algorithm("1.2.840.10045.2.1")]))
def test_any_octets_are_read_or_refused(data: bytes, kind: bytes) -> None:
    for der in (data, encode_sequence([data]), info(data, b""), info(kind, data), encode_sequence([kind, data])):
        for parse in (parse_public_key, key_identifier, key_bits, load_public_key):
            with contextlib.suppress(Malformed, UnsupportedAlgorithm):
                parse(der)


@given(st.sampled_from(ALL[:6]), st.data())
def test_a_changed_key_is_read_or_refused(der: bytes, data: st.DataObject) -> None:
    changed = bytearray(der)
    changed[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = der[: data.draw(st.integers(0, len(der) - 1))]
    with contextlib.suppress(Malformed, UnsupportedAlgorithm):
        parse_public_key(bytes(changed))
    with pytest.raises((Malformed, UnsupportedAlgorithm)):
        parse_public_key(cut)
