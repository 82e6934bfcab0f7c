"""Certificates from the command line: found, exported, revoked, held, released."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.cli.conftest import CommandLine
from tests.tools import accepted, run_tool


def status_of(pki: CommandLine, serial: str) -> str:
    status: str = pki.ok("ocsp", "query", serial, "--local", "--json").json["status"]
    return status


@pytest.mark.row("F93")
def test_certificates_are_listed_and_searched(pki: CommandLine) -> None:
    first, second = pki.issue("a.corp.example"), pki.issue("b.corp.example")
    serials = {row["serial"] for row in pki.ok("cert", "list", "--json").json}
    assert serials == {first, second}
    table = pki.ok("cert", "list").out.splitlines()
    assert table[0].split()[0] == "serial"
    assert len(table) == 3
    assert [row["serial"] for row in pki.ok("cert", "search", "a.corp.example", "--json").json] == [first]
    assert {row["serial"] for row in pki.ok("cert", "search", "*.CORP.example", "--json").json} == serials
    assert pki.ok("cert", "search", "c.corp.example").out == "No such certificates.\n"
    assert len(pki.ok("cert", "list", "--template", "web-server", "--json").json) == 2
    assert len(pki.ok("cert", "list", "--limit", "1", "--json").json) == 1
    assert "--limit shows more" in pki.ok("cert", "list", "--limit", "1").err
    assert pki.ok("cert", "list", "--authority", "corp-root", "--json").json == []
    assert pki.ok("cert", "list", "--expires-before", "2020-01-01", "--json").json == []
    assert len(pki.ok("cert", "list", "--expires-before", "2099-01-01", "--json").json) == 2


@pytest.mark.row("F93")
def test_service_certificates_are_listed_on_request(pki: CommandLine) -> None:
    templates = {row["template"] for row in pki.ok("cert", "list", "--system", "--json").json}
    assert all(name.startswith("_") for name in templates)
    assert "_service-ocsp" in templates
    words = ("cert", "list", "--system", "--template", "corp-issuing/_service-ocsp", "--json")
    assert len(pki.ok(*words).json) == 1


@pytest.mark.row("F93")
@pytest.mark.parametrize(
    "write",
    [
        str,
        str.lower,
        lambda text: bytes.fromhex(text).hex(":"),
        lambda text: f"0x{text}",
        lambda text: f"decimal:{int(text, 16)}",
    ],
)
def test_a_serial_is_written_as_one_likes(pki: CommandLine, write: object) -> None:
    serial = pki.issue()
    shown = pki.ok("cert", "show", write(serial), "--json").json  # type: ignore[operator]
    assert shown["serial"] == serial
    assert shown["status"] == "good"
    assert shown["names"] == ["cn:web.corp.example", "dns:web.corp.example"]


@pytest.mark.row("F9")
def test_a_certificate_names_the_version_of_the_template_that_it_is_of(pki: CommandLine) -> None:
    before = pki.ok("cert", "show", pki.issue(), "--json").json["template_version"]
    (version,) = pki.ok("template", "show", "web-server", "--json").json["history"]
    assert before == version["digest"]
    assert before in pki.ok("template", "show", "web-server").out
    imported = [row for row in pki.ok("cert", "list", "--system", "--json").json if row["template_version"] is None]
    assert imported == []


@pytest.mark.row("F93")
def test_export_in_every_form(pki: CommandLine) -> None:
    serial = pki.issue()
    pem = x509.load_pem_x509_certificate(pki.ok("cert", "export", serial).raw)
    assert f"{pem.serial_number:X}" == serial
    assert x509.load_der_x509_certificate(pki.ok("cert", "export", serial, "--format", "der").raw) == pem
    chain = x509.load_pem_x509_certificates(pki.ok("cert", "export", serial, "--format", "chain").raw)
    assert chain[0] == pem
    pem.verify_directly_issued_by(chain[1])
    assert len(chain) == 2, "the root is not sent"
    bag = pkcs7.load_der_pkcs7_certificates(pki.ok("cert", "export", serial, "--format", "p7b").raw)
    assert set(bag) == set(chain)
    out = pki.folder / "web.p7b"
    assert pki.ok("cert", "export", serial, "--format", "p7b", "--out", out).out == ""
    accepted(run_tool("openssl", "pkcs7", "-inform", "DER", "-in", out, "-print_certs", "-noout"))


@pytest.mark.row("F94")
def test_revoked_with_a_reason(pki: CommandLine) -> None:
    serial = pki.issue()
    assert status_of(pki, serial) == "good"
    said = pki.ok("cert", "revoke", serial, "--reason", "keyCompromise", "--invalid-since", "2026-01-01").out
    assert said == f"Certificate {serial} of corp-issuing is revoked (keyCompromise).\n"
    assert status_of(pki, serial) == "revoked"
    shown = pki.ok("cert", "show", serial, "--json").json
    assert (shown["status"], shown["reason"]) == ("revoked", "keyCompromise")
    crl = pki.ok("crl", "show", "corp-issuing", "--json").json
    assert [(row["serial"], row["reason"]) for row in crl["entries"]] == [(serial, "keyCompromise")]
    assert crl["entries"][0]["invalid_since"] == "2026-01-01T00:00:00+00:00"
    assert [row["serial"] for row in pki.ok("cert", "list", "--status", "revoked", "--json").json] == [serial]


@pytest.mark.row("F94")
def test_held_and_released(pki: CommandLine) -> None:
    serial = pki.issue()
    assert "on hold" in pki.ok("cert", "hold", serial).out
    assert status_of(pki, serial) == "revoked"
    assert pki.ok("crl", "show", "corp-issuing", "--json").json["entries"][0]["reason"] == "certificateHold"
    assert "good again" in pki.ok("cert", "release", serial).out
    assert status_of(pki, serial) == "good"
    assert pki.ok("crl", "show", "corp-issuing", "--json").json["entries"] == []


@pytest.mark.row("F94")
def test_only_a_hold_is_undone(pki: CommandLine) -> None:
    serial = pki.issue()
    assert "on hold" in pki.ok("cert", "hold", serial).out
    pki.ok("cert", "revoke", serial, "--reason", "superseded")
    for words in (("release",), ("hold",), ("revoke",), ("revoke", "--reason", "superseded")):
        assert pki.refuses(4, "cert", words[0], serial, *words[1:]).startswith("refused: ")
    pki.ok("cert", "revoke", serial, "--reason", "keyCompromise")  # worse than thought: the one correction allowed
    assert pki.ok("cert", "show", serial, "--json").json["reason"] == "keyCompromise"


@pytest.mark.row("F86")
def test_a_template_stays_while_a_certificate_of_it_lives(pki: CommandLine) -> None:
    serial = pki.issue()
    said = pki.refuses(4, "template", "delete", "web-server")
    assert serial in said
    pki.ok("cert", "hold", serial)
    assert serial in pki.refuses(4, "template", "delete", "corp-issuing/web-server"), "a hold may be released"
    pki.ok("cert", "revoke", serial, "--reason", "cessationOfOperation")
    said = pki.ok("template", "delete", "web-server").out
    assert "is retired" in said
    assert "The next apply" in said
    assert "retired" in pki.refuses(4, "request", "submit", "-t", "web-server", pki.csr("late.corp.example"))


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (1, ("cert", "show", "xyz"), "decimal:1234"),
        (1, ("cert", "show", "0d12"), "decimal:12"),
        (1, ("cert", "show", "00ff"), "pkiconf cert list"),
        (1, ("cert", "show", "SERIAL", "--authority", "nobody"), "Known authorities: corp-issuing, corp-root"),
        (1, ("cert", "show", "SERIAL", "--authority", "corp-root"), "of authority 'corp-root'"),
        (1, ("cert", "list", "--authority", "nobody"), "Known authorities"),
        (1, ("cert", "list", "--template", "nothing"), "Known templates"),
        (64, ("cert", "list", "--status", "fine"), "'good', 'held'"),
        (64, ("cert", "export", "SERIAL", "--format", "pfx"), "'p7b'"),
        (1, ("cert", "export", "SERIAL", "--out", "/nonexistent/x"), "/nonexistent/x cannot be written"),
        (1, ("cert", "revoke", "1234"), "there is no certificate"),
        (64, ("cert", "revoke", "SERIAL", "--reason", "lost"), "keyCompromise"),
        (64, ("cert", "revoke", "SERIAL", "--reason", "removeFromCRL"), "pkiconf cert release"),
        (4, ("cert", "revoke", "SERIAL", "--reason", "certificateHold"), "pkiconf cert hold"),
        (4, ("cert", "revoke", "SERIAL", "--reason", "cACompromise"), "Use keyCompromise"),
        (4, ("cert", "revoke", "SERIAL", "--invalid-since", "2999-01-01"), "future"),
        (64, ("cert", "revoke", "SERIAL", "--invalid-since", "yesterday"), "2027-01-31"),
        (4, ("cert", "release", "SERIAL"), "hold"),
        (1, ("cert", "hold", "1234"), "there is no certificate"),
    ],
)
def test_mistakes(pki: CommandLine, code: int, words: tuple[str, ...], hint: str) -> None:
    serial = pki.issue()
    said = pki.refuses(code, *(serial if word == "SERIAL" else word for word in words))
    assert hint in said
    assert pki.ok("cert", "show", serial, "--json").json["status"] == "good"
