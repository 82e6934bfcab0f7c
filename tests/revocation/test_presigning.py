"""Answers that were signed ahead of time: given without the key, true to the moment, and never old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp

from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.der.tlv import encode_sequence
from pkiconf.errors import Conflict, NotSigned
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation import presigning
from pkiconf.revocation.ocsp import OCSPResponder
from pkiconf.services import make_services
from pkiconf.signing.local import LocalSigner
from pkiconf.steps import Step
from pkiconf.store import jobs, ocsp_answers
from pkiconf.worker import LEASE_SECONDS, Worker
from tests.judges.pkilint import pkilint_findings
from tests.revocation.pki import (
    DECLARATION,
    PKI,
    SHA1_ALGORITHM,
    cert_id,
    prepare,
    question,
    question_about,
    serial_of,
    verify,
)
from tests.world import OPERATOR, World

DECLARED = DECLARATION.replace("{name: issuing,", "{name: issuing, ocsp: {presign: [sha1]},")
BOTH = DECLARED.replace("[sha1]", "[sha1, sha256]")
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


def declare(world: World, text: str = DECLARED) -> PKI:
    pki = prepare(world)
    assert world.apply(text).exit_code == 0
    return pki


def work(world: World) -> None:
    """By a worker; the server is another process, which remembers nothing of it."""
    Worker(world.services).run_once()


def ask(pki: PKI, serial: int, hash_algorithm: hashes.HashAlgorithm | None = None) -> ocsp.OCSPResponse:
    """Of a server that was just started; verified, and judged by a stranger."""
    responder = OCSPResponder(pki.world.parts, pki.world.services.service_certificates)
    der = responder.answer("issuing", question(pki.issuer(), serial, hash_algorithm), pki.world.clock.now()).der
    assert pkilint_findings(der, "ocsp") == []
    answer = ocsp.load_der_ocsp_response(der)
    verify(answer, pki.issuer())
    assert answer.serial_number == serial
    return answer


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it, and no key signs any more."""

    def fail(*_: object) -> None:
        raise NotSigned("no")

    return lambda: monkeypatch.setattr(LocalSigner, "sign", fail)


@pytest.mark.row("F131")
@pytest.mark.parametrize(("text", "algorithm"), [(DECLARED, hashes.SHA1()), (BOTH, hashes.SHA256())])
def test_what_was_signed_ahead_needs_no_key(
    world: World, no_key: Any, text: str, algorithm: hashes.HashAlgorithm
) -> None:
    pki = declare(world, text)
    good, revoked = pki.issue(), pki.issue(name="bad.corp.example")
    world.services.revocations.revoke(revoked.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    work(world)
    no_key()
    assert ask(pki, serial_of(good), algorithm).certificate_status is GOOD
    answer = ask(pki, serial_of(revoked), algorithm)
    assert (answer.certificate_status, answer.revocation_reason) == (REVOKED, x509.ReasonFlags.key_compromise)


@pytest.mark.row("F133")
def test_a_revocation_overtakes_what_was_signed_ahead(world: World) -> None:
    pki = declare(world)
    issued, other = pki.issue(), pki.issue(name="other.corp.example")
    work(world)
    assert ask(pki, serial_of(issued)).certificate_status is GOOD
    world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert ask(pki, serial_of(issued)).certificate_status is REVOKED
    assert ask(pki, serial_of(other)).certificate_status is GOOD


def test_a_hold_and_its_release(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    sqlite_world.services.revocations.hold(issued.id, OPERATOR)
    assert ask(pki, serial_of(issued)).certificate_status is REVOKED
    sqlite_world.services.revocations.release(issued.id, OPERATOR)
    assert ask(pki, serial_of(issued)).certificate_status is GOOD


def test_a_slow_process_does_not_put_back_what_was_true_before(world: World) -> None:
    pki = declare(world)
    issued = pki.issue()
    work(world)
    serial, pki_id = serial_of(issued).to_bytes(19), pki.issuer_id()
    old = world.parts.db.read(lambda c: ocsp_answers.find(c, pki_id, serial, "sha1"))
    assert old is not None
    world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    world.parts.db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, presigning.PRESIGN_JOB, str(pki_id), "{}", 0))
    work(world)
    new = world.parts.db.read(lambda c: ocsp_answers.find(c, pki_id, serial, "sha1"))
    assert new is not None
    assert new.changed_epoch > old.changed_epoch
    world.parts.db.write(Step.OCSP_PRESIGN, lambda c: ocsp_answers.put(c, [old]))
    assert world.parts.db.read(lambda c: ocsp_answers.find(c, pki_id, serial, "sha1")) == new


