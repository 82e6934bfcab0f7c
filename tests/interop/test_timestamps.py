"""Strangers take timestamps from a running server: openssl, osslsigncode with both protocols, a library in Rust, Java's
jarsigner."""

from __future__ import annotations

import hashlib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import distlib
import pytest
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from tests.serving.running import Installation, Server
from tests.tools import accepted, find_tool, run_tool

PKI = """
settings: {{ base_url: "{url}" }}
authorities:
  - {{ name: root, default_templates: [] }}
  - name: issuing
    issuer: root
    default_templates: []
    service_certificates: {{ key: {{ {key} }} }}
    timestamp: {{ enabled: true, accuracy: 1s, policy: 1.3.6.1.4.1.99999.1.1 }}
  - {{ name: signing, issuer: root, default_templates: [code-signing] }}
"""
KEYS = ("type: rsa, size: 2048", "type: rsa, size: 3072", "type: ec", "type: ec, curve: p384", "type: ec, curve: p521")
PROGRAM = Path(distlib.__file__).with_name("t64.exe")
"""A PE file as Windows runs it."""


@contextmanager
def stamping(folder: Path, key: str, text: str = PKI, *flags: str) -> Iterator[tuple[Installation, Server]]:
    """osslsigncode fetches the CRLs that certificates name, so they name the server that runs."""
    installation = Installation(folder)
    (folder / "pki.yaml").write_text("authorities: [{ name: root, default_templates: [] }]")
    installation.run("apply", folder / "pki.yaml")
    with installation.serving("--workers", "1", *flags) as server:
        (folder / "pki.yaml").write_text(text.format(key=key, url=server.url))
        installation.run("apply", folder / "pki.yaml")
        yield installation, server


