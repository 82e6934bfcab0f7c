"""Chains whose links have keys of different kinds: nothing of one follows from the other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.x509 import ocsp

from pkiconf.store.certificates import get_certificate
from tests.interop.made import issuer_id, loaded, question, revoke
from tests.judges.pkilint import pkilint_findings
from tests.keys import ML_DSA_ORACLES, AnyKey, ec_key, rsa_key
from tests.world import World, make_csr

ML_DSA_KEY = mldsa.MLDSA65PrivateKey.from_seed_bytes(bytes(32))
KEYS: dict[str, AnyKey] = {
    "rsa": rsa_key(),
    "ec": ec_key(),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ml-dsa": ML_DSA_KEY,
}
RSA, EC, ED, PQ = "{type: rsa, size: 2048}", "{type: ec}", "{type: ed25519}", "{type: ml-dsa, parameter_set: 44}"


@pytest.mark.row("F28")
@pytest.mark.row("F29")
@pytest.mark.parametrize(
    ("root", "sub", "service", "leaf"),
    [
        (EC, PQ, EC, "rsa"), (EC, PQ, PQ, "ml-dsa"), (PQ, EC, PQ, "ec"), (PQ, EC, EC, "ml-dsa"),
        (RSA, PQ, RSA, "ed25519"), (PQ, RSA, EC, "rsa"), (PQ, PQ, ED, "rsa"), (ED, EC, PQ, "ml-dsa"),
        (RSA, ED, EC, "ec"), (EC, RSA, ED, "ml-dsa"),
    ],
)  # fmt: skip
def test_every_link_verifies_by_its_own_issuers_key(
    sqlite_world: World, root: str, sub: str, service: str, leaf: str
) -> None:
    world = sqlite_world
    world.clock.moment = datetime.now(UTC).replace(microsecond=0)
    recap = world.apply(f"""
authorities:
  - {{ name: root, key: {root}, validity: 20y }}
  - {{ name: sub, issuer: root, key: {sub}, validity: 10y, service_certificates: {{ key: {service} }} }}
""")
    assert recap.exit_code == 0
    issued = world.issued("sub/web-server", make_csr(key=KEYS[leaf]))
    chain = [issued.der, issued.chain[0], world.services.lookup.export("root", "der")]
    for der, above in zip(chain, [*chain[1:], chain[-1]], strict=True):
        loaded(der).verify_directly_issued_by(loaded(above))
        _verify_elsewhere(der, above)
        assert pkilint_findings(der, "certificate") == []
    revoke(world, issued.id)
    answer = ocsp.load_der_ocsp_response(
        world.services.ocsp.answer("sub", question(chain[0], chain[1], hashes.SHA256()), world.clock.now()).der
    )
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    answer.certificates[0].verify_directly_issued_by(loaded(chain[1]))
    crl = x509.load_der_x509_crl(world.services.crls.current(issuer_id(world, "sub")).der)
    assert crl.is_signature_valid(loaded(chain[1]).public_key())  # type: ignore[arg-type]
    assert [entry.serial_number for entry in crl] == [issued.id.serial_number]
    assert world.parts.db.read(lambda c: get_certificate(c, issued.id)).status == "revoked"


@pytest.mark.parametrize(("leaf", "enciphers"), [("rsa", True), ("ec", False), ("ed25519", False), ("ml-dsa", False)])
@pytest.mark.parametrize("issuer", [EC, PQ])
def test_key_encipherment_follows_the_leafs_own_key(
    sqlite_world: World, issuer: str, leaf: str, enciphers: bool
) -> None:
    sqlite_world.authority("ca", key={"type": "ml-dsa"} if issuer == PQ else {"type": "ec"})
    sqlite_world.apply(f"authorities: [{{ name: ca, key: {issuer if issuer == EC else '{type: ml-dsa}'} }}]\n"
                       "templates: [{ name: web, authority: ca, starter: web-server }]")  # fmt: skip
    issued = sqlite_world.issued("ca/web", make_csr(key=KEYS[leaf]))
    usage = loaded(issued.der).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment is enciphers
    assert usage.digital_signature


@pytest.mark.row("F28")
@pytest.mark.parametrize("leaf", KEYS)
def test_a_requests_key_is_copied_byte_for_byte(sqlite_world: World, leaf: str) -> None:
    sqlite_world.apply("authorities: [{ name: ca, default_templates: [web-server] }]")
    csr = make_csr(key=KEYS[leaf])
    issued = sqlite_world.issued("ca/web-server", csr)
    asked = x509.load_pem_x509_csr(csr).public_key()
    assert loaded(issued.der).public_key() == asked


def _verify_elsewhere(der: bytes, above: bytes) -> None:
    """ML-DSA links once more, by an implementation that shares nothing with ours."""
    key = loaded(above).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return
    assert isinstance(key, mldsa.MLDSA44PublicKey)
    parsed = asn1_x509.Certificate.load(der)
    signature = parsed["signature_value"].native
    assert ML_DSA_ORACLES[44].verify(key.public_bytes_raw(), parsed["tbs_certificate"].dump(), signature)
