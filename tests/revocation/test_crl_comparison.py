"""A list that takes a revocation back, for no reason that the database gives, is not published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import text

from pkiconf.der.crl import CRL, parse_crl
from pkiconf.der.crl_entries import encode_crl_entries
from pkiconf.errors import Refused, Unavailable
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.crl_parts import part_of
from pkiconf.revocation import crl as crl_room
from pkiconf.revocation import crl_contents
from pkiconf.revocation.crl_comparison import Withheld
from pkiconf.steps import Step
from pkiconf.store import audit, crls
from pkiconf.store.crls import FULL_LIST, Part
from pkiconf.store.database import Connection
from pkiconf.store.inventory import RevokedRow
from tests.revocation.pki import DECLARATION, PKI, prepare, serial_of
from tests.world import OPERATOR, World

SQL = {
    "forgotten": "DELETE FROM certificate_name WHERE serial = :serial; DELETE FROM certificate_signature WHERE serial ="
    " :serial; DELETE FROM certificate_tbs WHERE serial = :serial; DELETE FROM certificate WHERE serial = :serial",
    "good again": "UPDATE certificate SET status = 'good', revoked_at = NULL, reason = NULL WHERE serial = :serial",
    "reserved again": "UPDATE certificate SET status = 'reserved' WHERE serial = :serial",
    "held": "UPDATE certificate SET status = 'held', reason = 6 WHERE serial = :serial",
    "revoked as a hold": "UPDATE certificate SET reason = 6 WHERE serial = :serial",
    "ended": "UPDATE certificate SET not_after = 5, revoked_at = 5 WHERE serial = :serial",
    "unreadable": "UPDATE certificate SET not_after = 5, revoked_at = 5 WHERE serial = :serial; UPDATE certificate_tbs"
    " SET tbs = serial WHERE serial = :serial",
}
"""What a careless hand, or somebody else's, may do to a revoked certificate."""


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
@pytest.mark.parametrize("what", SQL)
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


def test_a_part_is_not_asked_about_other_parts(pki: PKI) -> None:
    assert (
        pki.world.apply(DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 4},")).exit_code == 0
    )
    parts: dict[int, Issued] = {}
    for number in range(100):
        issued = pki.issue(name=f"n{number}.corp.example")
        parts.setdefault(part_of(serial_of(issued), 4), issued)
        if len(parts) == 2:
            break
    shard, other = parts
    pki.world.services.revocations.revoke(parts[shard].id, RevocationReason.SUPERSEDED, OPERATOR)
    pki.world.services.crls.current(pki.issuer_id(), Part(shard))
    pki.world.services.revocations.revoke(parts[other].id, RevocationReason.SUPERSEDED, OPERATOR)
    row = pki.world.services.crls.make(pki.issuer_id(), Part(shard))
    assert [entry.serial_number for entry in parse_crl(row.der).entries] == [serial_of(parts[shard])]


def test_a_certificate_keeps_its_part(lite: PKI) -> None:
    """Even one that may leave the list: whoever moved it may have moved others."""
    lite.world.apply(DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 1},"))
    issued, services = lite.issue(), lite.world.services
    services.revocations.hold(issued.id, OPERATOR)
    services.crls.current(lite.issuer_id(), Part(1))
    services.revocations.release(issued.id, OPERATOR)
    tamper(lite, "UPDATE certificate SET crl_shard = 2 WHERE serial = :serial", issued)
    with pytest.raises(Withheld, match="drop"):
        services.crls.make(lite.issuer_id(), Part(1))


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


