"""What a device of an Intune tenant does, without HTTP: `--state FOLDER intune-device enrol`. The tenant is in memory,
and lives no longer than the process.

The device keeps its key and its request in files: it is the same transaction when it comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pkiconf.egress.https import LARGEST, SECONDS, HTTPSAnswer, SharedHTTPS
from pkiconf.services import Services
from tests.intune_client import make_csr
from tests.intune_server import Heard, StandIn
from tests.intune_tenant import SECRET, Tenant
from tests.scep_client import Device, Wish, message, read_answer

WORD = "intune-device"
TRANSACTION = "device-7"
_PLACES = """
        tenant_id: 11111111-2222-3333-4444-555555555555
        client_id: 66666666-7777-8888-9999-aaaaaaaaaaaa
        authority_url: https://intune.example/login/
        graph_url: https://intune.example/graph/
        resource_url: https://intune.example/api/"""
_REAL = SharedHTTPS.request
TEMPLATE = f"""
  - name: laptop
    authority: issuing
    starter: device
    scep:
      enabled: true
      intune:
        client_secret: !file intune-secret{_PLACES}
"""


def write_secret(folder: Path) -> None:
    (folder / "intune-secret").write_text(SECRET)


def put_in_place() -> None:
    """Whoever asks Intune in this process asks a tenant in memory."""
    stand_in = StandIn(Tenant(lambda: datetime.now(UTC)), "https://intune.example")

    def request(
        self: SharedHTTPS,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = LARGEST,
        seconds: float = SECONDS,
    ) -> HTTPSAnswer:
        if not url.startswith(stand_in.url):
            return _REAL(self, method, url, body=body, headers=headers, limit=limit, seconds=seconds)
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        path = urlsplit(url).path
        token = stand_in.tokens.get(lower.get("authorization", "").removeprefix("Bearer "), "")
        said = stand_in.answer(Heard(path.rsplit("/", 1)[-1], path, lower, body or b"", token))
        return HTTPSAnswer(said.status, {}, said.octets)

    SharedHTTPS.request = request  # type: ignore[method-assign]


def enrol(services: Services, folder: Path) -> None:
    """What it gets is in `laptop.der`."""
    device = _kept_device(folder)
    csr = folder / "laptop.csr"
    if not csr.exists():
        csr.write_bytes(make_csr(Tenant(lambda: datetime.now(UTC)).challenge(), key=device.key))
    place = services.scep.places.find("issuing", "laptop")
    recipient = place.presented(services.parts.now()).head.der
    sent = message(device, csr.read_bytes(), recipient, Wish(transaction=TRANSACTION))
    answer = read_answer(services.scep.responder.answer(place, sent, "192.0.2.7"), device.key)
    assert answer.status == "0", answer.text
    (folder / "laptop.der").write_bytes(answer.certificates[0])


def _kept_device(folder: Path) -> Device:
    key, certificate = folder / "laptop.key", folder / "laptop.self"
    if not certificate.exists():
        fresh = Device.fresh()
        key.write_bytes(fresh.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(fresh.certificate)
    kept = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(kept, rsa.RSAPrivateKey)
    return Device(kept, certificate.read_bytes())
