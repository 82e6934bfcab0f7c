"""The same application under granian: what strangers hear, what a revocation changes, how it ends."""

from __future__ import annotations

import base64
import errno
import json
import signal
import socket
import time
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from tests.revocation.pki import question
from tests.serving.running import Installation
from tests.serving.test_server import ask_openssl
from tests.tools import accepted, run_tool

GRANIAN = ("--server", "granian", "--workers", "2")


def test_strangers_ask_and_believe(installation: Installation) -> None:
    leaf = installation.issue()
    issuer = x509.load_pem_x509_certificate(installation.export("issuing").read_bytes())
    asked = question(issuer, leaf.serial_number)
    with installation.serving(*GRANIAN) as server:
        said = ask_openssl(installation, server, "web.corp.example", "-text")
        assert "Response verify OK" in said
        assert ": good" in said
        for _ in range(6):  # from memory too, in both workers
            status, body = server.request("POST", "/ocsp/issuing", asked)
            answer = ocsp.load_der_ocsp_response(body)
            assert (status, answer.certificate_status) == (200, ocsp.OCSPCertStatus.GOOD)
        installation.run("cert", "revoke", f"{leaf.serial_number:x}", "--reason", "keyCompromise")
        for _ in range(12):
            status, body = server.request("POST", "/ocsp/issuing", asked)
            answer = ocsp.load_der_ocsp_response(body)
            assert (status, answer.certificate_status) == (200, ocsp.OCSPCertStatus.REVOKED)
        crl = installation.folder / "crl.der"
        accepted(run_tool("curl", "-sSf", "-o", crl, f"{server.url}/crl/issuing/1.crl"))
        said = accepted(run_tool("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text"))
        assert f"{leaf.serial_number:X}" in said
        assert server.request("GET", "/healthz")[0] == 200
        assert server.tree.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("spelled", [lambda text: quote(text, safe=""), lambda text: quote(text, safe="/+="), str])
def test_get_in_every_spelling(installation: Installation, spelled: object) -> None:
    leaf = installation.issue()
    issuer = x509.load_pem_x509_certificate(installation.export("issuing").read_bytes())
    text = base64.b64encode(question(issuer, leaf.serial_number)).decode()
    assert callable(spelled)
    with installation.serving(*GRANIAN) as server:
        status, body = server.request("GET", f"/ocsp/issuing/{spelled(text)}")
        assert status == 200
        assert ocsp.load_der_ocsp_response(body).certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/ocsp/issuing", b"\x30\x00", 200),
        ("POST", "/ocsp/issuing", b"", 200),
        ("POST", "/ocsp/issuing", b"x" * 20_000, 200),
        ("POST", "/ocsp/issuing", b"x" * (2 << 20), 413),
        ("GET", "/ocsp/nobody", None, 200),
        ("DELETE", "/ocsp/issuing", None, 405),
        ("GET", "/crl/issuing/%ff.crl", None, 404),
        ("GET", "/crl/issuing/1.crl%00", None, 404),
    ],
)
def test_nonsense(installation: Installation, method: str, path: str, body: bytes | None, status: int) -> None:
    with installation.serving(*GRANIAN) as server:
        assert server.request(method, path, body)[0] == status
        assert server.answers()


def test_an_environment_variable_is_no_header(installation: Installation) -> None:
    installation.settings["HTTP_TRANSFER_ENCODING"] = "chunked"
    installation.settings["CONTENT_LENGTH"] = "5"
    with installation.serving(*GRANIAN) as server:
        assert server.request("GET", "/crl/issuing/1.crl")[0] == 200


def test_who_the_client_is_and_whether_it_spoke_tls(installation: Installation) -> None:
    """As under gunicorn: only trusted proxies are believed."""
    said = {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "https"}
    for trusted, client in ((("--trusted-proxies", "127.0.0.0/8"), "203.0.113.5"), ((), "127.0.0.1")):
        with installation.serving(*GRANIAN, "--access-log", "json", *trusted) as server:
            server.get("/nothing/here", headers=said)
            line = server.tree.wait_for(r".*nothing/here.*")
            assert json.loads(line)["client"] == client


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"],
    ids=["silent", "slow head", "idle"],
)  # fmt: skip
def test_clients_that_say_nothing_more_are_cut_off(installation: Installation, sent: bytes) -> None:
    """More of them than there are threads, which they do not keep."""
    installation.settings["PKICONF_REQUEST_TIMEOUT"] = "2"
    with installation.serving("--server", "granian", "--workers", "1", "--threads", "2") as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(8)]
        for connection in held:
            connection.sendall(sent)
        assert server.answers()
        begun = time.monotonic()
        for connection in held:
            while connection.recv(65536):
                assert time.monotonic() - begun < 60
            connection.close()


CUT_OFF = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)


def test_a_head_has_its_limits(installation: Installation) -> None:
    with installation.serving("--server", "granian", "--workers", "1") as server:
        for octets in (
            b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
        ):
            try:
                answer = server.raw(octets)
            except OSError as error:
                if error.errno not in CUT_OFF:
                    raise
                continue  # cut off before all of it was sent
            assert answer == b"" or answer.split(b" ")[1] in (b"400", b"414", b"431"), answer
        assert server.answers()
