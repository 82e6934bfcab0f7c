"""Strangers judge what every kind of authority makes: certificates, CRLs and OCSP answers."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tests.interop.made import HOST, KINDS, Made, loaded
from tests.judges.pkilint import pkilint_findings
from tests.tools import accepted, openssl_knows_ml_dsa, run_tool

HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


def _kinds(*, ml_dsa: bool = False, edwards: bool = True) -> pytest.MarkDecorator:
    """Only those that a judge knows."""
    chosen = [kind for kind in KINDS if (ml_dsa or not kind.is_ml_dsa) and (edwards or not kind.name.startswith("ed"))]
    return pytest.mark.parametrize("pki", chosen, ids=lambda kind: kind.name, indirect=True)


known_to_openssl = _kinds(ml_dsa=openssl_knows_ml_dsa())
known_to_gnutls = _kinds()
of_the_web = _kinds(edwards=False)
"""The web's PKI, which the verifier of `cryptography` follows, has RSA and NIST's curves."""


@pytest.mark.row("F34")
@pytest.mark.row("F42")
@pytest.mark.parametrize("name", ["leaf", "revoked", "held", "responder"])
@known_to_openssl
def test_openssl_verifies_every_chain_strictly(pki: Made, name: str) -> None:
    said = accepted(
        run_tool("openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", pki.pem("root"),
                 "-untrusted", pki.pem("sub"), pki.pem(name))
    )  # fmt: skip
    assert said.endswith("OK\n")


@known_to_openssl
def test_openssl_finds_every_purpose_as_meant(pki: Made) -> None:
    for name, purpose in (("leaf", "sslserver"), ("responder", "ocsphelper")):
        accepted(
            run_tool("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", pki.pem("root"),
                     "-untrusted", pki.pem("sub"), pki.pem(name))
        )  # fmt: skip
    said = accepted(run_tool("openssl", "x509", "-in", pki.pem("responder"), "-noout", "-purpose"))
    assert "OCSP helper : Yes" in said
    assert "SSL server : No" in said


@pytest.mark.row("F139")
@known_to_openssl
def test_openssl_checks_leaves_against_our_crls(pki: Made) -> None:
    lists = b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in (pki.root_crl, pki.sub_crl))
    command = ("openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", pki.pem("root"),
               "-untrusted", pki.pem("sub"), "-CRLfile", pki.file("lists.pem", lists))  # fmt: skip
    accepted(run_tool(*command, pki.pem("leaf")))
    for name in ("revoked", "held"):
        result = run_tool(*command, pki.pem(name))
        assert result.returncode != 0
        assert b"certificate revoked" in result.stderr


@known_to_openssl
def test_openssl_verifies_the_crl_and_reads_its_entries(pki: Made) -> None:
    crl = pki.file("sub.crl", pki.sub_crl)
    said = accepted(
        run_tool("openssl", "crl", "-inform", "DER", "-in", crl, "-CAfile", pki.pem("sub"), "-noout", "-text")
    )
    assert "verify OK" in said
    for wish in ("Key Compromise", "Certificate Hold", "Invalidity Date", "CRL Number", "Authority Key Identifier"):
        assert wish in said
    assert "Issuing Distribution Point" not in said


@pytest.mark.row("F131")
@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize(("name", "status"), [("leaf", "good"), ("revoked", "revoked"), ("held", "revoked")])
@known_to_openssl
def test_openssl_believes_our_ocsp_answers(pki: Made, name: str, status: str, algorithm: str) -> None:
    answer = pki.file(f"{name}-{algorithm}.ors", pki.answer_about(getattr(pki, name), HASHES[algorithm]))
    said = accepted(
        run_tool("openssl", "ocsp", "-respin", answer, "-issuer", pki.pem("sub"), f"-{algorithm}", "-cert",
                 pki.pem(name), "-CAfile", pki.pem("root"), "-verify_other", pki.pem("sub"), "-no_nonce")
    )  # fmt: skip
    assert "Response verify OK" in said
    assert f": {status}\n" in said


@known_to_gnutls
@pytest.mark.parametrize("name", ["leaf", "revoked", "held", "responder"])
def test_gnutls_verifies_every_chain(pki: Made, name: str) -> None:
    chain = pki.pem(name, "sub", "root").read_bytes()
    said = accepted(run_tool("certtool", "--verify-chain", stdin=chain))
    assert "Chain verification output: Verified. The certificate is trusted." in said


@known_to_gnutls
def test_gnutls_verifies_the_crl_and_reads_its_entries(pki: Made) -> None:
    crl = pki.file("gnutls.crl", pki.sub_crl)
    said = accepted(run_tool("certtool", "--crl-info", "--inder", "--infile", crl))
    assert "Revoked certificates (2)" in said
    issuer = pki.file("sub.der", pki.sub)  # --inder is for both
    said = accepted(run_tool("certtool", "--verify-crl", "--inder", "--infile", crl, "--load-ca-certificate", issuer))
    assert "Verified" in said


@pytest.mark.parametrize(("name", "status"), [("leaf", "good"), ("revoked", "revoked")])
@pytest.mark.parametrize("algorithm", HASHES)
@known_to_gnutls
def test_gnutls_believes_our_ocsp_answers(pki: Made, name: str, status: str, algorithm: str) -> None:
    answer = pki.file(f"gnutls-{name}-{algorithm}.ors", pki.answer_about(getattr(pki, name), HASHES[algorithm]))
    said = accepted(
        run_tool("ocsptool", "--verify-response", "--load-response", answer, "--load-issuer", pki.pem("sub"),
                 "--load-cert", pki.pem(name), "--load-trust", pki.pem("sub"))
    )  # fmt: skip
    assert "Verifying OCSP Response: Success" in said
    info = accepted(run_tool("ocsptool", "--response-info", "--load-response", answer))
    assert f"Certificate Status: {status}" in info


@pytest.mark.row("F42")
@of_the_web
def test_cryptography_verifies_a_server(pki: Made) -> None:
    store = Store([loaded(pki.root)])
    verifier = PolicyBuilder().store(store).time(pki.world.clock.now()).build_server_verifier(x509.DNSName(HOST))
    chain = verifier.verify(loaded(pki.leaf), [loaded(pki.sub)])
    assert [certificate.subject for certificate in chain][-1] == loaded(pki.root).subject
    other = PolicyBuilder().store(store).time(pki.world.clock.now()).build_server_verifier(x509.DNSName("corp.example"))
    with pytest.raises(VerificationError):
        other.verify(loaded(pki.leaf), [loaded(pki.sub)])


@pytest.mark.row("F34")
@pytest.mark.row("F26")
def test_cryptography_verifies_every_signature(pki: Made) -> None:
    root, sub = loaded(pki.root), loaded(pki.sub)
    root.verify_directly_issued_by(root)
    sub.verify_directly_issued_by(root)
    for der in (pki.leaf, pki.revoked, pki.held, pki.responder):
        loaded(der).verify_directly_issued_by(sub)
    for der, issuer in ((pki.root_crl, root), (pki.sub_crl, sub)):
        assert x509.load_der_x509_crl(der).is_signature_valid(issuer.public_key())  # type: ignore[arg-type]


def test_cryptography_reads_the_crl(pki: Made) -> None:
    crl = x509.load_der_x509_crl(pki.sub_crl)
    entries = {entry.serial_number: entry for entry in crl}
    assert set(entries) == {loaded(pki.revoked).serial_number, loaded(pki.held).serial_number}
    reason = entries[loaded(pki.revoked).serial_number].extensions.get_extension_for_class(x509.CRLReason)
    assert reason.value.reason is x509.ReasonFlags.key_compromise
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number >= 1
    assert list(x509.load_der_x509_crl(pki.root_crl)) == []


@pytest.mark.row("F131")
@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("leaf", ocsp.OCSPCertStatus.GOOD),
        ("revoked", ocsp.OCSPCertStatus.REVOKED),
        ("held", ocsp.OCSPCertStatus.REVOKED),
    ],
)
def test_cryptography_reads_our_ocsp_answers(pki: Made, name: str, status: ocsp.OCSPCertStatus, algorithm: str) -> None:
    answer = ocsp.load_der_ocsp_response(pki.answer_about(getattr(pki, name), HASHES[algorithm]))
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert answer.certificate_status is status
    assert answer.serial_number == loaded(getattr(pki, name)).serial_number
    assert (
        answer.responder_key_hash
        == x509.SubjectKeyIdentifier.from_public_key(answer.certificates[0].public_key()).digest
    )
    answer.certificates[0].verify_directly_issued_by(loaded(pki.sub))


@pytest.mark.parametrize("algorithm", HASHES)
def test_an_unknown_serial_is_unknown(pki: Made, algorithm: str) -> None:
    sub = loaded(pki.sub)
    known = ocsp.load_der_ocsp_response(pki.answer_about(pki.leaf, HASHES[algorithm]))
    asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, sub.serial_number, HASHES[algorithm]
    )
    answer = ocsp.load_der_ocsp_response(pki.ask(asked.build().public_bytes(Encoding.DER)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.row("F132")
def test_the_responder_is_as_rfc_6960_wants_it(pki: Made) -> None:
    responder = loaded(pki.responder)
    usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert not responder.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    usage = responder.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign


def test_pkilint_finds_no_errors(pki: Made) -> None:
    for name in ("root", "sub", "leaf", "responder"):
        assert pkilint_findings(getattr(pki, name), "certificate") == [], name
    for name in ("root_crl", "sub_crl"):
        assert pkilint_findings(getattr(pki, name), "crl") == [], name
    for name in ("leaf", "revoked", "held"):
        assert pkilint_findings(pki.answer_about(getattr(pki, name), hashes.SHA1()), "ocsp") == [], name


def test_names_urls_and_identifiers_hang_together(pki: Made) -> None:
    root, sub, leaf = loaded(pki.root), loaded(pki.sub), loaded(pki.leaf)
    for child, parent in ((sub, root), (leaf, sub), (loaded(pki.responder), sub)):
        aki = child.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        ski = parent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert aki.key_identifier == ski.digest
        assert child.issuer.public_bytes() == parent.subject.public_bytes()
        assert parent.not_valid_before_utc <= child.not_valid_before_utc
        assert child.not_valid_after_utc <= parent.not_valid_after_utc
    access = {
        description.access_method: description.access_location.value
        for description in leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    }
    assert access[AuthorityInformationAccessOID.OCSP] == "http://pki.corp.example/ocsp/sub"
    assert access[AuthorityInformationAccessOID.CA_ISSUERS] == "http://pki.corp.example/ca/sub/1.crt"
