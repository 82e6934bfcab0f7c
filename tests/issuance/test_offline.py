"""Keys, requests and self-signed certificates without any state, judged by strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pkiconf.der.csr import parse_csr
from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.entropy import SystemEntropy
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm, Unverified
from pkiconf.issuance.offline import make_csr, make_self_signed, new_key, open_key
from pkiconf.model.keys import KEY_ALGORITHMS, Hash
from pkiconf.model.request import Overrides
from pkiconf.model.secret import Secret
from tests.tools import accepted, run_tool

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
NAME = parse_name_text("CN=device-17,O=Example Corp,C=NL")
SANS = (parse_general_name_text("dns:device-17.corp.example"), parse_general_name_text("ip:10.0.0.7"))
FAST = [name for name in KEY_ALGORITHMS if not name.startswith("rsa-") or name == "rsa-2048"]
BELIEVED = [name for name in FAST if not name.startswith("ml-dsa")]  # by every openssl there is


@pytest.mark.row("F28")
@pytest.mark.parametrize("kind", FAST)
def test_a_request_proves_that_its_maker_has_the_key(kind: str) -> None:
    key = open_key(new_key(kind))
    csr = make_csr(key, NAME, SANS, NOW)
    assert x509.load_der_x509_csr(csr).is_signature_valid
    parsed = parse_csr(csr)
    assert (parsed.spki, str(parsed.key), parsed.sans) == (key.spki, kind, SANS)


@pytest.mark.row("F28")
@pytest.mark.parametrize("kind", FAST)
def test_an_encrypted_key_opens_with_its_passphrase_only(kind: str) -> None:
    data = new_key(kind, Secret(b"a long passphrase"))
    assert b"ENCRYPTED" in data
    open_key(data, Secret(b"a long passphrase"))
    for passphrase in (None, Secret(b"another one")):
        with pytest.raises((Unverified, Malformed)):
            open_key(data, passphrase)


@pytest.mark.row("F5")
@pytest.mark.parametrize("kind", FAST)
def test_a_self_signed_certificate_vouches_for_itself(kind: str) -> None:
    der = make_self_signed(open_key(new_key(kind)), NAME, SANS, "web-server", Overrides(), NOW, SystemEntropy())
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=90, seconds=-1)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["device-17.corp.example"]


@pytest.mark.row("F5")
@pytest.mark.parametrize("kind", BELIEVED)
def test_openssl_believes_it_when_told_to_trust_it(kind: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    der = make_self_signed(open_key(new_key(kind)), NAME, SANS, "web-server", Overrides(), now, SystemEntropy())
    file = tmp_path / "own.pem"
    file.write_text(accepted(run_tool("openssl", "x509", "-inform", "DER", stdin=der)))
    trusted = run_tool("openssl", "verify", "-partial_chain", "-trusted", file, "-purpose", "sslserver", file)
    assert accepted(trusted).strip() == f"{file}: OK"


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    ("subject", "changes", "error"),
    [
        ("", {}, Refused),
        ("CN=device", {"days": 0}, Refused),
        ("CN=device", {"days": 1, "not_after": NOW + timedelta(days=2)}, Refused),
        ("CN=device", {"not_after": NOW - timedelta(days=2)}, Refused),
    ],
)
def test_what_makes_no_sense_is_refused(subject: str, changes: dict[str, object], error: type[Exception]) -> None:
    key = open_key(new_key("ec-p256"))
    with pytest.raises(error):
        make_self_signed(
            key, parse_name_text(subject), (), "client", Overrides(**changes), NOW, SystemEntropy()  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.mark.row("F5")
def test_a_hash_that_the_key_does_not_sign_with_is_refused() -> None:
    with pytest.raises(UnsupportedAlgorithm):
        make_csr(open_key(new_key("ed25519")), NAME, SANS, NOW, hash=Hash.SHA256)
    with pytest.raises(UnsupportedAlgorithm):
        new_key("rsa-1024")
    with pytest.raises(Refused):
        make_csr(open_key(new_key("ec-p256")), parse_name_text(""), (), NOW)
