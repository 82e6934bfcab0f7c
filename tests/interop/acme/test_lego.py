"""lego, the client and library behind Traefik: three challenges, renewal, revocation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.acme.pki import PKI, run_client


@dataclass(frozen=True)
class Lego:
    pki: PKI
    folder: Path

    def run(self, *words: str, names: tuple[str, ...], key: str = "ec256", check: bool = True, **more: str) -> str:
        wanted = [word for name in names for word in ("-d", name)]
        done = run_client(
            self.pki, "lego", "--server", self.pki.directory, "--accept-tos", "--email", "ops@corp.example",
            "--path", self.folder, "--eab", "--kid", self.pki.kid, "--hmac", self.pki.hmac_key, "--key-type", key,
            *wanted, *words, environment=more,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    @property
    def http(self) -> tuple[str, ...]:
        return "--http", "--http.port", f"127.0.0.1:{self.pki.http}"

    def certificate(self, name: str) -> Path:
        return self.folder / "certificates" / f"{name.replace('*', '_')}.crt"


@pytest.fixture
def lego(pki: PKI, tmp_path: Path) -> Lego:
    return Lego(pki, tmp_path)


@pytest.mark.row("F113")
def test_http_renewal_and_revocation(lego: Lego) -> None:
    names = ("lego.corp.example", "www.lego.corp.example")
    said = lego.run(*lego.http, "run", names=names)
    assert "The server validated our request" in said
    assert "Server responded with a certificate." in said
    leaf = lego.certificate(names[0])
    first = lego.pki.verified(leaf, name=names[1])
    said = lego.run(*lego.http, "renew", "--days", "100", "--no-random-sleep", names=names)
    assert "Server responded with a certificate." in said
    assert lego.pki.verified(leaf, name=names[1]) != first
    said = lego.run("revoke", "--keep", names=names[:1])
    assert "Certificate was revoked." in said
    assert lego.pki.is_revoked(leaf, "issuing")


def test_tls_alpn(lego: Lego) -> None:
    said = lego.run(
        "--tls", "--tls.port", f"127.0.0.1:{lego.pki.tls}", "run", names=("alpn.corp.example",), key="ec384"
    )
    assert "use tls-alpn-01 solver" in said
    assert "The server validated our request" in said
    assert "384 bit" in lego.pki.verified(lego.certificate("alpn.corp.example"), name="alpn.corp.example")


def test_a_wildcard_by_dns(lego: Lego) -> None:
    program = lego.folder / "records.sh"
    program.write_text(
        "#!/bin/sh\nset -eu\n"
        f'file="{lego.pki.records}/${{2%.}}"\n'
        'case "$1" in present) echo "$3" >> "$file" ;; cleanup) rm -f "$file" ;; esac\n'
    )
    program.chmod(0o755)
    names = ("*.lego-wild.corp.example", "lego-wild.corp.example")
    said = lego.run(
        "--dns", "exec", "--dns.disable-cp", "--dns.resolvers", f"127.0.0.1:{lego.pki.dns}", "run",
        names=names, key="rsa2048", EXEC_PATH=str(program), EXEC_SEQUENCE_INTERVAL="1",
    )  # fmt: skip
    assert "use dns-01 solver" in said
    text = lego.pki.verified(lego.certificate(names[0]), name="any.lego-wild.corp.example")
    assert "DNS:*.lego-wild.corp.example" in text
    assert "2048 bit" in text


def test_a_request_of_ones_own(lego: Lego) -> None:
    """`--csr`: the key never comes near lego."""
    from tests.world import make_csr

    request = lego.folder / "own.pem"
    request.write_bytes(make_csr("own.corp.example", ("own.corp.example",)))
    lego.run(*lego.http, "--csr", str(request), "run", names=())
    lego.pki.verified(lego.certificate("own.corp.example"), name="own.corp.example")


def test_a_name_that_is_refused_is_named(lego: Lego) -> None:
    said = lego.run(*lego.http, "run", names=("lego.elsewhere.example",), check=False)
    assert "rejectedIdentifier" in said
    assert "lego.elsewhere.example" in said
    assert not lego.certificate("lego.elsewhere.example").exists()
