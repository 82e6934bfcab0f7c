"""Keys, requests and self-signed certificates without any state, judged by strangers."""

from __future__ import annotations

import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import click
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dilithium_py.ml_dsa import ML_DSA_44

from pkiconf.model.keys import KEY_ALGORITHMS
from tests.cli.conftest import CommandLine
from tests.cli.test_help import LEAVES
from tests.tools import accepted, run_tool

# What Debian 12's OpenSSL and GnuTLS know.
KNOWN_TO_ALL = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448")


def make_key(bare: CommandLine, kind: str = "ec-p256", *more: str) -> Path:
    path = bare.folder / f"{kind}.key"
    bare.ok("key", "new", "--type", kind, "--out", path, *more)
    return path


@pytest.mark.row("F28")
@pytest.mark.parametrize("kind", [kind for kind in KEY_ALGORITHMS if kind not in ("rsa-3072", "rsa-4096")])
def test_a_key_a_request_and_a_certificate_of_every_kind(bare: CommandLine, kind: str) -> None:
    key = make_key(bare, kind)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert bare.ok("key", "show", key, "--json").json["type"] == kind
    request = bare.ok("csr", "new", "--key", key, "--subject", "CN=a", "--san", "dns:a.example").raw
    read = x509.load_pem_x509_csr(request)
    assert read.is_signature_valid
    private = load_pem_private_key(key.read_bytes(), None)
    assert read.public_key() == private.public_key()
    certificate = x509.load_pem_x509_certificate(bare.ok("cert", "self-signed", "--key", key, "--subject", "CN=a").raw)
    certificate.verify_directly_issued_by(certificate)
    assert not bare.state.exists()


@pytest.mark.row("F5")
@pytest.mark.parametrize("kind", KNOWN_TO_ALL)
def test_openssl_and_gnutls_accept_them(bare: CommandLine, kind: str) -> None:
    key, csr, pem = make_key(bare, kind), bare.folder / "a.csr", bare.folder / "a.pem"
    names = ("--subject", "CN=web.corp.example,O=Example Corp,C=NL", "--san", "dns:web.corp.example", "--san", "ip:::1")
    bare.ok("csr", "new", "--key", key, *names, "--out", csr)
    text = accepted(
        run_tool("openssl", "req", "-in", csr, "-verify", "-noout", "-text", "-nameopt", "oneline,-space_eq")
    )
    assert "Subject: C=NL, O=Example Corp, CN=web.corp.example" in text
    assert "DNS:web.corp.example, IP Address:0:0:0:0:0:0:0:1" in text
    accepted(run_tool("certtool", "--crq-info", "--infile", csr))
    bare.ok("cert", "self-signed", "--key", key, *names, "--out", pem)
    accepted(run_tool("openssl", "verify", "-check_ss_sig", "-purpose", "sslserver", "-CAfile", pem, pem))
    accepted(run_tool("certtool", "--certificate-info", "--infile", pem))
    # GnuTLS trusts nothing but authorities.
    bare.ok("cert", "self-signed", "--key", key, *names, "--starter", "certificate-authority", "--out", pem)
    accepted(run_tool("certtool", "--verify-profile=low", "--verify", "--load-ca-certificate", pem, "--infile", pem))


@pytest.mark.row("F28")
def test_an_independent_implementation_verifies_an_ml_dsa_request(bare: CommandLine) -> None:
    key = make_key(bare, "ml-dsa-44")
    request = x509.load_pem_x509_csr(bare.ok("csr", "new", "--key", key, "--subject", "CN=a").raw)
    public = request.public_key().public_bytes_raw()  # type: ignore[union-attr]
    assert ML_DSA_44.verify(public, request.tbs_certrequest_bytes, request.signature)


@pytest.mark.row("F5")
def test_a_self_signed_certificate_says_what_was_asked_for(bare: CommandLine) -> None:
    key = make_key(bare)
    words = ("--san", "dns:localhost", "--san", "ip:127.0.0.1", "--days", "30", "--starter", "mutual-tls")
    found = x509.load_pem_x509_certificate(bare.ok("cert", "self-signed", "--key", key, *words).raw)
    assert found.subject.rfc4514_string() == found.issuer.rfc4514_string() == "CN=localhost"
    assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=30) - timedelta(seconds=1)
    usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {usage.dotted_string for usage in usages} == {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment, "an EC key cannot"
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.serial_number.bit_length() > 64


@pytest.mark.row("F5")
def test_an_authority_of_ones_own(bare: CommandLine) -> None:
    words = ("--subject", "CN=My Root", "--starter", "certificate-authority", "--not-after", "2040-01-31T08:00")
    found = x509.load_pem_x509_certificate(bare.ok("cert", "self-signed", "--key", make_key(bare), *words).raw)
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, None)
    assert found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert found.not_valid_after_utc.isoformat() == "2040-01-31T08:00:00+00:00"


