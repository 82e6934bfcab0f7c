"""What is answered without waiting for anything: by a server's main loop, which everybody else would wait with."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from pkiconf.errors import NotSigned
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.ocsp import OCSPAnswer
from pkiconf.signing.local import LocalSigner
from pkiconf.worker import Worker
from tests.revocation.pki import DECLARATION, NEVER_ISSUED, PKI, question, serial_of, verify
from tests.world import OPERATOR, World

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
NONCE = bytes(range(16))


def at_once(pki: PKI, request: bytes) -> OCSPAnswer | None:
    return pki.world.services.ocsp.at_once("issuing", request, pki.world.clock.now())


def read(answer: OCSPAnswer | None) -> ocsp.OCSPResponse:
    assert answer is not None
    return ocsp.load_der_ocsp_response(answer.der)


def test_a_nonce_is_answered_where_the_database_is_a_file(pki: PKI) -> None:
    request = question(pki.issuer(), serial_of(pki.issue()), nonce=NONCE)
    pki.answer(request)
    found = at_once(pki, request)
    if pki.world.parts.db.dialect != "sqlite":
        assert found is None  # its server would have to be waited for
        return
    answer = read(found)
    assert answer.certificate_status is GOOD
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    verify(answer, pki.issuer())
    assert found is not None
    assert found.expires is None


@pytest.mark.parametrize(
    ("key", "quick"),
    [
        ("type: rsa, size: 2048", True),
        ("type: ec, curve: p384", True),
        ("type: ed25519", True),
        ("type: ec, curve: p521", False),
        ("type: rsa, size: 3072", False),
        ("type: ml-dsa", False),
    ],
)
def test_a_slow_key_signs_in_a_thread(sqlite_world: World, key: str, quick: bool) -> None:
    own = f"{{name: issuing, service_certificates: {{key: {{{key}}}}},"
    assert sqlite_world.apply(DECLARATION.replace("{name: issuing,", own)).exit_code == 0
    pki = PKI(sqlite_world)
    issued = pki.issue()
    request = question(pki.issuer(), serial_of(issued), nonce=NONCE)
    assert read(pki.answer(request)).certificate_status is GOOD
    assert (at_once(pki, request) is not None) is quick
    kept = question(pki.issuer(), serial_of(issued))
    assert at_once(pki, kept) or pki.answer(kept)
    assert at_once(pki, kept) is not None  # nothing is signed for it any more


@pytest.fixture
def slow(sqlite_world: World) -> PKI:
    """Its answers are signed by a key that is not quick, some of them ahead of time."""
    own = "{name: issuing, ocsp: {presign: [sha1]}, service_certificates: {key: {type: ec, curve: p521}},"
    assert sqlite_world.apply(DECLARATION.replace("{name: issuing,", own)).exit_code == 0
    return PKI(sqlite_world)


def test_what_a_slow_key_signed_ahead_is_given_at_once(slow: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = slow.issue()
    slow.answer(question(slow.issuer(), serial_of(issued), nonce=NONCE))
    Worker(slow.world.services).run_once()
    sign_no_more(monkeypatch)
    answer = read(at_once(slow, question(slow.issuer(), serial_of(issued))))
    assert answer.certificate_status is GOOD
    verify(answer, slow.issuer())
    assert at_once(slow, question(slow.issuer(), serial_of(issued), hashes.SHA256())) is None


def test_what_a_slow_key_signed_before_is_given_while_the_same_is_found(
    slow: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the status of another certificate has changed since."""
    issued, other = slow.issue(), slow.issue(name="other.corp.example")
    request = question(slow.issuer(), serial_of(issued), hashes.SHA256())
    first = slow.answer(request)
    slow.world.services.revocations.revoke(other.id, RevocationReason.SUPERSEDED, OPERATOR)
    slow.answer(question(slow.issuer(), serial_of(other), nonce=NONCE))  # the responder was looked for again
    sign_no_more(monkeypatch)
    assert at_once(slow, request) is first
    slow.world.pass_time(timedelta(minutes=5))
    assert at_once(slow, request) is None


def sign_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotSigned("no")

    monkeypatch.setattr(LocalSigner, "sign", fail)


def test_what_was_given_before_is_given_again(lite: PKI) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()))
    lite.answer(request)
    first = at_once(lite, request)
    assert first is not None
    assert at_once(lite, request) is first is lite.answer(request)


def test_a_revocation_is_in_the_next_answer_at_the_latest_by_the_longer_way(lite: PKI) -> None:
    issued = lite.issue()
    request = question(lite.issuer(), serial_of(issued), nonce=NONCE)
    lite.answer(request)
    assert read(at_once(lite, request)).certificate_status is GOOD
    lite.world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    # It may have been the responder's own certificate: that has to be looked for.
    assert at_once(lite, request) is None
    assert read(lite.answer(request)).certificate_status is REVOKED
    assert read(at_once(lite, request)).certificate_status is REVOKED


def test_a_responder_that_was_revoked_signs_nothing_more(lite: PKI) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()), nonce=NONCE)
    first = verify(read(lite.answer(request)), lite.issuer())
    revoked = CertificateID(lite.issuer_id(), first.serial_number)
    lite.world.services.revocations.revoke(revoked, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert at_once(lite, request) is None
    second = verify(read(lite.answer(request)), lite.issuer())
    assert verify(read(at_once(lite, request)), lite.issuer()) == second != first


def test_nobody_waits_while_a_responder_certificate_is_made(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    request = question(lite.issuer(), serial_of(lite.issue()), nonce=NONCE)
    lite.answer(request)
    lite.world.pass_time(timedelta(days=365))  # the former one has ended

    def make(*_: object) -> None:
        raise AssertionError("this waits for a lock, a key and a disk")

    with monkeypatch.context() as patch:
        patch.setattr(type(lite.world.services.service_certificates), "ensure", make)
        patch.setattr(type(lite.world.services.pipeline), "issue", make)
        assert at_once(lite, request) is None


@pytest.mark.parametrize(
    ("request_", "slug", "expected"),
    [
        (b"\x30\x00", "issuing", ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (b"", "issuing", ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (None, "other", ocsp.OCSPResponseStatus.UNAUTHORIZED),
        (None, "nobody", ocsp.OCSPResponseStatus.UNAUTHORIZED),
        (None, "iss\0uing", ocsp.OCSPResponseStatus.UNAUTHORIZED),
    ],
)
def test_errors_are_those_of_the_longer_way(
    lite: PKI, request_: bytes | None, slug: str, expected: ocsp.OCSPResponseStatus
) -> None:
    asked = question(lite.issuer(), 5) if request_ is None else request_
    now = lite.world.clock.now()
    found = lite.world.services.ocsp.at_once(slug, asked, now)
    assert found == lite.world.services.ocsp.answer(slug, asked, now)
    assert read(found).response_status is expected


def test_a_question_about_nothing_is_not_remembered(lite: PKI) -> None:
    issued = lite.issue()
    lite.answer(question(lite.issuer(), serial_of(issued)))
    request = question(lite.issuer(), NEVER_ISSUED)
    assert read(at_once(lite, request)).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    lite.take(NEVER_ISSUED)
    assert read(at_once(lite, request)).certificate_status is GOOD
