"""What other programs see in the certificates we write: OpenSSL, GnuTLS, pkilint."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.der import extensions as ext
from pkiconf.der import oids
from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate, parse_certificate
from pkiconf.der.extensions import PolicyInformation
from pkiconf.der.keys import key_identifier
from pkiconf.der.names import encode_name, general_name_text, parse_general_name_text
from pkiconf.der.pem import pem_decode_all, pem_encode
from pkiconf.der.verify import check_issued_by
from pkiconf.model.certificate import Extension, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.names import Attribute, Name, NameConstraints, NameType
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage

ROW = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
ROOT_KEY = ec.derive_private_key(11, ec.SECP256R1())
LEAF_KEY = ec.derive_private_key(13, ec.SECP256R1())
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2055, 1, 1, tzinfo=UTC)
ROOT_NAME = encode_name(Name(((Attribute("2.5.4.6", "NL"),), (Attribute("2.5.4.3", "Example Root"),))))
SANS = [
    "dns:web.corp.example",
    "dns:*.corp.example",
    "dns:xn--mller-kva.corp.example",
    "ip:192.0.2.1",
    "ip:2001:db8::1",
    "uri:https://web.corp.example/x",
    "email:a@corp.example",
    "rid:1.2.3.4",
    "dirname:CN=Web,C=NL",
    "othername:1.3.6.1.4.1.311.20.2.3;UTF8:a@corp.example",
]


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issue(subject: bytes, key: ec.EllipticCurvePrivateKey, serial_number: int, *extensions: Extension) -> bytes:
    common = (
        ext.subject_key_identifier(key_identifier(spki(key))),
        ext.authority_key_identifier(key_identifier(spki(ROOT_KEY))),
    )
    tbs = encode_tbs_certificate(
        TBSCertificate(serial_number, ROW, ROOT_NAME, START, END, subject, spki(key), extensions + common)
    )
    return assemble_certificate(tbs, ROW, ROOT_KEY.sign(tbs, ec.ECDSA(hashes.SHA256())))


ROOT = issue(
    ROOT_NAME,
    ROOT_KEY,
    0x40 << 144 | 1,
    ext.basic_constraints(True, 1),
    ext.key_usage([KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN]),
    ext.name_constraints(
        NameConstraints(
            ((NameType.DNS, "corp.example"), (NameType.IP, "192.0.2.0/24"), (NameType.IP, "2001:db8::/32")),
            ((NameType.EMAIL, ".evil.example"),),
        )
    ),
)
LEAF = issue(
    encode_name(Name(((Attribute("2.5.4.10", "Exämple, Corp"),), (Attribute("2.5.4.3", "web.corp.example"),)))),
    LEAF_KEY,
    0x40 << 144 | 2,
    ext.basic_constraints(False),
    ext.key_usage([KeyUsage.DIGITAL_SIGNATURE]),
    ext.extended_key_usage([EXTENDED_KEY_USAGES["serverAuth"], "1.2.3.4.5"]),
    ext.subject_alternative_names([parse_general_name_text(text) for text in SANS]),
    ext.authority_information_access(["http://pki.example/ocsp"], ["http://pki.example/ca.crt"]),
    ext.crl_distribution_points(["http://pki.example/ca.crl"]),
    ext.certificate_policies([PolicyInformation(oids.POLICY_OV, ("http://pki.example/cps",), "As is")]),
    ext.tls_feature_must_staple(),
)
RESPONDER = issue(
    encode_name(Name(((Attribute("2.5.4.3", "Responder"),),))),
    LEAF_KEY,
    0x40 << 144 | 3,
    ext.basic_constraints(False),
    ext.key_usage([KeyUsage.DIGITAL_SIGNATURE]),
    ext.extended_key_usage([EXTENDED_KEY_USAGES["OCSPSigning"]]),
    ext.ocsp_nocheck(),
    ext.custom(oids.MS_TEMPLATE_NAME, False, b"\x1e\x04\x00W\x00e"),
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, der in (("root", ROOT), ("leaf", LEAF), ("responder", RESPONDER)):
        (tmp_path / f"{name}.pem").write_text(pem_encode("CERTIFICATE", der))
    return tmp_path


def run(*command: str | Path, directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_openssl_reads_every_extension_as_it_was_meant(files: Path) -> None:
    text = run(
        "openssl", "x509", "-in", "leaf.pem", "-noout", "-text", "-nameopt", "RFC2253,utf8,-esc_msb", directory=files
    )
    for line in (
        "Issuer: CN=Example Root,C=NL",
        r"Subject: CN=web.corp.example,O=Exämple\, Corp",
        "Not Before: Jan  1 00:00:00 2026 GMT",
        "Not After : Jan  1 00:00:00 2055 GMT",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, 1.2.3.4.5",
        "DNS:web.corp.example, DNS:*.corp.example, DNS:xn--mller-kva.corp.example, IP Address:192.0.2.1",
        "IP Address:2001:DB8:0:0:0:0:0:1, URI:https://web.corp.example/x, email:a@corp.example, Registered ID:1.2.3.4",
        "DirName:",
        "OCSP - URI:http://pki.example/ocsp",
        "CA Issuers - URI:http://pki.example/ca.crt",
        "Full Name:\n                  URI:http://pki.example/ca.crl",
        "Policy: 2.23.140.1.2.2",
        "CPS: http://pki.example/cps",
        "Explicit Text: As is",
        "TLS Feature: \n                status_request",
    ):
        assert line in text
    assert re.search(r"othername: ?(UPN|1\.3\.6\.1\.4\.1\.311\.20\.2\.3):+a@corp\.example", text)


def test_openssl_reads_constraints_and_markers(files: Path) -> None:
    root = run("openssl", "x509", "-in", "root.pem", "-noout", "-text", directory=files)
    for line in ("CA:TRUE, pathlen:1", "Certificate Sign, CRL Sign", "DNS:corp.example", "IP:192.0.2.0/255.255.255.0"):
        assert line in root
    assert "email:.evil.example" in root
    responder = run("openssl", "x509", "-in", "responder.pem", "-noout", "-text", directory=files)
    assert "OCSP No Check" in responder
    assert "OCSP Signing" in responder


def test_openssl_and_gnutls_verify_the_chain(files: Path) -> None:
    run("openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "leaf.pem", "responder.pem", directory=files)
    output = run("certtool", "--verify", "--load-ca-certificate", "root.pem", "--infile", "leaf.pem", directory=files)
    assert "Chain verification output: Verified." in output


def test_gnutls_reads_every_extension_as_it_was_meant(files: Path) -> None:
    text = run("certtool", "-i", "--infile", "leaf.pem", directory=files)
    for line in (
        r"Subject: CN=web.corp.example,O=Exämple\, Corp",
        "DNSname: *.corp.example",
        "IPAddress: 2001:db8::1",
        "URI: https://web.corp.example/x",
        "RFC822Name: a@corp.example",
        "Registered ID: 1.2.3.4",
        "directoryName: CN=Web,C=NL",
        "Digital signature.",
        "TLS WWW Server.",
        "1.2.3.4.5",
        "Access Location URI: http://pki.example/ocsp",
        "URI: http://pki.example/ca.crl",
        "2.23.140.1.2.2",
        "Note: As is",
        "Status Request(5)",
    ):
        assert line in text
    assert "Path Length Constraint: 1" in run("certtool", "-i", "--infile", "root.pem", directory=files)


@pytest.mark.parametrize(
    ("name", "expected"),
    # RFC 5280 leaves wildcards to other documents (RFC 9525), so that a linter of RFC 5280 alone dislikes them.
    [("root", []), ("leaf", ["pkix.invalid_domain_name_syntax"]), ("responder", [])],
)
def test_pkilint_finds_no_error(files: Path, name: str, expected: list[str]) -> None:
    linter = Path(sys.executable).parent / "lint_pkix_cert"
    done = subprocess.run([linter, "lint", "-s", "ERROR", f"{name}.pem"], cwd=files, capture_output=True, text=True)
    assert done.stderr == ""
    assert re.findall(r"(\S+) \((?:ERROR|FATAL)\)", done.stdout) == expected
    assert done.returncode == len(expected)


def test_certificates_of_openssl_are_read(files: Path) -> None:
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "theirs.pem",
        "-subj", "/C=NL/O=Exämple/CN=theirs.example", "-utf8", "-days", "9000",
        "-sigopt", "rsa_padding_mode:pss",
        "-addext", "subjectAltName=DNS:theirs.example,IP:192.0.2.7,otherName:1.2.3;UTF8:x,URI:urn:a:b,RID:1.2.3.4",
        directory=files,
    )  # fmt: skip
    [der] = pem_decode_all((files / "theirs.pem").read_bytes(), "CERTIFICATE")
    parsed = parse_certificate(der)
    check_issued_by(parsed, parsed)
    san = parsed.extension(oids.SUBJECT_ALTERNATIVE_NAME)
    assert san is not None
    assert [general_name_text(name) for name in ext.parse_subject_alternative_names(san.value)] == [
        "dns:theirs.example",
        "ip:192.0.2.7",
        "othername:1.2.3;UTF8:x",
        "uri:urn:a:b",
        "rid:1.2.3.4",
    ]
