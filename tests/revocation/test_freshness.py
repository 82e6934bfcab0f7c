"""How fresh answers are: what is promised about validity, renewal and the moment after a revocation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiconf.model.revocation import RevocationReason
from tests.world import OPERATOR, World, make_csr

PKI = """
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y }
  - { name: often, issuer: root, validity: 10y, crl: { validity: 30d }, ocsp: { validity: 1h } }
"""


@pytest.fixture
def pki(sqlite_world: World) -> World:
    assert sqlite_world.apply(PKI).exit_code == 0
    return sqlite_world


def certificate(pki: World, authority: str = "issuing") -> tuple[x509.Certificate, x509.Certificate]:
    """A leaf and its issuer."""
    issued = pki.issued(f"{authority}/web-server", make_csr())
    return x509.load_der_x509_certificate(issued.der), x509.load_der_x509_certificate(issued.chain[0])


def ask(pki: World, leaf: x509.Certificate, issuer: x509.Certificate, authority: str = "issuing") -> ocsp.OCSPResponse:
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
    answer = pki.services.ocsp.answer(authority, request.public_bytes(Encoding.DER), pki.clock.now())
    return ocsp.load_der_ocsp_response(answer.der)


def responder(response: ocsp.OCSPResponse) -> x509.Certificate:
    (found,) = response.certificates
    return found


def current_crl(pki: World, authority: str) -> x509.CertificateRevocationList:
    issuer_id = pki.services.lookup.get(authority).row.current_issuer_id
    assert issuer_id is not None
    return x509.load_der_x509_crl(pki.services.crls.current(issuer_id).der)


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def revoke(pki: World, leaf: x509.Certificate) -> None:
    found = pki.services.certificates.get(f"{leaf.serial_number:x}")
    pki.services.revocations.revoke(found.id, RevocationReason.KEY_COMPROMISE, OPERATOR, None)


@pytest.mark.row("D27")
@pytest.mark.row("F137")
@pytest.mark.parametrize(("authority", "days"), [("issuing", 7), ("often", 30)])
def test_a_crl_is_valid_as_long_as_declared(pki: World, authority: str, days: int) -> None:
    crl = current_crl(pki, authority)
    assert crl.next_update_utc == pki.clock.now() + timedelta(days=days)


@pytest.mark.row("D27")
@pytest.mark.parametrize(("authority", "hours"), [("issuing", 24), ("often", 1)])
def test_an_ocsp_answer_is_valid_as_long_as_declared(pki: World, authority: str, hours: int) -> None:
    (single,) = ask(pki, *certificate(pki, authority), authority).responses
    assert single.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert single.next_update_utc == pki.clock.now() + timedelta(hours=hours)


@pytest.mark.row("F137")
def test_a_crl_is_made_again_at_half_of_its_life(pki: World) -> None:
    first = current_crl(pki, "issuing")
    pki.pass_time(timedelta(days=3))
    assert number(current_crl(pki, "issuing")) == number(first)
    pki.pass_time(timedelta(days=1))
    second = current_crl(pki, "issuing")
    assert number(second) > number(first)
    assert second.next_update_utc == pki.clock.now() + timedelta(days=7)


@pytest.mark.row("F138")
def test_a_revocation_is_in_the_very_next_list_and_answer(pki: World) -> None:
    leaf, issuer = certificate(pki)
    assert ask(pki, leaf, issuer).certificate_status is ocsp.OCSPCertStatus.GOOD
    before = current_crl(pki, "issuing")
    assert before.get_revoked_certificate_by_serial_number(leaf.serial_number) is None
    revoke(pki, leaf)
    assert ask(pki, leaf, issuer).certificate_status is ocsp.OCSPCertStatus.REVOKED
    after = current_crl(pki, "issuing")
    assert number(after) > number(before)
    assert after.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


@pytest.mark.row("F132")
@pytest.mark.row("F133")
def test_the_responders_certificate_is_there_at_once_and_renewed_ahead_of_time(pki: World) -> None:
    leaf, issuer = certificate(pki)
    first = responder(ask(pki, leaf, issuer))
    first.verify_directly_issued_by(issuer)
    pki.pass_time(timedelta(days=59))
    assert pki.services.service_certificates.renew_due() == 0
    pki.pass_time(timedelta(days=2))  # two thirds of ninety days
    assert pki.services.service_certificates.renew_due() > 0
    second = responder(ask(pki, leaf, issuer))
    assert second.serial_number != first.serial_number
    assert first.not_valid_after_utc > pki.clock.now()


@pytest.mark.row("F133")
def test_a_responders_certificate_that_expired_is_made_again_by_the_next_question(pki: World) -> None:
    leaf, issuer = certificate(pki)
    first = responder(ask(pki, leaf, issuer))
    pki.pass_time(timedelta(days=91))
    second = responder(ask(pki, leaf, issuer))
    assert second.serial_number != first.serial_number
    assert second.not_valid_before_utc <= pki.clock.now() <= second.not_valid_after_utc


@pytest.mark.row("F133")
def test_a_responders_certificate_that_was_revoked_is_made_again_by_the_next_question(pki: World) -> None:
    leaf, issuer = certificate(pki)
    first = responder(ask(pki, leaf, issuer))
    revoke(pki, first)
    second = responder(ask(pki, leaf, issuer))
    assert second.serial_number != first.serial_number


@pytest.mark.row("F134")
@pytest.mark.parametrize("request_octets", [b"", b"GET", b"\x30\x00", b"\x30\x82\xff\xff", b"\0" * 20_000])
def test_what_is_no_request_gets_an_ocsp_error(pki: World, request_octets: bytes) -> None:
    answer = pki.services.ocsp.answer("issuing", request_octets, pki.clock.now())
    response = ocsp.load_der_ocsp_response(answer.der)
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert answer.expires is None


@pytest.mark.row("F134")
def test_nobody_answers_for_another_authority(pki: World) -> None:
    leaf, issuer = certificate(pki)
    for other in ("root", "often", "nobody", ""):
        assert ask(pki, leaf, issuer, other).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
