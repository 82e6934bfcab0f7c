"""A new master key while everything runs: nothing is lost, wherever it is killed and whatever others do meanwhile."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pkiconf.authority.rekey import RekeyReport, rekey, unseal_row
from pkiconf.entropy import SystemEntropy
from pkiconf.errors import Conflict, PkiconfError, Unavailable
from pkiconf.model.actor import SYSTEM
from pkiconf.model.keys import KEY_ALGORITHMS
from pkiconf.model.secret import Secret
from pkiconf.signing.keyring import Keyring, binding_identity, key_identity, secret_identity
from pkiconf.signing.local import generate
from pkiconf.signing.master import (
    EnvironmentSource,
    FileSource,
    MasterKeys,
    create_master_key_file,
    load_master_keys,
    reloader,
    replace_master_key_file,
)
from pkiconf.signing.private_file import alone_with
from pkiconf.steps import KILL_VARIABLE, Step
from pkiconf.store import acme_policies, keys, wrapping
from pkiconf.store.audit import MAC_NAME, AuditLog, list_events
from pkiconf.store.database import Connection, Database, open_database

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LOG = AuditLog(Secret(b"k" * 32))
COUNT = 7


def fresh() -> bytes:
    return SystemEntropy().token(32)


def add_key(db: Database, keyring: Keyring) -> int:
    pkcs8, spki = generate(KEY_ALGORITHMS["ed25519"])
    sealed = keyring.seal(key_identity(hashlib.sha256(spki).digest()), pkcs8)
    return db.write(
        Step.KEYSTORE_CREATE,
        lambda c: keys.add_key(
            c, spki=spki, algorithm="ed25519", created_at=1, sealed=sealed.blob, wrapping_key_id=sealed.wrapping_key_id
        ),
    )


def add_secret(db: Database, keyring: Keyring, name: str, content: bytes) -> None:
    sealed = keyring.seal(secret_identity(name), content)
    db.write(Step.KEYSTORE_CREATE, lambda c: keys.put_secret(c, name, sealed.blob, sealed.wrapping_key_id))


def add_binding(db: Database, keyring: Keyring, key_id: str, content: bytes) -> None:
    """An external account binding whose HMAC key is `content`."""
    sealed = keyring.seal(binding_identity(key_id), content)

    def write(c: Connection) -> None:
        policy = acme_policies.find_policy(c, "p")
        number = (
            policy.id
            if policy
            else acme_policies.add_policy(
                c, slug="p", name="p", owner="console", spec="{}", spec_digest="", created_at=1
            )
        )
        acme_policies.add_binding(
            c, policy_id=number, name=key_id, owner="console", key_id=key_id, sealed=sealed.blob,
            wrapping_key_id=sealed.wrapping_key_id, spec="{}", spec_digest="", created_at=1,
        )  # fmt: skip

    db.write(Step.ACME_BINDING_WRITE, write)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    create_master_key_file(folder / "master.key", SystemEntropy())
    return folder / "master.key"


def keyring_of(file: Path) -> Keyring:
    source = FileSource(file)
    return Keyring(load_master_keys(source), reloader(source))


def fill(db: Database, keyring: Keyring) -> None:
    for _ in range(COUNT):
        add_key(db, keyring)
    add_secret(db, keyring, MAC_NAME, b"k" * 32)
    add_secret(db, keyring, "change-detection", b"content")
    destroyed = add_key(db, keyring)
    db.write(Step.KEYSTORE_CREATE, lambda c: keys.destroy_key(c, destroyed))


def run(db: Database, keyring: Keyring, new_key: Callable[[], bytes] = fresh) -> RekeyReport:
    return rekey(db, keyring, new_key, audit=LOG, actor=SYSTEM, now=NOW)


def everything_opens(db: Database, file: Path) -> None:
    """With nothing but the file and the database, as after a restart."""
    keyring = keyring_of(file)
    rows = db.read(lambda c: [*wrapping.find_sealed(c, limit=10_000), *wrapping.find_sealed_secrets(c)])
    assert len(rows) >= COUNT + 2
    for row in rows:
        content = unseal_row(keyring, row).reveal()
        assert row.name != "change-detection" or content == b"content"
    for key in db.read(keys.list_keys):
        if key.sealed is not None:
            keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)


@pytest.mark.row("F31")
def test_hmac_keys_of_bindings_move_too(database: Database, file: Path) -> None:
    keyring, server = keyring_of(file), keyring_of(file)
    count = 230  # more than fit into one batch
    for number in range(count):
        add_binding(database, keyring, f"k-{number}", b"hmac %d" % number)
    deleted = database.read(lambda c: acme_policies.find_binding_by_key_id(c, "k-7"))
    assert deleted is not None

    def delete(c: Connection) -> None:
        acme_policies.update_binding(
            c, deleted, 1, name="k-7", owner="console", lifecycle="deleted", key_id="k-7", sealed=None,
            wrapping_key_id=None, spec="{}", spec_digest="",
        )  # fmt: skip

    database.write(Step.ACME_BINDING_WRITE, delete)
    late = server.seal(binding_identity("late"), b"x")
    report = run(database, keyring)
    assert report.rewrapped == count - 1
    assert wrapped_under(database) == {report.new}
    opened = keyring_of(file)
    for row in database.read(wrapping.list_sealed_bindings):
        assert unseal_row(opened, row).matches(b"hmac " + str(row.key_id).removeprefix("k-").encode())
    standing = database.read(lambda c: acme_policies.find_binding_by_key_id(c, "k-8"))
    assert standing is not None
    with pytest.raises(Conflict, match="was replaced meanwhile"):
        database.write(
            Step.ACME_BINDING_WRITE,
            lambda c: acme_policies.add_binding(
                c, policy_id=standing.policy_id, name="late", owner="console", key_id="late", sealed=late.blob,
                wrapping_key_id=late.wrapping_key_id, spec="{}", spec_digest="", created_at=1,
            ),
        )  # fmt: skip
    with pytest.raises(Conflict, match="was replaced meanwhile"):
        database.write(
            Step.ACME_BINDING_WRITE,
            lambda c: acme_policies.update_binding(
                c, standing, 1, name="k-8", owner="console", lifecycle="active", key_id="k-8", sealed=late.blob,
                wrapping_key_id=late.wrapping_key_id, spec="{}", spec_digest="",
            ),
        )  # fmt: skip
    assert wrapped_under(database) == {report.new}


def test_a_binding_that_does_not_open_stops_a_rekey_before_it_begins(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    add_binding(database, keyring, "k-1", b"x")
    with_other = file.read_text()
    database.write(
        Step.ACME_BINDING_WRITE,
        lambda c: c.exec_driver_sql("UPDATE acme_binding SET key_id = 'k-2'") and None,
    )
    with pytest.raises(Unavailable, match="does not open"):
        run(database, keyring)
    assert file.read_text() == with_other


def wrapped_under(db: Database) -> frozenset[str]:
    return db.read(keys.wrapping_key_ids)


@pytest.mark.row("F31")
def test_everything_moves_to_the_new_key(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    old = keyring.master.current_id
    report = run(database, keyring)
    assert report == RekeyReport(keyring.master.current_id, (old,), COUNT + 2, resumed=False, old_removed=True)
    assert old not in load_master_keys(FileSource(file)).ids
    assert wrapped_under(database) == {report.new}
    everything_opens(database, file)
    (event,) = database.read(list_events)
    assert event.fields["action"] == "keystore.rekey"
    assert event.fields["details"] == {"from": [old], "to": report.new}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["master.key"]


def test_again_and_again(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    seen = {run(database, keyring).new for _ in range(3)}
    assert len(seen) == 3
    everything_opens(database, file)


@pytest.mark.row("F31")
def test_a_running_server_goes_on_through_it(database: Database, file: Path) -> None:
    keyring, server = keyring_of(file), keyring_of(file)
    fill(database, keyring)
    first = database.read(keys.list_keys)[0]
    run(database, keyring)
    for row in database.read(keys.list_keys)[:COUNT]:
        server.open(row.id, row.spki_sha256, row.algorithm, row.sealed, row.wrapping_key_id)
    add_key(database, server)
    everything_opens(database, file)
    assert first.wrapping_key_id not in wrapped_under(database)


def test_what_is_sealed_under_the_old_key_and_stored_late_is_refused(database: Database, file: Path) -> None:
    keyring, server = keyring_of(file), keyring_of(file)
    fill(database, keyring)
    sealed = server.seal(secret_identity("late"), b"x")
    run(database, keyring)
    for store in (keys.add_secret, keys.put_secret):
        with pytest.raises(Conflict, match="was replaced meanwhile"):
            database.write(
                Step.KEYSTORE_CREATE,
                lambda c, store=store: store(c, "late", sealed.blob, sealed.wrapping_key_id),  # type: ignore[misc]
            )
    with pytest.raises(Conflict, match="was replaced meanwhile"):
        database.write(
            Step.KEYSTORE_CREATE,
            lambda c: keys.add_key(
                c, spki=b"late", algorithm="x", created_at=1, sealed=b"x", wrapping_key_id=sealed.wrapping_key_id
            ),
        )
    assert database.read(lambda c: keys.find_secret(c, "late")) is None
    assert len(wrapped_under(database)) == 1


def test_what_is_being_stored_under_the_old_key_moves_too(database: Database, file: Path) -> None:
    """A transaction that stored something under the old key before the retirement, and commits during it."""
    keyring, server = keyring_of(file), keyring_of(file)
    fill(database, keyring)
    sealed = server.seal(secret_identity("slow"), b"slow")
    stored, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        def write(c):  # type: ignore[no-untyped-def]
            keys.add_secret(c, "slow", sealed.blob, sealed.wrapping_key_id)
            stored.set()
            assert go_on.wait(10)

        database.write(Step.KEYSTORE_CREATE, write)

    writer = threading.Thread(target=slowly)
    writer.start()
    assert stored.wait(10)
    timer = threading.Timer(0.5, go_on.set)
    timer.start()
    run(database, keyring)
    writer.join()
    timer.join()
    assert len(wrapped_under(database)) == 1
    everything_opens(database, file)


def test_with_servers_that_store_all_the_while(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    stop = threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        server = keyring_of(file)
        while not stop.is_set():
            try:
                add_key(database, server)
            except Conflict:
                continue  # told to try again
            except BaseException as error:
                failures.append(error)
                return

    servers = [threading.Thread(target=serve) for _ in range(2)]
    for server in servers:
        server.start()
    try:
        for _ in range(3):
            run(database, keyring)
    finally:
        stop.set()
        for server in servers:
            server.join()
    assert not failures
    everything_opens(database, file)


class Killed(BaseException):
    pass


POINTS = [f"{step}:{side}" for step in (Step.MASTER_KEY_FILE, Step.KEYSTORE_REWRAP) for side in ("before", "after")]


@pytest.mark.parametrize("occurrence", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_next_run_finishes(
    database_url: str, file: Path, monkeypatch: pytest.MonkeyPatch, point: str, occurrence: int
) -> None:
    database = open_database(database_url, file.parent)
    keyring = keyring_of(file)
    fill(database, keyring)
    old = keyring.master.current_id
    count = 0

    def kill(*_: object) -> None:
        nonlocal count
        count += 1
        if count == occurrence:
            raise Killed

    monkeypatch.setenv(KILL_VARIABLE, point)
    monkeypatch.setattr(os, "kill", kill)
    try:
        run(database, keyring)
    except Killed:
        pass
    else:
        assert count < occurrence  # this point is passed less often
    monkeypatch.undo()
    database.close()
    database = open_database(database_url, file.parent)
    everything_opens(database, file)
    again = keyring_of(file)
    add_key(database, again)  # a server that starts now may seal
    report = run(database, again)
    assert report.old_removed
    assert wrapped_under(database) == {report.new} == set(load_master_keys(FileSource(file)).ids)
    assert old != report.new
    everything_opens(database, file)
    rekeys = [event for event in database.read(list_events) if event.fields["action"] == "keystore.rekey"]
    assert len(rekeys) == len({str(event.fields["details"]) for event in rekeys})
    database.close()


_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.authority.test_rekey import keyring_of, run
from pkiconf.store.database import open_database
file = Path(sys.argv[2])
run(open_database(sys.argv[1], file.parent), keyring_of(file))
"""


