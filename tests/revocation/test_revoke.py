"""Revoke, hold, release: what may follow what, and that each is one whole transaction."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation import revoke as revoke_room
from pkiconf.revocation.revoke import CRL_JOB
from pkiconf.store import certificates, jobs
from pkiconf.store.database import Database
from tests.revocation.pki import NEVER_ISSUED, PKI
from tests.world import OPERATOR

KEY_COMPROMISE, SUPERSEDED = RevocationReason.KEY_COMPROMISE, RevocationReason.SUPERSEDED


def facts(pki: PKI, certificate: CertificateID) -> tuple[Any, ...]:
    """Everything a revocation may change."""

    def read(c: Any) -> tuple[Any, ...]:
        row = certificates.get_certificate(c, certificate)
        epoch = c.exec_driver_sql(f"SELECT status_epoch FROM issuer WHERE id = {certificate.issuer_id}").scalar()
        events = c.exec_driver_sql("SELECT count(*) FROM audit_event").scalar()
        return row.status, row.reason, row.revoked_at, row.invalidity_at, epoch, events, len(jobs.list_jobs(c))

    return pki.world.parts.db.read(read)


def test_a_revocation_is_status_epoch_event_and_job_at_once(pki: PKI) -> None:
    woken: list[int] = []
    parts = pki.world.parts
    object.__setattr__(parts, "wake", lambda: woken.append(1))
    issued = pki.issue()
    before = facts(pki, issued.id)
    now = int(pki.world.clock.now().timestamp())
    standing = pki.world.services.revocations.revoke(issued.id, KEY_COMPROMISE, OPERATOR)
    assert (standing.status, standing.reason) == (CertificateStatus.REVOKED, KEY_COMPROMISE)
    after = facts(pki, issued.id)
    assert after[:4] == ("revoked", 1, now, None)
    assert (after[4], after[5]) == (before[4] + 1, before[5] + 1)
    job = parts.db.read(lambda c: jobs.find_job(c, CRL_JOB, str(issued.id.issuer_id)))
    assert job is not None
    assert woken
    body = json.loads(
        parts.db.read(lambda c: c.exec_driver_sql("SELECT body FROM audit_event ORDER BY id DESC LIMIT 1").scalar())
        or ""
    )
    assert (body["action"], body["details"]["reason"]) == ("certificate.revoke", "keyCompromise")
    assert body["details"]["serial"] == issued.id.serial_number.to_bytes(19).hex()


def test_it_is_told_when_no_process_believes_what_was_before(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """By then it is committed."""
    issued, seen = pki.issue(), list[object]()

    def settle(db: Database) -> None:
        assert db is pki.world.parts.db
        seen.append(facts(pki, issued.id)[0])

    monkeypatch.setattr(revoke_room, "settle", settle)
    revocations = pki.world.services.revocations
    revocations.hold(issued.id, OPERATOR)
    assert seen == ["held"]
    revocations.release(issued.id, OPERATOR)
    assert seen == ["held", "good"]
    revocations.revoke(issued.id, KEY_COMPROMISE, OPERATOR)
    assert seen == ["held", "good", "revoked"]


def test_what_may_not_be_changes_nothing(lite: PKI) -> None:
    revocations, now = lite.world.services.revocations, lite.world.clock.now()
    issued = lite.issue()
    good = facts(lite, issued.id)
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (Refused, lambda: revocations.revoke(issued.id, RevocationReason.CERTIFICATE_HOLD, OPERATOR)),
        (Refused, lambda: revocations.revoke(issued.id, RevocationReason.CA_COMPROMISE, OPERATOR)),
        (Refused, lambda: revocations.revoke(issued.id, RevocationReason.AA_COMPROMISE, OPERATOR)),
        (Refused, lambda: revocations.revoke(issued.id, SUPERSEDED, OPERATOR, now + timedelta(seconds=1))),
        (Refused, lambda: revocations.revoke(issued.id, SUPERSEDED, Actor("nobody", "x", "nothing"))),
        (Refused, lambda: revocations.hold(issued.id, Actor("nobody", "x", "nothing"))),
        (Refused, lambda: revocations.release(issued.id, Actor("nobody", "x", "nothing"))),
        (Conflict, lambda: revocations.release(issued.id, OPERATOR)),
        (NotFound, lambda: revocations.revoke(CertificateID(issued.id.issuer_id, NEVER_ISSUED), SUPERSEDED, OPERATOR)),
        (NotFound, lambda: revocations.hold(CertificateID(4711, issued.id.serial_number), OPERATOR)),
    ]
    for kind, act in refused:
        with pytest.raises(kind):
            act()
        assert facts(lite, issued.id) == good


def test_revocation_is_final(pki: PKI) -> None:
    revocations = pki.world.services.revocations
    issued = pki.issue()
    revocations.revoke(issued.id, SUPERSEDED, OPERATOR)
    revoked = facts(pki, issued.id)
    pki.world.pass_time(timedelta(hours=1))
    acts: list[Callable[[], object]] = [
        lambda: revocations.release(issued.id, OPERATOR),
        lambda: revocations.hold(issued.id, OPERATOR),
        lambda: revocations.revoke(issued.id, RevocationReason.UNSPECIFIED, OPERATOR),
    ]
    for act in acts:
        with pytest.raises(Conflict):
            act()
        assert facts(pki, issued.id) == revoked
    # The one thing that may be learnt later; since when it was revoked stays.
    revocations.revoke(issued.id, KEY_COMPROMISE, OPERATOR)
    assert facts(pki, issued.id)[:3] == ("revoked", 1, revoked[2])


def test_a_hold_that_becomes_final_counts_from_the_hold_on(lite: PKI) -> None:
    revocations = lite.world.services.revocations
    issued = lite.issue()
    held = revocations.hold(issued.id, OPERATOR)
    with pytest.raises(Conflict):
        revocations.hold(issued.id, OPERATOR)
    lite.world.pass_time(timedelta(days=1))
    final = revocations.revoke(issued.id, SUPERSEDED, OPERATOR)
    assert (final.revoked_at, final.reason) == (held.revoked_at, SUPERSEDED)


def test_of_many_at_once_one_revokes(pki: PKI) -> None:
    issued = pki.issue()
    outcomes: list[str] = []

    def act() -> None:
        try:
            pki.world.services.revocations.revoke(issued.id, SUPERSEDED, OPERATOR)
            outcomes.append("revoked")
        except Conflict:
            outcomes.append("too late")

    before = facts(pki, issued.id)
    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["revoked", *["too late"] * 7]
    after = facts(pki, issued.id)
    assert (after[4], after[5]) == (before[4] + 1, before[5] + 1)
