"""Records: written with the act, authenticated, listed; sealed into the tree."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row

from pkiconf.errors import Conflict, Malformed
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.secret import Secret
from pkiconf.steps import Step
from pkiconf.store import checkpoints, leases
from pkiconf.store.audit import AuditLog, list_events
from pkiconf.store.audit_export import export
from pkiconf.store.database import Connection, Database
from pkiconf.store.merkle import Frontier, is_included, leaf_hash
from pkiconf.store.sealer import LEASE, Sealer
from pkiconf.store.tables import audit_event

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ALICE = Actor("operator", "alice", "local-shell")
LOG = AuditLog(Secret(b"k" * 32))


def sign(message: bytes) -> bytes:
    """A stand-in for Ed25519: this room only carries signatures."""
    return hashlib.sha512(b"checkpoint key" + message).digest()


def write(db: Database, count: int, at: datetime = NOW) -> list[int]:
    return db.write(
        Step.AUDIT_SEAL,
        lambda c: [LOG.record(c, at, ALICE, "crl.make", f"authority/corp-{n}", {"number": n}) for n in range(count)],
    )


def change(db: Database, statement: str) -> None:
    """What somebody with the database, but without its keys, does to it."""
    db.write(Step.AUDIT_SEAL, lambda c: c.exec_driver_sql(statement))


def sealer(db: Database, state: Path | None = None) -> Sealer:
    return Sealer(db, LOG, sign, state)


def test_a_record_is_canonical_and_genuine(database: Database) -> None:
    (event_id,) = write(database, 1)
    (event,) = database.read(list_events)
    assert event.id == event_id
    assert event.body == (
        '{"action":"crl.make","actor":"operator:alice","address":"authority/corp-0","at":1893456000,'
        '"details":{"number":0},"proved_by":"local-shell"}'
    )
    assert LOG.is_genuine(event)
    assert not AuditLog(Secret(b"j" * 32)).is_genuine(event)


def test_a_failed_act_leaves_no_record(database: Database) -> None:
    def act(c: Connection) -> None:
        LOG.record(c, NOW, SYSTEM, "crl.make", "authority/x", {})
        raise Conflict("no")

    with pytest.raises(Conflict):
        database.write(Step.AUDIT_SEAL, act)
    assert database.read(list_events) == []


@pytest.mark.parametrize("details", [{"key": Secret(b"hidden")}, {"x": float("nan")}, {"x": b"octets"}])
def test_details_that_are_not_json_are_no_record(database: Database, details: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        database.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "a.b", "x", details))
    assert "hidden" not in str(caught.value)
    assert database.read(list_events) == []


def test_a_short_mac_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        AuditLog(Secret(b"k" * 31))


def test_odd_text_is_kept(database: Database) -> None:
    text = 'naïve \u0000 \U0001f511 \u2028 "quoted"'
    database.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "a.b", text, {"text": text}))
    (event,) = database.read(list_events)
    assert event.fields["address"] == event.fields["details"]["text"] == text
    assert LOG.is_genuine(event)


def test_lists_are_filtered(database: Database) -> None:
    write(database, 3)
    write(database, 2, NOW + timedelta(days=1))
    database.write(Step.AUDIT_SEAL, lambda c: LOG.record(c, NOW, SYSTEM, "request.submit", "request/1", {}))

    def ids(**wish: object) -> list[int]:
        return [event.id for event in database.read(lambda c: list_events(c, **wish))]  # type: ignore[arg-type]

    first = ids()[0]
    assert len(ids()) == 6
    assert len(ids(limit=2)) == 2
    assert ids(after=first, limit=1) == [first + 1]
    assert len(ids(action="crl.make")) == 5
    assert len(ids(action="crl.*", limit=4)) == 4
    assert len(ids(address="authority/corp-1")) == 2
    assert len(ids(address="authority/corp-1", action="request.submit")) == 0
    assert len(ids(since=NOW + timedelta(days=1))) == 2
    assert len(ids(until=NOW + timedelta(days=1))) == 4


def test_sealing_makes_the_rfcs_tree(database: Database, tmp_path: Path) -> None:
    write(database, 5)
    one = sealer(database, tmp_path)
    assert one.seal(NOW) == 5
    assert one.seal(NOW) == 0
    write(database, 3)
    assert one.seal(NOW + timedelta(seconds=9)) == 3
    frontier = Frontier()
    for event in database.read(list_events):
        content = event.id.to_bytes(8, "big") + event.mac + event.body.encode()
        assert event.index == frontier.size
        frontier.append(leaf_hash(content))
        if frontier.size in (5, 8):
            point = {p.size: p for p in database.read(checkpoints.list_checkpoints)}[frontier.size]
            assert point.root_hash == frontier.root()
            assert point.signature == sign(point.message)
    assert [p.size for p in checkpoints.read_file(tmp_path)] == [5, 8]
    assert checkpoints.read_file(tmp_path) == database.read(checkpoints.list_checkpoints)


def test_the_checkpoint_message_is_readable() -> None:
    assert checkpoints.checkpoint_message(7, b"\x00" * 32, 5) == (
        b"pkiconf audit checkpoint 1\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n5\n"
    )


def test_another_process_goes_on_where_one_ended(database: Database) -> None:
    write(database, 3)
    one, other = sealer(database), sealer(database)
    assert one.seal(NOW) == 3
    write(database, 2)
    assert other.seal(NOW) == 2
    write(database, 1)
    assert one.seal(NOW) == 1
    assert [p.size for p in database.read(checkpoints.list_checkpoints)] == [3, 5, 6]


def test_a_sealer_steps_back_before_the_lease_of_another(database: Database) -> None:
    write(database, 1)
    now = int(NOW.timestamp())
    database.write(Step.AUDIT_SEAL, lambda c: leases.acquire(c, LEASE, "elsewhere", now, now + 60))
    assert sealer(database).seal(NOW) == 0
    assert sealer(database).seal(NOW + timedelta(seconds=61)) == 1


def test_a_sealer_that_was_only_thought_dead_seals_nothing(database: Database) -> None:
    """Another one has its lease by the time it has signed, and has not sealed yet."""
    write(database, 2)
    late = int(NOW.timestamp()) + 60

    def sign_slowly(message: bytes) -> bytes:
        database.write(Step.AUDIT_SEAL, lambda c: leases.acquire(c, LEASE, "elsewhere", late, late + 60))
        return sign(message)

    with pytest.raises(Conflict, match="elsewhere has it now"):
        Sealer(database, LOG, sign_slowly, None).seal(NOW)
    assert [event.index for event in database.read(list_events)] == [None, None]
    assert database.read(checkpoints.list_checkpoints) == []


def test_a_tree_that_grows_before_the_lease_is_looked_at_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, 2)
    one, other, add = sealer(database), sealer(database), Sealer._add
    sealed: list[int] = []

    def add_after_the_other(self: Sealer, *work: Any) -> int | None:
        if not sealed:
            sealed.append(0)
            sealed.append(other.seal(NOW))
            write(database, 1)
        return add(self, *work)

    monkeypatch.setattr(Sealer, "_add", add_after_the_other)
    assert one.seal(NOW) == 1
    assert sealed == [0, 2]
    assert sorted(event.index for event in database.read(list_events) if event.index is not None) == [0, 1, 2]


def test_many_sealers_and_writers_at_once(database: Database) -> None:
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            for _ in range(10):
                work()
        except BaseException as error:
            failures.append(error)

    sealers = [sealer(database) for _ in range(3)]
    works: list[Callable[[], object]] = [lambda: write(database, 3)] * 2
    works += [lambda one=one: one.seal(NOW) for one in sealers]  # type: ignore[misc]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    sealer(database).seal(NOW + timedelta(hours=1))
    events = database.read(list_events)
    assert sorted(event.index for event in events if event.index is not None) == list(range(60))


def test_a_late_commit_of_a_low_id_is_sealed(postgres_database: Database) -> None:
    """On PostgreSQL a record may become visible after others with higher ids were sealed."""
    database = postgres_database
    ids = write(database, 3)
    row = database.write(Step.AUDIT_SEAL, lambda c: _take_out(c, ids[0]))
    one = sealer(database)
    assert one.seal(NOW) == 2
    write(database, 1, NOW + timedelta(seconds=30))
    assert one.seal(NOW + timedelta(seconds=30)) == 1
    database.write(Step.AUDIT_SEAL, lambda c: _put_back(c, row))
    assert one.seal(NOW + timedelta(seconds=60)) == 1
    assert one.seal(NOW + timedelta(hours=1)) == 0
    write(database, 1, NOW + timedelta(hours=2))
    assert one.seal(NOW + timedelta(hours=2)) == 1


def _take_out(c: Connection, event_id: int) -> Row[Any]:
    row = c.exec_driver_sql(f"SELECT id, at, body, mac FROM audit_event WHERE id = {event_id}").one()
    c.exec_driver_sql(f"DELETE FROM audit_event WHERE id = {event_id}")
    return row


def _put_back(c: Connection, row: Row[Any]) -> None:
    c.execute(audit_event.insert().values(**row._mapping))


def test_nothing_is_signed_over_a_tree_that_was_changed(database: Database) -> None:
    write(database, 4)
    running = sealer(database)
    running.seal(NOW)
    write(database, 1)
    change(database, "UPDATE audit_leaf SET leaf_hash = (SELECT leaf_hash FROM audit_leaf WHERE \"index\" = 2)"
                     " WHERE \"index\" = 1")  # fmt: skip
    with pytest.raises(Conflict, match="not those that were signed"):
        sealer(database).seal(NOW)
    for statement, said in (
        ('DELETE FROM audit_leaf WHERE "index" = 0', "records 0 to 0 are missing"),
        ("DELETE FROM audit_leaf", "of which 0 are there"),
    ):
        change(database, statement)
        with pytest.raises(Conflict, match=rf"{said}.*audit verify"):
            sealer(database).seal(NOW)
    change(database, "DELETE FROM audit_checkpoint")
    with pytest.raises(Conflict, match="fewer than were sealed before"):
        running.seal(NOW)


def test_a_sealer_that_cannot_sign_changes_nothing(database: Database, tmp_path: Path) -> None:
    def fail(_: bytes) -> bytes:
        raise OSError("no key")

    write(database, 2)
    with pytest.raises(OSError, match="no key"):
        Sealer(database, LOG, fail, tmp_path).seal(NOW)
    assert database.read(checkpoints.list_checkpoints) == []
    assert checkpoints.read_file(tmp_path) == []


def test_a_file_that_missed_a_checkpoint_gets_the_last(database: Database, tmp_path: Path) -> None:
    write(database, 2)
    sealer(database).seal(NOW)
    assert sealer(database, tmp_path).seal(NOW) == 0
    assert [p.size for p in checkpoints.read_file(tmp_path)] == [2]
    assert (tmp_path / checkpoints.FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_passed_over_and_a_strange_one_is_not(database: Database, tmp_path: Path) -> None:
    write(database, 2)
    sealer(database, tmp_path).seal(NOW)
    path = tmp_path / checkpoints.FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert [p.size for p in checkpoints.read_file(tmp_path)] == [2]
    path.write_bytes(b"hello\n" + whole)
    with pytest.raises(Malformed, match="line 1"):
        checkpoints.read_file(tmp_path)


def test_after_a_torn_line_the_file_goes_on(database: Database, tmp_path: Path) -> None:
    write(database, 2)
    sealer(database, tmp_path).seal(NOW)
    path = tmp_path / checkpoints.FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    write(database, 1)
    sealer(database, tmp_path).seal(NOW)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == whole[:40]
    assert json.loads(lines[1])["size"] == 3


def test_an_export_proves_itself(database: Database) -> None:
    write(database, 5)
    sealer(database).seal(NOW)
    write(database, 2)
    lines: list[str] = []
    assert export(database, lines.append) == 7
    head, *records = map(json.loads, lines)
    point = head["checkpoint"]
    assert point["size"] == 5
    for record in records[:5]:
        content = record["id"].to_bytes(8, "big") + bytes.fromhex(record["mac"]) + record["body"].encode()
        path = [bytes.fromhex(hash) for hash in record["path"]]
        assert is_included(leaf_hash(content), record["index"], 5, path, bytes.fromhex(point["root"]))
    assert all("path" not in record for record in records[5:])
    assert export(database, lines.append, after=records[4]["id"]) == 2


def test_an_export_of_a_changed_log_is_refused(database: Database) -> None:
    write(database, 5)
    sealer(database).seal(NOW)
    change(database, 'DELETE FROM audit_leaf WHERE "index" = 4')
    with pytest.raises(Conflict, match="missing"):
        export(database, lambda _: None)


def test_an_empty_log_is_exported_and_sealed(database: Database) -> None:
    lines: list[str] = []
    assert sealer(database).seal(NOW) == 0
    assert export(database, lines.append) == 0
    assert lines == ['{"checkpoint": null}\n']
