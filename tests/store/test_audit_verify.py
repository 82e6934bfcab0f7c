"""What somebody with the database file, but without its keys, may try: each attempt is told by verify."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from pkiconf.errors import Unverified
from pkiconf.model.actor import SYSTEM
from pkiconf.model.secret import Secret
from pkiconf.steps import Step
from pkiconf.store import checkpoints, keys, tables
from pkiconf.store.audit import AuditLog
from pkiconf.store.audit_verify import AuditReport, verify
from pkiconf.store.database import Connection, Database
from pkiconf.store.sealer import Sealer

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
LOG = AuditLog(Secret(b"k" * 32))


def sign(message: bytes) -> bytes:
    return hashlib.sha512(b"checkpoint key" + message).digest()


def check(message: bytes, signature: bytes) -> None:
    if signature != sign(message):
        raise Unverified("no")


def certificate(c: Connection, serial: bytes, status: str = "good", reason: int | None = None) -> None:
    c.execute(
        insert(tables.certificate),
        {"issuer_id": 1, "serial": serial, "bucket": 0, "status": status, "reason": reason, "not_before": EPOCH,
         "not_after": EPOCH + 9, "origin_kind": "request", "origin_id": serial.hex(), "reserved_at": EPOCH,
         "lease_until": EPOCH},
    )  # fmt: skip
    if status not in ("reserved", "abandoned"):
        signature = {"issuer_id": 1, "serial": serial, "signature": b"x", "signed_at": EPOCH}
        c.execute(insert(tables.certificate_signature), signature)


def record(c: Connection, action: str, serial: bytes, **details: object) -> None:
    LOG.record(c, NOW, SYSTEM, action, "certificate/x", {"issuer": 1, "serial": serial.hex(), **details})


LIVES = {  # serial: (status, reason, acts)
    b"\x41": ("good", None, ["reserve", "complete"]),
    b"\x42": ("revoked", 1, ["reserve", "complete", "revoke"]),
    b"\x43": ("held", 6, ["reserve", "complete", "hold"]),
    b"\x44": ("good", None, ["reserve", "complete", "hold", "release"]),
    b"\x45": ("reserved", None, ["reserve"]),
    b"\x46": ("abandoned", None, ["reserve", "abandon"]),
}


def fill(c: Connection) -> None:
    keys.add_key(c, spki=b"spki", algorithm="ed25519", created_at=EPOCH)
    c.execute(
        insert(tables.authority),
        {"slug": "corp", "name": "corp", "owner": "system", "lifecycle": "active", "spec": "{}", "spec_digest": "0",
         "generation": 1, "created_at": EPOCH},
    )  # fmt: skip
    c.execute(
        insert(tables.issuer),
        {"authority_id": 1, "key_id": 1, "subject": b"s", "ski": b"s", "generation": 1, "state": "active",
         "created_at": EPOCH},
    )  # fmt: skip
    for serial, (status, reason, acts) in LIVES.items():
        certificate(c, serial, status, reason)
        for act in acts:
            extra = {"reason": "keyCompromise"} if act == "revoke" else {}
            record(c, f"certificate.{act}", serial, **extra)
    certificate(c, b"\x47", "revoked", 4)
    record(c, "certificate.import", b"\x47", status="revoked")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "witness"
    folder.mkdir()
    return folder


@pytest.fixture
def db(database: Database, state: Path) -> Database:
    database.write(Step.MIGRATE, fill)
    Sealer(database, LOG, sign, state).seal(NOW)
    for n in range(4):
        database.write(Step.AUDIT_SEAL, lambda c, n=n: LOG.record(c, NOW, SYSTEM, "crl.make", "a", {"n": n}))  # type: ignore[misc]
    Sealer(database, LOG, sign, state).seal(NOW)
    return database


def tamper(db: Database, *statements: str) -> None:
    """Run these without a look at foreign keys, as in a copy of the database."""
    if db.path is not None:
        with closing(sqlite3.connect(db.path)) as raw, raw:
            for statement in statements:
                raw.execute(statement)
        return

    def write(c: Connection) -> None:
        c.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            c.exec_driver_sql(statement)

    db.write(Step.AUDIT_SEAL, write)


def look(db: Database, state: Path | None = None) -> AuditReport:
    return verify(db, LOG, check, state)


def kinds(report: AuditReport) -> set[str]:
    return {finding.kind.value for finding in report.findings}


EVENTS = 16  # of certificates
LAST = EVENTS + 4


def test_an_untouched_log_holds(db: Database, state: Path) -> None:
    report = look(db, state)
    assert report.findings == ()
    assert (report.records, report.sealed) == (LAST, LAST)


def test_an_empty_log_holds(database: Database, state: Path) -> None:
    assert look(database, state).findings == ()


def test_unsealed_records_are_no_finding(db: Database, state: Path) -> None:
    db.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "crl.make", "a", {}))
    report = look(db, state)
    assert report.findings == ()
    assert (report.records, report.sealed) == (LAST + 1, LAST)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        # edited
        (["UPDATE audit_event SET body = replace(body, 'system:pkiconf', 'operator:eve') WHERE id = 3"], "edited"),
        (["UPDATE audit_event SET at = at + 1 WHERE id = 3"], "edited"),
        (["UPDATE audit_event SET mac = (SELECT mac FROM audit_event e WHERE e.id = 4) WHERE id = 3"], "edited"),
        (["UPDATE audit_event SET body = 'not json' WHERE id = 17"], "edited"),
        (["UPDATE audit_event SET body = '[]' WHERE id = 17"], "edited"),
        (["UPDATE audit_event SET body = body || ' ' WHERE id = 17"], "edited"),
        # reordered: two records change places, with and without their leaves
        (["UPDATE audit_event SET id = 999 WHERE id = 17", "UPDATE audit_event SET id = 17 WHERE id = 18",
          "UPDATE audit_event SET id = 18 WHERE id = 999"], "reordered"),
        (["UPDATE audit_leaf SET event_id = 999 WHERE event_id = 17",
          "UPDATE audit_leaf SET event_id = 17 WHERE event_id = 18",
          "UPDATE audit_leaf SET event_id = 18 WHERE event_id = 999"], "reordered"),
        (['UPDATE audit_leaf SET "index" = 999 WHERE "index" = 17',
          'UPDATE audit_leaf SET "index" = 17 WHERE "index" = 18',
          'UPDATE audit_leaf SET "index" = 18 WHERE "index" = 999'], "reordered"),
        # a genuine record copied over another
        (["UPDATE audit_event SET (body, mac) = (SELECT body, mac FROM audit_event e WHERE e.id = 18) WHERE id = 17"],
         "reordered"),
        # missing: the record, its leaf, both, both with the rest moved up
        (["DELETE FROM audit_event WHERE id = 17"], "missing"),
        (["DELETE FROM audit_leaf WHERE event_id = 17"], "missing"),
        (["DELETE FROM audit_leaf WHERE event_id = 17", "DELETE FROM audit_event WHERE id = 17"], "missing"),
        (["DELETE FROM audit_leaf WHERE event_id = 17", "DELETE FROM audit_event WHERE id = 17",
          'UPDATE audit_leaf SET "index" = 16 WHERE "index" = 17',
          'UPDATE audit_leaf SET "index" = 17 WHERE "index" = 18',
          'UPDATE audit_leaf SET "index" = 18 WHERE "index" = 19'], "cut-off"),
        # cut off
        (['DELETE FROM audit_leaf WHERE "index" >= 18', "DELETE FROM audit_event WHERE id >= 19"], "cut-off"),
        (['DELETE FROM audit_leaf WHERE "index" >= 16', "DELETE FROM audit_event WHERE id >= 17",
          "DELETE FROM audit_checkpoint WHERE size > 16"], "cut-off"),
        (["DELETE FROM audit_leaf", "DELETE FROM audit_checkpoint"], "cut-off"),
        # checkpoints
        (["UPDATE audit_checkpoint SET at = at + 1 WHERE size = 20"], "unsigned"),
        (["UPDATE audit_checkpoint SET size = 19 WHERE size = 20"], "unsigned"),
    ],
)  # fmt: skip
def test_what_was_done_to_the_log_is_told(db: Database, state: Path, statements: list[str], expected: str) -> None:
    tamper(db, *statements)
    assert expected in kinds(look(db, state))


def test_a_cut_off_tail_is_seen_only_against_the_state_folder(db: Database, state: Path) -> None:
    tamper(db, 'DELETE FROM audit_leaf WHERE "index" >= 16', "DELETE FROM audit_event WHERE id >= 17",
           "DELETE FROM audit_checkpoint WHERE size > 16")  # fmt: skip
    assert look(db, None).findings == ()
    (finding,) = look(db, state).findings
    assert finding.kind.value == "cut-off"
    assert "20" in finding.text
    assert "ends after 16" in finding.text


def test_dropping_checkpoints_alone_is_told(db: Database) -> None:
    tamper(db, "DELETE FROM audit_checkpoint WHERE size > 16")
    assert kinds(look(db)) == {"unsigned"}


def test_a_tail_that_was_rewritten_and_sealed_again_with_another_key_is_told(db: Database, state: Path) -> None:
    tamper(db, 'DELETE FROM audit_leaf WHERE "index" >= 16', "DELETE FROM audit_event WHERE id >= 17",
           "DELETE FROM audit_checkpoint WHERE size > 16")  # fmt: skip
    forged = AuditLog(Secret(b"j" * 32))
    for _ in range(4):
        db.write(Step.AUDIT_SEAL, lambda c: forged.record(c, NOW, SYSTEM, "crl.make", "b", {}))
    Sealer(db, forged, lambda message: b"forged", None).seal(NOW)
    assert kinds(look(db, state)) == {"edited", "unsigned", "reordered"}


def test_a_rolled_back_copy_that_went_on_is_told(db: Database, state: Path) -> None:
    """The real key sealed other records at the same places: a copy of the host was run for a while."""
    tamper(db, 'DELETE FROM audit_leaf WHERE "index" >= 16', "DELETE FROM audit_event WHERE id >= 17",
           "DELETE FROM audit_checkpoint WHERE size > 16")  # fmt: skip
    for _ in range(6):
        db.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "crl.make", "other", {}))
    Sealer(db, LOG, sign, None).seal(NOW)
    assert look(db, None).findings == ()
    assert kinds(look(db, state)) == {"reordered"}


def test_a_hole_is_not_excused_by_a_forged_restore(db: Database, state: Path) -> None:
    forged = AuditLog(Secret(b"j" * 32))
    db.write(
        Step.AUDIT_SEAL, lambda c: forged.record(c, NOW, SYSTEM, "database.restore", "database", {"first_index": 1000})
    )
    tamper(db, f"INSERT INTO audit_leaf SELECT 1000, max(id), {_blob(db)} FROM audit_event")
    assert {"missing", "edited"} <= kinds(look(db, state))


def _blob(db: Database) -> str:
    text = "00" * 32
    return f"x'{text}'" if db.dialect == "sqlite" else f"'\\x{text}'::bytea"


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("UPDATE certificate SET status = 'good' WHERE origin_id = '42'", "should be revoked"),
        ("UPDATE certificate SET status = 'revoked' WHERE origin_id = '41'", "should be good"),
        ("UPDATE certificate SET status = 'good' WHERE origin_id = '43'", "should be held"),
        ("UPDATE certificate SET status = 'good' WHERE origin_id = '46'", "should be abandoned"),
        ("UPDATE certificate SET status = 'good' WHERE origin_id = '47'", "should be revoked"),
        ("UPDATE certificate SET reason = 4 WHERE origin_id = '42'", "its record says keyCompromise"),
        ("UPDATE certificate SET reason = 99 WHERE origin_id = '42'", "its record says keyCompromise"),
        ("DELETE FROM certificate WHERE origin_id = '41'", "is not in the database"),
        ("DELETE FROM certificate_signature WHERE signed_at > 0", "its signature is not in the database"),
        (
            "INSERT INTO certificate (issuer_id, serial, bucket, status, not_before, not_after, origin_kind, origin_id,"
            " reserved_at, lease_until) SELECT 1, mac, 0, 'good', 1, 2, 'request', 'x', 1, 1 FROM"
            " (SELECT substr(mac, 1, 18) AS mac FROM audit_event WHERE id = 1) AS t",
            "no record speaks of it",
        ),
    ],
)
def test_certificates_and_records_are_compared_both_ways(db: Database, state: Path, statement: str, text: str) -> None:
    tamper(db, statement)
    report = look(db, state)
    assert kinds(report) == {"certificate"}
    assert text in report.findings[0].text


def test_a_record_before_the_beginning_and_a_second_beginning(db: Database, state: Path) -> None:
    db.write(Step.AUDIT_SEAL, lambda c: record(c, "certificate.reserve", b"\x41"))
    db.write(Step.AUDIT_SEAL, lambda c: record(c, "certificate.revoke", b"\x99"))
    db.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "certificate.revoke", "x", {"issuer": "?"}))
    texts = " ".join(finding.text for finding in look(db, state).findings)
    assert "two records of its beginning" in texts
    assert "none of its beginning" in texts
    assert "names no certificate" in texts


def test_a_destroyed_authority_takes_its_certificates_along(db: Database, state: Path) -> None:
    tamper(db, "DELETE FROM certificate_signature", "DELETE FROM certificate", "DELETE FROM issuer")
    assert kinds(look(db, state)) == {"certificate"}
    db.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "authority.destroy", "a", {"issuers": [1]}))
    assert look(db, state).findings == ()


def test_the_witness_file_itself_is_checked(db: Database, state: Path) -> None:
    path = state / checkpoints.FILE_NAME
    path.write_text(path.read_text().replace('"size": 20', '"size": 19'))
    (finding,) = look(db, state).findings
    assert "signature that does not hold" in finding.text
