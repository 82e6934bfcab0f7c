"""A list that takes a revocation back, for no reason that the database gives, is not published."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import text

from pkiconf.der.crl_entries import encode_crl_entries
from pkiconf.errors import Refused, Unavailable
from pkiconf.model.actor import SYSTEM
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation import crl as crl_room
from pkiconf.revocation import crl_contents
from pkiconf.revocation.crl_comparison import Withheld
from pkiconf.steps import Step
from pkiconf.store import audit, crls
from pkiconf.store.crls import FULL_LIST, Part
from pkiconf.store.database import Connection
from tests.revocation.pki import DECLARATION, PKI, prepare, serial_of
from tests.world import OPERATOR, World

SQL = {
    "forgotten": "DELETE FROM certificate_name WHERE serial = :serial; DELETE FROM certificate_signature WHERE serial ="
    " :serial; DELETE FROM certificate_tbs WHERE serial = :serial; DELETE FROM certificate WHERE serial = :serial",
    "good again": "UPDATE certificate SET status = 'good', revoked_at = NULL, reason = NULL WHERE serial = :serial",
    "reserved again": "UPDATE certificate SET status = 'reserved' WHERE serial = :serial",
}
"""What a careless hand, or somebody else's, may do to a revoked certificate."""


@pytest.fixture
def pki(world: World) -> PKI:
    return prepare(world)


@pytest.fixture
def lite(sqlite_world: World) -> PKI:
    return prepare(sqlite_world)


def revoked(pki: PKI, reason: RevocationReason = RevocationReason.KEY_COMPROMISE) -> Issued:
    """A certificate that stands on the CRL that is served."""
    issued = pki.issue()
    pki.world.services.revocations.revoke(issued.id, reason, OPERATOR)
    pki.crl()
    return issued


def tamper(pki: PKI, sql: str, issued: Issued) -> None:
    """And let another CRL be due."""

    def write(c: Connection) -> None:
        deferred = "PRAGMA defer_foreign_keys = ON" if pki.world.parts.db.dialect == "sqlite" else "SELECT 1"
        c.execute(text(deferred))
        for statement in sql.split(";"):
            c.execute(text(statement), {"serial": serial_of(issued).to_bytes(19)})
        c.execute(text("UPDATE issuer SET status_epoch = status_epoch + 1"))

    pki.world.parts.db.write(Step.CERTIFICATE_REVOKE, write)


@pytest.mark.row("F138")
@pytest.mark.parametrize("what", ["forgotten", "good again", "reserved again"])
def test_a_list_that_drops_a_certificate_is_withheld(pki: PKI, what: str, caplog: pytest.LogCaptureFixture) -> None:
    issued = revoked(pki)
    before = pki.crl()
    tamper(pki, SQL[what], issued)
    with caplog.at_level(logging.ERROR):
        assert pki.crl() == before  # served on, while it is valid
    assert f"would drop {serial_of(issued):038x}" in caplog.text
    with pytest.raises(Withheld, match="--accept-dropped"):
        pki.world.services.crls.make(pki.issuer_id())
    (row,) = pki.world.parts.db.read(crls.withheld)
    assert (row.issuer_id, row.shard) == (pki.issuer_id(), crls.FULL)
    assert pki.rows("crl") == 1
    told = [event.fields["action"] for event in pki.world.parts.db.read(lambda c: audit.list_events(c, limit=100))]
    assert told.count("crl.withhold") == 1


