"""Authorities from the command line: declared, looked at, exported, signed elsewhere, renewed, destroyed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.cli.conftest import CommandLine
from tests.tools import accepted, run_tool

EXTERNAL = """
authorities:
  - name: department-ca
    issuer: external
    subject: { common_name: Department Issuing CA, organization: Example Corp }
    path_length: 0
    default_templates: [web-server]
"""


def declare(pki: CommandLine, text: str) -> Path:
    path = pki.folder / "pki.yaml"
    path.write_text(text)
    return path


@pytest.mark.row("F4")
@pytest.mark.row("F10")
def test_a_name_is_enough(bare: CommandLine) -> None:
    path = declare(bare, "authorities: [{ name: home }]\n")
    plan = bare("plan", path)
    assert plan.code == 2
    for default in ("subject.common_name: home", "key.curve: p384", "validity: 10y", "crl.validity: 7d"):
        assert default in plan.out
    assert not bare.state.exists(), "a plan made state"
    assert "changed=" in bare.ok("apply", path, "--yes").out
    (shown,) = bare.ok("authority", "list", "--json").json
    assert (shown["name"], shown["state"], shown["key"]) == ("home", "active", "ec-p384")
    assert [row["template"] for row in bare.ok("template", "list", "--json").json] == ["home/web-server"]
    bare.issue("web.example.org")


def test_an_imported_key_is_listed_as_what_it_is(bare: CommandLine) -> None:
    accepted(
        run_tool(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "900",
            "-subj", "/CN=old", "-keyout", bare.folder / "ca.key", "-out", bare.folder / "ca.pem",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )
    )  # fmt: skip
    key = "key: { source: import, file: ca.key }, certificate: { file: ca.pem }"
    path = declare(bare, f"authorities: [{{ name: old, {key}, default_templates: [] }}, {{ name: home }}]\n")
    bare.ok("apply", path, "--yes")
    listed = {row["name"]: (row["key"], row["key_source"]) for row in bare.ok("authority", "list", "--json").json}
    assert listed == {"old": ("ec-p384", "imported"), "home": ("ec-p384", "generated here")}
    assert "imported" in bare.ok("authority", "show", "old").out


@pytest.mark.row("F30")
@pytest.mark.row("F48")
def test_authorities_are_listed_and_shown(pki: CommandLine) -> None:
    names = [row["name"] for row in pki.ok("authority", "list", "--json").json]
    assert names == ["corp-issuing", "corp-root"]
    assert "corp-root" in pki.ok("authority", "list").out
    shown = pki.ok("authority", "show", "corp-issuing", "--json").json
    assert shown["issuer"] == "corp-root"
    assert shown["generation"] == 1
    assert shown["subject"] == "CN=Example Corp Issuing CA 1,O=Example Corp,C=NL"
    assert "generation 1 (active), subordinate, serial" in shown["certificates"][0]
    assert "corp-root" in pki.ok("authority", "show", "corp-issuing").out


@pytest.mark.row("F48")
def test_certificates_are_exported_in_every_form(pki: CommandLine) -> None:
    own = x509.load_pem_x509_certificate(pki.ok("authority", "export", "corp-issuing").raw)
    assert x509.load_der_x509_certificate(pki.ok("authority", "export", "corp-issuing", "--format", "der").raw) == own
    chain = x509.load_pem_x509_certificates(pki.ok("authority", "export", "corp-issuing", "--chain").raw)
    assert chain[0] == own
    own.verify_directly_issued_by(chain[1])
    assert chain[1].subject == chain[1].issuer
    bag = pki.ok("authority", "export", "corp-issuing", "--format", "p7b", "--chain").raw
    assert set(pkcs7.load_der_pkcs7_certificates(bag)) == set(chain)


@pytest.mark.row("F49")
@pytest.mark.row("F87")
def test_urls_are_those_in_the_certificates(pki: CommandLine) -> None:
    urls = pki.ok("authority", "urls", "corp-issuing", "--json").json
    assert urls["crl"] in pki.ok("authority", "urls", "corp-issuing").out
    assert pki.ok("template", "urls", "web-server", "--json").json == urls
    pki.issue()
    leaf = x509.load_pem_x509_certificates((pki.folder / "web.corp.example.pem").read_bytes())[0]
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for name in points[0].full_name or ()] == [urls["crl"]]
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert {item.access_location.value for item in access} == {urls["ocsp"], urls["certificate"]}


@pytest.mark.row("F8")
@pytest.mark.row("F55")
def test_templates_are_listed_and_shown(pki: CommandLine) -> None:
    (row,) = pki.ok("template", "list", "--json").json
    assert (row["template"], row["starter"], row["validity"]) == ("corp-issuing/web-server", "web-server", "90d")
    assert row["issues_unattended"] is False
    listed = pki.ok("template", "list").out
    assert "corp-issuing/web-server" in listed
    assert "issues unattended" in listed
    shown = pki.ok("template", "show", "web-server", "--json").json
    assert shown["spec"]["max_validity"] == "398d"
    text = pki.ok("template", "show", "corp-issuing/web-server").out
    assert "*.corp.example" in text
    assert "extended_key_usage.values" in text
    assert len(pki.ok("template", "list", "--system", "--json").json) > 1
    starters = {row["starter"] for row in pki.ok("template", "starters", "--json").json}
    assert {"web-server", "certificate-authority", "ocsp-signing"} <= starters
    assert "serverAuth" in pki.ok("template", "starters").out


@pytest.mark.row("F43")
@pytest.mark.row("F44")
@pytest.mark.row("F46")
@pytest.mark.row("F47")
def test_signed_elsewhere(bare: CommandLine) -> None:
    path = declare(bare, EXTERNAL)
    waits = bare("apply", path, "--yes")
    assert waits.code == 3, waits.err
    assert "install-cert" in waits.out + waits.err
    assert bare.ok("authority", "list", "--json").json[0]["state"] == "waiting certificate"
    csr, root_key, root, own, extensions = (
        bare.folder / name for name in ("department.csr", "root.key", "root.pem", "department.pem", "extensions")
    )
    bare.ok("authority", "csr", "department-ca", "--out", csr)
    again = bare.ok("authority", "csr", "department-ca", "--format", "der").raw
    assert x509.load_der_x509_csr(again).public_key() == x509.load_pem_x509_csr(csr.read_bytes()).public_key()
    bare.ok("key", "new", "--out", root_key)
    words = ("--subject", "CN=Elsewhere Root", "--starter", "certificate-authority", "--days", "3650")
    bare.ok("cert", "self-signed", "--key", root_key, *words, "--out", root)
    extensions.write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
                          "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")  # fmt: skip
    accepted(run_tool("openssl", "x509", "-req", "-in", csr, "-CA", root, "-CAkey", root_key, "-days", "1000",
                      "-extfile", extensions, "-out", own))  # fmt: skip

    before = bare.ok("authority", "show", "department-ca", "--json").json
    install = ("authority", "install-cert", "department-ca")
    assert "issuer" in bare.refuses(4, *install, own), "without the chain"
    assert "another key" in bare.refuses(4, *install, root)
    assert "chain" in bare.refuses(4, *install, own, "--chain", own)
    assert "nothing.pem cannot be read" in bare.refuses(1, *install, "nothing.pem")
    bare.refuses(1, *install, csr)
    assert bare.ok("authority", "show", "department-ca", "--json").json == before

    said = bare.ok(*install, own, "--chain", root).out
    assert said == "Authority department-ca is active; its chain: CN=Elsewhere Root.\n"
    assert "failed=0 waiting=0" in bare.ok("apply", path, "--yes").out
    bare.issue("web.example.org")
    leaf = bare.folder / "web.example.org.pem"
    accepted(run_tool("openssl", "verify", "-CAfile", root, "-untrusted", leaf, leaf))


@pytest.mark.row("F45")
def test_an_authority_signed_by_hand_from_a_template(bare: CommandLine) -> None:
    path = declare(
        bare,
        """
