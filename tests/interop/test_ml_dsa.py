"""ML-DSA: signatures by FIPS 204 in other hands, and the forms of RFC 9881."""

from __future__ import annotations

import pytest
from asn1crypto import cms, core, crl, ocsp, x509
from cryptography.hazmat.primitives import hashes

from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.store import keys
from tests.interop.made import KINDS, Made
from tests.keys import ML_DSA_ORACLES

pytestmark = pytest.mark.parametrize(
    "pki", [kind for kind in KINDS if kind.is_ml_dsa], ids=lambda kind: kind.name, indirect=True
)
CERTIFICATES = ("root", "sub", "leaf", "revoked", "held", "responder")
PUBLIC_KEY_SIZES = {44: 1312, 65: 1952, 87: 2592}  # FIPS 204, table 2


def _set(pki: Made) -> int:
    return int(pki.kind.name.removeprefix("ml-dsa-"))


def _spki(der: bytes) -> core.Sequence:
    """Read as a plain sequence: asn1crypto knows no ML-DSA keys."""
    tbs = x509.Certificate.load(der)["tbs_certificate"].dump()
    return core.Sequence.load(core.Sequence.load(tbs)[6].dump())


def _public_key(der: bytes) -> bytes:
    key: bytes = _spki(der)[1].contents
    return key[1:]  # without the count of unused bits


def _check(pki: Made, issuer: bytes, message: bytes, signature: bytes) -> None:
    oracle = ML_DSA_ORACLES[_set(pki)]
    assert oracle.verify(_public_key(issuer), message, signature)
    assert not oracle.verify(_public_key(issuer), message + b"\0", signature)


@pytest.mark.row("F26")
@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_verify_with_another_implementation(pki: Made, name: str) -> None:
    certificate = x509.Certificate.load(getattr(pki, name))
    issuer = pki.root if name in ("root", "sub") else pki.sub
    _check(pki, issuer, certificate["tbs_certificate"].dump(), certificate["signature_value"].native)


def test_crls_verify_with_another_implementation(pki: Made) -> None:
    for der, issuer in ((pki.root_crl, pki.root), (pki.sub_crl, pki.sub)):
        found = crl.CertificateList.load(der)
        _check(pki, issuer, found["tbs_cert_list"].dump(), found["signature"].native)


def test_ocsp_answers_verify_with_another_implementation(pki: Made) -> None:
    answer = ocsp.OCSPResponse.load(pki.answer_about(pki.leaf, hashes.SHA256())).basic_ocsp_response
    _check(pki, pki.responder, answer["tbs_response_data"].dump(), answer["signature"].native)


@pytest.mark.row("F27")
@pytest.mark.parametrize("name", CERTIFICATES)
def test_algorithm_identifiers_are_those_of_rfc_9881(pki: Made, name: str) -> None:
    """§2: the parameters are absent, in the key as in the signature, and the key is the raw octets."""
    certificate = x509.Certificate.load(getattr(pki, name))
    wanted = SIGNATURE_ALGORITHMS[f"ML-DSA-{_set(pki)}"].oid
    tbs = certificate["tbs_certificate"]
    for identifier in (certificate["signature_algorithm"], tbs["signature"], _spki(getattr(pki, name))[0]):
        alone = core.Sequence.load(identifier.dump())
        assert alone[0].dotted == wanted
        assert len(alone) == 1, "parameters stand where they must be absent"
    assert len(_public_key(getattr(pki, name))) == PUBLIC_KEY_SIZES[_set(pki)]


def test_the_same_form_in_lists_and_answers(pki: Made) -> None:
    found = crl.CertificateList.load(pki.sub_crl)
    answer = ocsp.OCSPResponse.load(pki.answer_about(pki.leaf, hashes.SHA1())).basic_ocsp_response
    for identifier in (
        found["signature_algorithm"],
        found["tbs_cert_list"]["signature"],
        answer["signature_algorithm"],
    ):
        assert isinstance(identifier, cms.SignedDigestAlgorithm)
        assert len(core.Sequence.load(identifier.dump())) == 1


@pytest.mark.parametrize("name", CERTIFICATES)
def test_key_usages_are_those_that_signature_keys_can_have(pki: Made, name: str) -> None:
    """RFC 9881 §5: nothing that enciphers or agrees."""
    usages = x509.Certificate.load(getattr(pki, name)).key_usage_value.native
    assert usages
    assert not usages & {"key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"}
    assert usages == ({"key_cert_sign", "crl_sign"} if name in ("root", "sub") else {"digital_signature"})


def test_private_keys_are_kept_as_seeds(pki: Made) -> None:
    """RFC 9881 §6: `seed [0] OCTET STRING (SIZE (32))`, which every other form follows from."""
    for row in pki.world.parts.db.read(keys.list_keys):
        assert row.sealed is not None
        assert row.wrapping_key_id is not None
        plain = pki.world.parts.keyring.unseal(f"key:{row.spki_sha256.hex()}", row.sealed, row.wrapping_key_id)
        inner = core.Sequence.load(plain.reveal())[2].native
        assert inner[:2] == b"\x80\x20"
        assert len(inner) == 34
