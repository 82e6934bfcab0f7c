"""certbot: register, issue, renew because the server says so, revoke."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.acme.pki import PKI, run_client
from tests.tools import accepted, run_tool


@dataclass(frozen=True)
class Certbot:
    pki: PKI
    folder: Path

    def run(self, *words: str | Path, check: bool = True) -> str:
        places = [f"--{place}-dir={self.folder / place}" for place in ("config", "work", "logs")]
        done = run_client(self.pki, "certbot", *words, *places, "--non-interactive", "--server", self.pki.directory)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def register(self) -> str:
        return self.run(
            "register", "--agree-tos", "-m", "ops@corp.example", "--no-eff-email",
            "--eab-kid", self.pki.kid, "--eab-hmac-key", self.pki.hmac_key,
        )  # fmt: skip

    def standalone(self, *names: str) -> str:
        wanted = [word for name in names for word in ("-d", name)]
        return self.run("certonly", "--standalone", "--http-01-port", str(self.pki.http), *wanted)

    def live(self, name: str, file: str = "fullchain") -> Path:
        return self.folder / "config" / "live" / name / f"{file}.pem"


@pytest.fixture
def certbot(pki: PKI, tmp_path: Path) -> Certbot:
    return Certbot(pki, tmp_path)


def hook(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\nset -eu\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.row("F97")
@pytest.mark.row("F99")
@pytest.mark.row("F108")
@pytest.mark.row("F114")
def test_registers_issues_and_revokes(certbot: Certbot) -> None:
    assert "Account registered." in certbot.register()
    said = certbot.standalone("certbot.corp.example", "www.certbot.corp.example")
    assert "Successfully received certificate." in said
    leaf = certbot.live("certbot.corp.example")
    text = certbot.pki.verified(leaf, name="www.certbot.corp.example")
    assert "DNS:certbot.corp.example, DNS:www.certbot.corp.example" in text
    assert not certbot.pki.is_revoked(leaf, "issuing")
    said = certbot.run("revoke", "--cert-path", certbot.live("certbot.corp.example", "cert"), "--reason", "superseded",
                       "--no-delete-after-revoke")  # fmt: skip
    assert "Congratulations! You have successfully revoked the certificate" in said
    assert certbot.pki.is_revoked(leaf, "issuing")


@pytest.mark.row("F109")
def test_registers_and_orders_in_one_go(certbot: Certbot) -> None:
    said = certbot.run(
        "certonly", "--standalone", "--http-01-port", str(certbot.pki.http), "--agree-tos", "-m", "ops@corp.example",
        "--no-eff-email", "--eab-kid", certbot.pki.kid, "--eab-hmac-key", certbot.pki.hmac_key,
        *(word for n in range(3) for word in ("-d", f"go{n}.corp.example")),
    )  # fmt: skip
    assert "Successfully received certificate." in said
    assert all(f"DNS:go{n}.corp.example" in certbot.pki.verified(certbot.live("go0.corp.example")) for n in range(3))


def test_a_revoked_certificate_is_renewed_by_ari_and_a_young_one_is_left(certbot: Certbot) -> None:
    certbot.register()
    certbot.standalone("young.corp.example")
    certbot.standalone("burnt.corp.example")
    before = certbot.live("burnt.corp.example").read_bytes()
    kept = certbot.live("young.corp.example").read_bytes()
    serial = re.search(r"Serial Number:\s+(\S+)", certbot.pki.verified(certbot.live("burnt.corp.example")))
    assert serial is not None
    certbot.pki.command("cert", "revoke", serial[1], "--authority", "issuing", "--reason", "superseded")
    said = certbot.run("renew", "--no-random-sleep-on-renew")
    assert re.search(r"burnt\.corp\.example/fullchain\.pem \(success\)", said), said
    assert re.search(r"young\.corp\.example/fullchain\.pem expires on .* \(skipped\)", said), said
    assert certbot.live("burnt.corp.example").read_bytes() != before
    assert certbot.live("young.corp.example").read_bytes() == kept
    log = "".join(path.read_text() for path in (certbot.folder / "logs").iterdir())
    assert "/renewalInfo/" in log.replace("renewal-info", "renewalInfo")


def test_a_wildcard_by_dns(certbot: Certbot) -> None:
    certbot.register()
    records = certbot.pki.records
    file = f'{records}/_acme-challenge."$CERTBOT_DOMAIN"'
    said = certbot.run(
        "certonly", "--manual", "--preferred-challenges", "dns",
        "--manual-auth-hook", hook(certbot.folder, "auth", f'echo "$CERTBOT_VALIDATION" >> {file}'),
        "--manual-cleanup-hook", hook(certbot.folder, "cleanup", f"rm -f {file}"),
        "-d", "*.wild.corp.example", "-d", "wild.corp.example",
    )  # fmt: skip
    assert "Successfully received certificate." in said
    text = certbot.pki.verified(certbot.live("wild.corp.example"), name="any.wild.corp.example")
    assert "DNS:*.wild.corp.example" in text
    assert not list(records.glob("*wild.corp.example"))


@pytest.mark.parametrize("with_a_name", [False, True], ids=["alone", "beside a name"])
def test_an_address(certbot: Certbot, with_a_name: bool) -> None:
    """RFC 8738: proved at the address itself, and an iPAddress in the certificate."""
    certbot.register()
    more = ("-d", "address.corp.example") if with_a_name else ()
    said = certbot.run(
        "certonly", "--standalone", "--http-01-port", str(certbot.pki.http), "--ip-address", "127.0.0.1",
        "--cert-name", "address", *more,
    )  # fmt: skip
    assert "Successfully received certificate." in said
    text = certbot.pki.verified(certbot.live("address"))
    names = re.search(r"Subject Alternative Name:.*\n\s+(.*)", text)
    assert names is not None
    wanted = {"IP Address:127.0.0.1", *(f"DNS:{name}" for name in more[1:])}
    assert set(names[1].strip().split(", ")) == wanted
    accepted(run_tool(
        "openssl", "verify", "-CAfile", certbot.pki.root, "-untrusted", certbot.live("address"),
        "-verify_ip", "127.0.0.1", certbot.live("address"),
    ))  # fmt: skip


def test_preapproved_names_need_no_challenge(certbot: Certbot) -> None:
    certbot.register()
    refused_port = certbot.pki.tls  # nobody looks there for http-01
    said = certbot.run("certonly", "--standalone", "--http-01-port", str(refused_port), "-d", "a.b.known.example")
    assert "Successfully received certificate." in said
    certbot.pki.verified(certbot.live("a.b.known.example"), name="a.b.known.example")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_macs(certbot: Certbot, algorithm: str) -> None:
    said = certbot.run(
        "register", "--agree-tos", "-m", "ops@corp.example", "--no-eff-email", "--eab-hmac-alg", algorithm,
        "--eab-kid", certbot.pki.kid, "--eab-hmac-key", certbot.pki.hmac_key,
    )  # fmt: skip
    assert "Account registered." in said


def test_is_told_what_is_wrong(certbot: Certbot) -> None:
    common = ("register", "--agree-tos", "-m", "ops@corp.example", "--no-eff-email")
    assert "externalAccountRequired" in certbot.run(*common, check=False) + _log(certbot)
    wrong = os.urandom(32).hex()
    said = certbot.run(*common, "--eab-kid", certbot.pki.kid, "--eab-hmac-key", wrong, check=False)
    assert "Account registered." not in said
    assert "unauthorized" in said + _log(certbot)
    said = certbot.run(*common, "--eab-kid", "nobody", "--eab-hmac-key", certbot.pki.hmac_key, check=False)
    assert "unauthorized" in said + _log(certbot)
    certbot.register()
    said = certbot.run("certonly", "--standalone", "--http-01-port", str(certbot.pki.http), "-d", "elsewhere.example",
                       check=False)  # fmt: skip
    assert "elsewhere.example" in said
    assert "rejectedIdentifier" in said + _log(certbot)


def test_a_challenge_that_nobody_answers_says_why(certbot: Certbot) -> None:
    certbot.register()
    said = certbot.run(
        "certonly", "--standalone", "--http-01-port", str(certbot.pki.tls), "-d", "silent.corp.example", check=False
    )
    assert "Successfully" not in said
    assert "127.0.0.1" in said
    assert "connection" in said.lower()


def _log(certbot: Certbot) -> str:
    return "".join(path.read_text() for path in (certbot.folder / "logs").iterdir())