@pytest.fixture(scope="module", params=KEYS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder, where the root lies in `root-ca.pem` and what comes after in `issuing-ca.pem`; and the URL."""
    folder = tmp_path_factory.mktemp("stamping")
    with stamping(folder, request.param) as (installation, server):
        for name in ("root", "issuing"):
            installation.export(name)
        yield folder, f"{server.url}/tsa/issuing"


def post(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/timestamp-query"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: bytes = answer.read()
    return found


@pytest.mark.row("F141", "F143")
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl(served: tuple[Path, str], tmp_path: Path, digest: str) -> None:
    openssl_believes(*served, tmp_path, digest)


def test_openssl_with_granian_as_the_server(tmp_path: Path) -> None:
    with stamping(tmp_path, "type: ec", PKI, "--server", "granian") as (installation, server):
        installation.export("root")
        openssl_believes(tmp_path, f"{server.url}/tsa/issuing", tmp_path, "sha256")


def openssl_believes(folder: Path, url: str, tmp_path: Path, digest: str) -> None:
    (tmp_path / "data").write_bytes(b"data")
    query = tmp_path / "request.tsq"
    words = ("openssl", "ts", "-query", "-data", tmp_path / "data", f"-{digest}", "-cert", "-out", query)
    accepted(run_tool(*words, "-tspolicy", "1.3.6.1.4.1.99999.1.1"))
    (tmp_path / "response.tsr").write_bytes(post(url, query.read_bytes()))
    verify = ("openssl", "ts", "-verify", "-in", tmp_path / "response.tsr", "-CAfile", folder / "root-ca.pem")
    assert "Verification: OK" in accepted(run_tool(*verify, "-queryfile", query))
    assert "Verification: OK" in accepted(run_tool(*verify, "-data", tmp_path / "data"))
    text = accepted(run_tool("openssl", "ts", "-reply", "-in", tmp_path / "response.tsr", "-text"))
    assert "Status: Granted." in text
    assert "Policy OID: 1.3.6.1.4.1.99999.1.1" in text
    assert "Accuracy: 0x01 seconds" in text


@pytest.mark.row("F141")
def test_a_library_in_rust(served: tuple[Path, str]) -> None:
    folder, url = served
    root, issuing = (
        x509.load_pem_x509_certificate((folder / f"{name}-ca.pem").read_bytes()) for name in ("root", "issuing")
    )
    request = (
        TimestampRequestBuilder().data(b"data").hash_algorithm(HashAlgorithm.SHA512).nonce(nonce=True)
        .cert_request(cert_request=True).build()
    )  # fmt: skip
    response = decode_timestamp_response(post(url, request.as_bytes()))
    verifier = VerifierBuilder.from_request(request).add_root_certificate(root)
    verifier = verifier.add_intermediate_certificate(issuing)
    assert verifier.build().verify(response, hashlib.sha512(b"data").digest())
    with pytest.raises(VerificationError):
        verifier.build().verify(response, hashlib.sha512(b"other").digest())


@pytest.fixture(scope="module")
def signer(served: tuple[Path, str]) -> tuple[Path, Path]:
    return publisher(Installation(served[0]))


def publisher(installation: Installation) -> tuple[Path, Path]:
    """A code signing certificate with its chain, and its key: RSA, as Windows wants it."""
    key, csr, out = (installation.folder / f"signer.{ending}" for ending in ("key", "csr", "pem"))
    words = ("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Publisher", "-keyout", key)
    accepted(run_tool(*words, "-out", csr))
    installation.run("request", "submit", "-t", "signing/code-signing", csr, "--approve", "--out", out)
    return out, key


@pytest.mark.parametrize(
    "protocol",
    [pytest.param("-ts", marks=pytest.mark.row("F141")), pytest.param("-t", marks=pytest.mark.row("F142"))],
)
@pytest.mark.row("F143")
def test_osslsigncode(served: tuple[Path, str], signer: tuple[Path, Path], tmp_path: Path, protocol: str) -> None:
    folder, url = served
    certificates, key = signer
    signed, root = tmp_path / "signed.exe", folder / "root-ca.pem"
    words = ("osslsigncode", "sign", "-certs", certificates, "-key", key, "-h", "sha256", protocol, url)
    accepted(run_tool(*words, "-in", PROGRAM, "-out", signed))
    text = accepted(run_tool("osslsigncode", "verify", "-in", signed, "-CAfile", root, "-TSA-CAfile", root))
    assert "Signature verification: ok" in text
    assert "Timestamp Server Signature verification: ok" in text


@pytest.mark.row("F142")
def test_osslsigncode_is_told_that_the_older_protocol_is_not_served(tmp_path: Path) -> None:
    without = PKI.replace("accuracy: 1s", "authenticode: false")
    with stamping(tmp_path, "type: rsa, size: 2048", without) as (installation, server):
        certificates, key = publisher(installation)
        words = ("osslsigncode", "sign", "-certs", certificates, "-key", key, "-h", "sha256", "-in", PROGRAM)
        url = f"{server.url}/tsa/issuing"
        assert run_tool(*words, "-t", url, "-out", tmp_path / "older.exe").returncode != 0
        assert run_tool(*words, "-ts", url, "-out", tmp_path / "newer.exe").returncode == 0


def archive(folder: Path, signer: tuple[Path, Path], root: Path) -> tuple[Path, Path, Path]:
    """A JAR to sign, a key store with the publisher's key, and one with the root that jarsigner believes."""
    jar, keys, roots = folder / "program.jar", folder / "keys.p12", folder / "roots.p12"
    with zipfile.ZipFile(jar, "w") as opened:
        opened.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n\r\n")
        opened.writestr("program.txt", "what is signed\n")
    certificate, key = signer
    words = ("openssl", "pkcs12", "-export", "-in", certificate, "-inkey", key, "-name", "publisher", "-out", keys)
    accepted(run_tool(*words, "-passout", "pass:changeit"))
    find_tool("jarsigner")  # keytool comes with it
    accepted(
        run_tool("keytool", "-importcert", "-noprompt", "-alias", "root", "-file", root, "-keystore", roots,
                 "-storepass", "changeit")
    )  # fmt: skip
    return jar, keys, roots


@pytest.mark.row("F141")
@pytest.mark.parametrize("digest", ["SHA-256", "SHA-384", "SHA-512"])
def test_jarsigner(served: tuple[Path, str], signer: tuple[Path, Path], tmp_path: Path, digest: str) -> None:
    folder, url = served
    jar, keys, roots = archive(tmp_path, signer, folder / "root-ca.pem")
    store = ("-keystore", keys, "-storepass", "changeit", "-J-Duser.language=en")
    words = ("jarsigner", "-tsa", url, "-tsadigestalg", digest, "-tsapolicyid", "1.3.6.1.4.1.99999.1.1", *store)
    accepted(run_tool(*words, jar, "publisher"))
    believing = ("-keystore", roots, "-storepass", "changeit", "-J-Duser.language=en")
    said = accepted(run_tool("jarsigner", "-verify", "-verbose", "-certs", *believing, jar))
    assert "jar verified." in said
    assert 'Timestamped by "CN=issuing' in said
    assert f"Timestamp digest algorithm: {digest}" in said


def test_jarsigner_is_told_what_is_not_served(
    served: tuple[Path, str], signer: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, url = served
    jar, keys, _ = archive(tmp_path, signer, folder / "root-ca.pem")
    store = ("-keystore", keys, "-storepass", "changeit", "-J-Duser.language=en")
    for words in (("-tsapolicyid", "1.2.3.4"), ("-tsadigestalg", "SHA-1"), ("-tsa", f"{url}-of-nobody")):
        refused = run_tool("jarsigner", "-tsa", url, *words, *store, jar, "publisher")
        said = (refused.stdout + refused.stderr).decode()
        assert refused.returncode != 0, said
        assert "META-INF/PUBLISHE.SF" not in zipfile.ZipFile(jar).namelist()