def test_hash_and_padding_are_chosen(bare: CommandLine) -> None:
    key = make_key(bare, "rsa-2048")
    words = ("--key", key, "--subject", "CN=a", "--hash", "sha512", "--pss")
    for command in (("csr", "new"), ("cert", "self-signed")):
        out = bare.folder / "out.pem"
        bare.ok(*command, *words, "--out", out)
        tool = "req" if command[0] == "csr" else "x509"
        text = accepted(run_tool("openssl", tool, "-in", out, "-noout", "-text"))
        assert "Signature Algorithm: rsassaPss" in text
        assert "sha512" in text


def test_usages_are_asked_for_by_name_or_oid(bare: CommandLine) -> None:
    words = ("--extended-key-usage", "serverAuth", "--extended-key-usage", "1.2.3.4")
    request = bare.ok("csr", "new", "--key", make_key(bare), "--subject", "CN=a", *words).raw
    wish = x509.load_pem_x509_csr(request).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert [usage.dotted_string for usage in wish.value] == ["1.3.6.1.5.5.7.3.1", "1.2.3.4"]


def test_der_to_a_file_and_to_standard_output(bare: CommandLine) -> None:
    key = make_key(bare)
    words = ("csr", "new", "--key", key, "--subject", "CN=a", "--format", "der")
    x509.load_der_x509_csr(bare.ok(*words).raw)
    out = bare.folder / "a.der"
    assert bare.ok(*words, "--out", out).out == ""
    x509.load_der_x509_csr(out.read_bytes())


def test_an_encrypted_key(bare: CommandLine) -> None:
    secret = bare.folder / "passphrase"
    secret.write_text("correct horse\r\nsecond line\n")
    key = make_key(bare, "ec-p256", "--passphrase-file", str(secret))
    load_pem_private_key(key.read_bytes(), b"correct horse")
    accepted(run_tool("openssl", "pkey", "-in", key, "-passin", "pass:correct horse", "-noout"))
    words = ("csr", "new", "--key", key, "--subject", "CN=a")
    bare.ok(*words, "--passphrase-file", secret)
    assert "--passphrase-file" in bare.refuses(1, *words)
    wrong = bare.folder / "wrong"
    wrong.write_text("battery staple\n")
    said = bare.refuses(1, *words, "--passphrase-file", wrong)
    assert "does not open" in said
    assert "battery" not in said
    assert "not encrypted" in bare.refuses(1, "key", "show", make_key(bare, "ed25519"), "--passphrase-file", secret)


def test_a_key_made_by_others_is_read(bare: CommandLine) -> None:
    key = bare.folder / "theirs.key"
    accepted(run_tool("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", key))
    assert bare.ok("key", "show", key, "--json").json["type"] == "ec-p256"


def test_a_key_on_standard_input_and_output(bare: CommandLine) -> None:
    made = bare.ok("key", "new", "--out", "-")
    assert made.err == ""
    load_pem_private_key(made.raw, None)
    bare.ok("csr", "new", "--key", "-", "--subject", "CN=a", stdin=made.raw)


def test_a_request_is_explained(bare: CommandLine) -> None:
    data = bare.ok("csr", "new", "--key", make_key(bare), "--subject", "CN=a,C=NL", "--san", "email:a@b.example").raw
    shown = bare.ok("csr", "show", "-", "--json", stdin=data).json
    assert shown["subject"] == "CN=a,C=NL"
    assert shown["names"] == ["email:a@b.example"]
    assert shown["key"] == "ec-p256"
    assert "dns" not in bare.ok("csr", "show", "-", stdin=data).out


def test_nothing_is_overwritten(bare: CommandLine) -> None:
    key = make_key(bare)
    before = key.read_bytes()
    assert "exists already" in bare.refuses(4, "key", "new", "--out", key)
    assert key.read_bytes() == before
    assert [path.name for path in bare.folder.iterdir()] == [key.name]


