"""What a device does that enrols with a challenge, without HTTP: `--state FOLDER scep-device enrol`, or `wrong`.

It keeps its key, its request and its challenge in files: it is the same transaction when it comes again.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pkiconf.services import Services
from tests.scep_client import Answer, Device, Wish, make_request, message, read_answer
from tests.world import OPERATOR

WORD = "scep-device"
TEMPLATE = """
  - name: router
    authority: issuing
    starter: device
    scep: { enabled: true, challenges: true, static_passphrase: { generate: true, write_to: scep.env } }
"""


def perform(services: Services, folder: Path, what: str) -> None:
    if what == "challenge":
        place = services.scep.places.find("issuing", "router")
        made = services.scep.challenges.create(place.template_id, OPERATOR)
        (folder / "challenge").write_bytes(made.reveal())
    elif what == "enrol":
        answer = _ask(services, folder, (folder / "challenge").read_text(), "router-7")
        assert answer.status == "0", answer.text
        (folder / "router.der").write_bytes(answer.certificates[0])
    else:
        assert _ask(services, folder, "0000000000000000", "wrong").status == "2"


def _ask(services: Services, folder: Path, challenge: str, transaction: str) -> Answer:
    device = _kept_device(folder)
    csr = folder / f"{transaction}.csr"
    if not csr.exists():
        csr.write_bytes(make_request(device.key, "router-7", challenge=challenge))
    place = services.scep.places.find("issuing", "router")
    recipient = place.presented(services.parts.now()).head.der
    sent = message(device, csr.read_bytes(), recipient, Wish(transaction=transaction))
    return read_answer(services.scep.responder.answer(place, sent, "192.0.2.7"), device.key)


def _kept_device(folder: Path) -> Device:
    key, certificate = folder / "router.key", folder / "router.self"
    if not certificate.exists():
        fresh = Device.fresh()
        key.write_bytes(fresh.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(fresh.certificate)
    kept = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(kept, rsa.RSAPrivateKey)
    return Device(kept, certificate.read_bytes())
