"""Backups while others write, and restores that use nothing twice, from either dialect into either."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from pkiconf.errors import Conflict, Malformed, PkiconfError, Unavailable, Unverified
from pkiconf.model.actor import SYSTEM
from pkiconf.model.secret import Secret
from pkiconf.steps import KILL_VARIABLE, Step
from pkiconf.store import checkpoints, keys, migrate, tables
from pkiconf.store.archive import open_archive
from pkiconf.store.audit import MAC_NAME, AuditLog, list_events
from pkiconf.store.audit_verify import verify
from pkiconf.store.backup import backup
from pkiconf.store.database import Connection, Database, open_database
from pkiconf.store.portable import TABLES, count_rows, dump
from pkiconf.store.restore import RestoreReport, past, restore
from pkiconf.store.sealer import Sealer
from pkiconf.store.wrapping import SealedRow

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
MAC_KEY = bytes(range(32))
LOG = AuditLog(Secret(MAC_KEY))
SPKI = b"a public key"


def unseal(row: SealedRow) -> Secret:
    """A stand-in for the keyring: what it sealed is reversed."""
    if row.wrapping_key_id != "current":
        raise Unavailable(f"sealed under master key {row.wrapping_key_id}, but current was given")
    return Secret(row.sealed[::-1])


def sign(message: bytes) -> bytes:
    return hashlib.sha512(b"checkpoint key" + message).digest()


def check(message: bytes, signature: bytes) -> None:
    if signature != sign(message):
        raise Unverified("no")


def issue(c: Connection, serial: bytes) -> None:
    row = {
        "issuer_id": 1, "serial": serial, "bucket": 0, "status": "good", "not_before": EPOCH, "not_after": EPOCH + 9,
        "origin_kind": "request", "origin_id": serial.hex(), "reserved_at": EPOCH, "lease_until": EPOCH,
    }  # fmt: skip
    details = {"issuer": 1, "serial": serial.hex()}
    c.execute(insert(tables.certificate), row)
    c.execute(insert(tables.certificate_tbs), {"issuer_id": 1, "serial": serial, "algorithm": "Ed25519", "tbs": serial})
    c.execute(
        insert(tables.certificate_signature),
        {"issuer_id": 1, "serial": serial, "signature": b"\x00" + serial, "signed_at": EPOCH},
    )
    LOG.record(c, NOW, SYSTEM, "certificate.reserve", "certificate/x", details)
    LOG.record(c, NOW, SYSTEM, "certificate.complete", "certificate/x", details)


def fill(c: Connection) -> None:
    keys.add_secret(c, MAC_NAME, MAC_KEY[::-1], "current")
    key_id = keys.add_key(
        c, spki=SPKI, algorithm="ed25519", created_at=EPOCH, sealed=b"dekaels", wrapping_key_id="current"
    )
    assert key_id == 1
    keys.delete_key(
        c, keys.add_key(c, spki=b"gone", algorithm="ed25519", created_at=EPOCH, sealed=b"x", wrapping_key_id="current")
    )
    c.execute(
        insert(tables.authority),
        {"slug": "corp", "name": "corp", "owner": "system", "lifecycle": "active", "spec": '{"naïve":"é"}',
         "spec_digest": "0", "generation": 1, "current_issuer_id": 1, "created_at": EPOCH},
    )  # fmt: skip
    c.execute(
        insert(tables.issuer),
        {"authority_id": 1, "key_id": 1, "subject": b"\x30\x00", "ski": b"s", "generation": 1, "state": "active",
         "status_epoch": 7, "crl_number": 41, "created_at": EPOCH},
    )  # fmt: skip
    c.execute(insert(tables.lease), {"name": "x", "holder": "there", "fencing": 3, "until_at": EPOCH + 99})
    for number in range(5):
        issue(c, bytes([0x40, number]))


@pytest.fixture
def filled(database: Database) -> Database:
    database.write(Step.MIGRATE, fill)
    Sealer(database, LOG, sign, None).seal(NOW)
    database.write(Step.CERTIFICATE_COMPLETE, lambda c: issue(c, b"\x41"))
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        db = open_database(None, tmp_path / "restored")
    else:
        db = open_database(request.getfixturevalue("empty_postgres_url"), tmp_path)
    yield db
    db.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "new-state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def archive(filled: Database, tmp_path: Path) -> Path:
    target = tmp_path / "backup.tar"
    backup(filled, target, audit=LOG, actor=SYSTEM, now=NOW)
    return target


@pytest.fixture
def sqlite_archive(sqlite_database: Database, tmp_path: Path) -> Path:
    sqlite_database.write(Step.MIGRATE, fill)
    target = tmp_path / "backup.tar"
    backup(sqlite_database, target, audit=LOG, actor=SYSTEM, now=NOW)
    return target


def bring_back(
    archive: Path, db: Database, state: Path, opens: Callable[[SealedRow], Secret] = unseal
) -> RestoreReport:
    return restore(archive, db, state, unseal=opens, actor=SYSTEM, now=NOW + timedelta(days=1))


def contents(db: Database) -> dict[str, list[tuple[object, ...]]]:
    def read(c: Connection) -> dict[str, list[tuple[object, ...]]]:
        return {table.name: sorted(tuple(row) for row in c.execute(select(table))) for table in TABLES}

    return db.read(read)


def test_everything_comes_back(filled: Database, archive: Path, empty: Database, state: Path) -> None:
    report = bring_back(archive, empty, state)
    before, after = contents(filled), contents(empty)
    moved = ("issuer", "lease", "audit_event", "audit_leaf")
    assert {name: rows for name, rows in after.items() if name not in moved} == {
        name: rows for name, rows in before.items() if name not in moved
    }
    assert set(before["audit_event"]) < set(after["audit_event"])
    assert set(before["audit_leaf"]) < set(after["audit_leaf"])
    assert archive.stat().st_mode & 0o777 == 0o600
    assert any("never runs again" in note for note in report.notes)
    assert [p.name for p in state.iterdir()] == [checkpoints.FILE_NAME]


def test_the_report_says_what_is_left_out(filled: Database, tmp_path: Path) -> None:
    report = backup(filled, tmp_path / "b.tar", audit=LOG, actor=SYSTEM, now=NOW)
    assert any("master key (current) is not in the backup" in note for note in report.notes)
    assert report.manifest.tables["certificate"] == 6
    assert list_events_of(filled)[-1] == "database.backup"


def list_events_of(db: Database) -> list[str]:
    return [str(event.fields["action"]) for event in db.read(list_events)]


def test_nothing_is_used_twice_though_the_original_ran_on(
    filled: Database, archive: Path, empty: Database, state: Path
) -> None:
    bring_back(archive, empty, state)
    used: dict[str, set[object]] = {}
    for name, db in (("original", filled), ("restored", empty)):
        for number in range(50):
            serial = bytes([0x42, number])
            db.write(Step.CERTIFICATE_COMPLETE, lambda c, serial=serial: issue(c, serial))  # type: ignore[misc]
        Sealer(db, LOG, sign, None).seal(NOW + timedelta(days=2))
        used[name] = db.read(_used)
    standing = used["original"] & used["restored"]
    # What both know is what stood in the backup already.
    before = {mark for mark in used["original"] if mark in _marks_of_backup(archive)}
    assert standing == before
    numbers = empty.read(lambda c: c.execute(select(tables.issuer.c.crl_number, tables.issuer.c.status_epoch)).one())
    assert tuple(numbers) == (2_000_000, 2_000_000)


def _used(c: Connection) -> set[object]:
    marks: set[object] = {("leaf", index) for index in c.execute(select(tables.audit_leaf.c.index)).scalars()}
    marks |= {("event", number) for number in c.execute(select(tables.audit_event.c.id)).scalars()}
    return marks


def _marks_of_backup(archive: Path) -> set[object]:
    with tarfile.open(archive) as tar:
        member = tar.extractfile("database.sqlite")
        assert member is not None
        path = archive.with_name("look.sqlite")
        path.write_bytes(member.read())
    with closing(sqlite3.connect(path)) as c:
        marks: set[object] = {("leaf", row[0]) for row in c.execute('SELECT "index" FROM audit_leaf')}
        marks |= {("event", row[0]) for row in c.execute("SELECT id FROM audit_event")}
    path.unlink()
    return marks


def test_ids_of_deleted_rows_are_not_given_again(archive: Path, empty: Database, state: Path) -> None:
    bring_back(archive, empty, state)
    number = empty.write(Step.KEYSTORE_CREATE, lambda c: keys.add_key(c, spki=b"new", algorithm="x", created_at=1))
    assert number == 2_000_001
    assert past(0) == 2_000_000
    assert past(999_999) == 2_000_000
    assert past(1_000_000) == 3_000_000


def test_the_restored_log_verifies_and_goes_on(archive: Path, empty: Database, state: Path) -> None:
    first = bring_back(archive, empty, state).first_audit_index
    assert first > 10_000_000_000
    assert verify(empty, LOG, check, state).findings == ()
    Sealer(empty, LOG, sign, state).seal(NOW + timedelta(days=1))
    report = verify(empty, LOG, check, state)
    assert report.findings == ()
    assert report.sealed == report.records
    events = empty.read(lambda c: list_events(c, limit=1000))
    assert all(event.index is not None for event in events)
    assert [p.size for p in checkpoints.read_file(state)][-1] > first


def test_a_restored_backup_can_be_backed_up_and_restored(
    archive: Path, empty: Database, state: Path, tmp_path: Path
) -> None:
    bring_back(archive, empty, state)
    Sealer(empty, LOG, sign, state).seal(NOW)
    backup(empty, tmp_path / "second.tar", audit=LOG, actor=SYSTEM, now=NOW)
    third = open_database(None, tmp_path / "third")
    report = bring_back(tmp_path / "second.tar", third, tmp_path / "third")
    assert report.first_audit_index > 20_000_000_000
    assert verify(third, LOG, check, None).findings == ()
    third.close()


def test_a_backup_under_load_is_of_one_moment(filled: Database, tmp_path: Path, state: Path) -> None:
    stop = threading.Event()
    written: list[int] = []

    def load(first: int) -> None:
        number = 0
        while not stop.is_set():
            serial = bytes([0x50, first]) + number.to_bytes(4, "big")
            filled.write(Step.CERTIFICATE_COMPLETE, lambda c, serial=serial: issue(c, serial))  # type: ignore[misc]
            number += 1
        written.append(number)

    threads = [threading.Thread(target=load, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    try:
        for round in range(3):
            backup(filled, tmp_path / f"{round}.tar", audit=LOG, actor=SYSTEM, now=NOW)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sum(written) > 0
    restored = open_database(None, tmp_path / "restored-under-load")
    bring_back(tmp_path / "2.tar", restored, state)
    assert verify(restored, LOG, check, state).findings == ()
    restored.close()


@pytest.mark.parametrize("statement", ["INSERT INTO applied VALUES (1, 1, 'w', 'a', 'd', '{}')"])
def test_a_database_in_use_is_not_restored_into(
    sqlite_archive: Path, postgres_database: Database, state: Path, statement: str
) -> None:
    postgres_database.write(Step.APPLY_RECORD, lambda c: c.exec_driver_sql(statement))
    before = contents(postgres_database)
    with pytest.raises(Conflict, match="rows of applied"):
        bring_back(sqlite_archive, postgres_database, state)
    assert contents(postgres_database) == before
    assert list(state.iterdir()) == []


def test_a_database_that_is_taken_into_use_meanwhile_is_not_restored_into(
    sqlite_archive: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the writing another process sets up a PKI of its own there."""
    db = open_database(None, tmp_path / "restored")
    upgrade = migrate.upgrade

    def meanwhile(target: Database) -> bool:
        done = upgrade(target)
        if target is db:
            target.write(Step.KEYSTORE_CREATE, lambda c: keys.add_secret(c, MAC_NAME, b"another's", "current"))
        return done

    monkeypatch.setattr(migrate, "upgrade", meanwhile)
    with pytest.raises(Conflict, match="rows of sealed_secret"):
        bring_back(sqlite_archive, db, state)
    assert db.read(keys.list_keys) == []
    assert db.read(lambda c: keys.get_secret(c, MAC_NAME)).sealed == b"another's"
    db.close()