def test_devices_are_written_to_and_links_kept(bare: CommandLine, tmp_path: Path) -> None:
    key, real, link, pipe = make_key(bare), tmp_path / "real.pem", tmp_path / "link.pem", tmp_path / "pipe"
    real.write_text("old")
    link.symlink_to(real)
    bare.ok("csr", "new", "--key", key, "--subject", "CN=a", "--out", link)
    assert link.is_symlink()
    x509.load_pem_x509_csr(real.read_bytes())
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    bare.ok("csr", "new", "--key", key, "--subject", "CN=a", "--out", pipe)
    reader.join(10)
    x509.load_pem_x509_csr(got[0])
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (64, ("csr", "new", "--key", "KEY"), "--subject or --san"),
        (64, ("csr", "new", "--key", "KEY", "--subject", "web"), "TYPE=VALUE"),
        (64, ("csr", "new", "--key", "KEY", "--subject", "/C=NL/CN=web"), "'CN=web,C=NL'"),
        (64, ("csr", "new", "--key", "KEY", "--subject", "XX=web"), "no attribute type"),
        (64, ("csr", "new", "--key", "KEY", "--san", "web.corp.example"), "dns:web.example.org"),
        (64, ("csr", "new", "--key", "KEY", "--san", "dns:a..b"), "--san"),
        (64, ("csr", "new", "--key", "KEY", "--san", "ip:300.1.1.1"), "no IP address"),
        (64, ("csr", "new", "--key", "KEY", "--subject", "CN=a", "--extended-key-usage", "web"), "serverAuth"),
        (64, ("csr", "new", "--key", "KEY", "--subject", "CN=a", "--hash", "sha1"), "'sha256'"),
        (1, ("csr", "new", "--key", "KEY", "--subject", "CN=a", "--pss"), "RSA"),
        (1, ("csr", "new", "--key", "nothing", "--subject", "CN=a"), "nothing cannot be read"),
        (64, ("cert", "self-signed", "--key", "KEY"), "--subject"),
        (64, ("cert", "self-signed", "--key", "KEY", "--san", "uri:http://a.example/"), "--subject"),
        (64, ("cert", "self-signed", "--key", "KEY", "--subject", "CN=a", "--starter", "server"), "web-server"),
        (64, ("cert", "self-signed", "--key", "KEY", "--subject", "CN=a", "--days", "0"), "1<=x"),
        (64, ("cert", "self-signed", "--key", "KEY", "--subject", "CN=a", "--not-after", "2027-13-01"), "2027-01-31"),
        (
            64,
            ("cert", "self-signed", "--key", "KEY", "--subject", "CN=a", "--days", "3", "--not-after", "2030-01-01"),
            "not both",
        ),
        (4, ("cert", "self-signed", "--key", "KEY", "--subject", "CN=a", "--not-after", "2020-01-01"), "already"),
        (64, ("key", "new"), "--out"),
        (64, ("key", "new", "--out", "x", "--encrypt"), "--passphrase-file"),
        (64, ("key", "new", "--out", "x", "--encrypt", "--passphrase-file", "KEY"), "not both"),
        (1, ("key", "new", "--out", "x", "--passphrase-file", "nothing"), "nothing cannot be read"),
        (1, ("key", "new", "--out", "/nonexistent/x"), "/nonexistent/"),
        (1, ("key", "show", "nothing"), "nothing cannot be read"),
        (1, ("csr", "show", "KEY"), "PRIVATE KEY"),
    ],
)
def test_mistakes(bare: CommandLine, code: int, words: tuple[str, ...], hint: str) -> None:
    key = make_key(bare)
    said = bare.refuses(code, *(str(key) if word == "KEY" else word for word in words))
    assert hint in said
    assert [path.name for path in bare.folder.iterdir()] == [key.name], "a failed command left something"


def test_an_empty_passphrase_file(bare: CommandLine) -> None:
    empty = bare.folder / "empty"
    empty.write_text("\n")
    assert "is empty" in bare.refuses(1, "key", "new", "--out", bare.folder / "x", "--passphrase-file", empty)


def test_weak_keys_are_not_used(bare: CommandLine) -> None:
    key = bare.folder / "weak.key"
    accepted(run_tool("openssl", "genrsa", "-out", key, "1024"))
    assert "1024" in bare.refuses(4, "csr", "new", "--key", key, "--subject", "CN=a")
    assert "1024" in bare.refuses(4, "key", "show", key)


def test_no_secret_on_the_command_line() -> None:
    """No option takes a passphrase or a key itself: whoever lists processes would see it."""
    for words, command in LEAVES.items():
        for parameter in command.params:
            for name in parameter.opts:
                secret = any(word in name for word in ("pass", "secret", "password", "master"))
                takes_text = isinstance(parameter.type, click.types.StringParamType)
                assert not (secret and takes_text), f"{words} {name}"