def test_it_is_not_read_again_at_each_download(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = revoked(lite)
    tamper(lite, SQL["good again"], issued)
    tries: list[object] = []
    make = crl_room.CRLs.make

    def counted(self: crl_room.CRLs, *which: Any) -> Any:
        tries.append(which)
        return make(self, *which)

    monkeypatch.setattr(crl_room.CRLs, "make", counted)
    for _ in range(5):
        lite.crl()
    assert len(tries) == 1
    lite.world.pass_time(crl_room.WITHHELD)
    lite.crl()
    assert len(tries) == 2


def test_once_it_has_ended_there_is_none(lite: PKI) -> None:
    tamper(lite, SQL["good again"], revoked(lite))
    lite.world.pass_time(timedelta(days=8))
    with pytest.raises(Withheld):
        lite.crl()


def test_a_part_is_compared_with_itself(lite: PKI) -> None:
    lite.world.apply(DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 1},"))
    issued = lite.issue()
    lite.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    issuer_id, services = lite.issuer_id(), lite.world.services
    services.crls.current(issuer_id, Part(1))
    services.crls.current(issuer_id)
    tamper(lite, "UPDATE certificate SET crl_shard = 2 WHERE serial = :serial", issued)
    with pytest.raises(Withheld, match="drop"):
        services.crls.make(issuer_id, Part(1))
    services.crls.make(issuer_id)  # the full list still holds it


def test_the_database_knows_more_than_the_list(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked(lite)
    lite.world.services.revocations.revoke(lite.issue().id, RevocationReason.SUPERSEDED, OPERATOR)
    monkeypatch.setattr(crl_contents, "encode_crl_entries", lambda lines: encode_crl_entries(lines)[:-1])
    with pytest.raises(Withheld, match="holds 1 certificates, the database 2"):
        lite.world.services.crls.make(lite.issuer_id())


def test_a_certificate_twice(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked(lite)
    lite.world.services.revocations.revoke(lite.issue().id, RevocationReason.SUPERSEDED, OPERATOR)
    monkeypatch.setattr(crl_contents, "encode_crl_entries", lambda lines: encode_crl_entries(lines)[:1] * 2)
    with pytest.raises(Withheld, match="twice"):
        lite.world.services.crls.make(lite.issuer_id())


# --- reasons to leave ------------------------------------------------------------------------------------------------


def test_what_was_held_may_go(pki: PKI) -> None:
    issued = pki.issue()
    pki.world.services.revocations.hold(issued.id, OPERATOR)
    assert len(pki.crl()) == 1
    pki.world.services.revocations.release(issued.id, OPERATOR)
    assert len(pki.crl()) == 0
    assert pki.world.parts.db.read(crls.withheld) == []


def test_what_was_held_and_then_revoked_stays_with_another_reason(lite: PKI) -> None:
    issued = lite.issue()
    lite.world.services.revocations.hold(issued.id, OPERATOR)
    lite.crl()
    lite.world.pass_time(timedelta(hours=1))
    lite.world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    (entry,) = lite.crl()
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise


def test_what_has_ended_may_go_after_it_was_shown_once(lite: PKI) -> None:
    revoked(lite)
    lite.world.pass_time(timedelta(days=100))
    assert len(lite.crl()) == 1
    lite.world.pass_time(timedelta(days=7))
    assert len(lite.crl()) == 0
    assert lite.world.parts.db.read(crls.withheld) == []


# --- what an operator can do ------------------------------------------------------------------------------------------


def test_an_operator_may_publish_it_all_the_same(pki: PKI) -> None:
    tamper(pki, SQL["good again"], revoked(pki))
    pki.crl()
    assert len(pki.world.parts.db.read(crls.withheld)) == 1
    pki.world.services.crls.make_as_it_is(pki.issuer_id(), FULL_LIST, OPERATOR)
    assert len(pki.crl()) == 0
    assert pki.world.parts.db.read(crls.withheld) == []
    events = pki.world.parts.db.read(lambda c: audit.list_events(c, limit=100))
    assert [event.fields["address"] for event in events if event.fields["action"] == "crl.override"] == [
        f"crl/{pki.issuer_id()}/full"
    ]


def test_it_is_published_only_together_with_its_record(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    tamper(pki, SQL["good again"], revoked(pki))
    before = pki.crl()
    record = type(pki.world.parts).record

    def fail(self: Any, c: Connection, actor: Any, action: str, *more: Any) -> None:
        if action == "crl.override":
            raise Unavailable("the audit log cannot be written")
        record(self, c, actor, action, *more)

    with monkeypatch.context() as patch:
        patch.setattr(type(pki.world.parts), "record", fail)
        with pytest.raises(Unavailable):
            pki.world.services.crls.make_as_it_is(pki.issuer_id(), FULL_LIST, OPERATOR)
    assert pki.crl() == before
    assert pki.rows("crl") == 1


def test_nobody_else_may(lite: PKI) -> None:
    tamper(lite, SQL["good again"], revoked(lite))
    with pytest.raises(Refused):
        lite.world.services.crls.make_as_it_is(lite.issuer_id(), FULL_LIST, SYSTEM)
    assert lite.rows("crl") == 1