def test_a_state_folder_in_use_is_not_restored_into(sqlite_archive: Path, tmp_path: Path, state: Path) -> None:
    (state / checkpoints.FILE_NAME).write_text("")
    db = open_database(None, tmp_path / "restored")
    with pytest.raises(Conflict, match="checkpoints of another audit log"):
        bring_back(sqlite_archive, db, state)
    assert untouched(db)
    db.close()


def untouched(db: Database) -> bool:
    try:
        db.read(count_rows)
    except PkiconfError:
        return True  # not even a schema was made
    return False


def refused(archive: Path, tmp_path: Path, state: Path, error: type[PkiconfError], match: str) -> None:
    db = open_database(None, tmp_path / "restored")
    with pytest.raises(error, match=match):
        bring_back(archive, db, state)
    assert untouched(db)
    assert list(state.iterdir()) == []
    db.close()


def test_a_wrong_master_key_restores_nothing(sqlite_archive: Path, tmp_path: Path, state: Path) -> None:
    def other(row: SealedRow) -> Secret:
        return unseal(replace(row, wrapping_key_id="another"))

    db = open_database(None, tmp_path / "restored")
    with pytest.raises(Unavailable, match="sealed under master key another"):
        bring_back(sqlite_archive, db, state, other)
    assert untouched(db)
    db.close()


