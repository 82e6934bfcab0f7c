"""What a check-up says of authorities, certificates, CRLs, jobs, the audit log and the clock, as time passes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkiconf.clock import to_epoch
from pkiconf.diagnosis.finding import Finding, Severity
from pkiconf.diagnosis.standing import CHECKS
from pkiconf.model.request import Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.worker import Worker
from tests.world import OPERATOR, World, make_csr

DAY = timedelta(days=1)
TWO_TIERS = """
authorities:
  - { name: root, path_length: 1, validity: 10y }
  - { name: issuing, issuer: root, validity: 5y }
"""


@pytest.fixture
def standing(world: World) -> World:
    """Two tiers, on both databases, in the state that a worker leaves behind."""
    assert world.apply(TWO_TIERS).exit_code == 0
    Worker(world.services, "test").run_once()
    return world


def look(world: World) -> list[Finding]:
    """Everything but what is well."""
    now = world.clock.now()
    found = [finding for _, check in CHECKS for finding in world.parts.db.read(lambda c: list(check(c, now)))]  # noqa: B023
    return [finding for finding in found if finding.severity is not Severity.OK]


def test_all_is_well(standing: World) -> None:
    assert look(standing) == []


def test_every_check_says_something(standing: World) -> None:
    now = standing.clock.now()
    for name, check in CHECKS:
        found = standing.parts.db.read(lambda c: list(check(c, now)))  # noqa: B023
        if name in ("timestamps", "OCSP"):  # which say nothing where nobody makes any, or signs ahead
            assert found == []
            continue
        assert [(finding.severity, finding.check) for finding in found] == [(Severity.OK, name)]
        assert found[0].text


def test_a_clock_that_went_back(standing: World) -> None:
    standing.pass_time(-timedelta(minutes=4))
    assert look(standing) == [], "two hosts may differ a little"
    standing.pass_time(-timedelta(minutes=2))
    (finding,) = look(standing)
    assert (finding.severity, finding.check) == (Severity.ERROR, "clock")
    assert "2030-01-01T12:00:00" in finding.text
    assert "NTP" in finding.remedy


def test_a_worker_that_does_not_run(standing: World) -> None:
    """Each thing that a worker would have done is told, none before it is late."""
    standing.services.revocations.revoke(
        standing.issued("issuing/web-server", make_csr()).id, RevocationReason.SUPERSEDED, OPERATOR
    )
    standing.pass_time(timedelta(minutes=9))
    assert look(standing) == []
    standing.pass_time(timedelta(minutes=2))
    assert [finding.check for finding in look(standing)] == ["jobs"]
    standing.pass_time(timedelta(minutes=50))
    assert [finding.check for finding in look(standing)] == ["jobs", "audit log"]
    standing.pass_time(6 * DAY)
    checks = [finding.check for finding in look(standing)]
    assert checks.count("CRLs") == 2
    assert all(finding.severity is Severity.WARNING for finding in look(standing))
    assert all("pkiconf worker" in finding.remedy for finding in look(standing))
    Worker(standing.services, "test").run_once()
    assert look(standing) == []


def test_a_crl_that_ended_is_an_error(standing: World) -> None:
    standing.pass_time(8 * DAY)
    found = [finding for finding in look(standing) if finding.check == "CRLs"]
    assert [finding.severity for finding in found] == [Severity.ERROR, Severity.ERROR]
    assert "relying parties refuse it" in found[0].text
    Worker(standing.services, "test").run_once()
    assert look(standing) == []


def test_service_certificates_that_are_late(standing: World) -> None:
    standing.pass_time(60 * DAY)
    assert not [finding for finding in look(standing) if finding.check == "service certificates"], "due, not late"
    standing.pass_time(2 * DAY)
    found = [finding for finding in look(standing) if finding.check == "service certificates"]
    assert [finding.severity for finding in found] == [Severity.WARNING] * 2
    assert "should have been renewed" in found[0].text
    standing.pass_time(40 * DAY)
    found = [finding for finding in look(standing) if finding.check == "service certificates"]
    assert all("ended at" in finding.text for finding in found)
    Worker(standing.services, "test").run_once()
    assert look(standing) == []


def test_authorities_that_end(standing: World) -> None:
    standing.pass_time(timedelta(days=5 * 365 - 60))
    (finding,) = [finding for finding in look(standing) if finding.check == "authorities"]
    assert finding.severity is Severity.WARNING
    assert "issuing ends in 60 days" in finding.text
    assert "pkiconf authority renew issuing" in finding.remedy
    standing.pass_time(70 * DAY)
    (finding,) = [finding for finding in look(standing) if finding.check == "authorities"]
    assert finding.severity is Severity.ERROR
    assert "issuing ended at" in finding.text
    standing.services.authorities.renew("issuing", OPERATOR)
    assert [finding for finding in look(standing) if finding.check == "authorities"] == []


def test_a_short_lived_authority_is_not_always_ending(world: World) -> None:
    world.apply("authorities: [{ name: lab, validity: 40d, default_templates: [] }]")
    assert [finding for finding in look(world) if finding.check == "authorities"] == []
    world.pass_time(31 * DAY)
    assert [finding.check for finding in look(world) if finding.check == "authorities"] == ["authorities"]


def test_an_authority_that_waits(world: World) -> None:
    world.apply("authorities: [{ name: ours, issuer: external }]")
    (finding,) = [finding for finding in look(world) if finding.check == "authorities"]
    assert finding.severity is Severity.WARNING
    assert "waits for its certificate" in finding.text
    assert "pkiconf authority csr ours" in finding.remedy
    assert "install-cert ours" in finding.remedy


def test_a_job_that_keeps_failing(standing: World) -> None:
    db, now = standing.parts.db, to_epoch(standing.clock.now())
    db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "mail.send", "7", "{}", now))
    for attempt in range(3):
        assert [finding for finding in look(standing) if "has failed" in finding.text] == [], attempt
        (job,) = db.write(Step.JOB_CLAIM, lambda c: jobs.claim(c, "test", now + 10_000, now + 20_000))
        db.write(Step.JOB_FINISH, lambda c, job=job: jobs.fail(c, job, "no route to host", now))  # type: ignore[misc]
    (finding,) = [finding for finding in look(standing) if finding.check == "jobs"]
    assert finding.text == "job mail.send 7 has failed 3 times: no route to host"


def test_a_certificate_that_was_begun_and_not_finished(standing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died between recording the intent and recording the signature."""

    class Died(BaseException):
        pass

    number = standing.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    with monkeypatch.context() as patch:

        def die(*_: object, **__: object) -> None:
            raise Died

        patch.setattr("pkiconf.store.certificates.complete", die)
        with pytest.raises(Died):
            standing.services.requests.sign(number, Overrides(), OPERATOR)
    assert look(standing) == [], "its lease runs"
    standing.pass_time(timedelta(minutes=12))
    (finding,) = [finding for finding in look(standing) if finding.check == "jobs"]
    assert "1 certificate is begun and not finished" in finding.text
    Worker(standing.services, "test").run_once()
    assert look(standing) == []
