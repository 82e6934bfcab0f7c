from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkiconf.der import oids, signed_data
from pkiconf.der.pem import pem_encode
from pkiconf.der.signed_data import SignerIdentity
from pkiconf.der.tlv import check_der
from pkiconf.errors import Malformed
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType, Padding, SignatureAlgorithm
from tests.keys import HASHES, key_for, sign
from tests.tools import accepted, run_tool

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CONTENT = b"what is signed \x00\xff"
ML_DSA = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
ALGORITHMS = list(SIGNATURE_ALGORITHMS.values())


@cache
def certificate(algorithm: SignatureAlgorithm) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Signer")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    key = key_for(algorithm)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 2**150 + 1, start, start + timedelta(days=36500))
    digest = HASHES.get(algorithm.hash)
    return builder.sign(key, digest).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def message(algorithm: SignatureAlgorithm, oid: str = oids.PKCS7_DATA, *, embedded: bool = True) -> bytes:
    own = certificate(algorithm)
    identity = SignerIdentity.of(own, algorithm)
    attributes = signed_data.encode_signed_attributes(
        (
            signed_data.message_digest(identity.digest.digest(CONTENT)),
            signed_data.signing_time(NOW),
            signed_data.content_type(oid),
        )
    )
    info = signed_data.encode_signer_info(identity, attributes, sign(algorithm, attributes))
    return signed_data.assemble_signed_data(
        oid, CONTENT if embedded else None, [(identity, info)], signed_data.encode_certificates([own])
    )


@pytest.mark.parametrize(
    "algorithm", [row for row in ALGORITHMS if row.key_type in (KeyType.RSA, KeyType.EC)], ids=lambda row: row.name
)
def test_openssl_verifies_it(algorithm: SignatureAlgorithm, tmp_path: Path) -> None:
    file, own = tmp_path / "message.der", tmp_path / "signer.pem"
    file.write_bytes(message(algorithm))
    own.write_text(pem_encode("CERTIFICATE", certificate(algorithm)))
    words = ("openssl", "cms", "-verify", "-inform", "DER", "-in", file, "-CAfile", own, "-purpose", "any")
    result = run_tool(*words, "-no_check_time", "-binary")
    accepted(result)
    assert result.stdout == CONTENT


@pytest.mark.parametrize(
    "algorithm", [row for row in ALGORITHMS if row.key_type not in (KeyType.RSA, KeyType.EC)], ids=lambda row: row.name
)
def test_the_signature_is_over_the_attributes_as_a_set(algorithm: SignatureAlgorithm) -> None:
    """Debian's openssl knows no EdDSA in CMS and no ML-DSA: asn1crypto takes it apart, the engine verifies."""
    (info,) = cms.ContentInfo.load(message(algorithm), strict=True)["content"]["signer_infos"]
    over = info["signed_attrs"].untag().dump()
    key = key_for(algorithm).public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | ML_DSA)
    key.verify(info["signature"].native, over)
    digests = {attribute["type"].native: attribute["values"][0].native for attribute in info["signed_attrs"]}
    shake = algorithm.key_type is KeyType.ED448
    expected = hashlib.shake_256(CONTENT).digest(64) if shake else hashlib.sha512(CONTENT).digest()
    assert digests["message_digest"] == expected
    oid = "2.16.840.1.101.3.4.2.18" if shake else "2.16.840.1.101.3.4.2.3"
    assert info["digest_algorithm"]["algorithm"].dotted == oid


def test_the_message_is_der_and_another_reader_finds_every_field() -> None:
    algorithm = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
    der = message(algorithm)
    check_der(der, "a message")
    read = cms.ContentInfo.load(der, strict=True)["content"]
    assert read["version"].native == "v1"
    assert read["encap_content_info"]["content"].native == CONTENT
    (info,) = read["signer_infos"]
    assert info["sid"].chosen["serial_number"].native == 2**150 + 1
    found = {attribute["type"].native: attribute["values"][0].native for attribute in info["signed_attrs"]}
    assert found == {
        "content_type": "data",
        "message_digest": hashlib.sha256(CONTENT).digest(),
        "signing_time": NOW,
    }
    assert "parameters" not in info["digest_algorithm"] or info["digest_algorithm"]["parameters"].native is None


