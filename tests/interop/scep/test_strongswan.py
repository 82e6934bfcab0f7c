"""strongSwan's `pki --scepca` and `pki --scep`: first enrolment and renewal, by every cipher and digest it has."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.scep.pki import ALL, PASSPHRASE, PKI, serial_of
from tests.tools import accepted, find_tool, run_tool


@dataclass(frozen=True)
class StrongSwan:
    pki: PKI
    folder: Path
    authority: str

    def fetch(self) -> None:
        url = self.pki.url(self.authority)
        said = accepted(self.run("--scepca", "--url", url, "--caout", "ca.der", "--raout", "ra.der"))
        assert "RA cert is trusted" in said

    def key(self, name: str) -> None:
        made = self.run("--gen", "--type", "rsa", "--size", "2048")
        assert made.returncode == 0, made.stderr
        (self.folder / name).write_bytes(made.stdout)

    def enrol(self, key: str, out: str, *words: str, dn: str = "CN=swan") -> subprocess.CompletedProcess[bytes]:
        trusted = [word for one in sorted(self.folder.glob("ca*.der")) for word in ("--cacert", one.name)]
        done = self.run(
            "--scep", "--url", self.pki.url(self.authority), "--in", key, "--dn", dn, "--san", "swan.corp.example",
            "--cacert-enc", "ra.der", "--cacert-sig", "ra.der", *trusted, *words,
        )  # fmt: skip
        (self.folder / out).write_bytes(done.stdout)
        return done

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        program = find_tool("pki")
        return subprocess.run(
            [program, *words], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120
        )

    def verified(self, out: str) -> str:
        pem = self.folder / f"{out}.pem"
        accepted(run_tool("openssl", "x509", "-inform", "DER", "-in", self.folder / out, "-out", pem))
        return self.pki.verified(pem, self.authority)


@pytest.fixture
def swan(pki: PKI, tmp_path: Path, request: pytest.FixtureRequest) -> StrongSwan:
    made = StrongSwan(pki, tmp_path, request.param)
    made.fetch()
    made.key("first.der")
    return made


@pytest.mark.row("F117")
@pytest.mark.parametrize("swan", ALL, indirect=True)
def test_enrolment_and_renewal(swan: StrongSwan) -> None:
    done = swan.enrol("first.der", "cert.der", "--password", PASSPHRASE)
    assert done.returncode == 0, done.stderr
    assert b"Issued certificate is trusted" in done.stderr
    text = swan.verified("cert.der")
    assert "Subject: CN = swan" in text or "Subject: CN=swan" in text
    assert "DNS:swan.corp.example" in text
    swan.key("second.der")
    done = swan.enrol("second.der", "renewed.der", "--cert", "cert.der", "--key", "first.der")
    assert done.returncode == 0, done.stderr
    assert "DNS:swan.corp.example" in swan.verified("renewed.der")
    assert serial_of(swan.folder / "cert.der", "DER") != serial_of(swan.folder / "renewed.der", "DER")


@pytest.mark.parametrize("swan", ["ec"], indirect=True)
@pytest.mark.parametrize("cipher", ["aes", "des3"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_its_ciphers_and_digests(swan: StrongSwan, cipher: str, digest: str) -> None:
    done = swan.enrol("first.der", "cert.der", "--password", PASSPHRASE, "--cipher", cipher, "--digest", digest)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("swan", ["rsa"], indirect=True)
def test_what_is_refused_is_told(swan: StrongSwan) -> None:
    done = swan.enrol("first.der", "cert.der", "--password", "wrong-passphrase")
    assert done.returncode != 0
    assert b"badRequest" in done.stderr
    assert done.stdout == b""


def test_an_ml_dsa_authority_is_beyond_it(pki: PKI, tmp_path: Path) -> None:
    """It reads the registration authority's key, but neither its signature nor the authority's key."""
    said = StrongSwan(pki, tmp_path, "ml-dsa").run("--scepca", "--url", pki.url("ml-dsa"), "--caout", "ca.der")
    assert said.returncode != 0
    assert b"unable to parse signature algorithm" in said.stderr
