"""Revocations that an administrator orders in Intune: done by the worker, and answered as they went."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pkiconf.errors import Unavailable
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.intune import RevocationRequest, RevocationResult
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.authorization import MAY
from pkiconf.policy.authorization import Action as Act
from pkiconf.reconciler.state import Action
from pkiconf.scep.intune.revocations import POLL_JOB, POLL_SECONDS, parse_serial
from pkiconf.scep.intune.service import MOST_REQUESTS
from pkiconf.store import audit, certificates, jobs
from pkiconf.store.jobs import JobRow
from tests.intune_server import error
from tests.intune_tenant import APPLICATION
from tests.intune_world import IntuneWorld
from tests.world import OPERATOR

LATER = timedelta(seconds=POLL_SECONDS + 1)


def _serial(issued: Issued) -> str:
    return f"{issued.id.serial_number:X}"


def _job(world: IntuneWorld) -> JobRow | None:
    template_id = world.template_id
    return world.pki.parts.db.read(lambda c: jobs.find_job(c, POLL_JOB, str(template_id)))


def _asked(world: IntuneWorld, serial: str, issuer: str = "CN=issuing") -> tuple[RevocationResult, str]:
    """What becomes of one request, without the worker."""
    revocations = world.intune.revocations
    access = revocations.access_of(world.template_id)
    assert access is not None
    answer = revocations.revoke(access, RevocationRequest("context", serial, issuer))
    assert answer.context == "context"
    return answer.result, answer.message


def test_an_order_is_carried_out_and_answered(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    context = world.stand_in.revoke(_serial(issued))
    world.pass_time(LATER)
    world.work()
    assert world.status(issued) == "revoked"
    assert world.stand_in.results == [
        {"requestContext": context, "succeeded": True, "errorCode": "None", "errorMessage": None}
    ]
    (event,) = world.pki.parts.db.read(lambda c: audit.list_events(c, action="certificate.revoke"))
    assert event.fields["actor"] == f"intune:{APPLICATION}" or APPLICATION in json.dumps(event.fields)


def test_it_is_asked_every_few_minutes_from_the_first_device_on(world: IntuneWorld) -> None:
    assert _job(world) is None
    world.deliver(world.device())
    for count in (1, 2, 3):
        world.work()
        assert world.stand_in.acts.count("downloadRevocationRequests") == count - 1
        world.pass_time(LATER)
        world.work()
        assert world.stand_in.acts.count("downloadRevocationRequests") == count
        job = _job(world)
        assert job is not None
        assert (job.attempts, job.last_error) == (0, None)
    assert "uploadRevocationResults" not in world.stand_in.acts


def test_another_device_does_not_put_it_off(world: IntuneWorld) -> None:
    world.deliver(world.device())
    before = _job(world)
    world.pass_time(timedelta(minutes=1))
    world.deliver(world.device())
    assert _job(world) == before


@pytest.mark.parametrize(
    "spelling",
    [
        lambda serial: serial.lower(),
        lambda serial: f"00{serial}",
        lambda serial: ":".join(serial[at : at + 2] for at in range(0, len(serial), 2)),
        lambda serial: f" {serial} ",
    ],
)
def test_a_serial_is_a_number_however_it_is_written(world: IntuneWorld, spelling: Any) -> None:
    issued = world.deliver(world.device())
    serial = f"{issued.id.serial_number:X}"
    assert _asked(world, spelling(serial if len(serial) % 2 == 0 else f"0{serial}")) == (RevocationResult.NONE, "")
    assert world.status(issued) == "revoked"


@pytest.mark.parametrize("serial", ["", "0", "xyz", "-1", "1" * 65, "F" * 41, "1_0", "１２"])
def test_what_is_no_serial_is_said(world: IntuneWorld, serial: str) -> None:
    assert parse_serial(serial) is None
    assert _asked(world, serial)[0] is RevocationResult.PARAMETER_DATA_INVALID


def test_what_is_revoked_already_is_a_success(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    world.pki.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, SYSTEM)
    assert _asked(world, _serial(issued)) == (RevocationResult.NONE, "")
    row = world.pki.parts.db.read(lambda c: certificates.get_certificate(c, issued.id))
    assert row.reason == RevocationReason.SUPERSEDED.code


def test_what_is_held_is_revoked(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    world.pki.services.revocations.hold(issued.id, OPERATOR)
    assert _asked(world, _serial(issued)) == (RevocationResult.NONE, "")
    assert world.status(issued) == "revoked"


def test_what_intune_was_not_told_of_it_does_not_revoke(world: IntuneWorld) -> None:
    """Nor the authority's own certificates, nor others of the same template, nor one that no device has."""
    others = [
        world.pki.issued("issuing/device", world.bare_device().csr),
        world.issue(world.device()),
    ]
    for issued in others:
        assert _asked(world, _serial(issued))[0] is RevocationResult.CERTIFICATE_NOT_FOUND
        assert world.status(issued) == "good"
    for (serial,) in world.rows("SELECT serial FROM certificate WHERE origin_kind = 'ca'"):
        assert _asked(world, serial.hex())[0] is RevocationResult.CERTIFICATE_NOT_FOUND
    assert _asked(world, "ABCDEF")[0] is RevocationResult.CERTIFICATE_NOT_FOUND


