"""A small PKI for each key algorithm, with everything in it that strangers judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiconf.model.certificate import CertificateID
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.revocation import RevocationReason
from pkiconf.store.database import Database
from tests.keys import AnyKey, ec_key, key_for, rsa_key
from tests.world import OPERATOR, World, make_csr, make_world

BASE_URL = "http://pki.corp.example"
HOST = "web.corp.example"


@dataclass(frozen=True)
class Kind:
    """`key` is YAML for the authorities' keys, `service_key` for the OCSP responder's."""

    name: str
    key: str
    service_key: str
    padding: str = ""
    signature: str = ""
    """The leaf's own key: the name of a signature algorithm that it can do; RSA and P-256 by default."""

    @property
    def is_classic(self) -> bool:
        """RSA and EC: what every piece of software can do."""
        return self.name.startswith(("rsa", "p"))

    @property
    def is_ml_dsa(self) -> bool:
        return self.name.startswith("ml-dsa")

    @property
    def leaf_key(self) -> AnyKey:
        if self.signature:
            return key_for(SIGNATURE_ALGORITHMS[self.signature])
        return rsa_key() if self.name.startswith("rsa") else ec_key()


def _rsa(size: int, padding: str = "") -> Kind:
    key = f"{{type: rsa, size: {size}}}"
    # One service key is as good a witness as another, and large ones take seconds to make.
    return Kind(f"rsa-{size}{'-pss' if padding else ''}", key, "{type: rsa, size: 2048}", padding)


def _same(name: str, key: str, signature: str = "") -> Kind:
    return Kind(name, key, key, signature=signature)


KINDS = (
    _rsa(2048), _rsa(3072), _rsa(4096), _rsa(2048, "pss"), _rsa(3072, "pss"), _rsa(4096, "pss"),
    _same("p256", "{type: ec, curve: p256}"),
    _same("p384", "{type: ec, curve: p384}", "ecdsa-with-SHA384"),
    _same("p521", "{type: ec, curve: p521}", "ecdsa-with-SHA512"),
    _same("ed25519", "{type: ed25519}", "Ed25519"),
    _same("ed448", "{type: ed448}", "Ed448"),
    *(_same(f"ml-dsa-{n}", f"{{type: ml-dsa, parameter_set: {n}}}", f"ML-DSA-{n}") for n in (44, 65, 87)),
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """DER throughout, and beside it PEM files in `folder` under the same names."""

    kind: Kind
    world: World
    folder: Path
    root: bytes
    sub: bytes
    leaf: bytes
    revoked: bytes
    held: bytes
    root_crl: bytes
    sub_crl: bytes
    responder: bytes

    def pem(self, *names: str) -> Path:
        """One file with these certificates, in this order."""
        path = self.folder / f"{'-'.join(names)}.pem"
        if not path.exists():
            ders = (getattr(self, name) for name in names)
            path.write_bytes(b"".join(loaded(der).public_bytes(Encoding.PEM) for der in ders))
        return path

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def ask(self, request: bytes) -> bytes:
        return self.world.services.ocsp.answer("sub", request, self.world.clock.now()).der

    def answer_about(self, certificate: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        return self.ask(question(certificate, self.sub, algorithm))


def loaded(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def question(certificate: bytes, issuer: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(loaded(certificate), loaded(issuer), algorithm)
    return builder.build().public_bytes(Encoding.DER)


def make_pki(kind: Kind, database: Database, folder: Path) -> Made:
    """Root, subordinate, a good, a revoked and a held leaf. At the machine's own time, which strangers go by."""
    world = make_world(database, folder)
    world.clock.moment = datetime.now(UTC).replace(microsecond=0)
    padding = f", signature_padding: {kind.padding}" if kind.padding else ""
    recap = world.apply(f"""
settings: {{ base_url: {BASE_URL} }}
authorities:
  - {{ name: root, subject: {{ common_name: Root, organization: Example Corp, country: NL }}, validity: 20y,
      key: {kind.key}, service_certificates: {{ key: {kind.service_key} }}{padding} }}
  - {{ name: sub, issuer: root, subject: {{ common_name: Sub, organization: Example Corp, country: NL }},
      validity: 10y, key: {kind.key}, service_certificates: {{ key: {kind.service_key} }}{padding} }}
""")
    assert recap.exit_code == 0, recap
    csr = make_csr(HOST, (HOST,), kind.leaf_key)
    leaf, revoked, held = (world.issued("sub/web-server", csr) for _ in range(3))
    revoke(world, revoked.id)
    world.services.revocations.hold(held.id, OPERATOR)
    sub, root = (issuer_id(world, name) for name in ("sub", "root"))
    answer = ocsp.load_der_ocsp_response(
        world.services.ocsp.answer("sub", question(leaf.der, leaf.chain[0], hashes.SHA256()), world.clock.now()).der
    )
    return Made(
        kind, world, folder, world.services.lookup.export("root", "der"), leaf.chain[0], leaf.der, revoked.der,
        held.der, world.services.crls.current(root).der, world.services.crls.current(sub).der,
        answer.certificates[0].public_bytes(Encoding.DER),
    )  # fmt: skip


def revoke(world: World, certificate: CertificateID) -> None:
    invalid_since = world.clock.now() - timedelta(hours=1)
    world.services.revocations.revoke(certificate, RevocationReason.KEY_COMPROMISE, OPERATOR, invalid_since)


def issuer_id(world: World, name: str) -> int:
    found = world.services.lookup.get(name).row.current_issuer_id
    assert found is not None
    return found