authorities:
  - { name: root, path_length: 1, default_templates: [] }
templates:
  - { name: intermediate, authority: root, starter: certificate-authority }
""",
    )
    bare.ok("apply", path, "--yes")
    other = CommandLine(bare.folder / "other", bare.folder)
    theirs = bare.folder / "theirs.yaml"
    theirs.write_text(EXTERNAL)
    assert other("apply", theirs, "--yes").code == 3
    csr, own, root = (bare.folder / name for name in ("d.csr", "d.pem", "root.pem"))
    other.ok("authority", "csr", "department-ca", "--out", csr)
    bare.ok("request", "submit", "-t", "root/intermediate", csr, "--approve", "--out", own)
    bare.ok("authority", "export", "root", "--out", root)
    other.ok("authority", "install-cert", "department-ca", own, "--chain", root)
    assert other.ok("authority", "list", "--json").json[0]["state"] == "active"


def test_renewed_for_the_same_key(pki: CommandLine) -> None:
    before = x509.load_pem_x509_certificate(pki.ok("authority", "export", "corp-issuing").raw)
    assert "has a new certificate, until" in pki.ok("authority", "renew", "corp-issuing").out
    after = x509.load_pem_x509_certificate(pki.ok("authority", "export", "corp-issuing").raw)
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    assert len(pki.ok("authority", "show", "corp-issuing", "--json").json["certificates"]) == 2


@pytest.mark.row("F53")
def test_destroyed_after_it_was_retired(pki: CommandLine) -> None:
    serial = pki.issue()
    said = pki.refuses(4, "authority", "destroy", "corp-issuing", "--confirm", "corp-issuing")
    assert "state: absent" in said
    retired = declare(
        pki,
        """
