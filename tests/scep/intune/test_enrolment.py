"""The order of things, and that nobody gets a certificate that Intune does not know of."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.errors import Conflict, PkiconfError, Refused, Unavailable
from pkiconf.model.actor import SYSTEM
from pkiconf.model.intune import NO_CHALLENGES
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.scep import NOT_PROVED, NotProved, ProofMethod, SCEPFailure
from pkiconf.scep.intune.enrolment import SETTLE_SECONDS
from pkiconf.steps import Step
from pkiconf.store import audit, jobs
from tests.intune_server import Fault, Said, error, reset, truncated
from tests.intune_tenant import APPLICATION, SID
from tests.intune_world import TEMPLATE, IntuneWorld

SOON = timedelta(seconds=SETTLE_SECONDS + 1)


def _actions(world: IntuneWorld) -> list[str]:
    return [event.fields["action"] for event in world.pki.parts.db.read(lambda c: list(audit.list_events(c)))]


@pytest.mark.row("F80")
@pytest.mark.row("F120")
def test_intune_says_yes_then_it_is_issued_then_intune_is_told(world: IntuneWorld) -> None:
    device = world.device()
    proof = world.check(device)
    assert proof.method is ProofMethod.INTUNE
    assert proof.detail == APPLICATION
    assert world.stand_in.acts[-1] == "validateRequest"
    issued = world.make(device, proof)
    assert isinstance(issued, Issued)
    assert world.state(issued) == "untold"
    assert "successNotification" not in world.stand_in.acts
    world.intune.enrolment.issued(device.request, issued)
    assert world.state(issued) == "told"
    assert world.status(issued) == "good"
    acts = [act for act in world.stand_in.acts if act not in ("token", "endpoints")]
    assert acts == ["validateRequest", "successNotification"]
    _check_notice(world, device.transaction, issued)
    assert "scep.intune-told" in _actions(world)


def _check_notice(world: IntuneWorld, transaction: str, issued: Issued) -> None:
    """What Intune was told, compared with what a stranger reads in the certificate."""
    validated, told = (
        world.stand_in.of("validateRequest")[0].content,
        world.stand_in.of("successNotification")[0].content,
    )
    certificate = x509.load_der_x509_certificate(issued.der)
    assert told["transactionId"] == validated["transactionId"] == transaction
    assert told["certificateRequest"] == validated["certificateRequest"]
    assert told["certificateThumbprint"] == hashlib.sha1(issued.der).hexdigest().upper()
    assert int(told["certificateSerialNumber"], 16) == certificate.serial_number
    assert told["certificateSerialNumber"] == told["certificateSerialNumber"].upper()
    assert told["certificateExpirationDateUtc"] == certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert told["issuingCertificateAuthority"] == certificate.issuer.rfc4514_string()
    assert told["caConfiguration"] == "issuing/device"
    assert world.stand_in.tenant.judge(told["certificateRequest"]) == "Success"


@pytest.mark.row("F121")
def test_the_sid_is_kept_in_the_certificate(world: IntuneWorld) -> None:
    certificate = x509.load_der_x509_certificate(world.deliver(world.device()).der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SID]
    assert certificate.public_bytes(Encoding.DER)


def test_who_asks_again_gets_the_same_and_intune_is_told_once(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.deliver(device)
    world.intune.enrolment.issued(device.request, issued)
    assert world.stand_in.acts.count("successNotification") == 1


def test_the_request_is_kept_until_intune_was_told(world: IntuneWorld) -> None:
    """Who only asks what became of it brings none; and it holds the challenge."""
    device = world.device()
    issued = world.issue(device)
    assert [bytes(csr) for (csr,) in world.rows("SELECT csr FROM scep_transaction")] == [device.request.csr]
    world.intune.enrolment.issued(None, issued)
    (told,) = world.stand_in.of("successNotification")
    assert world.stand_in.tenant.judge(told.content["certificateRequest"]) == "Success"
    assert world.rows("SELECT csr FROM scep_transaction") == [(None,)]
    world.intune.enrolment.issued(None, issued)
    assert world.stand_in.acts.count("successNotification") == 1


def test_the_request_of_what_was_withdrawn_is_not_kept(world: IntuneWorld) -> None:
    issued = world.issue(world.device())
    world.stand_in.always["successNotification"] = error(500)
    with pytest.raises(Unavailable):
        world.intune.enrolment.issued(None, issued)
    assert (world.state(issued), world.status(issued)) == ("withdrawn", "revoked")
    assert world.rows("SELECT csr FROM scep_transaction") == [(None,)]
    with pytest.raises(Refused):
        world.intune.enrolment.issued(None, issued)


def test_what_cannot_be_told_of_without_its_request_is_withdrawn(world: IntuneWorld) -> None:
    """Whatever became of the request: nobody gets a certificate that Intune does not know of."""
    issued = world.issue(world.device())
    lost = "UPDATE scep_transaction SET csr = NULL"
    world.pki.parts.db.write(Step.INTUNE_WRITE, lambda c: c.exec_driver_sql(lost))
    with pytest.raises(Conflict, match="not kept any more"):
        world.intune.enrolment.issued(None, issued)
    assert (world.state(issued), world.status(issued)) == ("withdrawn", "revoked")
    assert "successNotification" not in world.stand_in.acts


@pytest.mark.row("F120")
def test_what_intune_refuses_is_not_issued_and_intune_hears_why(world: IntuneWorld) -> None:
    device = world.device(name="domain-controller")
    with pytest.raises(NotProved) as failure:
        world.check(device)
    assert failure.value.detail == NOT_PROVED
    assert "SubjectNameMismatch" in failure.value.reason
    (told,) = world.stand_in.of("failureNotification")
    assert told.content["transactionId"] == device.transaction
    assert told.content["hResult"] == 0x80070005
    assert "SubjectNameMismatch" in told.content["errorDescription"]


LIMITED = {"tries": "{ count: 2, per: 1h }"}


@pytest.mark.parametrize("code", ["Unknown", "ChallengeExpired", "SubjectNameMismatch", "NewInTheirNextVersion"])
def test_what_intune_refuses_keeps_no_other_device_behind_the_same_address_out(world: IntuneWorld, code: str) -> None:
    world.apply(**LIMITED)
    world.stand_in.verdicts["validateRequest"] = code
    for _ in range(3):
        with pytest.raises(NotProved) as failure:
            world.check(world.device())
        assert code in failure.value.reason
    assert world.rows("SELECT count(*) FROM scep_tries") == [(0,)]
    world.stand_in.verdicts.clear()
    assert world.check(world.device()).method is ProofMethod.INTUNE


@pytest.mark.parametrize("code", sorted(NO_CHALLENGES))
def test_what_intune_never_gave_to_a_device_counts_as_a_wrong_challenge(world: IntuneWorld, code: str) -> None:
    world.apply(**LIMITED)
    world.stand_in.verdicts["validateRequest"] = code
    for _ in range(2):
        with pytest.raises(NotProved):
            world.check(world.device())
    world.stand_in.verdicts.clear()
    with pytest.raises(NotProved) as failure:
        world.check(world.device())
    assert "too many wrong challenges" in failure.value.reason


def test_that_intune_does_not_hear_of_a_refusal_changes_nothing(world: IntuneWorld) -> None:
    world.stand_in.always["failureNotification"] = error(500)
    with pytest.raises(NotProved, match="not authorized"):
        world.check(world.device(name="domain-controller"))
    world.stand_in.always.clear()
    world.stand_in.verdicts["failureNotification"] = "Unknown"
    with pytest.raises(NotProved, match="not authorized"):
        world.check(world.device(name="domain-controller"))


UNDECIDED: dict[str, Fault] = {
    "500": error(500),
    "403": error(403),
    "HTML": Said(200, b"<html>", {"Content-Type": "text/html"}),
    "no code": Said(200, {}),
    "truncated": truncated,
    "reset": reset,
    "redirected": Said(302, {}, {"Location": "https://localhost/elsewhere"}),
}


@pytest.mark.parametrize("fault", UNDECIDED)
def test_what_intune_does_not_decide_is_refused_and_not_told_of(world: IntuneWorld, fault: str) -> None:
    world.stand_in.always["validateRequest"] = UNDECIDED[fault]
    device = world.device()
    with pytest.raises(SCEPFailure) as failure:
        world.check(device)
    assert failure.value.detail == NOT_PROVED
    assert not isinstance(failure.value, NotProved), "whose try would count against the device"
    assert "failureNotification" not in world.stand_in.acts


def test_neither_a_device_nor_intune_forges_a_line_of_the_log(
    world: IntuneWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.stand_in.verdicts["validateRequest"] = "Some\nthing: forged"
    device = replace(world.device(), transaction="T\nforged")
    with pytest.raises(NotProved) as failure:
        world.check(device)
    said = [record.getMessage() for record in caplog.records if record.name == "pkiconf.scep.intune.enrolment"]
    assert said
    assert all(line.isprintable() for line in [*said, failure.value.reason])


@pytest.mark.parametrize("code", ["Unknown", "success", "Success\n", "SomethingNew"])
def test_only_success_lets_in(world: IntuneWorld, code: str) -> None:
    world.stand_in.verdicts["validateRequest"] = code
    with pytest.raises(NotProved):
        world.check(world.device())


def _failing(fault: Fault) -> Callable[[IntuneWorld], None]:
    def act(world: IntuneWorld) -> None:
        world.stand_in.always["successNotification"] = fault

    return act


def _refusing(code: str) -> Callable[[IntuneWorld], None]:
    def act(world: IntuneWorld) -> None:
        world.stand_in.verdicts["successNotification"] = code

    return act


UNTOLD: dict[str, Callable[[IntuneWorld], None]] = {
    **{name: _failing(fault) for name, fault in UNDECIDED.items()},
    "not taken": _refusing("Unknown"),
    "not quite taken": _refusing("success"),
}


@pytest.mark.parametrize("fault", UNTOLD)
def test_what_intune_was_not_told_of_is_revoked_and_not_delivered(world: IntuneWorld, fault: str) -> None:
    device = world.device()
    issued = world.issue(device)
    UNTOLD[fault](world)
    with pytest.raises(Unavailable):
        world.intune.enrolment.issued(device.request, issued)
    assert world.status(issued) == "revoked"
    assert world.state(issued) == "withdrawn"
    assert "scep.intune-withdraw" in _actions(world)
    world.stand_in.always.clear()
    world.stand_in.verdicts.clear()
    world.stand_in.forget()
    with pytest.raises(Refused, match="withdrawn"):
        world.intune.enrolment.issued(device.request, issued)
    assert world.stand_in.acts == []


def test_a_certificate_that_was_revoked_meanwhile_is_not_told_of(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.issue(device)
    world.pki.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, SYSTEM)
    with pytest.raises(Refused):
        world.intune.enrolment.issued(device.request, issued)
    assert "successNotification" not in world.stand_in.acts
    assert world.state(issued) == "withdrawn"


def test_what_intune_did_not_let_in_is_not_delivered(world: IntuneWorld) -> None:
    issued = world.pki.issued(TEMPLATE, world.device().csr)
    with pytest.raises(Conflict, match="not let in by Intune"):
        world.intune.enrolment.issued(world.device().request, issued)


def test_a_template_that_has_lost_its_intune_delivers_nothing(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.issue(device)
    text = (world.pki.folder / "pki.yaml").read_text()
    begins = text.index("      intune:")
    world.pki.apply(text[:begins] + "      challenges: true\n      intune: null\n")
    with pytest.raises(Refused, match="not declared with Intune"):
        world.intune.enrolment.issued(device.request, issued)
    assert world.status(issued) == "revoked"


def test_a_failure_of_ours_is_told_of(world: IntuneWorld) -> None:
    device = world.device()
    world.check(device)
    world.intune.enrolment.refused(device.request, "the template does not allow the name")
    (told,) = world.stand_in.of("failureNotification")
    assert told.content["hResult"] == 0x80004005
    assert told.content["errorDescription"] == "the template does not allow the name"


def test_telling_of_a_failure_never_raises(world: IntuneWorld) -> None:
    world.stand_in.always["failureNotification"] = reset
    world.intune.enrolment.refused(world.device().request, "it failed")


def test_what_was_interrupted_is_withdrawn_by_the_worker(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.issue(device)
    world.work()
    assert world.status(issued) == "good", "too early: it may just be told of"
    world.pass_time(SOON)
    world.work()
    assert world.status(issued) == "revoked"
    assert world.state(issued) == "withdrawn"
    (told,) = world.stand_in.of("failureNotification")
    assert told.content["transactionId"] == device.transaction
    with pytest.raises(Refused):
        world.intune.enrolment.issued(device.request, issued)


def test_the_worker_withdraws_although_intune_hears_of_nothing(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.issue(device)
    world.stand_in.always["failureNotification"] = error(500)
    world.pass_time(SOON)
    world.work()
    assert world.status(issued) == "revoked"


def test_the_worker_leaves_what_was_told(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.deliver(device)
    world.pass_time(SOON)
    world.work()
    assert world.status(issued) == "good"
    assert world.intune.enrolment.settle(issued.id) == ""
    assert world.status(issued) == "good"
    waiting = world.pki.parts.db.read(lambda c: [job.kind for job in jobs.list_jobs(c)])
    assert "scep.intune-settle" not in waiting


def test_a_revocation_that_was_not_reached_is_caught_up_with(
    world: IntuneWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = world.device()
    issued = world.issue(device)
    world.stand_in.always["successNotification"] = error(500)

    def fails(*_: object) -> None:
        raise Unavailable("the database has gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(world.pki.services.revocations), "revoke", fails)
        with pytest.raises(Unavailable):
            world.intune.enrolment.issued(device.request, issued)
    assert (world.state(issued), world.status(issued)) == ("withdrawn", "good")
    world.pass_time(SOON)
    world.work()
    assert world.status(issued) == "revoked"


def test_a_withdrawal_while_intune_is_told_wins(world: IntuneWorld) -> None:
    """The process was slow, the worker thought it dead: then nothing is delivered, although Intune was told."""
    device = world.device()
    issued = world.issue(device)

    def meanwhile(handler: Any) -> None:
        assert world.intune.enrolment.settle(issued.id) == ""
        handler.say(Said(200, {"code": "Success", "errorDescription": ""}))

    world.stand_in.faults["successNotification"].append(meanwhile)
    with pytest.raises(Conflict, match="withdrawn while"):
        world.intune.enrolment.issued(device.request, issued)
    assert world.status(issued) == "revoked"


def test_two_that_ask_at_once_are_both_served(world: IntuneWorld) -> None:
    device = world.device()
    issued = world.issue(device)
    results: list[object] = []

    def ask() -> None:
        try:
            world.intune.enrolment.issued(device.request, issued)
            results.append("delivered")
        except PkiconfError as ex:
            results.append(ex)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["delivered"] * 4
    assert world.status(issued) == "good"


@pytest.mark.row("F119")
def test_the_secret_is_sealed_and_changes_with_the_declaration(
    world: IntuneWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.check(world.device())
    text = (world.pki.folder / "pki.yaml").read_text()
    monkeypatch.setenv("INTUNE_SECRET", "another secret")
    world.pki.apply(text)
    with pytest.raises(SCEPFailure) as failure:
        world.check(world.device())
    assert "AADSTS7000215" in failure.value.reason
    assert "another secret" not in failure.value.reason


def test_beside_other_proofs_intune_is_known_by_its_form(world: IntuneWorld) -> None:
    world.apply(challenges="true")
    scep = world.pki.services.scep
    challenge = scep.challenges.create(world.template_id, SYSTEM, timedelta(hours=1), None).reveal().decode()
    world.stand_in.forget()
    assert world.check(world.device(challenge=challenge)).method is ProofMethod.CHALLENGE
    assert world.stand_in.acts == []
    assert world.check(world.device()).method is ProofMethod.INTUNE
    with pytest.raises(NotProved):
        world.check(world.device(challenge="x" * 256))
    assert world.stand_in.acts.count("validateRequest") == 2


def test_alone_it_is_asked_about_everything(world: IntuneWorld) -> None:
    with pytest.raises(NotProved, match="not authorized") as failure:
        world.check(world.device(challenge="short"))
    assert "ChallengeDecodingError" in failure.value.reason


def test_without_a_challenge_nobody_is_asked(world: IntuneWorld) -> None:
    device = world.device()
    device.challenge = ""
    world.stand_in.forget()
    with pytest.raises(NotProved):
        world.check(device)
    assert world.stand_in.acts == []
