"""Installations that scenarios start from: made once, then copied.

`running` has a root, an authority under it, one that waits for a stranger's certificate and a retired one; requests
and certificates in every state; CRLs and a sealed audit log. `empty` is a folder with nothing but declarations;
`saved` has the master key and a backup of `running` besides.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.crash import scep_device
from tests.crash.child import Place
from tests.crash.intune_client import TEMPLATE, write_secret
from tests.ct_log import standing
from tests.mail_server import standing_mail
from tests.world import make_csr

_AUTHORITIES = """
settings: { base_url: "http://pki.example" }
authorities:
  - { name: root, key: { curve: p256 }, default_templates: [] }
  - { name: issuing, issuer: root, key: { curve: p256 }, default_templates: [] }
  - { name: outside, issuer: external, key: { curve: p256 }, path_length: 0, default_templates: [] }
  - { name: gone, key: { curve: p256 }, default_templates: []STATE }
"""
_TEMPLATES = """
templates:
  - { name: web, authority: issuing }
  - { name: vpn, authority: issuing }
"""
FIRST = _AUTHORITIES.replace("STATE", "") + _TEMPLATES
STANDING = _AUTHORITIES.replace("STATE", ", state: absent") + _TEMPLATES

PRESIGN = STANDING.replace("issuer: root, key", "issuer: root, ocsp: { presign: [sha1] }, key", 1)

# Creates, imports, updates, renews, rolls over, retires.
CHANGED = """
settings: { base_url: "http://pki.other.example" }
authorities:
  - { name: root, key: { curve: p256 }, default_templates: [], validity: 12y }
  - name: issuing
    issuer: root
    key: { curve: p256, generation: 2 }
    rollover: { cross_certificates: true }
    default_templates: []
  - { name: outside, issuer: external, key: { curve: p256 }, path_length: 0, default_templates: [] }
  - { name: gone, key: { curve: p256 }, default_templates: [], state: absent }
  - { name: added, issuer: root, key: { type: ed25519 } }
templates:
  - { name: web, authority: issuing, validity: 30d }
  - { name: vpn, authority: issuing, state: absent }
  - { name: device, authority: issuing, starter: device }
"""
RETIRED = """
authorities:
  - { name: outside, issuer: external, key: { curve: p256 }, path_length: 0, state: absent }
"""
ACME = (
    STANDING
    + """
acme_policies:
  - name: internal
    template: issuing/web
    external_account_required: false
    external_account_bindings: [{ name: ci, write_to: ci.env }]
"""
)


def transparent() -> str:
    """What stands, with templates whose certificates logs see: ones that promise, and one that never does."""
    first, second, never = standing()
    web = f"ct: {{ logs: [{first.declared}, {second.declared}] }}"
    unwanted = f"ct: {{ logs: [{never.declared}], required_scts: 1 }}"
    return (
        STANDING.replace("{ name: web, authority: issuing }", f"{{ name: web, authority: issuing, {web} }}")
        + f"  - {{ name: unwanted, authority: issuing, {unwanted} }}\n"
    )


STAMPING = STANDING.replace("issuer: root,", "issuer: root, timestamp: { enabled: true },")


def mailing() -> str:
    """What stands, with a mail server and a template for Apple's devices."""
    mail = f"mail: {{ server: 127.0.0.1, port: {standing_mail().port}, security: none, from: pki@corp.example }}"
    return (
        STANDING.replace('{ base_url: "http://pki.example" }', f'{{ base_url: "http://pki.example", {mail} }}')
        + "  - { name: tablet, authority: issuing, starter: device, scep: { enabled: true, challenges: true } }\n"
    )


IMPORTED = """
authorities:
  - name: legacy
    subject: { common_name: Legacy }
    key: { source: import, file: legacy.key }
    certificate: { file: legacy.pem }
    import: { issued: legacy-serials.txt, next_crl_number: 40 }
    default_templates: []
"""

PENDING, ISSUED, HELD, TO_DECLINE = 1, 2, 3, 4
"""Numbers of the requests that `running` has."""


def make_empty(place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "first": FIRST,
        "standing": STANDING,
        "changed": CHANGED,
        "retired": RETIRED,
        "acme": ACME,
        "transparent": transparent(),
        "intune": STANDING + TEMPLATE,
        "stamping": STAMPING,
        "counting": STAMPING.replace("enabled: true", "enabled: true, record: count"),
        "mail": mailing(),
        "scep": STANDING + scep_device.TEMPLATE,
        "presign": PRESIGN,
    }.items():
        (place.folder / f"{name}.yaml").write_text(text)
    _write_legacy(place.folder)
    write_secret(place.folder)
    for number in range(1, 6):
        name = f"web{number}.corp.example"
        (place.folder / f"{number}.csr").write_bytes(make_csr(name, (name,)))


def make_running(place: Place) -> None:
    """In the empty folder; apply says 3, because one authority waits."""
    place.here("apply", "{folder}/first.yaml", codes=(3,))
    place.here("apply", "{folder}/standing.yaml", "--allow", "retire", codes=(3,))
    for number in (PENDING, ISSUED, HELD, TO_DECLINE):
        place.here("request", "submit", "--template", "issuing/web", f"{{folder}}/{number}.csr")
    for number in (ISSUED, HELD):
        place.here("request", "sign", str(number), "--out", f"{{folder}}/{number}.pem")
    place.here("cert", "hold", f"{{serial {HELD}}}")
    place.here("worker", "--once")
    place.here("authority", "csr", "outside", "--out", "{folder}/outside.csr")
    _sign_outside(place.folder)


def make_saved(place: Place, running: Place) -> None:
    """In the empty folder."""
    running.here("backup", str(place.folder / "other.tar"))
    place.state.mkdir(mode=0o700)
    shutil.copy(running.state / "master.key", place.state)


def _sign_outside(folder: Path) -> None:
    """A stranger signs for the authority that waits."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("Stranger")
    root = _authority(name, key.public_key(), name, key, None)
    request = x509.load_pem_x509_csr((folder / "outside.csr").read_bytes())
    own = _authority(request.subject, request.public_key(), name, key, 0)  # type: ignore[arg-type]
    (folder / "outside.pem").write_bytes(own.public_bytes(Encoding.PEM))
    (folder / "above.pem").write_bytes(root.public_bytes(Encoding.PEM))


def _write_legacy(folder: Path) -> None:
    """An authority that lived elsewhere: key, certificate, serials."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("Legacy")
    certificate = _authority(name, key.public_key(), name, key, None)
    (folder / "legacy.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "legacy.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "legacy-serials.txt").write_text("0A:01\n0A:02\n0A:03\n")
    (folder / "imported.yaml").write_text(IMPORTED)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _authority(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    path_length: int | None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(signer, hashes.SHA256())
    )
