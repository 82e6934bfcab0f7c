"""`ocsp query`, `crl fetch` and `crl show` against a listening server, and without any network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from pkiconf.bootstrap import open_services
from pkiconf.endpoints.app import create_app
from pkiconf.settings import ProcessSettings
from tests.cli.conftest import CommandLine
from tests.tools import accepted, run_tool


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def url(pki: CommandLine) -> Iterator[str]:
    """The quickstart, served; its certificates name another port."""
    settings = ProcessSettings(state=pki.state)
    with open_services(settings) as services:
        server = make_server("127.0.0.1", 0, create_app(services, settings), handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.mark.row("F134")
@pytest.mark.parametrize("words", [(), ("--method", "get", "--no-nonce"), ("--hash", "sha256"), ("--method", "get")])
def test_asked_over_http(pki: CommandLine, url: str, words: tuple[str, ...]) -> None:
    serial = pki.issue()
    leaf = str(pki.folder / "web.corp.example.pem")
    asked = ["ocsp", "query", leaf, "--url", f"{url}/ocsp/corp-issuing", "--json", *words]
    answer = pki.ok(*asked).json
    assert (answer["serial"], answer["status"]) == (serial, "good")
    assert "CN=Example Corp Issuing CA 1 OCSP Responder" in answer["responder"]
    pki.ok("cert", "revoke", serial, "--reason", "affiliationChanged")
    answer = pki.ok(*asked).json
    assert (answer["status"], answer["reason"]) == ("revoked", "affiliationChanged")


@pytest.mark.row("F134")
def test_the_response_is_kept_for_others_to_check(pki: CommandLine, url: str) -> None:
    serial, out = pki.issue(), pki.folder / "answer.der"
    pki.ok("ocsp", "query", serial, "--url", f"{url}/ocsp/corp-issuing", "--out", out)
    assert f"{ocsp.load_der_ocsp_response(out.read_bytes()).serial_number:X}" == serial
    root, issuing = pki.folder / "root.pem", pki.folder / "issuing.pem"
    pki.ok("authority", "export", "corp-root", "--out", root)
    pki.ok("authority", "export", "corp-issuing", "--out", issuing)
    leaf = pki.folder / "web.corp.example.pem"
    said = accepted(run_tool("openssl", "ocsp", "-respin", out, "-issuer", issuing, "-cert", leaf, "-CAfile", root,
                             "-verify_other", issuing, "-no_nonce"))  # fmt: skip
    assert "Response verify OK" in said
    assert ": good" in said


def test_without_a_network(pki: CommandLine) -> None:
    serial, leaf = pki.issue(), pki.folder / "web.corp.example.pem"
    for asked in (serial, str(leaf)):
        answer = pki.ok("ocsp", "query", asked, "--local", "--json").json
        assert (answer["status"], answer["asked"]) == ("good", "this installation")
    assert "status:" in pki.ok("ocsp", "query", serial, "--local").out


def test_the_issuer_is_found_wherever_it_is(pki: CommandLine) -> None:
    serial, alone, issuer = pki.issue(), pki.folder / "alone.pem", pki.folder / "issuing.pem"
    pki.ok("cert", "export", serial, "--out", alone)
    assert pki.ok("ocsp", "query", alone, "--local", "--json").json["status"] == "good", "known here"
    pki.ok("authority", "export", "corp-issuing", "--out", issuer)
    stranger = CommandLine(pki.folder / "none", pki.folder)
    assert "--issuer" in stranger.refuses(1, "ocsp", "query", alone, "--url", "http://127.0.0.1:1")
    assert "Connection refused" in stranger.refuses(
        1, "ocsp", "query", alone, "--issuer", issuer, "--url", "http://127.0.0.1:1"
    )
    assert not stranger.state.exists()
    der = pki.folder / "alone.der"
    pki.ok("cert", "export", serial, "--format", "der", "--out", der)
    assert pki.ok("ocsp", "query", der, "--local", "--json").json["serial"] == serial


def test_a_serial_that_was_never_issued(pki: CommandLine) -> None:
    assert "there is no certificate" in pki.refuses(1, "ocsp", "query", "00ff", "--local")


@pytest.mark.row("F134")
def test_an_authority_is_asked_about_by_its_own_issuer(pki: CommandLine, url: str) -> None:
    own = pki.folder / "issuing.pem"
    pki.ok("authority", "export", "corp-issuing", "--chain", "--out", own)
    answer = pki.ok("ocsp", "query", own, "--url", f"{url}/ocsp/corp-root", "--json").json
    assert answer["status"] == "good"
    assert "CN=Example Corp Root CA OCSP Responder" in answer["responder"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/ocsp/corp-root", "unauthorized"),
        ("/ocsp/nobody", ""),
        ("/crl/corp-issuing/1.crl", ""),
        ("/healthz", ""),
        ("/", ""),
    ],
)
def test_asked_in_the_wrong_place(pki: CommandLine, url: str, path: str, why: str) -> None:
    pki.issue()
    leaf = pki.folder / "web.corp.example.pem"
    assert why in pki.refuses(1, "ocsp", "query", leaf, "--url", url + path)


@pytest.mark.row("F139")
def test_a_crl_is_fetched_verified_and_shown(pki: CommandLine, url: str) -> None:
    serial = pki.issue()
    pki.ok("cert", "revoke", serial, "--reason", "keyCompromise")
    out = pki.folder / "issuing.crl"
    assert pki.ok("crl", "fetch", "corp-issuing", "--url", f"{url}/crl/corp-issuing/1.crl", "--out", out).out == ""
    crl = x509.load_pem_x509_crl(out.read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None
    shown = pki.ok("crl", "show", out, "--entries").out
    assert serial in shown
    assert "keyCompromise" in shown
    der = pki.ok("crl", "fetch", "corp-issuing", "--url", f"{url}/crl/corp-issuing/1.crl", "--format", "der").raw
    assert x509.load_der_x509_crl(der) == crl
    assert pki.ok("crl", "show", "-", "--json", stdin=der).json["entries"][0]["serial"] == serial
    local = x509.load_der_x509_crl(pki.ok("crl", "fetch", "corp-issuing", "--local", "--format", "der").raw)
    assert local == crl


@pytest.mark.row("F139")
def test_a_crl_of_somebody_else_is_not_taken(pki: CommandLine, url: str) -> None:
    out = pki.folder / "x.crl"
    words = ("crl", "fetch", "corp-issuing", "--out", out)
    assert "not from the issuer" in pki.refuses(1, *words, "--url", f"{url}/crl/corp-root/1.crl")
    pki.refuses(1, *words, "--url", f"{url}/crl/corp-issuing/2.crl")
    pki.refuses(1, *words, "--url", f"{url}/ca/corp-issuing/1.crt")
    assert not out.exists()


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (1, ("ocsp", "query", "nothing.pem"), "there is no file nothing.pem"),
        (1, ("ocsp", "query", "CSR"), "holds no certificate"),
        (64, ("ocsp", "query", "PEM", "--local", "--url", "http://x"), "not both"),
        (64, ("ocsp", "query", "PEM", "--method", "put"), "'post', 'get'"),
        (1, ("ocsp", "query", "PEM", "--url", "ldap://x/"), "not an http URL"),
        (1, ("ocsp", "query", "PEM", "--url", "http://127.0.0.1:1/"), "Connection refused"),
        (64, ("ocsp", "query", "1234", "--issuer", "PEM"), "--issuer goes with a certificate file"),
        (1, ("crl", "fetch", "nobody"), "Known authorities"),
        (1, ("crl", "fetch", "corp-root", "--generation", "2"), "no generation 2"),
        (64, ("crl", "fetch", "corp-root", "--generation", "0"), "x>=1"),
        (64, ("crl", "fetch", "corp-root", "--local", "--url", "http://x"), "not both"),
        (1, ("crl", "fetch", "corp-root", "--url", "http://127.0.0.1:1/"), "Connection refused"),
        (1, ("crl", "show", "nobody"), "Known authorities"),
        (1, ("crl", "show", "nothing.crl"), "there is no file nothing.crl"),
        (1, ("crl", "show", "PEM"), "CERTIFICATE"),
    ],
)
def test_mistakes(pki: CommandLine, code: int, words: tuple[str, ...], hint: str) -> None:
    pki.issue()
    files: dict[str, str | Path] = {"PEM": pki.folder / "web.corp.example.pem", "CSR": pki.csr()}
    assert hint in pki.refuses(code, *(files.get(word, word) for word in words))