settings: { base_url: "http://127.0.0.1:8000" }
authorities:
  - { name: corp-root, path_length: 1 }
  - { name: corp-issuing, issuer: corp-root, state: absent }
templates:
  - { name: web-server, authority: corp-issuing, state: absent }
""",
    )
    assert pki("apply", retired, "--yes").code == 4, "retiring needs consent"
    pki.ok("cert", "revoke", serial, "--reason", "cessationOfOperation")
    result = pki("apply", retired, "--yes", "--allow", "retire,replace,rollover")
    assert result.code == 0, result.out + result.err
    archive = pki.folder / "archive.tar"
    assert "not 'corp-issuing'" in pki.refuses(4, "authority", "destroy", "corp-issuing", "--confirm", "corp-root")
    pki.ok("authority", "destroy", "corp-issuing", "--confirm", "corp-issuing", "--archive", archive)
    with tarfile.open(archive) as tar:
        issued = tar.extractfile("generation-1/issued.pem")
        assert issued is not None
        serials = {f"{one.serial_number:X}" for one in x509.load_pem_x509_certificates(issued.read())}
        last = tar.extractfile("generation-1/last.crl")
        assert last is not None
        assert x509.load_der_x509_crl(last.read()).get_revoked_certificate_by_serial_number(int(serial, 16))
    assert serial in serials
    assert [row["name"] for row in pki.ok("authority", "list", "--json").json] == ["corp-root"]
    assert "there is no certificate" in pki.refuses(1, "cert", "show", serial)
    assert "the log holds" in pki.ok("audit", "verify").out


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (1, ("authority", "show", "nobody"), "Known authorities: corp-issuing, corp-root"),
        (1, ("authority", "urls", "nobody"), "Known authorities"),
        (1, ("authority", "csr", "nobody"), "Known authorities"),
        (1, ("authority", "export", "nobody"), "Known authorities"),
        (64, ("authority", "export", "corp-root", "--chain", "--format", "der"), "p7b"),
        (64, ("authority", "export", "corp-root", "--format", "pfx"), "'p7b'"),
        (1, ("authority", "export", "corp-root", "--out", "/nonexistent/x"), "/nonexistent/x cannot be written"),
        (4, ("authority", "install-cert", "corp-root", "PEM"), "issuer: external"),
        (1, ("authority", "renew", "nobody"), "Known authorities"),
        (64, ("authority", "destroy", "corp-root"), "--confirm"),
        (4, ("authority", "destroy", "corp-root", "--confirm", "root"), "nothing was changed"),
        (4, ("authority", "destroy", "corp-root", "--confirm", "corp-root"), "Retire it first"),
        (1, ("template", "show", "nothing"), "Known templates"),
        (1, ("template", "urls", "nothing"), "Known templates"),
        (1, ("template", "delete", "nothing"), "Known templates"),
        (1, ("template", "delete", "corp-issuing/_service-ocsp"), "Known templates"),
    ],
)
def test_mistakes(pki: CommandLine, code: int, words: tuple[str, ...], hint: str) -> None:
    pem = pki.folder / "root.pem"
    pki.ok("authority", "export", "corp-root", "--out", pem)
    before = [pki.ok(kind, "list", "--json").json for kind in ("authority", "template")]
    assert hint in pki.refuses(code, *(str(pem) if word == "PEM" else word for word in words))
    assert [pki.ok(kind, "list", "--json").json for kind in ("authority", "template")] == before