@pytest.mark.parametrize("point", POINTS)
def test_really_killed(sqlite_url: str, file: Path, point: str) -> None:
    database = open_database(sqlite_url, file.parent)
    fill(database, keyring_of(file))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _SCRIPT, sqlite_url, str(file), root]
    killed = subprocess.run(command, env={**os.environ, KILL_VARIABLE: point}, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    everything_opens(database, file)
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert len(wrapped_under(database)) == 1
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["master.key"]
    everything_opens(database, file)
    database.close()


def untouched(db: Database, file: Path, keyring: Keyring, error: type[PkiconfError], match: str) -> None:
    content = file.read_bytes()
    rows = db.read(lambda c: (wrapping.find_sealed(c), wrapping.find_sealed_secrets(c)))
    with pytest.raises(error, match=match):
        run(db, keyring)
    assert file.read_bytes() == content
    assert db.read(lambda c: (wrapping.find_sealed(c), wrapping.find_sealed_secrets(c))) == rows
    assert db.read(list_events) == []


def test_a_wrong_master_key_says_so_and_touches_nothing(database: Database, file: Path, tmp_path: Path) -> None:
    fill(database, keyring_of(file))
    other = tmp_path / "other.key"
    create_master_key_file(other, SystemEntropy())
    untouched(database, other, keyring_of(other), Unavailable, "sealed under master key")


def test_a_damaged_row_stops_it_before_it_begins(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    first = database.read(wrapping.find_sealed)[0]
    database.write(Step.KEYSTORE_REWRAP, lambda c: wrapping.rewrap(c, first, b"damaged", first.wrapping_key_id))
    untouched(database, file, keyring, Unavailable, "does not open")


def test_rows_that_changed_places_stop_it(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    one, other = database.read(wrapping.find_sealed)[:2]
    database.write(Step.KEYSTORE_REWRAP, lambda c: wrapping.rewrap(c, one, other.sealed, one.wrapping_key_id))
    untouched(database, file, keyring, Unavailable, "does not open")


def test_a_file_that_others_may_read_stops_it(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    file.chmod(0o644)
    untouched(database, file, keyring, Unavailable, "mode 0644")


def test_only_one_at_a_time(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    with alone_with(file):
        untouched(database, file, keyring, Conflict, "another process")


def test_the_present_key_is_no_new_one(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    with pytest.raises(Conflict, match="is the present one"):
        run(database, keyring, keyring.master.current.reveal)
    with pytest.raises(ValueError, match="32 octets"):
        run(database, keyring, lambda: b"short")
    everything_opens(database, file)


def test_a_key_that_was_replaced_is_not_taken_again(database: Database, file: Path) -> None:
    keyring = keyring_of(file)
    fill(database, keyring)
    old = keyring.master.keys[0]
    run(database, keyring)
    replace_master_key_file(file, (old, *keyring.master.keys))
    with pytest.raises(Conflict, match="never used again"):
        run(database, keyring_of(file))
    everything_opens(database, file)


def test_a_variable_is_changed_by_its_owner(database: Database) -> None:
    source = EnvironmentSource("PKICONF_MASTER_KEY")
    old, new = Secret(fresh()), Secret(fresh())
    given = [MasterKeys(source, (old,))]
    keyring = Keyring(given[0], lambda: given[0])
    fill(database, keyring)
    with pytest.raises(Conflict, match="gives one key only") as caught:
        run(database, keyring)
    assert "the new key first" in caught.value.hint
    given[0] = MasterKeys(source, (new, old))
    report = run(database, keyring)
    assert (report.resumed, report.old_removed) == (True, False)
    assert report.old == (given[0].ids[1],)
    assert wrapped_under(database) == {given[0].ids[0]}
    given[0] = MasterKeys(source, (new,))
    keyring.reload()
    for row in database.read(wrapping.find_sealed):
        unseal_row(keyring, row)