def test_a_list_with_somebody_else_in_place_of_one_that_was_revoked(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the database has, none of those before gone."""
    revoked(lite)
    (before,) = parse_crl(_complete(lite)).encoded_entries
    missing = lite.issue()
    lite.world.services.revocations.revoke(missing.id, RevocationReason.SUPERSEDED, OPERATOR)
    (stranger,) = encode_crl_entries([(bytes.fromhex("7f" * 19), 1_700_000_000, None, None)])
    monkeypatch.setattr(crl_contents, "encode_crl_entries", lambda lines: [before, stranger])
    with pytest.raises(Withheld, match=f"leave out {serial_of(missing):038x}"):
        lite.world.services.crls.make(lite.issuer_id())


@pytest.mark.parametrize("another", [{"reason": 4}, {"revoked_at": 1_700_000_000}])
def test_what_was_revoked_since_stands_there_as_it_is(
    lite: PKI, monkeypatch: pytest.MonkeyPatch, another: dict[str, Any]
) -> None:
    revoked(lite)
    issued = lite.issue()
    lite.world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    serial = serial_of(issued).to_bytes(19)

    def encode(lines: Iterable[Any]) -> list[bytes]:
        rows = [RevokedRow(*line) for line in lines]
        return encode_crl_entries(row._replace(**another) if row.serial == serial else row for row in rows)

    monkeypatch.setattr(crl_contents, "encode_crl_entries", encode)
    with pytest.raises(Withheld, match=f"leave out {serial.hex()}"):
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
        (on_the_base, SQL["held"] + CHANGED),  # from where it could be released
        (on_the_base, SQL["revoked as a hold"] + CHANGED),
        (on_the_delta, SQL["held"]),
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


def test_a_delta_takes_nothing_off_a_complete_list_that_came_after_the_delta_before(lite: PKI) -> None:
    assert lite.world.apply(WITH_DELTAS).exit_code == 0
    lite.crl()
    assert list(delta(lite).entries) == []
    issued = lite.issue()
    lite.world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    row = lite.world.services.crls.make(lite.issuer_id())
    assert [entry.serial_number for entry in parse_crl(row.der).entries] == [serial_of(issued)]
    tamper(lite, SQL["good again"] + CHANGED, issued)
    with pytest.raises(Withheld, match=f"release {serial_of(issued):038x}"):
        lite.world.services.crls.make(lite.issuer_id(), DELTA)


def test_a_delta_drops_nothing_that_only_its_row_calls_ended(lite: PKI) -> None:
    assert lite.world.apply(WITH_DELTAS).exit_code == 0
    tamper(lite, SQL["ended"], on_the_delta(lite))
    for part in (DELTA, FULL_LIST):
        with pytest.raises(Withheld, match="drop"):
            lite.world.services.crls.make(lite.issuer_id(), part)


def test_a_delta_without_a_complete_list_is_told(world: World) -> None:
    pki = prepare(world)
    assert world.apply(WITH_DELTAS).exit_code == 0
    issued = on_the_delta(pki)
    tamper(pki, SQL["good again"] + "; DELETE FROM crl WHERE base_number IS NULL", issued)
    with pytest.raises(Withheld, match="goes with a complete list, of which the database has none"):
        pki.crl()
    assert pki.rows("crl") == 1
    world.services.crls.make_as_it_is(pki.issuer_id(), FULL_LIST, OPERATOR)
    assert list(pki.crl()) == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_delta_holds_and_releases_again(lite: PKI, times: int) -> None:
    assert lite.world.apply(WITH_DELTAS).exit_code == 0
    issued = lite.issue()
    lite.crl()
    for _ in range(times):
        lite.world.services.revocations.hold(issued.id, OPERATOR)
        assert [entry.removed for entry in delta(lite).entries] == [False]
        lite.world.services.crls.make(lite.issuer_id())
        lite.world.services.revocations.release(issued.id, OPERATOR)
        assert [entry.removed for entry in delta(lite).entries] == [True]
        lite.world.services.crls.make(lite.issuer_id())
    assert withheld(lite) == []


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


def test_what_was_imported_ends_as_its_row_says(lite: PKI) -> None:
    """There is no certificate to look at."""
    serial = 0x41 << 144
    lite.take(serial)
    soon = int(lite.world.clock.now().timestamp()) + 86400
    lite.world.parts.db.write(
        Step.AUTHORITY_IMPORT,
        lambda c: c.execute(
            text("UPDATE certificate SET not_after = :at WHERE serial = :serial"),
            {"at": soon, "serial": serial.to_bytes(19)},
        ),
    )
    lite.world.services.revocations.revoke(
        CertificateID(lite.issuer_id(), serial), RevocationReason.SUPERSEDED, OPERATOR
    )
    for listed in (1, 1, 0):
        assert len(lite.crl()) == listed
        lite.world.pass_time(timedelta(days=8))
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
