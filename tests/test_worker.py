"""The worker: what it finishes, and what it lets stand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from pkiconf.authority import establish
from pkiconf.clock import to_epoch
from pkiconf.model.revocation import RevocationReason
from pkiconf.reconciler.state import Action
from pkiconf.revocation.revoke import CRL_JOB
from pkiconf.steps import Step
from pkiconf.store import authorities, jobs
from pkiconf.worker import Worker
from tests.world import OPERATOR, World, make_csr

ROOT = "authorities: [{ name: root, key: { curve: p256 } }]"
OUTSIDE = "authorities: [{ name: outside, issuer: external, key: { curve: p256 }, default_templates: [] }]"


def open_jobs(world: World) -> list[str]:
    return [row.kind for row in world.parts.db.read(jobs.list_jobs)]


def test_a_wish_that_came_true_holds_up_no_other_job(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Establishing ends its job itself; the jobs that were claimed together with it are done all the same."""
    assert world.apply(ROOT).exit_code == 0
    issued = world.issued("root/web-server", make_csr())
    world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    issuer_id = issued.id.issuer_id
    row = world.parts.db.read(lambda c: authorities.get_authority_by_name(c, "root"))
    world.parts.db.write(
        Step.AUTHORITY_UPDATE,
        lambda c: establish.queue(c, row.id, establish.Wish(issuer_id, 2), to_epoch(world.clock.now()) - 600),
    )
    Worker(world.services).run_once()
    assert open_jobs(world) == []
    assert caplog.records == []
    own = world.parts.db.read(lambda c: authorities.list_ca_certificates(c, issuer_id))
    assert [certificate.role for certificate in own] == ["self", "self"]


def test_an_authority_that_waits_keeps_its_wish(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert world.apply(OUTSIDE).exit_code == 3
    for _ in range(3):
        world.pass_time(timedelta(hours=2))
        Worker(world.services).run_once()
    assert open_jobs(world) == [establish.JOB]
    assert caplog.records == []


def test_one_that_was_retired_while_it_waited_waits_again_when_it_comes_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.apply(OUTSIDE)
    absent = OUTSIDE.replace("issuer", "state: absent, issuer")
    assert world.apply(absent, allow=(Action.RETIRE,)).exit_code == 0
    world.pass_time(timedelta(hours=2))
    Worker(world.services).run_once()
    assert caplog.records == []
    assert world.apply(OUTSIDE).exit_code == 3  # it was taken back into service
    assert world.apply(OUTSIDE).exit_code == 3
    row = world.parts.db.read(lambda c: authorities.get_authority_by_name(c, "outside"))
    assert row.lifecycle == "waiting_certificate"
    assert open_jobs(world) == [establish.JOB]


def test_a_destroyed_authority_leaves_no_work(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.apply(OUTSIDE)
    world.apply(OUTSIDE.replace("issuer", "state: absent, issuer"), allow=(Action.RETIRE,))
    world.services.destruction.destroy("outside", OPERATOR)
    world.parts.db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, CRL_JOB, "1", "{}", 0))
    Worker(world.services).run_once()
    assert open_jobs(world) == []
    assert caplog.records == []


def test_a_job_that_fails_is_tried_again_later_and_says_why(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.parts.db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "unheard.of", "1", "{}", 0))
    Worker(world.services).run_once()
    (row,) = world.parts.db.read(jobs.list_jobs)
    assert "no handler" in str(row.last_error)
    assert row.due_at > to_epoch(world.clock.now())
    assert "no handler" in caplog.text


def test_a_chore_that_fails_stops_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert world.apply(ROOT).exit_code == 0

    def fails() -> int:
        raise ZeroDivisionError

    Worker(world.services, chores=[("dividing", fails)]).run_once()
    assert "dividing failed" in caplog.text
    crls = world.parts.db.read(lambda c: c.execute(text("SELECT count(*) FROM crl")).scalar())
    assert crls == 1
