"""A list that takes a revocation back, for no reason that the database gives, is not published."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import text

from pkiconf.der.crl import CRL, parse_crl
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


# --- deltas -----------------------------------------------------------------------------------------------------------

DELTA = Part(delta=True)
WITH_DELTAS = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {delta: 6h},")
CHANGED = "; UPDATE certificate SET changed_epoch = (SELECT status_epoch + 1 FROM issuer WHERE id = issuer_id) WHERE"
CHANGED += " serial = :serial"


def delta(pki: PKI) -> CRL:
    return parse_crl(pki.world.services.crls.current(pki.issuer_id(), DELTA).der)


def on_the_base(pki: PKI) -> Issued:
    issued = revoked(pki)
    assert [entry.serial_number for entry in parse_crl(_complete(pki)).entries] == [serial_of(issued)]
    assert list(delta(pki).entries) == []
    return issued


def on_the_delta(pki: PKI) -> Issued:
    pki.crl()
    issued = revoked(pki)
    assert list(parse_crl(_complete(pki)).entries) == []
    assert [entry.serial_number for entry in delta(pki).entries] == [serial_of(issued)]
    return issued


def _complete(pki: PKI) -> bytes:
    return pki.world.services.crls.current(pki.issuer_id()).der


def withheld(pki: PKI) -> list[tuple[int, int]]:
    return [(row.shard, row.delta) for row in pki.world.parts.db.read(crls.withheld)]


@pytest.mark.row("F138")
@pytest.mark.parametrize(
    ("where", "sql"),
    [
        (on_the_base, SQL["good again"] + CHANGED),
        (on_the_delta, SQL["good again"]),
        (on_the_delta, SQL["good again"] + CHANGED),
        (on_the_delta, SQL["good again"] + "; UPDATE certificate SET changed_epoch = 0 WHERE serial = :serial"),
        (on_the_delta, SQL["reserved again"]),
        (on_the_delta, SQL["forgotten"]),
    ],
)
def test_a_delta_that_takes_a_revocation_back_is_withheld(
    world: World, where: Callable[[PKI], Issued], sql: str
) -> None:
    pki = prepare(world)
    assert world.apply(WITH_DELTAS).exit_code == 0
    issued = where(pki)
    before = delta(pki)
    tamper(pki, sql, issued)
    assert delta(pki).der == before.der  # served on
    with pytest.raises(Withheld, match=f"{serial_of(issued):038x}.*--delta --accept-dropped"):
        world.services.crls.make(pki.issuer_id(), DELTA)
    assert withheld(pki) == [(crls.FULL, 1)]
    with pytest.raises(Withheld, match="drop"):  # nor does a complete list forget what a delta said
        world.services.crls.make(pki.issuer_id())
    assert withheld(pki) == [(crls.FULL, 0), (crls.FULL, 1)]
    world.services.crls.make_as_it_is(pki.issuer_id(), FULL_LIST, OPERATOR)
    assert withheld(pki) == [(crls.FULL, 1)]
    world.services.crls.make_as_it_is(pki.issuer_id(), DELTA, OPERATOR)
    assert withheld(pki) == []
    for part in (DELTA, FULL_LIST, DELTA):  # and from then on there is nothing to compare it with
        world.services.crls.make(pki.issuer_id(), part)


@pytest.mark.parametrize("shown", [True, False])
def test_a_delta_releases_what_was_held(lite: PKI, shown: bool) -> None:
    assert lite.world.apply(WITH_DELTAS).exit_code == 0
    lite.crl()
    issued = lite.issue()
    lite.world.services.revocations.hold(issued.id, OPERATOR)
    if shown:
        assert [entry.removed for entry in delta(lite).entries] == [False]
    lite.world.services.revocations.release(issued.id, OPERATOR)
    assert [entry.removed for entry in delta(lite).entries] == [True]
    lite.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert [entry.removed for entry in delta(lite).entries] == [False]
    assert withheld(lite) == []


def test_a_revocation_leaves_the_delta_for_the_complete_list_and_both_when_it_has_ended(lite: PKI) -> None:
    assert lite.world.apply(WITH_DELTAS).exit_code == 0
    issued = on_the_delta(lite)
    held = lite.issue(name="held.corp.example")
    lite.world.services.revocations.hold(held.id, OPERATOR)
    assert len(list(delta(lite).entries)) == 2
    for days in (4, 4, 4):
        lite.world.pass_time(timedelta(days=days))
        lite.crl()
        delta(lite)
    assert list(delta(lite).entries) == []
    assert {entry.serial_number for entry in lite.crl()} == {serial_of(issued), serial_of(held)}
    for _ in range(30):
        lite.world.pass_time(timedelta(days=4))
        lite.crl()
        delta(lite)
    assert list(lite.crl()) == []
    assert withheld(lite) == []


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