def test_another_hash_is_signed_on_the_spot(sqlite_world: World, no_key: Any) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    assert ask(pki, serial_of(issued), hashes.SHA256()).certificate_status is GOOD
    no_key()
    request = question(pki.issuer(), serial_of(issued), hashes.SHA384())
    answer = ocsp.load_der_ocsp_response(pki.answer(request).der)
    assert answer.response_status is ocsp.OCSPResponseStatus.TRY_LATER


def test_another_spelling_is_signed_on_the_spot(sqlite_world: World) -> None:
    """An answer gives the CertID back as it was asked: here without the NULL behind SHA-1's OID."""
    pki = declare(sqlite_world)
    serial = serial_of(pki.issue())
    work(sqlite_world)
    sqlite_world.pass_time(timedelta(minutes=1))
    usual = cert_id(pki.issuer(), serial.to_bytes(19))
    rest = usual[2 + len(SHA1_ALGORITHM) :]
    unusual = encode_sequence((bytes.fromhex("300706052b0e03021a"), rest))
    responder = OCSPResponder(sqlite_world.parts, sqlite_world.services.service_certificates)
    given = {}
    for asked in (usual, unusual):
        answer = responder.answer("issuing", question_about([asked]), sqlite_world.clock.now())
        verify(ocsp.load_der_ocsp_response(answer.der), pki.issuer())
        assert asked in answer.der
        given[asked] = answer.produced_at
    assert given[unusual] == sqlite_world.clock.now() > given[usual]


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [("{type: ec, curve: p256}", "sha256", "sha384"), ("{type: rsa, size: 2048}", "sha384", "sha256")],
)
def test_what_was_signed_with_another_hash_is_signed_on_the_spot(
    sqlite_world: World, key: str, before: str, after: str
) -> None:
    """By the next process: which hash it is signed with stands in the answer, and not in what is stored."""

    def declared(chosen: str) -> str:
        own = f"service_certificates: {{key: {key}, signature_hash: {chosen}}}, ocsp: {{presign: [sha1]}},"
        return DECLARATION.replace("{name: issuing,", f"{{name: issuing, {own}")

    assert sqlite_world.apply(declared(before)).exit_code == 0
    sqlite_world.pass_time(timedelta(hours=1))
    pki = PKI(sqlite_world)
    serial = serial_of(pki.issue())
    work(sqlite_world)
    sqlite_world.pass_time(timedelta(minutes=1))
    responder = next_process(sqlite_world)
    given = responder.answer("issuing", question(pki.issuer(), serial), sqlite_world.clock.now())
    assert given.produced_at < sqlite_world.clock.now()
    assert sqlite_world.apply(declared(after)).exit_code == 0
    responder = next_process(sqlite_world)
    der = responder.answer("issuing", question(pki.issuer(), serial), sqlite_world.clock.now()).der
    answer = ocsp.load_der_ocsp_response(der)
    assert answer.signature_hash_algorithm is not None
    assert answer.signature_hash_algorithm.name == after
    assert answer.produced_at_utc == sqlite_world.clock.now()
    (responder_certificate,) = answer.certificates
    stranger = responder_certificate.public_key()
    if isinstance(stranger, rsa.RSAPublicKey):
        stranger.verify(
            answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), answer.signature_hash_algorithm
        )
    else:
        verify(answer, pki.issuer())
    assert isinstance(stranger, rsa.RSAPublicKey) == ("rsa" in key)