def test_one_missing_master_key_of_two_restores_nothing(sqlite_database: Database, tmp_path: Path, state: Path) -> None:
    sqlite_database.write(Step.MIGRATE, fill)
    sqlite_database.write(Step.KEYSTORE_CREATE, lambda c: keys.add_secret(c, "other", b"x", "older"))
    backup(sqlite_database, tmp_path / "two.tar", audit=LOG, actor=SYSTEM, now=NOW)
    refused(tmp_path / "two.tar", tmp_path, state, Unavailable, "sealed under master key older")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.3, 0.9])
def test_a_truncated_archive_restores_nothing(sqlite_archive: Path, tmp_path: Path, state: Path, kept: float) -> None:
    data = sqlite_archive.read_bytes()
    sqlite_archive.write_bytes(data[: int(len(data) * kept)])
    refused(sqlite_archive, tmp_path, state, Malformed, "not a whole backup")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.mac", "database.sqlite"])
def test_one_flipped_bit_restores_nothing(sqlite_archive: Path, tmp_path: Path, state: Path, name: str) -> None:
    members = read_members(sqlite_archive)
    content = members[name]
    at = content.index(b"ed25519") if name == "database.sqlite" else len(content) // 2
    members[name] = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    write_members(sqlite_archive, members)
    db = open_database(None, tmp_path / "restored")
    with pytest.raises((Malformed, Unverified)):
        bring_back(sqlite_archive, db, state)
    assert untouched(db)
    db.close()


