from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87

from pkiconf.der import oids
from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.keys import key_bits
from pkiconf.der.tlv import encode_sequence
from pkiconf.der.verify import check_issued_by, verify_signature
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, Hash, Padding, SignatureAlgorithm

HASHES: dict[Hash, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    Hash.SHA256: hashes.SHA256(),
    Hash.SHA384: hashes.SHA384(),
    Hash.SHA512: hashes.SHA512(),
}
KEYS: dict[str, CertificateIssuerPrivateKeyTypes] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate(),
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate(),
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate(),
}
ROWS = list(SIGNATURE_ALGORITHMS.values())
MESSAGE = b"to be signed"


def key_name(row: SignatureAlgorithm) -> str:
    return f"ml-dsa-{row.key_bits}" if row.key_type.value == "ml-dsa" else row.key_type.value


def spki(name: str) -> bytes:
    return KEYS[name].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(row: SignatureAlgorithm, salt: int | None = None) -> bytes:
    key = KEYS[key_name(row)]
    if isinstance(key, rsa.RSAPrivateKey):
        assert row.hash is not None
        hash = HASHES[row.hash]
        pss = padding.PSS(padding.MGF1(hash), hash.digest_size if salt is None else salt)
        return key.sign(MESSAGE, pss if row.padding is Padding.PSS else padding.PKCS1v15(), hash)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert row.hash is not None
        return key.sign(MESSAGE, ec.ECDSA(HASHES[row.hash]))
    return key.sign(MESSAGE)  # type: ignore[call-arg]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_signature_holds_for_its_key_algorithm_and_message_only(row: SignatureAlgorithm) -> None:
    signature = sign(row)
    own = key_name(row)
    verify_signature(spki(own), row, MESSAGE, signature)
    for changed in (signature[:-1], b"", signature + b"\x00", bytes([signature[0] ^ 1]) + signature[1:]):
        with pytest.raises(Unverified):
            verify_signature(spki(own), row, MESSAGE, changed)
    with pytest.raises(Unverified):
        verify_signature(spki(own), row, MESSAGE + b".", signature)
    for other in KEYS.keys() - {own}:
        with pytest.raises(Unverified):
            verify_signature(spki(other), row, MESSAGE, signature)
    for another in ROWS:
        if another != row:
            with pytest.raises(Unverified):
                verify_signature(spki(own), another, MESSAGE, signature)


@pytest.mark.parametrize("salt", [0, 20, 222])
def test_a_pss_salt_may_have_any_length(salt: int) -> None:
    row = SIGNATURE_ALGORITHMS["rsassaPss-sha256"]
    verify_signature(spki("rsa"), row, MESSAGE, sign(row, salt))


def test_a_modulus_too_small_for_the_hash_is_unverified() -> None:
    numbers = encode_sequence([asn1.encode_der((1 << 1023) + 1), asn1.encode_der(65537)])
    algorithm = encode_sequence([oids.encode_oid(oids.RSA_ENCRYPTION), b"\x05\x00"])
    small = encode_sequence([algorithm, asn1.encode_der(asn1.BitString(numbers, 0))])
    with pytest.raises(Unverified):
        verify_signature(small, SIGNATURE_ALGORITHMS["rsassaPss-sha512"], MESSAGE, bytes(128))


def test_keys_that_cannot_be_read_are_named() -> None:
    row = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
    with pytest.raises((Malformed, UnsupportedAlgorithm)):
        verify_signature(b"\x30\x00", row, MESSAGE, b"")


def certificate(subject: str, issuer: str, key: str, signer: str) -> Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(subject),
        public_key=KEYS[key].public_key(),
        serial_number=5,
        not_valid_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2027, 1, 1, tzinfo=UTC),
    )
    hash = hashes.SHA256() if signer in ("rsa", "ec") else None
    return parse_certificate(builder.sign(KEYS[signer], hash).public_bytes(Encoding.DER))


def test_a_chain_is_checked_link_by_link() -> None:
    root = certificate("Root", "Root", "ec", "ec")
    middle = certificate("Middle", "Root", "ml-dsa-65", "ec")
    leaf = certificate("Leaf", "Middle", "ed25519", "ml-dsa-65")
    check_issued_by(root, root)
    check_issued_by(middle, root)
    check_issued_by(leaf, middle)


def test_another_issuer_a_look_alike_and_a_changed_certificate_are_unverified() -> None:
    root = certificate("Root", "Root", "ec", "ec")
    look_alike = certificate("Root", "Root", "rsa", "rsa")
    leaf = certificate("Leaf", "Root", "ed25519", "ec")
    for child, parent in ((leaf, look_alike), (leaf, leaf), (root, look_alike)):
        with pytest.raises(Unverified):
            check_issued_by(child, parent)
    with pytest.raises(Unverified, match="another issuer"):
        check_issued_by(dataclasses.replace(leaf, issuer=leaf.subject), root)
    with pytest.raises(Unverified):
        check_issued_by(dataclasses.replace(leaf, tbs=leaf.tbs + b"\x00"), root)


@pytest.mark.parametrize(("key", "independent"), [("44", ML_DSA_44), ("65", ML_DSA_65), ("87", ML_DSA_87)])
def test_an_independent_ml_dsa_agrees_about_a_certificate(key: str, independent: Any) -> None:
    """Over the raw TBSCertificate, with the raw key and the raw signature (RFC 9881)."""
    parsed = certificate("Root", "Root", f"ml-dsa-{key}", f"ml-dsa-{key}")
    check_issued_by(parsed, parsed)
    assert independent.verify(key_bits(parsed.spki), parsed.tbs, parsed.signature)
    assert not independent.verify(key_bits(parsed.spki), parsed.tbs + b".", parsed.signature)