def test_processes_that_run_sign_with_another_hash_as_soon_as_it_is_declared(world: World) -> None:
    """The server with its next answer; the worker when it signs ahead anew."""

    def declared(chosen: str) -> str:
        return DECLARED.replace(
            "{name: issuing,", f"{{name: issuing, service_certificates: {{signature_hash: {chosen}}},"
        )

    def answer() -> ocsp.OCSPResponse:
        found = ocsp.load_der_ocsp_response(responder.answer("issuing", request, world.clock.now()).der)
        verify(found, pki.issuer())
        return found

    def hash_of(found: ocsp.OCSPResponse) -> str:
        assert found.signature_hash_algorithm is not None
        return found.signature_hash_algorithm.name

    pki = declare(world, declared("sha256"))
    request = question(pki.issuer(), serial_of(pki.issue()))
    responder = next_process(world)
    worker = Worker(make_services(world.parts, lambda message: b"", world.network))
    worker.run_once()
    assert hash_of(answer()) == "sha256"
    assert world.apply(declared("sha512")).exit_code == 0
    assert hash_of(answer()) == "sha512"
    world.pass_time(timedelta(days=4))
    worker.run_once()
    world.pass_time(timedelta(minutes=1))
    ahead = answer()
    assert hash_of(ahead) == "sha512"
    assert ahead.produced_at_utc == world.clock.now() - timedelta(minutes=1)


def next_process(world: World) -> OCSPResponder:
    services = ServiceCertificates(world.parts, world.services.pipeline)
    return OCSPResponder(world.parts, services)


