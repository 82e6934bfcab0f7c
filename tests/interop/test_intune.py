"""strongSwan enrols as a device that Intune sent, with a challenge of Intune's length, at a server that asks over
HTTPS: programs in processes of their own, and nothing between them but the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.interop.test_apple import Device, _answers
from tests.intune_server import StandIn, error, running
from tests.intune_tenant import SECRET, Profile, Tenant
from tests.intune_world import declaration
from tests.ports import free_port
from tests.serving.running import Installation, eventually
from tests.tools import accepted, run_tool


@dataclass
class Office:
    installation: Installation
    stand_in: StandIn
    url: str

    def device(self, name: str) -> Device:
        scep = {
            "URL": self.url,
            "Name": "issuing",
            "Keysize": 2048,
            "Subject": [[["CN", "laptop-7"]]],
            "SubjectAltName": {"dNSName": "laptop-7.corp.example"},
            "Challenge": self.stand_in.tenant.challenge(),
        }
        content = [{"PayloadType": "com.apple.security.scep", "PayloadContent": scep}]
        return Device({"PayloadContent": content}, self.installation.folder / name)

    @property
    def acts(self) -> list[str]:
        return [act for act in self.stand_in.acts if act not in ("token", "endpoints")]

    def revoked(self) -> list[dict[str, Any]]:
        found = json.loads(self.installation.run("cert", "list", "--status", "revoked", "--json").stdout)
        return list(found)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    tenant = Tenant(lambda: datetime.now(UTC))
    tenant.profiles["laptops"] = Profile(
        sans=frozenset({"DNS:laptop-7.corp.example"}), key_usages=frozenset(), extended=frozenset()
    )
    port = free_port()
    with running(StandIn(tenant), tmp_path) as stand_in:
        installation = Installation(tmp_path, {"SSL_CERT_FILE": f"{stand_in.trust}", "INTUNE_SECRET": SECRET})
        file = tmp_path / "pki.yaml"
        file.write_text(declaration(stand_in))
        installation.run("apply", file)
        checked = installation.run("scep", "intune", "check", "issuing/device")
        assert "error" not in checked.stdout
        stand_in.forget()
        with installation.running("serve", "--bind", f"127.0.0.1:{port}"):
            eventually(lambda: _answers(port))
            yield Office(installation, stand_in, f"http://127.0.0.1:{port}/scep/issuing/device")


@pytest.mark.row("F120")
def test_strongswan_is_let_in_by_intune_alone(office: Office) -> None:
    device = office.device("device")
    assert len(device.scep["Challenge"]) > 2000
    code, said, path = device.enrol()
    assert code == 0, said
    assert office.acts == ["validateRequest", "successNotification"]
    made = x509.load_pem_x509_certificate(path.read_bytes())
    told = office.stand_in.of("successNotification")[0].content
    assert int(told["certificateSerialNumber"], 16) == made.serial_number
    chain = ("-untrusted", office.installation.export("issuing"))
    accepted(run_tool("openssl", "verify", "-CAfile", office.installation.export("root"), *chain, path))

    office.stand_in.forget()
    code, said, _ = office.device("liar").enrol(Subject=[[["CN", "domain-controller"]]])
    assert code != 0, said
    assert office.acts == ["validateRequest", "failureNotification"]

    office.stand_in.forget()
    office.stand_in.always["successNotification"] = error(500)
    code, said, path = office.device("unlucky").enrol()
    assert code != 0, said
    assert path.read_bytes() == b""
    assert office.acts == ["validateRequest", "successNotification"]
    assert len(office.revoked()) == 1
