"""OCSP answers, for everything a client can send and everything that can be the matter here."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text

from pkiconf.der.ocsp import parse_ocsp_request
from pkiconf.der.tlv import encode_tlv
from pkiconf.errors import NotSigned, Unavailable
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.kept import LARGEST, MOST, REUSE, ROOM, Basis, KeptAnswers
from pkiconf.revocation.ocsp import OCSPResponder
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.signer import SigningOrder
from pkiconf.steps import Step
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp, settle
from tests.judges.pkilint import pkilint_findings
from tests.revocation.pki import (
    DECLARATION,
    NEVER_ISSUED,
    PKI,
    cert_id,
    nonce_extension,
    question,
    question_about,
    serial_of,
    verify,
)
from tests.world import OPERATOR, World

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
Status = ocsp.OCSPResponseStatus


def status(der: bytes) -> ocsp.OCSPResponseStatus:
    return ocsp.load_der_ocsp_response(der).response_status


# --- what is true ---------------------------------------------------------------------------------------------------


@pytest.mark.row("F131")
@pytest.mark.row("D24")
def test_good_revoked_held_released_unknown(pki: PKI) -> None:
    revocations, now = pki.world.services.revocations, pki.world.clock.now()
    issued = pki.issue()
    serial = serial_of(issued)
    assert pki.ask(serial).certificate_status is GOOD
    assert pki.ask(NEVER_ISSUED).certificate_status is UNKNOWN

    revocations.hold(issued.id, OPERATOR)
    held = pki.ask(serial)
    assert (held.certificate_status, held.revocation_reason) == (REVOKED, x509.ReasonFlags.certificate_hold)
    assert held.revocation_time_utc == now

    revocations.release(issued.id, OPERATOR)
    assert pki.ask(serial).certificate_status is GOOD

    pki.world.pass_time(timedelta(seconds=1))
    revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    revoked = pki.ask(serial)
    assert (revoked.certificate_status, revoked.revocation_reason) == (REVOKED, x509.ReasonFlags.key_compromise)
    assert revoked.revocation_time_utc == now + timedelta(seconds=1)
    assert pkilint_findings(revoked.public_bytes(Encoding.DER), "ocsp") == []


@pytest.mark.row("F131")
def test_unspecified_reason_is_left_out(lite: PKI) -> None:
    issued = lite.issue()
    lite.world.services.revocations.revoke(issued.id, RevocationReason.UNSPECIFIED, OPERATOR)
    assert lite.ask(serial_of(issued)).revocation_reason is None


@pytest.mark.row("F131")
def test_revocation_by_another_process_is_in_the_next_answer(pki: PKI) -> None:
    """Another responder with memories of its own: two server processes over one database."""
    issued = pki.issue()
    request = question(pki.issuer(), serial_of(issued))
    services = pki.world.services
    neighbour = OCSPResponder(services.parts, services.service_certificates)
    now = pki.world.clock.now()
    for responder in (services.ocsp, neighbour):
        assert ocsp.load_der_ocsp_response(responder.answer("issuing", request, now).der).certificate_status is GOOD
    services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    for responder in (services.ocsp, neighbour):
        assert ocsp.load_der_ocsp_response(responder.answer("issuing", request, now).der).certificate_status is REVOKED


def test_unknown_becomes_good_when_it_is_issued(lite: PKI) -> None:
    """Nothing counts issuances, so a kept answer must not outlive the row that was not there."""
    assert lite.ask(NEVER_ISSUED).certificate_status is UNKNOWN
    lite.take(NEVER_ISSUED)
    assert lite.ask(NEVER_ISSUED).certificate_status is GOOD


def test_expired_certificates_are_still_answered(lite: PKI) -> None:
    good, revoked = lite.issue(), lite.issue()
    lite.world.services.revocations.revoke(revoked.id, RevocationReason.SUPERSEDED, OPERATOR)
    lite.world.pass_time(timedelta(days=365))
    assert lite.ask(serial_of(good)).certificate_status is GOOD
    assert lite.ask(serial_of(revoked)).certificate_status is REVOKED


def test_a_reserved_serial_answers_good_and_an_abandoned_one_revoked(pki: PKI) -> None:
    issued = pki.issue()

    def set_status(value: str) -> None:
        def write(c: Connection) -> None:
            c.execute(text("UPDATE issuer SET status_epoch = status_epoch + 1"))
            c.execute(
                text("UPDATE certificate SET status = :to, revoked_at = 5 WHERE serial = :serial"),
                {"to": value, "serial": serial_of(issued).to_bytes(19)},
            )

        pki.world.parts.db.write(Step.CERTIFICATE_RESERVE, write)
        settle(pki.world.parts.db)

    set_status("reserved")
    assert pki.ask(serial_of(issued)).certificate_status is GOOD
    set_status("abandoned")
    answer = pki.ask(serial_of(issued))
    assert (answer.certificate_status, answer.revocation_reason) == (REVOKED, None)


def test_serials_belong_to_their_issuer(pki: PKI) -> None:
    """The same serial under two authorities: revoked under one says nothing of the other."""
    issued = pki.issue("issuing")
    serial = serial_of(issued)
    assert pki.ask(serial, "other").certificate_status is UNKNOWN
    pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert pki.ask(serial, "other").certificate_status is UNKNOWN


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.row("F131")
def test_cert_ids_of_every_hash_are_answered_as_received(lite: PKI, algorithm: hashes.HashAlgorithm) -> None:
    issued = lite.issue()
    request = question(lite.issuer(), serial_of(issued), algorithm)
    answer = ocsp.load_der_ocsp_response(lite.answer(request).der)
    assert answer.certificate_status is GOOD
    assert isinstance(answer.hash_algorithm, type(algorithm))
    asked = ocsp.load_der_ocsp_request(request)
    assert (answer.issuer_name_hash, answer.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash)


def test_hashes_no_issuer_is_listed_under(lite: PKI) -> None:
    request = question(lite.issuer(), 5, hashes.SHA224())
    assert status(lite.answer(request).der) is Status.UNAUTHORIZED


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.row("D27")
def test_answers_last_a_day_and_begin_five_minutes_ago(lite: PKI) -> None:
    now = lite.world.clock.now()
    answer = lite.ask(serial_of(lite.issue()))
    assert answer.produced_at_utc == now
    assert answer.this_update_utc == now - timedelta(minutes=5)
    assert answer.next_update_utc == now + timedelta(hours=24)


def test_nothing_was_known_before_the_issuer_was_there(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{name: root, key: {type: ec, curve: p256}}]")
    pki = PKI(sqlite_world)
    answer = pki.ask(NEVER_ISSUED, "root")
    assert answer.this_update_utc == pki.issuer("root").not_valid_before_utc == sqlite_world.clock.now()


def test_no_answer_outlives_its_responder(lite: PKI) -> None:
    serial = serial_of(lite.issue())
    responder = verify(lite.ask(serial), lite.issuer())
    lite.world.clock.moment = responder.not_valid_after_utc - timedelta(hours=1)
    again = lite.ask(serial)
    assert verify(again, lite.issuer()) == responder
    assert again.next_update_utc == responder.not_valid_after_utc


# --- the responder's certificate ------------------------------------------------------------------------------------


@pytest.mark.row("F132")
def test_responder_certificate_is_made_with_the_authority(lite: PKI) -> None:
    assert lite.rows("service_certificate") == 3
    responder = verify(lite.ask(NEVER_ISSUED), lite.issuer())
    assert responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    usage = responder.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not responder.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        responder.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    assert lite.rows("service_certificate") == 3


@pytest.mark.row("F133")
def test_a_new_responder_certificate_after_the_old_one_expired(pki: PKI) -> None:
    serial = serial_of(pki.issue())
    first = verify(pki.ask(serial), pki.issuer())
    pki.world.clock.moment = first.not_valid_after_utc
    last = verify(pki.ask(serial), pki.issuer())
    pki.world.pass_time(timedelta(seconds=1))
    second = verify(pki.ask(serial), pki.issuer())
    assert second.serial_number != first.serial_number
    assert last.not_valid_after_utc >= first.not_valid_after_utc
    assert second.public_key() != first.public_key()


@pytest.mark.row("F133")
def test_a_new_responder_certificate_after_the_old_one_was_revoked(pki: PKI) -> None:
    serial = serial_of(pki.issue())
    first = verify(pki.ask(serial), pki.issuer())
    revoked = CertificateID(pki.issuer_id(), first.serial_number)
    pki.world.services.revocations.revoke(revoked, RevocationReason.KEY_COMPROMISE, OPERATOR)
    second = verify(pki.ask(serial), pki.issuer())
    assert second.serial_number != first.serial_number
    assert pki.ask(first.serial_number).certificate_status is REVOKED


@pytest.mark.row("F133")
def test_renewed_ahead_of_time_and_taken_up_within_a_minute(pki: PKI) -> None:
    serial = serial_of(pki.issue())
    first = verify(pki.ask(serial), pki.issuer())
    pki.world.clock.moment = first.not_valid_before_utc + (first.not_valid_after_utc - first.not_valid_before_utc) * 0.7
    elsewhere = type(pki.world.services.service_certificates)(pki.world.parts, pki.world.services.pipeline)
    assert elsewhere.renew_due() == 3
    assert elsewhere.renew_due() == 0
    pki.world.pass_time(timedelta(minutes=1))
    assert verify(pki.ask(serial), pki.issuer()).serial_number != first.serial_number


@pytest.mark.row("F133")
def test_the_old_certificate_serves_while_the_issuer_cannot_sign(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = serial_of(lite.issue())
    first = verify(lite.ask(serial), lite.issuer())
    lite.world.clock.moment = first.not_valid_after_utc - timedelta(hours=1)

    def unable(*_: object) -> None:
        raise NotSigned("the key is offline")

    monkeypatch.setattr(type(lite.world.services.pipeline), "issue", unable)
    assert verify(lite.ask(serial), lite.issuer()) == first


def test_an_answer_whose_signature_does_not_hold_is_not_given(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the machine shows here, and not at whoever relies on the answer."""
    request = question(lite.issuer(), serial_of(lite.issue()))
    genuine = LocalSigner.sign

    def faulty(signer: LocalSigner, order: SigningOrder) -> bytes:
        return genuine(signer, replace(order, tbs=order.tbs[:-1] + bytes([order.tbs[-1] ^ 1])))

    with monkeypatch.context() as patch:
        patch.setattr(LocalSigner, "sign", faulty)
        answer = ocsp.load_der_ocsp_response(lite.answer(request).der)
        assert answer.response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    answer = ocsp.load_der_ocsp_response(lite.answer(request).der)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL


def test_try_later_when_there_is_no_responder_certificate(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asking a hundred times leaves no hundred keys behind."""
    issued = lite.issue()
    request = question(lite.issuer(), serial_of(issued))
    lite.world.pass_time(timedelta(days=365))
    keys = lite.rows('"key"')

    def unable(*_: object) -> None:
        raise Unavailable("the key is offline")

    with monkeypatch.context() as patch:
        patch.setattr(type(lite.world.services.pipeline), "issue", unable)
        for _ in range(100):
            assert status(lite.answer(request).der) is Status.TRY_LATER
            assert lite.answer(request).expires is None
    assert lite.rows('"key"') <= keys + 1
    lite.world.pass_time(timedelta(minutes=1))
    assert lite.ask(serial_of(issued)).certificate_status is GOOD


def test_an_ended_issuer_gives_no_answers_and_makes_no_keys(lite: PKI) -> None:
    request = question(lite.issuer(), 5)
    lite.world.pass_time(timedelta(days=365 * 11))
    before = (lite.rows('"key"'), lite.rows("service_certificate"), lite.rows("certificate"))
    for _ in range(3):
        assert status(lite.answer(request).der) is Status.TRY_LATER
        lite.world.pass_time(timedelta(minutes=5))
    assert (lite.rows('"key"'), lite.rows("service_certificate"), lite.rows("certificate")) == before


# --- what cannot be answered ----------------------------------------------------------------------------------------


def test_issuers_that_are_not_ours(lite: PKI) -> None:
    mine = question(lite.issuer("issuing"), NEVER_ISSUED)
    name_only = bytearray(mine)
    name_only[-40] ^= 1  # somewhere in the key's hash
    assert status(lite.answer(bytes(name_only)).der) is Status.UNAUTHORIZED
    # Another authority of this very installation has its own URL.
    assert status(lite.answer(mine, "other").der) is Status.UNAUTHORIZED
    assert status(lite.answer(mine, "nobody").der) is Status.UNAUTHORIZED


@pytest.mark.parametrize("slug", ["", "nobody", "issuing\0", "\0", "ISSUING", "issuing'--", "ü" * 300, "\udcff"])
def test_slugs_that_are_none(pki: PKI, slug: str) -> None:
    assert status(pki.answer(question(pki.issuer(), 5), slug).der) in (Status.UNAUTHORIZED, Status.INTERNAL_ERROR)
    assert pki.ask(NEVER_ISSUED).certificate_status is UNKNOWN


@pytest.mark.row("F131")
def test_several_cert_ids_are_all_answered(pki: PKI) -> None:
    issuer, first, second = pki.issuer(), serial_of(pki.issue()), pki.issue()
    pki.world.services.revocations.revoke(second.id, RevocationReason.SUPERSEDED, OPERATOR)
    ids = [cert_id(issuer, serial.to_bytes(19)) for serial in (first, serial_of(second), NEVER_ISSUED)]
    answer = ocsp.load_der_ocsp_response(pki.answer(question_about(ids)).der)
    assert [one.certificate_status for one in answer.responses] == [GOOD, REVOKED, UNKNOWN]
    assert [one.serial_number for one in answer.responses] == [first, serial_of(second), NEVER_ISSUED]


def test_one_certificate_under_two_hashes(lite: PKI) -> None:
    issuer, serial = lite.issuer(), serial_of(lite.issue())
    ids = [_only_cert_id(question(issuer, serial, algorithm)) for algorithm in (hashes.SHA1(), hashes.SHA256())]
    answer = ocsp.load_der_ocsp_response(lite.answer(question_about(ids)).der)
    assert [one.certificate_status for one in answer.responses] == [GOOD, GOOD]


def _only_cert_id(request: bytes) -> bytes:
    return parse_ocsp_request(request).cert_ids[0].der


def test_cert_ids_of_two_issuers_have_no_common_responder(pki: PKI) -> None:
    ids = [cert_id(pki.issuer(name), b"\5") for name in ("issuing", "other")]
    assert status(pki.answer(question_about(ids)).der) is Status.UNAUTHORIZED
    assert status(pki.answer(question_about([ids[0], ids[0]])).der) is Status.SUCCESSFUL


@pytest.mark.parametrize(
    ("serial", "meaning"),
    [
        (b"\0", "zero"),
        (b"\x00" + b"\xff" * 20, "twenty octets, all ones"),
        (b"\x01" + b"\0" * 20, "twenty-one octets"),
        (b"\x7f" * 200, "two hundred octets"),
        (b"\x01", "one"),
    ],
)
@pytest.mark.row("D24")
def test_serials_no_certificate_has_are_unknown(pki: PKI, serial: bytes, meaning: str) -> None:
    answer = ocsp.load_der_ocsp_response(pki.answer(question_about([cert_id(pki.issuer(), serial)])).der)
    assert answer.certificate_status is UNKNOWN, meaning
    assert answer.serial_number == int.from_bytes(serial)


def test_negative_serials_and_none_at_all_are_malformed(lite: PKI) -> None:
    for serial in (b"\xff", b"\x80" + b"\0" * 19, b""):
        assert status(lite.answer(question_about([cert_id(lite.issuer(), serial)])).der) is Status.MALFORMED_REQUEST


def test_garbage_of_every_kind_is_malformed(lite: PKI) -> None:
    request = question(lite.issuer(), 5)
    bad = [
        b"", b"\0", b"garbage", b"\x30", b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff", b"0" * 10_000_000,
        request + b"\0", question_about([]), question_about([cert_id(lite.issuer(), b"\5")] * 33),
        b"\x30\x82\xff\xff" + bytes(11_000),
        *(request[:length] for length in range(len(request))),
    ]  # fmt: skip
    before = lite.rows("certificate")
    for one in bad:
        answer = lite.answer(one)
        assert status(answer.der) is Status.MALFORMED_REQUEST, one[:80]
        assert answer.expires is None
    assert lite.rows("certificate") == before


def test_flipped_bits_never_raise(lite: PKI) -> None:
    request = question(lite.issuer(), 5, nonce=b"n" * 16)
    for place in range(len(request)):
        for bit in (1, 0x20, 0x80):
            spoilt = bytearray(request)
            spoilt[place] ^= bit
            assert status(lite.answer(bytes(spoilt)).der) in (
                Status.MALFORMED_REQUEST, Status.UNAUTHORIZED, Status.SUCCESSFUL,
            )  # fmt: skip


# --- nonces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 16, 32, 33, 128])
@pytest.mark.row("F131")
def test_nonces_are_echoed_and_their_answers_not_kept(lite: PKI, size: int) -> None:
    nonce = bytes(range(size))
    answer = lite.answer(question(lite.issuer(), NEVER_ISSUED, nonce=nonce))
    assert answer.expires is None
    read = ocsp.load_der_ocsp_response(answer.der)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    again = lite.answer(question(lite.issuer(), NEVER_ISSUED, nonce=nonce))
    assert again.der != answer.der  # ECDSA: signed anew


def test_an_old_clients_bare_nonce_is_echoed(lite: PKI) -> None:
    request = question_about([cert_id(lite.issuer(), b"\5")], nonce_extension(b"\x01" * 18))
    answer = lite.answer(request)
    assert status(answer.der) is Status.SUCCESSFUL
    assert encode_tlv(4, b"\x01" * 18) in answer.der


@pytest.mark.parametrize("value", [b"", encode_tlv(4, b""), encode_tlv(4, b"x" * 129), b"x" * 129, b"x" * 5000])
def test_nonces_of_a_wrong_size_are_malformed(lite: PKI, value: bytes) -> None:
    request = question_about([cert_id(lite.issuer(), b"\5")], nonce_extension(value))
    assert status(lite.answer(request).der) is Status.MALFORMED_REQUEST


def test_a_critical_extension_that_is_not_understood_is_malformed(lite: PKI) -> None:
    extension = bytes.fromhex("300f 0603 2a0304 0101ff 0405 0403616263".replace(" ", ""))
    request = question_about([cert_id(lite.issuer(), b"\5")], encode_tlv(0x30, extension))
    assert status(lite.answer(request).der) is Status.MALFORMED_REQUEST
    harmless = bytes.fromhex("300c 0603 2a0304 0405 0403616263".replace(" ", ""))
    request = question_about([cert_id(lite.issuer(), b"\5")], encode_tlv(0x30, harmless))
    assert status(lite.answer(request).der) is Status.SUCCESSFUL


# --- troubles of our own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [(Unavailable("the database is locked"), Status.TRY_LATER), (KeyError("a bug"), Status.INTERNAL_ERROR)],
)
def test_a_database_in_trouble(
    lite: PKI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
    expected: ocsp.OCSPResponseStatus,
) -> None:
    request = question(lite.issuer(), 5)
    assert status(lite.answer(request).der) is Status.SUCCESSFUL

    def fail(*_: object) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(type(lite.world.parts.db), "look", fail)
        patch.setattr(type(lite.world.parts.db), "read", fail)
        for _ in range(50):
            answer = lite.answer(request)
            assert (status(answer.der), answer.expires) == (expected, None)
            assert b"locked" not in answer.der
    assert len([record for record in caplog.records if "OCSP" in record.message]) == 1  # not fifty times
    assert status(lite.answer(request).der) is Status.SUCCESSFUL


def test_a_database_in_trouble_vouches_for_no_answer_that_was_given_before(
    lite: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()))
    first = lite.answer(request)
    assert lite.answer(request) == first

    def fail(*_: object) -> None:
        raise Unavailable("the database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(type(lite.world.parts.db), "look", fail)
        assert lite.world.services.ocsp.known("issuing", request, lite.world.clock.now()) is None
        patch.setattr(type(lite.world.parts.db), "read", fail)
        assert status(lite.answer(request).der) is Status.TRY_LATER
    assert lite.answer(request) == first


def test_a_closed_database_is_no_exception(lite: PKI) -> None:
    request = question(lite.issuer(), 5)
    lite.world.parts.db.close()
    assert status(lite.answer(request).der) is Status.INTERNAL_ERROR


def test_a_key_that_does_not_sign(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotSigned("no")

    request = question(lite.issuer(), NEVER_ISSUED - 1)
    monkeypatch.setattr(LocalSigner, "sign", fail)
    assert status(lite.answer(request).der) is Status.TRY_LATER


# --- answers given again --------------------------------------------------------------------------------------------


def test_the_same_answer_is_given_again_for_five_minutes(lite: PKI) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()))
    first = lite.answer(request)
    lite.world.pass_time(REUSE - timedelta(seconds=1))
    assert lite.answer(request) == first
    lite.world.pass_time(timedelta(seconds=1))
    second = lite.answer(request)
    assert second.produced_at == lite.world.clock.now()
    lite.world.pass_time(-timedelta(seconds=1))  # a clock that is set back must not meet an answer from the future
    assert lite.answer(request).produced_at == lite.world.clock.now()


def test_a_changed_declaration_is_in_the_next_answer(lite: PKI) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()))
    lite.answer(request)
    lite.world.apply(DECLARATION.replace("{name: issuing,", "{name: issuing, ocsp: {validity: 8h},"))
    assert lite.answer(request).expires == lite.world.clock.now() + timedelta(hours=8)


def test_any_revocation_of_the_issuer_has_rows_looked_at_again(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers about other certificates are still true, and need no other signature."""
    one, another = pki.issue(), pki.issue()
    request = question(pki.issuer(), serial_of(one))
    first, looked = pki.answer(request), []
    look_up = OCSPResponder._look_up

    def counted(self: OCSPResponder, slug: str, asked: Any) -> Any:
        looked.append(slug)
        return look_up(self, slug, asked)

    monkeypatch.setattr(OCSPResponder, "_look_up", counted)
    assert pki.answer(request) == first
    assert looked == []
    pki.world.services.revocations.revoke(another.id, RevocationReason.SUPERSEDED, OPERATOR)
    for _ in range(3):
        assert pki.answer(request) == first
    assert 1 <= len(looked) <= 3  # on PostgreSQL the epochs are read some milliseconds later
    pki.world.services.revocations.revoke(one.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert pki.ask(serial_of(one)).certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_unknown_is_not_remembered(pki: PKI) -> None:
    """A serial number may be issued at any moment, without a status epoch."""
    request = question(pki.issuer(), NEVER_ISSUED)
    for _ in range(2):
        assert ocsp.load_der_ocsp_response(pki.answer(request).der).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    pki.take(NEVER_ISSUED)
    assert ocsp.load_der_ocsp_response(pki.answer(request).der).certificate_status is GOOD


def test_questions_about_nothing_do_not_drive_out_answers(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkiconf.revocation.kept.MOST", 2)
    request = question(lite.issuer(), serial_of(lite.issue()))
    first = lite.answer(request)
    for number in range(3):
        assert not lite.answer(question(lite.issuer(), NEVER_ISSUED + number)).known
    assert lite.world.services.ocsp.known("issuing", request, lite.world.clock.now()) == first


def test_the_reading_that_is_chosen_is_about_what_was_issued(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is signed to find it."""
    known = question(pki.issuer(), serial_of(pki.issue()))
    unknown = [question(pki.issuer(), NEVER_ISSUED + number) for number in range(3)]
    responder = pki.world.services.ocsp
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", lambda *_: pytest.fail("something was signed"))
        assert responder.choose("issuing", [*unknown, b"no request", known]) == known
        assert responder.choose("issuing", [*unknown, b"no request"]) is None
        assert responder.choose("nobody", [known]) is None


def test_a_reading_about_several_certificates_is_not_even_looked_at(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one URL would cost as many looks as it has readings, times 32."""
    one, two = (cert_id(lite.issuer(), lite.issue().id.serial_number.to_bytes(20, "big")) for _ in range(2))
    responder = lite.world.services.ocsp
    monkeypatch.setattr("pkiconf.revocation.ocsp.find_status", lambda *_: pytest.fail("the database was asked"))
    assert responder.choose("issuing", [question_about([one, two])] * 2) is None


def test_kept_answers_are_bounded() -> None:
    kept: KeptAnswers[str, str] = KeptAnswers()
    at = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    for number in range(MOST + 10):
        kept.keep(("x", number.to_bytes(4)), "q", Basis(1, (number,), Stamp(1, 1), at + REUSE), "a", at, 1)
    assert kept.find(("x", bytes(4))) is None
    found = kept.find(("x", (MOST + 9).to_bytes(4)))
    assert found is not None
    assert found.same((MOST + 9,), at) == "a"
    assert found.same((MOST + 8,), at) is None
    assert found.at(Stamp(1, 1), at) == "a"
    for other in (None, Stamp(2, 1), Stamp(1, 2)):
        assert found.at(other, at) is None
    assert found.at(Stamp(1, 1), at + REUSE) is None
    assert found.at(Stamp(1, 1), at - timedelta(seconds=1)) is None
    assert replace(found, basis=replace(found.basis, until=at)).at(Stamp(1, 1), at) is None
    kept.keep(("x", bytes(LARGEST + 1)), "q", found.basis, "a", at, 1)
    assert kept.find(("x", bytes(LARGEST + 1))) is None
    assert replace(found, made=at + timedelta(seconds=1)).same((MOST + 9,), at) is None


def test_large_answers_are_fewer() -> None:
    kept: KeptAnswers[str, str] = KeptAnswers()
    at = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    basis = Basis(1, (), Stamp(1, 1), at + REUSE)

    def keep(number: int, octets: int) -> None:
        kept.keep(("x", bytes([number])), "q", basis, "a", at, octets)

    def there() -> list[int]:
        return [number for number in range(8) if kept.find(("x", bytes([number])))]

    for number in range(4):
        keep(number, ROOM // 4)
    keep(3, ROOM // 4)
    assert there() == [0, 1, 2, 3]
    keep(4, ROOM // 4 + 1)
    assert there() == [2, 3, 4]
    keep(2, 1)
    keep(5, ROOM // 4)
    assert there() == [2, 3, 4, 5]
    keep(6, ROOM)
    assert there() == [6]


def test_many_threads_at_once(pki: PKI) -> None:
    issued = [pki.issue(name=f"w{number}.corp.example") for number in range(4)]
    issuer = pki.issuer()
    requests = [question(issuer, serial_of(one)) for one in issued]
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(15):
            for request in requests:
                answer = ocsp.load_der_ocsp_response(pki.answer(request).der)
                if answer.response_status is not Status.SUCCESSFUL:
                    wrong.append(answer.response_status)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for one in issued:
        pki.world.services.revocations.revoke(one.id, RevocationReason.SUPERSEDED, OPERATOR)
        assert pki.ask(serial_of(one)).certificate_status is REVOKED
    for thread in threads:
        thread.join(60)
    assert wrong == []