@pytest.mark.parametrize(("oid", "version"), [(oids.PKCS7_DATA, "v1"), ("1.2.840.113549.1.9.16.1.4", "v3")])
def test_the_version_follows_from_the_content(oid: str, version: str) -> None:
    der = message(SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"], oid)
    assert cms.ContentInfo.load(der, strict=True)["content"]["version"].native == version


def test_the_content_may_lie_elsewhere(tmp_path: Path) -> None:
    algorithm = SIGNATURE_ALGORITHMS["sha256WithRSAEncryption"]
    for name, data in (("m.der", message(algorithm, embedded=False)), ("content", CONTENT), ("other", b"other")):
        (tmp_path / name).write_bytes(data)
    own = tmp_path / "signer.pem"
    own.write_text(pem_encode("CERTIFICATE", certificate(algorithm)))
    words = (
        *("openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "m.der", "-CAfile", own, "-binary"),
        *("-purpose", "any", "-no_check_time", "-content"),
    )
    accepted(run_tool(*words, tmp_path / "content"))
    assert run_tool(*words, tmp_path / "other").returncode != 0


def test_signed_attributes_are_ordered_whatever_order_they_come_in() -> None:
    attributes = [signed_data.content_type(oids.PKCS7_DATA), signed_data.message_digest(bytes(32))]
    forth = signed_data.encode_signed_attributes(attributes)
    assert forth == signed_data.encode_signed_attributes(reversed(attributes))
    assert forth[0] == 0x31


def test_unsigned_attributes_and_crls_have_their_places() -> None:
    algorithm = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
    identity = SignerIdentity.of(certificate(algorithm), algorithm)
    attributes = signed_data.encode_signed_attributes([signed_data.message_digest(bytes(32))])
    unsigned = signed_data.encode_attribute(oids.UNSTRUCTURED_NAME, b"\x0c\x01x")
    info = signed_data.encode_signer_info(identity, attributes, bytes(64), [unsigned])
    crl = run_crl(algorithm)
    der = signed_data.assemble_signed_data(
        oids.PKCS7_DATA, CONTENT, [(identity, info)], crls=signed_data.encode_crls([crl, crl])
    )
    read = cms.ContentInfo.load(der, strict=True)["content"]
    assert [one.chosen.dump() for one in read["crls"]] == [crl]
    assert [one.dump() for one in read["signer_infos"][0]["unsigned_attrs"]] == [unsigned]


def run_crl(algorithm: SignatureAlgorithm) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Signer")])
    builder = x509.CertificateRevocationListBuilder(name, NOW, NOW + timedelta(days=1))
    key = key_for(algorithm)
    digest = HASHES.get(algorithm.hash)
    return builder.sign(key, digest).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def test_nobody_signs_a_bag_of_certificates() -> None:
    bag = [certificate(SIGNATURE_ALGORITHMS[name]) for name in ("Ed25519", "ecdsa-with-SHA256")]
    der = signed_data.assemble_signed_data(
        oids.PKCS7_DATA, None, certificates=signed_data.encode_certificates([*bag, *bag])
    )
    read = cms.ContentInfo.load(der, strict=True)["content"]
    assert [one.chosen.dump() for one in read["certificates"]] == sorted(bag)
    assert not list(read["signer_infos"])
    assert not list(read["digest_algorithms"])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda row: row.name)
def test_rsa_is_named_by_its_key_and_the_others_by_themselves(algorithm: SignatureAlgorithm) -> None:
    oid = oids.RSA_ENCRYPTION if algorithm.padding is Padding.PKCS1V15 else algorithm.oid
    assert oids.encode_oid(oid) in signed_data.encode_cms_algorithm(algorithm)


def test_what_is_no_certificate_names_no_signer() -> None:
    with pytest.raises(Malformed):
        SignerIdentity.of(b"\x30\x00", SIGNATURE_ALGORITHMS["Ed25519"])
