"""Lists of every kind, whole, in parts and deltas, under every type of key: what others make of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.der.crl import parse_crl
from pkiconf.model.revocation import RevocationReason
from pkiconf.store.crls import FULL, Part
from tests.judges.pkilint import pkilint_findings
from tests.keys import ML_DSA_ORACLES
from tests.revocation.pki import PKI, serial_of
from tests.tools import accepted, openssl_knows_ml_dsa, run_tool
from tests.world import OPERATOR, World

KEYS = {
    "RSA": "type: rsa, size: 2048",
    "P-384": "type: ec, curve: p384",
    "Ed25519": "type: ed25519",
    "ML-DSA": "type: ml-dsa, parameter_set: 65",
}
_ML_DSA_SET = 65


def declared(key: str) -> str:
    return f"""
settings: {{base_url: "http://pki.corp.example"}}
authorities:
  - {{name: issuing, validity: 10y, key: {{{key}}}, crl: {{partitions: 1, delta: 6h}}}}
"""


def _der(pki: PKI, part: Part) -> bytes:
    return pki.world.services.crls.current(pki.issuer_id(), part).der


def _is_extended(crl: x509.CertificateRevocationList, oid: x509.ObjectIdentifier) -> bool:
    return any(extension.oid == oid and extension.critical for extension in crl.extensions)


@pytest.mark.row("F136")
@pytest.mark.parametrize("name", KEYS)
def test_strangers_take_every_kind_of_list_under_every_type_of_key(
    sqlite_world: World, name: str, tmp_path: Path
) -> None:
    assert sqlite_world.apply(declared(KEYS[name])).exit_code == 0
    sqlite_world.pass_time(timedelta(hours=1))
    pki = PKI(sqlite_world)
    issued, held = pki.issue(), pki.issue(name="held.corp.example")
    revocations = sqlite_world.services.revocations
    revocations.hold(held.id, OPERATOR)
    for shard in (FULL, 1):
        _der(pki, Part(shard))  # the held one stands on it, so that deltas take it off
    revocations.release(held.id, OPERATOR)
    revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    ca = pki.issuer()
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    for part in (Part(FULL), Part(1), Part(FULL, delta=True), Part(1, delta=True)):
        if not part.delta:
            sqlite_world.services.crls.make(pki.issuer_id(), part)
        der = _der(pki, part)
        crl = x509.load_der_x509_crl(der)
        assert crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        assert crl.get_revoked_certificate_by_serial_number(serial_of(issued)) is not None
        assert pkilint_findings(der, "crl") == []
        assert _is_extended(crl, x509.DeltaCRLIndicator.oid) is part.delta
        assert _is_extended(crl, x509.IssuingDistributionPoint.oid) is (part.shard == 1)
        (tmp_path / "a.crl").write_bytes(der)
        if name == "ML-DSA":
            read = parse_crl(der)
            public = ca.public_key().public_bytes_raw()  # type: ignore[union-attr]
            assert ML_DSA_ORACLES[_ML_DSA_SET].verify(public, read.tbs, read.signature)
            if not openssl_knows_ml_dsa():
                continue
        said = accepted(
            run_tool("openssl", "crl", "-inform", "DER", "-in", tmp_path / "a.crl", "-CAfile", tmp_path / "ca.pem",
                     "-noout", "-text")
        )  # fmt: skip
        assert "verify OK" in said
        assert ("Delta CRL Indicator" in said) is part.delta


@pytest.mark.parametrize("name", KEYS)
def test_a_list_under_every_type_of_key_is_refused_when_an_octet_changes(sqlite_world: World, name: str) -> None:
    assert sqlite_world.apply(declared(KEYS[name])).exit_code == 0
    pki = PKI(sqlite_world)
    pki.issue()
    for part in (Part(FULL), Part(1), Part(FULL, delta=True), Part(1, delta=True)):
        der = bytearray(_der(pki, part))
        der[-1] ^= 1
        changed = x509.load_der_x509_crl(bytes(der))
        assert not changed.is_signature_valid(pki.issuer().public_key())  # type: ignore[arg-type]