def test_a_nonce_is_signed_on_the_spot(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    answer = pki.ask(serial_of(issued), nonce=b"n" * 32)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


def test_they_are_signed_anew_at_half_their_life(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    first = ask(pki, serial_of(issued))
    sqlite_world.pass_time(timedelta(hours=11))
    work(sqlite_world)
    assert ask(pki, serial_of(issued)).produced_at_utc == first.produced_at_utc
    sqlite_world.pass_time(timedelta(hours=2))
    work(sqlite_world)
    assert ask(pki, serial_of(issued)).produced_at_utc == sqlite_world.clock.now()


def answers(pki: PKI) -> dict[tuple[int, str], int]:
    """Of serial number and hash: when it was produced."""
    query = f"SELECT serial, hash_algorithm, produced_at FROM ocsp_answer WHERE issuer_id = {pki.issuer_id()}"
    rows = pki.world.parts.db.read(lambda c: c.exec_driver_sql(query).all())
    return {(int.from_bytes(serial), algorithm): at for serial, algorithm, at in rows}


def test_a_hash_that_is_no_longer_declared_lets_the_worker_rest(world: World) -> None:
    pki = declare(world, BOTH)
    pki.issue()
    work(world)
    assert {algorithm for _, algorithm in answers(pki)} == {"sha1", "sha256"}
    assert world.apply(DECLARED).exit_code == 0
    world.pass_time(timedelta(hours=13))
    work(world)
    assert {algorithm for _, algorithm in answers(pki)} == {"sha1"}
    assert world.services.presigning.queue_due() == 0


def test_what_was_issued_or_revoked_since_is_answered_soon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By looking at a few certificates each time; the other answers stay."""
    pki = declare(world)
    old = [pki.issue(name=f"n{number}.corp.example") for number in range(6)]
    work(world)
    before = answers(pki)
    world.pass_time(timedelta(minutes=1))
    new = pki.issue(name="new.corp.example")
    world.services.revocations.revoke(old[0].id, RevocationReason.SUPERSEDED, OPERATOR)
    monkeypatch.setattr(presigning, "GLANCE", 2)
    worker = Worker(world.services)
    for _ in range(4):
        worker.run_once()
    after = answers(pki)
    now = int(world.clock.now().timestamp())
    assert {key for key, at in after.items() if at == now} == {(serial_of(one), "sha1") for one in (new, old[0])}
    assert set(after) == {*before, (serial_of(new), "sha1")}
    assert [world.services.presigning.queue_due() for _ in range(4)] == [0] * 4


def test_a_hash_that_is_declared_later_is_answered_soon(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    assert sqlite_world.apply(BOTH).exit_code == 0
    work(sqlite_world)
    assert (serial_of(issued), "sha256") in answers(pki)


def test_answers_from_the_future_are_signed_anew(sqlite_world: World) -> None:
    """The clock was set back; a few minutes pass by themselves."""
    pki = declare(sqlite_world)
    pki.issue()
    work(sqlite_world)
    sqlite_world.parts.db.write(
        Step.OCSP_PRESIGN, lambda c: c.exec_driver_sql("UPDATE ocsp_answer SET produced_at = produced_at + 60")
    )
    assert sqlite_world.services.presigning.queue_due() == 0
    sqlite_world.parts.db.write(
        Step.OCSP_PRESIGN, lambda c: c.exec_driver_sql("UPDATE ocsp_answer SET produced_at = produced_at + 7200")
    )
    assert sqlite_world.services.presigning.queue_due() == 1
    work(sqlite_world)
    assert set(answers(pki).values()) == {int(sqlite_world.clock.now().timestamp())}
    assert sqlite_world.services.presigning.queue_due() == 0


def test_an_old_one_is_not_given(sqlite_world: World) -> None:
    """No worker runs."""
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    sqlite_world.pass_time(timedelta(hours=19))
    assert ask(pki, serial_of(issued)).produced_at_utc == sqlite_world.clock.now()


def test_a_renewed_responder_signs_them_anew(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    responder = ask(pki, serial_of(issued)).certificates[0]
    own = sqlite_world.services.certificates.get(f"{responder.serial_number:x}")
    sqlite_world.services.revocations.revoke(own.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert ask(pki, serial_of(issued)).certificates[0].serial_number != responder.serial_number


def test_certificates_that_have_ended_have_none(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    pki.issue()
    work(sqlite_world)
    before = pki.rows("ocsp_answer")
    sqlite_world.pass_time(timedelta(days=91))
    work(sqlite_world)
    assert 0 < pki.rows("ocsp_answer") <= before
    now = int(sqlite_world.clock.now().timestamp())
    ended = "SELECT count(*) FROM ocsp_answer a JOIN certificate s ON s.serial = a.serial WHERE s.not_after < "
    assert sqlite_world.parts.db.read(lambda c: c.exec_driver_sql(f"{ended}{now}").scalar()) == 0


def test_nothing_is_signed_where_nobody_asked(sqlite_world: World) -> None:
    pki = prepare(sqlite_world)
    pki.issue()
    work(sqlite_world)
    assert pki.rows("ocsp_answer") == 0


def test_no_longer_declared(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    issued = pki.issue()
    work(sqlite_world)
    assert sqlite_world.apply(DECLARED.replace("presign: [sha1]", "presign: []")).exit_code == 0
    assert ask(pki, serial_of(issued)).produced_at_utc == sqlite_world.clock.now()
    issuer_id = pki.issuer_id()
    sqlite_world.parts.db.write(
        Step.JOB_CLAIM, lambda c: jobs.queue(c, presigning.PRESIGN_JOB, str(issuer_id), "{}", 0)
    )
    work(sqlite_world)
    assert pki.rows("ocsp_answer") == 0
    assert pki.rows("job") == 0


def test_a_slice_at_a_time_and_the_next_worker_goes_on(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = declare(sqlite_world, BOTH)
    for number in range(4):
        pki.issue(name=f"n{number}.corp.example")
    monkeypatch.setattr(presigning, "SLICE", 0.0)
    monkeypatch.setattr(presigning, "BATCH", 2)
    sqlite_world.services.presigning.queue_due()
    counts = []
    for number in range(12):
        worker = Worker(sqlite_world.services, name=f"worker {number}")
        if not worker._presign():
            break
        counts.append(pki.rows("ocsp_answer"))
    assert counts == sorted(counts)
    assert counts[0] == 2
    assert counts[-1] == 2 * 5  # four, and the responder's own, for two hashes
    assert sqlite_world.parts.db.read(jobs.list_jobs) == []


def test_whoever_lost_the_job_writes_nothing_more(sqlite_world: World) -> None:
    pki = declare(sqlite_world)
    pki.issue()
    sqlite_world.services.presigning.queue_due()
    lost = Worker(sqlite_world.services, name="slow")._claim((presigning.PRESIGN_JOB,))
    assert lost is not None
    sqlite_world.pass_time(timedelta(seconds=LEASE_SECONDS + 1))
    assert Worker(sqlite_world.services, name="other")._claim((presigning.PRESIGN_JOB,)) is not None
    with pytest.raises(Conflict):
        sqlite_world.services.presigning.work_on(lost, LEASE_SECONDS)
    assert pki.rows("ocsp_answer") == 0