def test_a_manifest_made_up_anew_restores_nothing(sqlite_archive: Path, tmp_path: Path, state: Path) -> None:
    members = read_members(sqlite_archive)
    forged = members["database.sqlite"].replace(b"ed25519", b"ed25518")
    manifest = json.loads(members["manifest.json"]) | {"sha256": hashlib.sha256(forged).hexdigest()}
    members |= {"database.sqlite": forged, "manifest.json": json.dumps(manifest).encode()}
    write_members(sqlite_archive, members)
    refused(sqlite_archive, tmp_path, state, Unverified, "altered since it was made")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"format": 2}, Conflict, "format 2"),
        ({"audit_mac": "zz"}, Malformed, "manifest cannot be read"),
        ({"unknown": 1}, Malformed, "manifest cannot be read"),
        ({"wrapping_key_ids": None}, Malformed, "manifest cannot be read"),
    ],
)
def test_an_unreadable_manifest(
    sqlite_archive: Path, tmp_path: Path, state: Path, change: dict[str, object], error: type[PkiconfError], match: str
) -> None:
    members = read_members(sqlite_archive)
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | change).encode()
    write_members(sqlite_archive, members)
    refused(sqlite_archive, tmp_path, state, error, match)


def test_other_members_and_other_orders_are_refused(sqlite_archive: Path, tmp_path: Path, state: Path) -> None:
    members = read_members(sqlite_archive)
    write_members(sqlite_archive, {**members, "../../evil": b"x"})
    refused(sqlite_archive, tmp_path, state, Malformed, "more than a backup")
    write_members(sqlite_archive, dict(reversed(members.items())))
    refused(sqlite_archive, tmp_path, state, Malformed, "manifest.json is not where")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 10240, b"\x1f\x8b" + b"x" * 1000])
