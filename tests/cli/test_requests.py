"""Requests from the command line: submitted, looked at, signed, declined, one by one and in bulk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.conftest import CommandLine
from tests.tools import accepted, run_tool


def leaf(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def dns_names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


@pytest.mark.row("F16")
@pytest.mark.row("F22")
@pytest.mark.row("F89")
def test_a_request_waits_is_listed_and_signed(pki: CommandLine) -> None:
    said = pki.ok("request", "submit", "--template", "corp-issuing/web-server", pki.csr()).out
    assert said.startswith("Request 1 is pending (template corp-issuing/web-server).\n")
    assert "pkiconf request sign 1 --out FILE" in said
    assert pki.ok("cert", "list", "--json").json == []
    (row,) = pki.ok("request", "list", "--json").json
    assert row["number"] == 1
    assert row["state"] == "pending"
    assert row["names"] == ["dns:web.corp.example"]
    assert "web.corp.example" in pki.ok("request", "list").out
    out = pki.folder / "web.pem"
    assert "serial" in pki.ok("request", "sign", "1", "--out", out).out
    assert pki.ok("request", "list").out == "No such requests.\n"
    assert pki.ok("request", "list", "--state", "issued", "--json").json[0]["serial"] == f"{leaf(out).serial_number:X}"
    root = pki.folder / "root.pem"
    pki.ok("authority", "export", "corp-root", "--out", root)
    accepted(run_tool("openssl", "verify", "-purpose", "sslserver", "-CAfile", root, "-untrusted", out, out))


@pytest.mark.row("F88")
def test_a_request_is_shown_with_its_csr(pki: CommandLine) -> None:
    path = pki.csr("web.corp.example", "www.corp.example")
    pki.ok("request", "submit", "-t", "web-server", path)
    shown = pki.ok("request", "show", "1", "--json").json
    assert shown["subject"] == "CN=web.corp.example"
    assert shown["names"] == ["dns:web.corp.example", "dns:www.corp.example"]
    assert shown["key"] == "ec-p256"
    assert shown["serial"] is None
    assert x509.load_pem_x509_csr(pki.ok("request", "show", "1", "--csr").raw) == x509.load_pem_x509_csr(
        path.read_bytes()
    )
    assert "dns:www.corp.example" in pki.ok("request", "show", "1").out


@pytest.mark.row("F95")
def test_submit_and_approve_in_one_step(pki: CommandLine) -> None:
    result = pki.ok("request", "submit", "-t", "web-server", "-", "--approve", stdin=pki.csr().read_bytes())
    certificates = x509.load_pem_x509_certificates(result.raw)
    assert [one.subject.rfc4514_string().split(",")[0] for one in certificates] == [
        "CN=web.corp.example", "CN=Example Corp Issuing CA 1",
    ]  # fmt: skip
    assert "is issued" in result.err


def test_signed_twice_is_signed_once(pki: CommandLine) -> None:
    number = pki.submit()
    first, second = pki.ok("request", "sign", number), pki.ok("request", "sign", number)
    assert first.raw == second.raw
    assert len(pki.ok("cert", "list", "--json").json) == 1


@pytest.mark.row("F90")
def test_what_is_asked_for_is_changed_and_the_csr_kept(pki: CommandLine) -> None:
    path = pki.csr("web.corp.example", "old.corp.example")
    pki.ok("request", "submit", "-t", "web-server", path)
    out = pki.folder / "web.pem"
    words = ("--set", "subject.O=Example Corp", "--add-san", "dns:new.corp.example", "--add-san", "ip:10.1.2.3")
    pki.ok("request", "sign", "1", *words, "--remove-san", "dns:old.corp.example", "--out", out)
    assert dns_names(leaf(out)) == ["web.corp.example", "new.corp.example"]
    assert leaf(out).subject.rfc4514_string() == "CN=web.corp.example,O=Example Corp"
    assert "old.corp.example" in pki.ok("request", "show", "1").out
    assert x509.load_pem_x509_csr(pki.ok("request", "show", "1", "--csr").raw) == x509.load_pem_x509_csr(
        path.read_bytes()
    )
    shown = pki.ok("request", "show", "1", "--json").json["overrides"]
    assert shown["add_sans"] == ["dns:new.corp.example", "ip:10.1.2.3"]
    said = pki.ok("request", "show", "1").out
    for line in ("subject.O=Example Corp", "add SAN dns:new.corp.example", "remove SAN dns:old.corp.example"):
        assert line in said
    assert "{" not in said


@pytest.mark.row("F91")
def test_another_validity_in_days(pki: CommandLine) -> None:
    number, out = pki.submit(), pki.folder / "web.pem"
    pki.ok("request", "sign", number, "--days", "30", "--out", out)
    found = leaf(out)
    assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=30) - timedelta(seconds=1)


@pytest.mark.row("F92")
def test_a_start_in_the_future(pki: CommandLine) -> None:
    number, out = pki.submit(), pki.folder / "web.pem"
    start = (datetime.now(UTC) + timedelta(days=10)).replace(microsecond=0)
    end = start + timedelta(days=5)
    words = ("--not-before", start.isoformat(), "--not-after", end.isoformat())
    pki.ok("request", "sign", number, *words, "--out", out)
    assert (leaf(out).not_valid_before_utc, leaf(out).not_valid_after_utc) == (start, end)


@pytest.mark.row("F24")
def test_many_at_once_into_a_folder(pki: CommandLine) -> None:
    for name in ("a", "b", "c"):
        pki.submit(f"{name}.corp.example")
    out = pki.folder / "out"
    pki.ok("request", "sign", "1", "3", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["1.pem", "3.pem"]
    pki.ok("request", "sign", "--all", "--out", out)
    assert dns_names(leaf(out / "2.pem")) == ["b.corp.example"]
    assert pki.ok("request", "sign", "--all").out == "No such requests.\n"


@pytest.mark.row("F24")
def test_many_by_a_filter_and_one_that_fails_does_not_stop_the_others(pki: CommandLine) -> None:
    pki.submit("a.corp.example")
    pki.ok("request", "submit", "-t", "web-server", pki.csr("b.elsewhere.example"))
    pki.submit("c.corp.example")
    pki.submit("d.corp.example")
    result = pki("request", "sign", "--filter", "name=dns:[abc].*", "--out", pki.folder / "out")
    assert result.code == 4
    assert "request 2" in result.err
    assert "elsewhere.example" in result.err
    states = {row["number"]: row["state"] for row in pki.ok("request", "list", "--all", "--json").json}
    assert states == {1: "issued", 2: "pending", 3: "issued", 4: "pending"}


@pytest.mark.row("F24")
@pytest.mark.row("F89")
def test_declining_in_bulk(pki: CommandLine) -> None:
    for name in ("a", "b", "c"):
        pki.submit(f"{name}.corp.example")
    pki.ok("request", "sign", "2")
    result = pki("request", "decline", "1", "2", "3", "--reason", "not now")
    assert result.code == 4
    assert result.out == "Request 1 is declined.\nRequest 3 is declined.\n"
    assert "request 2" in result.err
    shown = pki.ok("request", "show", "1", "--json").json
    assert (shown["state"], shown["reason"]) == ("declined", "not now")
    pki.submit("d.corp.example")
    pki.ok("request", "decline", "--filter", "name=dns:d.*", "--reason", "no")
    assert pki.ok("request", "list", "--json").json == []


@pytest.mark.row("F89")
def test_declined_stays_declined(pki: CommandLine) -> None:
    number = pki.submit()
    pki.ok("request", "decline", number, "--reason", "unknown applicant")
    assert "declined" in pki.refuses(4, "request", "sign", number)
    assert pki.ok("cert", "list", "--json").json == []


@pytest.mark.row("F29")
@pytest.mark.parametrize("kind", ["ml-dsa-65", "ed25519", "rsa-2048"])
def test_keys_of_other_kinds_below_an_ec_authority(pki: CommandLine, kind: str) -> None:
    key, csr, out = (pki.folder / f"a.{form}" for form in ("key", "csr", "pem"))
    pki.ok("key", "new", "--type", kind, "--out", key)
    pki.ok("csr", "new", "--key", key, "--san", "dns:a.corp.example", "--out", csr)
    pki.ok("request", "submit", "-t", "web-server", csr, "--approve", "--out", out)
    issued, issuer = x509.load_pem_x509_certificates(out.read_bytes())[:2]
    issued.verify_directly_issued_by(issuer)
    assert issued.public_key() == x509.load_pem_x509_csr(csr.read_bytes()).public_key()


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (1, ("request", "submit", "-t", "web-server", "nothing.csr"), "nothing.csr cannot be read"),
        (1, ("request", "submit", "-t", "nothing", "CSR"), "Known templates: corp-issuing/web-server"),
        (1, ("request", "submit", "-t", "corp-root/web-server", "CSR"), "Known templates: corp-issuing/web-server"),
        (1, ("request", "submit", "-t", "corp-root/_certificate-authority", "CSR"), "there is no template"),
        (1, ("request", "submit", "-t", "corp-issuing/_service-ocsp", "CSR"), "there is no template"),
        (64, ("request", "submit", "CSR"), "--template"),
        (64, ("request", "submit", "-t", "web-server", "CSR", "--out", "x"), "--approve"),
        (1, ("request", "show", "9"), "pkiconf request list"),
        (64, ("request", "show", "first"), "'first' is not a valid integer"),
        (64, ("request", "sign"), "--all, or --filter"),
        (64, ("request", "sign", "1", "--all"), "--all, or --filter"),
        (1, ("request", "sign", "9"), "there is no request 9"),
        (64, ("request", "sign", "1", "--set", "O"), "subject.O=Example Corp"),
        (64, ("request", "sign", "1", "--add-san", "www.corp.example"), "dns:web.example.org"),
        (64, ("request", "sign", "1", "--days", "3", "--not-after", "2030-01-01"), "not both"),
        (64, ("request", "sign", "1", "--not-before", "tomorrow"), "2027-01-31"),
        (64, ("request", "decline", "1"), "--reason"),
        (1, ("request", "decline", "9", "--reason", "x"), "there is no request 9"),
    ],
)
def test_mistakes(pki: CommandLine, code: int, words: tuple[str, ...], hint: str) -> None:
    pki.submit()
    csr = str(pki.csr())
    before = pki.ok("request", "list", "--all", "--json").json
    assert hint in pki.refuses(code, *(csr if word == "CSR" else word for word in words))
    assert pki.ok("request", "list", "--all", "--json").json == before
    assert pki.ok("cert", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--days", "399"), "max_validity of 398d"),
        (("--not-after", "2020-01-01"), "already have ended"),
        (("--not-before", "2040-01-01", "--not-after", "2039-01-01"), "not lie after the start"),
        (("--add-san", "dns:www.elsewhere.example"), "dns:www.elsewhere.example is not allowed"),
        (("--add-san", "email:a@corp.example"), "email:a@corp.example is of a type that the template does not allow"),
        (("--remove-san", "dns:other.corp.example"), "not among the requested names"),
        (("--set", "CN=elsewhere.example"), "elsewhere.example"),
        (("--not-before", "2019-01-01", "--not-after", "2019-06-01"), "before"),
    ],
)
def test_signing_is_refused(pki: CommandLine, words: tuple[str, ...], why: str) -> None:
    number = pki.submit()
    said = pki.refuses(4, "request", "sign", number, *words)
    assert said.startswith("refused: ")
    assert why in said
    assert pki.ok("request", "show", number, "--json").json["state"] == "pending"


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"\x30\x82\xff\xff", b"x" * 70_000, b"-----BEGIN CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request(pki: CommandLine, data: bytes) -> None:
    pki.refuses(1, "request", "submit", "-t", "web-server", "-", stdin=data)
    assert pki.ok("request", "list", "--all", "--json").json == []


@pytest.mark.parametrize("words", [("csr", "show"), ("request", "submit", "-t", "web-server")])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", ""),
        ("just words", "neither PEM nor DER nor base64"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds CERTIFICATE where"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "no end line"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", ""),
    ],
)
def test_a_file_that_is_no_request(pki: CommandLine, words: tuple[str, ...], content: str, why: str) -> None:
    """Which file, what is wrong with it, and what to give instead."""
    wrong = pki.folder / "wrong.csr"
    wrong.write_text(content)
    said = pki.refuses(1, *words, wrong)
    assert f"{wrong} is no certificate request: " in said
    assert why in said
    assert "pkiconf csr new" in said
    assert "BEGIN CERTIFICATE REQUEST" in said
    assert pki.ok("request", "list", "--all", "--json").json == []


def test_a_request_that_was_changed_on_its_way(pki: CommandLine) -> None:
    good = pki.csr().read_text().splitlines()
    changed = pki.folder / "changed.csr"
    changed.write_text("\n".join([*good[:-2], good[-2][:-8] + "AAAAAAA=", good[-1], ""]))
    assert str(changed) in pki.refuses(1, "request", "submit", "-t", "web-server", changed)
    assert "standard input" in pki.refuses(1, "csr", "show", "-", stdin=b"nothing")
