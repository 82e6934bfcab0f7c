"""micromdm's `scepclient`: first enrolment and renewal.

All its releases encrypt by single DES, whatever a server announces: only a template that opens it gets further.
"""

from __future__ import annotations

import hashlib
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from asn1crypto import cms

from tests.interop.scep.pki import PASSPHRASE, PKI, serial_of
from tests.tools import find_tool


@dataclass(frozen=True)
class ScepClient:
    pki: PKI
    folder: Path

    def run(self, authority: str, template: str = "des", challenge: str = PASSPHRASE) -> str:
        """Once: a first enrolment, or a renewal where there is a certificate."""
        url = self.pki.url(authority, template)
        done = subprocess.run(
            [find_tool("scepclient"), "-server-url", url, "-challenge", challenge, "-private-key", "key.pem",
             "-certificate", "cert.pem", "-cn", "micro", "-country", "NL", "-debug", "-ca-fingerprint", recipient(url)],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120,
        )  # fmt: skip
        return done.stdout


def recipient(url: str) -> str:
    """The SHA-256 of the first certificate of GetCACert, which it is told to encrypt to: without it encrypts to all,
    and ends in a panic where one has no RSA key."""
    with urllib.request.urlopen(f"{url}?operation=GetCACert", timeout=60) as answer:
        first, *_ = cms.ContentInfo.load(answer.read())["content"]["certificates"]
    return hashlib.sha256(first.chosen.dump()).hexdigest()


@pytest.fixture
def client(pki: PKI, tmp_path: Path) -> ScepClient:
    return ScepClient(pki, tmp_path)


@pytest.mark.parametrize("authority", ["rsa", "ec"])
def test_enrolment_and_renewal(client: ScepClient, authority: str) -> None:
    said = client.run(authority)
    assert "pkiStatus=SUCCESS" in said, said
    leaf = client.folder / "cert.pem"
    assert "CN = micro" in client.pki.verified(leaf, authority).replace("CN=", "CN = ")
    first = serial_of(leaf)
    said = client.run(authority, challenge="")  # so only its certificate lets it in
    assert "pkiStatus=SUCCESS" in said, said
    assert serial_of(leaf) != first


def test_single_des_is_refused_where_it_is_not_declared(client: ScepClient) -> None:
    assert "badAlg (0)" in client.run("rsa", "device")
    assert not (client.folder / "cert.pem").exists()


def test_a_wrong_passphrase_is_refused(client: ScepClient) -> None:
    assert "badRequest (2)" in client.run("rsa", challenge="wrong-passphrase")


def test_an_ml_dsa_authority(client: ScepClient) -> None:
    """Refused for its cipher, after it has read the bag: Go takes keys that it does not know."""
    said = client.run("ml-dsa", "device")
    assert "badAlg (0)" in said, said