def test_what_is_no_archive(tmp_path: Path, state: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    refused(tmp_path / "x.tar", tmp_path, state, Malformed, "not a whole backup")


def test_a_missing_archive(tmp_path: Path, state: Path) -> None:
    refused(tmp_path / "x.tar", tmp_path, state, Unavailable, "No such file")


def test_a_link_is_no_member(sqlite_archive: Path, tmp_path: Path, state: Path) -> None:
    with tarfile.open(sqlite_archive, "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    refused(sqlite_archive, tmp_path, state, Malformed, "manifest.json is not where")


def test_a_backup_never_replaces_a_file(sqlite_database: Database, tmp_path: Path) -> None:
    sqlite_database.write(Step.MIGRATE, fill)
    target = tmp_path / "b.tar"
    target.write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        backup(sqlite_database, target, audit=LOG, actor=SYSTEM, now=NOW)
    assert target.read_text() == "precious"
    assert "database.backup" not in list_events_of(sqlite_database)


def test_a_backup_never_replaces_a_file_that_appears_meanwhile(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_database.write(Step.MIGRATE, fill)
    target = tmp_path / "backup.tar"

    def meanwhile(db: Database, copy: Path) -> None:
        dump(db, copy)
        target.write_bytes(b"somebody else's")

    monkeypatch.setattr("pkiconf.store.backup.dump", meanwhile)
    with pytest.raises(Conflict, match="exists already"):
        backup(sqlite_database, target, audit=LOG, actor=SYSTEM, now=NOW)
    assert target.read_bytes() == b"somebody else's"


def test_a_backup_into_nowhere(sqlite_database: Database, tmp_path: Path) -> None:
    sqlite_database.write(Step.MIGRATE, fill)
    with pytest.raises(Unavailable, match="cannot be written"):
        backup(sqlite_database, tmp_path / "no" / "b.tar", audit=LOG, actor=SYSTEM, now=NOW)


def test_a_damaged_database_gives_no_backup(sqlite_database: Database, tmp_path: Path) -> None:
    sqlite_database.write(Step.MIGRATE, fill)
    assert sqlite_database.path is not None
    with closing(sqlite3.connect(sqlite_database.path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'certificate'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    with sqlite_database.path.open("r+b") as handle:
        handle.seek((page - 1) * size)
        handle.write(b"\xff" * 64)
    target = tmp_path / "damaged.tar"
    with pytest.raises(Unavailable, match=r"damaged|malformed"):
        backup(sqlite_database, target, audit=LOG, actor=SYSTEM, now=NOW)
    assert not target.exists()


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_restore_that_is_killed_is_whole_or_nothing(
    sqlite_archive: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    db = open_database(None, tmp_path / "restored")
    monkeypatch.setenv(KILL_VARIABLE, f"{Step.RESTORE}:{side}")
    monkeypatch.setattr(os, "kill", kill)
    with pytest.raises(Killed):
        bring_back(sqlite_archive, db, state)
    monkeypatch.undo()
    if side == "before":
        bring_back(sqlite_archive, db, state)
    else:
        with pytest.raises(Conflict, match="not empty"):
            bring_back(sqlite_archive, db, state)
    assert verify(db, LOG, check, state).findings == ()
    db.close()


def test_the_archive_is_an_ordinary_tar_without_the_master_key(archive: Path) -> None:
    members = read_members(archive)
    assert list(members) == ["manifest.json", "manifest.mac", "database.sqlite"]
    assert all(MAC_KEY not in content for content in members.values())
    with open_archive(archive) as opened:
        assert opened.manifest.wrapping_key_ids == ("current",)
    assert not list(archive.parent.glob(".pkiconf-backup-*"))


def read_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write_members(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
