"""An Apple profile on its whole way: approved, mailed, fetched, verified, and its challenge used once by a stranger.

No Apple device runs here. Its part is taken by openssl and plistlib, which read the profile, and by strongSwan, which
enrols over SCEP with nothing but what the profile says.
"""

from __future__ import annotations

import http.client
import json
import plistlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.mail_server import MailServer, mail_server
from tests.ports import free_port
from tests.serving.running import Installation, eventually
from tests.tools import accepted, run_tool

DECLARED = """
settings:
  base_url: http://127.0.0.1:{port}
  mail: {{ server: 127.0.0.1, port: {mail}, security: none, from: Example PKI <pki@corp.example> }}
authorities:
  - {{ name: root, subject: {{ common_name: Example Root, organization: Example Corp }}, key: {{ type: {key} }} }}
  - {{ name: issuing, issuer: root, key: {{ type: {key} }} }}
templates:
  - {{ name: device, authority: issuing, starter: device, scep: {{ enabled: true, challenges: true }} }}
"""
TO = "jane@corp.example"


@dataclass
class Office:
    installation: Installation
    mail: MailServer

    def preapprove(self) -> str:
        """The link that was mailed, for Jane."""
        before = len(self.mail.received)
        said = self.installation.run(
            "request", "preapprove", "--template", "issuing/device", "--subject", "CN=Jane's iPad,O=Example Corp,C=NL",
            "--san", f"email:{TO}", "--san", "dns:ipad.corp.example", "--email", TO, "--apple",
        )  # fmt: skip
        assert "/profile/" not in said.stdout + said.stderr
        eventually(lambda: len(self.mail.received) > before)
        text = self.mail.messages[-1].get_content()
        found = re.search(r"http://\S+\.mobileconfig", text)
        assert found is not None, text
        return found[0]

    def shown(self, number: int) -> dict[str, Any]:
        return dict(json.loads(self.installation.run("request", "show", str(number), "--json").stdout))

    @property
    def folder(self) -> Path:
        return self.installation.folder


@pytest.fixture
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    port = free_port()
    installation = Installation(tmp_path)
    with mail_server() as mail:
        declaration = tmp_path / "pki.yaml"
        declaration.write_text(DECLARED.format(port=port, mail=mail.port, key=request.param))
        installation.run("apply", declaration)
        with (
            installation.running("serve", "--bind", f"127.0.0.1:{port}"),
            installation.running("worker"),
        ):
            eventually(lambda: _answers(port))
            yield Office(installation, mail)


def _answers(port: int) -> bool:
    try:
        return get(f"http://127.0.0.1:{port}/healthz")[0] == 200
    except OSError:
        return False


def get(url: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def fetched(office: Office, link: str) -> dict[str, Any]:
    """The profile behind a link, verified by openssl under the root that the operator exports."""
    status, headers, body = get(link)
    assert (status, headers["content-type"]) == (200, "application/x-apple-aspen-config")
    assert headers["cache-control"] == "no-store"
    assert headers["content-disposition"] == 'attachment; filename="device.mobileconfig"'
    (office.folder / "profile").write_bytes(body)
    root = office.installation.export("root")
    verified = run_tool(
        "openssl", "cms", "-verify", "-inform", "der", "-binary", "-in", office.folder / "profile", "-CAfile", root,
        "-no-CApath",
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    return dict(plistlib.loads(verified.stdout))


class Device:
    """strongSwan in the place of a device: it knows what the profile says, and nothing else."""

    def __init__(self, profile: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (self.scep,) = (
            one["PayloadContent"]
            for one in profile["PayloadContent"]
            if one["PayloadType"] == "com.apple.security.scep"
        )
        _, _, bag = get(f"{self.scep['URL']}?operation=GetCACert&message={self.scep['Name']}")
        self.authorities = []
        pem = run_tool("openssl", "pkcs7", "-inform", "der", "-print_certs", stdin=bag).stdout
        for number, certificate in enumerate(x509.load_pem_x509_certificates(pem)):
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            name = "ra" if usage.key_encipherment else f"ca{number}"
            (folder / name).write_bytes(certificate.public_bytes(Encoding.PEM))
            if name != "ra":
                self.authorities.append(folder / name)

    def enrol(self, **changes: Any) -> tuple[int, str, Path]:
        """Exit status, what was said, and where the certificate lies."""
        scep = {**self.scep, **changes}
        size = str(scep["Keysize"])
        key = self.folder / "key.pem"
        key.write_bytes(run_tool("pki", "--gen", "--type", "rsa", "--size", size, "--outform", "pem").stdout)
        subject = ", ".join(f"{kind}={value}" for rdn in scep["Subject"] for kind, value in rdn)
        names = [
            text for value in scep["SubjectAltName"].values() for text in ([value] if isinstance(value, str) else value)
        ]
        result = run_tool(
            "pki", "--scep", "--url", scep["URL"], "--in", key, "--dn", subject,
            *(word for name in names for word in ("--san", name)),
            "--password", scep["Challenge"], "--cacert-enc", self.folder / "ra", "--cacert-sig", self.folder / "ra",
            *(word for ca in self.authorities for word in ("--cacert", ca)), "--outform", "pem",
        )  # fmt: skip
        out = self.folder / "certificate.pem"
        out.write_bytes(result.stdout)
        return result.returncode, result.stderr.decode(errors="replace"), out


@pytest.mark.parametrize("office", ["rsa", "ec"], indirect=True)
@pytest.mark.row("F126")
@pytest.mark.row("F127")
def test_a_profile_enrols_exactly_the_approved_names_once(office: Office) -> None:
    link = office.preapprove()
    assert get(link, "HEAD")[0] == 200
    profile = fetched(office, link)
    device = Device(profile, office.folder / "device")

    other = [[["CN", "Mallory"]], [["O", "Example Corp"]], [["C", "NL"]]]
    for change in (
        {"Subject": other},
        {"SubjectAltName": {"rfc822Name": TO}},
        {"SubjectAltName": {"rfc822Name": [TO, "ceo@corp.example"], "dNSName": "ipad.corp.example"}},
        {"Challenge": "0" * 16},
    ):
        code, said, _ = device.enrol(**change)
        assert code != 0, said
    assert office.shown(1)["state"] == "awaiting_claim"

    code, said, path = device.enrol()
    assert code == 0, said
    made = x509.load_pem_x509_certificate(path.read_bytes())
    assert {attribute.rfc4514_string() for attribute in made.subject} == {"CN=Jane's iPad", "O=Example Corp", "C=NL"}
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names) == {x509.RFC822Name(TO), x509.DNSName("ipad.corp.example")}
    accepted(run_tool("openssl", "verify", "-CAfile", office.installation.export("root"), "-untrusted",
                      office.installation.export("issuing"), path))  # fmt: skip
    shown = office.shown(1)
    assert (shown["state"], int(shown["serial"], 16)) == ("issued", made.serial_number)

    code, said, _ = device.enrol()
    assert code != 0, said
    status, _, body = get(link)
    assert (status, b"used already" in body) == (410, True)


@pytest.mark.parametrize("office", ["ec"], indirect=True)
def test_of_two_profiles_of_one_link_one_enrols(office: Office) -> None:
    link = office.preapprove()
    one, other = (Device(fetched(office, link), office.folder / name) for name in ("one", "other"))
    assert one.scep["Challenge"] != other.scep["Challenge"]
    assert other.enrol()[0] == 0
    assert one.enrol()[0] != 0
    assert office.shown(1)["state"] == "issued"
    listed = json.loads(office.installation.run("cert", "list", "--json").stdout)
    assert sum("Jane" in str(row) for row in listed) == 1