def test_another_tenant_does_not_revoke(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    revocations = world.intune.revocations
    access = revocations.access_of(world.template_id)
    assert access is not None
    elsewhere = "77777777-2222-3333-4444-555555555555"
    for other, is_found in (
        (replace(access, client_id=elsewhere, tenant_id=elsewhere), False),
        (replace(access, client_id=elsewhere), True),  # the same tenant, by another application
    ):
        answer = revocations.revoke(other, RevocationRequest("context", _serial(issued), "CN=issuing"))
        assert (answer.result is RevocationResult.NONE) == is_found
        assert (world.status(issued) == "revoked") == is_found


def test_a_database_that_is_busy_is_asked_again_by_intune(world: IntuneWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = world.deliver(world.device())

    def busy(*_: object) -> None:
        raise Unavailable("the database is busy")

    context = world.stand_in.revoke(_serial(issued))
    with monkeypatch.context() as patched:
        patched.setattr(type(world.pki.services.revocations), "revoke", busy)
        world.pass_time(LATER)
        world.work()
    assert world.stand_in.results[-1]["errorCode"] == "RetryableServiceException"
    assert world.stand_in.results[-1]["succeeded"] is False
    assert [one["requestContext"] for one in world.stand_in.queue] == [context]
    world.pass_time(LATER)
    world.work()
    assert world.status(issued) == "revoked"
    assert world.stand_in.queue == []


def test_more_than_fit_into_one_call(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    for number in range(MOST_REQUESTS):
        world.stand_in.revoke(f"{number + 1:X}")
    world.stand_in.revoke(_serial(issued))
    world.pass_time(LATER)
    world.work()
    assert world.status(issued) == "revoked"
    assert world.stand_in.acts.count("downloadRevocationRequests") == 2
    assert len(world.stand_in.results) == MOST_REQUESTS + 1


def test_a_queue_that_never_ends_does_not_keep_the_worker(world: IntuneWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deliver(world.device())
    monkeypatch.setattr("pkiconf.scep.intune.revocations.MOST_REQUESTS", 1)

    def busy(*_: object) -> None:
        raise Unavailable("the database is busy")

    issued = world.deliver(world.device())
    monkeypatch.setattr(type(world.pki.services.revocations), "revoke", busy)
    world.stand_in.revoke(_serial(issued))
    world.pass_time(LATER)
    world.work()
    assert world.stand_in.acts.count("downloadRevocationRequests") == 20


@pytest.mark.parametrize("act", ["downloadRevocationRequests", "uploadRevocationResults"])
def test_when_intune_fails_it_is_tried_again_soon(world: IntuneWorld, act: str) -> None:
    issued = world.deliver(world.device())
    context = world.stand_in.revoke(_serial(issued))
    world.stand_in.always[act] = error(500)
    world.pass_time(LATER)
    world.work()
    job = _job(world)
    assert job is not None
    assert "500" in (job.last_error or "")
    world.stand_in.always.clear()
    if act == "uploadRevocationResults":  # Intune hands out again what was not answered
        assert world.status(issued) == "revoked"
        world.stand_in.queue.append(world.stand_in.in_flight.pop(context))
    world.pass_time(timedelta(seconds=30))
    world.work()
    assert world.status(issued) == "revoked"
    assert world.stand_in.results == [
        {"requestContext": context, "succeeded": True, "errorCode": "None", "errorMessage": None}
    ]


def test_a_template_that_has_lost_its_intune_asks_nobody(world: IntuneWorld) -> None:
    world.deliver(world.device())
    text = (world.pki.folder / "pki.yaml").read_text()
    world.pki.apply(text[: text.index("      intune:")] + "      challenges: true\n      intune: null\n")
    world.stand_in.forget()
    world.pass_time(LATER)
    world.work()
    assert world.stand_in.acts == []
    job = _job(world)
    assert job is not None
    assert job.last_error is None
    world.apply()
    world.pass_time(timedelta(hours=1))
    world.work()
    assert "downloadRevocationRequests" in world.stand_in.acts


def test_a_retired_template_still_hears_of_revocations(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    text = (world.pki.folder / "pki.yaml").read_text()
    world.pki.apply(text.replace("  - name: device\n", "  - name: device\n    state: absent\n"), allow=(Action.RETIRE,))
    world.stand_in.revoke(_serial(issued))
    world.pass_time(LATER)
    world.work()
    assert world.status(issued) == "revoked"


def test_intune_may_revoke_and_nothing_else() -> None:
    assert MAY["intune"] == frozenset({Act.CERTIFICATE_REVOKE})


def test_the_certificate_is_named_by_its_issuer_too(world: IntuneWorld) -> None:
    issued = world.deliver(world.device())
    assert _asked(world, _serial(issued), "CN=another") == (RevocationResult.NONE, "")
    assert isinstance(issued.id, CertificateID)


def test_when_the_authority_is_destroyed_nothing_of_it_stays(world: IntuneWorld, tmp_path: Path) -> None:
    for issued in (world.deliver(world.device()), world.issue(world.device())):
        world.pki.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, SYSTEM)
    text = (world.pki.folder / "pki.yaml").read_text()
    absent = text.replace("{name: issuing, ", "{name: issuing, state: absent, ")
    absent = absent.replace("  - name: device\n", "  - name: device\n    state: absent\n")
    world.pki.apply(absent, allow=(Action.RETIRE,))
    world.pki.services.destruction.destroy("issuing", OPERATOR, tmp_path / "archive.tar")
    assert world.rows("SELECT 1 FROM scep_intune") == []
    world.pass_time(timedelta(hours=2))
    world.work()
    assert world.rows("SELECT kind FROM job WHERE kind LIKE 'scep.intune%'") == []
