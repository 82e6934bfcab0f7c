"""nginx and Apache staple what we say of their certificates; openssl, curl and GnuTLS read it and judge it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.acme_world import name_server
from tests.interop.status.pki import HOST, PKI, Leaf
from tests.interop.status.web_servers import MovedClock, WebServer, apache, nginx, shown, with_these
from tests.ports import free_port
from tests.serving.running import eventually
from tests.tools import accepted, run_tool

NOTHING = "no response sent"
HOUR = 3600
one_of_them = pytest.mark.parametrize("pki", [("ec", "gunicorn")], ids="-".join, indirect=True)
"""Where it is the web server that matters."""


@contextmanager
def stapling_nginx(pki: PKI, leaf: Leaf, folder: Path, clock: MovedClock | None = None) -> Iterator[WebServer]:
    port = free_port()
    with name_server() as names:
        site = with_these(shown("nginx", "stapling"), {
            "listen 443": f"listen 127.0.0.1:{port}", "/etc/nginx/web.pem": str(leaf.chain),
            "/etc/nginx/web.key": str(leaf.key), "/etc/nginx/authorities.pem": str(pki.authorities),
            "192.0.2.53": f"127.0.0.1:{names} ipv6=off",
        })  # fmt: skip
        with nginx(folder, port, site, clock) as server:
            yield server


@contextmanager
def stapling_apache(pki: PKI, leaf: Leaf, folder: Path) -> Iterator[WebServer]:
    port = free_port()
    site = with_these(shown("apache", "stapling"), {
        "*:443": f"127.0.0.1:{port}", "/etc/apache2/web.pem": str(leaf.chain), "/etc/apache2/web.key": str(leaf.key),
        "/run/apache2": str(folder), "CacheTimeout 300": "CacheTimeout 1",
    })  # fmt: skip
    with apache(folder, port, site) as server:
        yield server


def stapled(pki: PKI, server: WebServer) -> str:
    """What openssl reads of what came with the handshake."""
    said = accepted(
        run_tool("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", HOST, "-status",
                 "-CAfile", pki.root, "-verify_return_error", "-verify_hostname", HOST, stdin=b"Q\n")
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    found = re.search(r"^OCSP response:.*?(?=^---$)", said, re.MULTILINE | re.DOTALL)
    assert found is not None, said
    return found[0]


def says(pki: PKI, server: WebServer, leaf: Leaf, status: str) -> bool:
    text = stapled(pki, server)
    return "OCSP Response Status: successful" in text and leaf.serial in text and f"Cert Status: {status}" in text


def curl_believes(pki: PKI, server: WebServer) -> bool:
    """Only if an answer was stapled, it is good, and its signature leads to the root."""
    done = run_tool("curl", "-sS", "-o", "/dev/null", "--cert-status", "--cacert", pki.root, "--resolve",
                    f"{HOST}:{server.port}:127.0.0.1", f"https://{HOST}:{server.port}/")  # fmt: skip
    assert done.returncode in (0, 91), done  # 91: CURLE_SSL_INVALIDCERTSTATUS
    return done.returncode == 0


def gnutls_believes(pki: PKI, server: WebServer) -> tuple[bool, str]:
    done = run_tool("gnutls-cli", "--x509cafile", pki.root, "--sni-hostname", HOST, "--verify-hostname", HOST,
                    "--port", str(server.port), "127.0.0.1")  # fmt: skip
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


Stapling = Callable[[PKI, Leaf, Path], AbstractContextManager[WebServer]]


@pytest.mark.row("F131")
@pytest.mark.parametrize("stapling", [stapling_nginx, stapling_apache])
@pytest.mark.parametrize("template", ["web", "stapled"])
def test_what_is_stapled_is_believed(pki: PKI, tmp_path: Path, stapling: Stapling, template: str) -> None:
    leaf = pki.issue(tmp_path, template)
    with stapling(pki, leaf, tmp_path) as server:
        eventually(lambda: says(pki, server, leaf, "good"))
        assert curl_believes(pki, server), server.log
        believed, said = gnutls_believes(pki, server)
        assert believed, said
        assert "Status: The certificate is trusted." in said
        told = accepted(run_tool("openssl", "x509", "-in", leaf.chain, "-noout", "-text"))
        assert ("TLS Feature" in told) == (template == "stapled")


@pytest.mark.row("F131")
@pytest.mark.parametrize("template", ["web", "stapled"])
def test_apache_staples_a_revocation(pki: PKI, tmp_path: Path, template: str) -> None:
    leaf = pki.issue(tmp_path, template)
    with stapling_apache(pki, leaf, tmp_path) as server:
        assert says(pki, server, leaf, "good"), "with the first handshake"
        pki.revoke(leaf)
        eventually(lambda: says(pki, server, leaf, "revoked"))
        assert "Revocation Reason: superseded" in stapled(pki, server)
        assert not curl_believes(pki, server)
        believed, said = gnutls_believes(pki, server)
        assert not believed
        assert "revoked" in said


@one_of_them
@pytest.mark.parametrize("template", ["web", "stapled"])
def test_nginx_goes_on_with_the_last_good_answer(pki: PKI, tmp_path: Path, template: str) -> None:
    """It asks an hour later, and does not take a `revoked`; once that answer has ended, or after a reload, it staples
    nothing."""
    leaf, clock = pki.issue(tmp_path, template), MovedClock(tmp_path / "clock")
    with stapling_nginx(pki, leaf, tmp_path, clock) as server:
        eventually(lambda: says(pki, server, leaf, "good"))
        pki.revoke(leaf)
        clock.move(HOUR - 60)
        assert says(pki, server, leaf, "good")
        assert 'certificate status "revoked"' not in server.log
        clock.move(HOUR + 60)

        def has_asked() -> bool:
            return says(pki, server, leaf, "good") and 'certificate status "revoked"' in server.log

        eventually(has_asked)
        assert says(pki, server, leaf, "good")
        clock.move(0)
        reload(server)
        eventually(lambda: NOTHING in stapled(pki, server) and server.log.count('certificate status "revoked"') > 1)
        assert NOTHING in stapled(pki, server)
        assert not curl_believes(pki, server)
        believed, said = gnutls_believes(pki, server)
        assert believed == (template == "web"), said


@one_of_them
def test_nginx_ends_with_the_answer(pki: PKI, tmp_path: Path) -> None:
    leaf, clock = pki.issue(tmp_path), MovedClock(tmp_path / "clock")
    with stapling_nginx(pki, leaf, tmp_path, clock) as server:
        eventually(lambda: says(pki, server, leaf, "good"))
        pki.revoke(leaf)
        clock.move(24 * HOUR + 60)
        eventually(lambda: NOTHING in stapled(pki, server))


@one_of_them
def test_must_staple_without_an_answer_is_refused(pki: PKI, tmp_path: Path) -> None:
    """As with the first handshake after nginx was started."""
    leaf = pki.issue(tmp_path, "stapled")
    with stapling_nginx(pki, leaf, tmp_path) as server:
        believed, said = gnutls_believes(pki, server)
        assert not believed
        assert "requires the server to include an OCSP status" in said, said
        eventually(lambda: gnutls_believes(pki, server)[0])


@one_of_them
def test_nginx_staples_from_a_file_with_the_first_handshake(pki: PKI, tmp_path: Path) -> None:
    leaf, answer = pki.issue(tmp_path, "stapled"), tmp_path / "web.ocsp"

    def fetch() -> None:
        pki.installation.run("ocsp", "query", leaf.chain, "--no-nonce", "--out", answer)

    fetch()
    port = free_port()
    by_file = with_these(shown("nginx", "stapling from a file"), {"/etc/nginx/web.ocsp": str(answer)})
    site = with_these(shown("nginx", "stapling"), {
        "listen 443": f"listen 127.0.0.1:{port}", "/etc/nginx/web.pem": str(leaf.chain),
        "/etc/nginx/web.key": str(leaf.key), "/etc/nginx/authorities.pem": str(pki.authorities),
        "  resolver 192.0.2.53": f"{by_file}\n  #",
    })  # fmt: skip
    with nginx(tmp_path, port, site) as server:
        believed, said = gnutls_believes(pki, server)
        assert believed, said
        assert says(pki, server, leaf, "good")
        pki.revoke(leaf)
        fetch()
        reload(server)
        eventually(lambda: says(pki, server, leaf, "revoked"))


def reload(server: WebServer) -> None:
    """Until then the former workers, which remember, may still answer."""
    ended = server.log.count("exited with code 0")
    server.tree.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.log.count("exited with code 0") > ended)
