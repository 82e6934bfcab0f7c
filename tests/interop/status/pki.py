"""A PKI that is really running, with certificates for web servers that staple what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiconf.bootstrap import open_services
from pkiconf.der.pem import pem_encode
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from tests.ports import free_port
from tests.serving.running import Installation, Server, apply_here, eventually
from tests.world import OPERATOR, make_csr

HOST = "web.corp.example"
KEYS = {
    "rsa": "type: rsa, size: 2048",
    "ec": "type: ec, curve: p256",
    "ed25519": "type: ed25519",
}
DECLARATION = """
settings: {{ base_url: "http://localhost:{port}" }}
authorities:
  - {{ name: root, subject: {{ common_name: Root }}, key: {{ {key} }}, default_templates: [] }}
  - name: issuing
    subject: {{ common_name: Issuing }}
    issuer: root
    key: {{ {key} }}
    service_certificates: {{ key: {{ {key} }} }}
    default_templates: []
templates:
  - {{ name: web, authority: issuing }}
  - {{ name: stapled, authority: issuing, extensions: {{ must_staple: true }} }}
"""


@dataclass(frozen=True)
class Leaf:
    """`chain` and `key` are PEM files, the chain beginning with the certificate."""

    certificate: x509.Certificate
    id: CertificateID
    chain: Path
    key: Path

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:X}"


@dataclass(frozen=True)
class PKI:
    """`services` work on it from this process; `authorities` has the issuing one and the root, PEM."""

    installation: Installation
    services: Services
    server: Server
    key: str
    root: Path
    issuing: Path
    authorities: Path

    def issue(self, folder: Path, template: str = "web") -> Leaf:
        private = _fresh(self.key)
        key, chain = (folder / f"leaf.{ending}" for ending in ("key", "pem"))
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        number = self.services.requests.submit(f"issuing/{template}", make_csr(HOST, (HOST,), private), OPERATOR)
        issued = self.services.requests.sign(number, Overrides(), OPERATOR)
        assert isinstance(issued, Issued)
        chain.write_text(_pem(issued.der, *issued.chain[:1]))
        return Leaf(x509.load_der_x509_certificate(issued.der), issued.id, chain, key)

    def revoke(self, leaf: Leaf) -> None:
        self.services.revocations.revoke(leaf.id, RevocationReason.SUPERSEDED, OPERATOR)


def _pem(*ders: bytes) -> str:
    return "".join(pem_encode("CERTIFICATE", der) for der in ders)


def _fresh(key: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    match key:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


@contextmanager
def running_pki(folder: Path, key: str, status_server: str) -> Iterator[PKI]:
    """Its URLs name a host, which has two addresses on many machines, and the server listens at one."""
    port, installation, declaration = free_port(), Installation(folder), folder / "pki.yaml"
    declaration.write_text(DECLARATION.format(port=port, key=KEYS[key]))
    root, issuing, authorities = (folder / f"{name}.pem" for name in ("root", "issuing", "authorities"))
    bind = ("--bind", f"127.0.0.1:{port}", "--workers", "1", "--server", status_server)
    with open_services(ProcessSettings(state=installation.state), create=True) as services:
        apply_here(services, declaration)
        for path in (root, issuing):
            path.write_bytes(services.lookup.export(path.stem, "pem"))
        authorities.write_bytes(issuing.read_bytes() + root.read_bytes())
        with installation.running("serve", *bind) as tree:
            server = Server(port, tree)
            eventually(lambda: tree.process.poll() is not None or server.answers(), 120)
            assert tree.process.poll() is None, tree.text
            yield PKI(installation, services, server, key, root, issuing, authorities)
            assert "Traceback" not in tree.text, tree.text
