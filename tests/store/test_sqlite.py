"""SQLite alone: its file, its neighbours, a group's transaction, and what can be wrong with a disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pkiconf.errors import Unavailable
from pkiconf.steps import Step
from pkiconf.store import jobs, settings
from pkiconf.store.database import Connection, Database, open_database
from pkiconf.store.sqlite import SQLiteDatabase

STEP = Step.JOB_CLAIM
ROOT = Path(__file__).parents[2]


def queue(c: Connection, thing: str) -> int:
    return jobs.queue(c, "test", thing, "{}", 0)


def things(db: Database) -> set[str]:
    return {row.dedupe for row in db.read(lambda c: jobs.list_jobs(c, 10_000))}


def fill(c: Connection, size: int) -> None:
    settings.put_setting(c, f"filler-{size}", spec="x" * size, spec_digest="", owner="", generation=None)


@pytest.fixture
def path(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


@pytest.fixture
def open_sqlite(path: Path) -> Iterator[Callable[..., SQLiteDatabase]]:
    opened: list[SQLiteDatabase] = []

    def opening(timeout: float = 10.0) -> SQLiteDatabase:
        db = open_database(None, path.parent, timeout=timeout)
        assert isinstance(db, SQLiteDatabase)
        opened.append(db)
        return db

    yield opening
    for db in opened:
        db.close()


class Together:
    """Runs closures as one group: a first write blocks until they all wait behind it."""

    def __init__(self, db: SQLiteDatabase) -> None:
        self._db = db
        self._entered, self._released = threading.Event(), threading.Event()

    def _block(self, c: Connection) -> None:
        self._entered.set()
        assert self._released.wait(30)

    def run(self, *closures: Callable[[Connection], object]) -> list[object]:
        outcomes: list[object] = [None] * len(closures)

        def submit(place: int, fn: Callable[[Connection], object]) -> None:
            try:
                outcomes[place] = self._db.write(STEP, fn)
            except BaseException as error:
                outcomes[place] = error

        threads = [threading.Thread(target=self._db.write, args=(STEP, self._block))]
        threads[0].start()
        assert self._entered.wait(30)
        for place, fn in enumerate(closures):
            threads.append(threading.Thread(target=submit, args=(place, fn)))
            threads[-1].start()
            while len(self._db._group._waiting) <= place:
                time.sleep(0.001)
        self._released.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        return outcomes


def test_files_belong_to_the_owner_alone(tmp_path: Path) -> None:
    db = open_database(None, tmp_path / "new" / "state")
    db.write(STEP, lambda c: c.exec_driver_sql("CREATE TABLE a (b)"))
    folder = tmp_path / "new" / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert set(files) == {"pkiconf.db", "pkiconf.db-wal", "pkiconf.db-shm", "pkiconf.db-gate", "pkiconf.db-turn"}
    assert set(files.values()) == {0o600}
    db.close()


def test_commits_are_synced(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()
    facts = db.write(
        STEP,
        lambda c: [
            c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ],
    )
    assert facts == ["wal", 2, 1]


def test_failing_closure_takes_only_itself_back(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()

    def fail(c: Connection) -> None:
        queue(c, "lost")
        queue(c, "b")  # also written by a neighbour, who keeps it
        raise ValueError("mine")

    def duplicate(c: Connection) -> None:
        queue(c, "lost too")
        c.execute(text("INSERT INTO job (kind, dedupe, payload, due_at) VALUES ('test', 'a', '', 0)"))

    outcomes = Together(db).run(
        lambda c: queue(c, "a"), fail, lambda c: queue(c, "b"), duplicate, lambda c: queue(c, "c")
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["int", "ValueError", "int", "Conflict", "int"]
    assert things(db) == {"a", "b", "c"}
    assert len({outcomes[0], outcomes[2], outcomes[4]}) == 3


def test_group_of_failures_alone_commits_nothing(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()

    def fail(c: Connection) -> None:
        queue(c, "lost")
        raise ValueError("mine")

    assert [type(outcome) for outcome in Together(db).run(fail, fail)] == [ValueError, ValueError]
    assert things(db) == set()


def test_failing_commit_is_told_to_all(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()

    def poison(c: Connection) -> None:
        queue(c, "poison")
        c.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        c.exec_driver_sql("INSERT INTO issuer_hash VALUES ('sha1', x'00', x'00', 4711)")

    outcomes = Together(db).run(lambda c: queue(c, "a"), poison, lambda c: queue(c, "b"))
    assert all("FOREIGN KEY" in str(outcome) for outcome in outcomes)
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert things(db) == set()
    db.write(STEP, lambda c: queue(c, "next"))
    assert things(db) == {"next"}


def test_closure_that_ends_the_transaction_fails_its_group(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()

    def rogue(c: Connection) -> None:
        c.exec_driver_sql("ROLLBACK")

    outcomes = Together(db).run(lambda c: queue(c, "a"), rogue, lambda c: queue(c, "b"))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert things(db) == set()
    db.write(STEP, lambda c: queue(c, "next"))
    assert things(db) == {"next"}


def test_kill_before_a_group_commits_keeps_none_of_it(path: Path) -> None:
    """The step of one member kills: nothing of the others was acknowledged, and nothing of them stays."""
    program = f"""
import pathlib, threading, sys, time
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import open_database
db = open_database(None, pathlib.Path({str(path.parent)!r}))
entered, released = threading.Event(), threading.Event()
def block(c):
    entered.set()
    released.wait()
def write(step, thing):
    db.write(step, lambda c: jobs.queue(c, "test", thing, "{{}}", 0))
    print("acknowledged", thing, flush=True)
threading.Thread(target=db.write, args=(Step.JOB_CLAIM, block)).start()
entered.wait()
for step, thing in [(Step.JOB_CLAIM, "a"), (Step.JOB_FINISH, "b"), (Step.JOB_CLAIM, "c")]:
    threading.Thread(target=write, args=(step, thing)).start()
while len(db._group._waiting) < 3:
    time.sleep(0.001)
released.set()
"""
    for side, stays in [("before", set()), ("after", {"a", "b", "c"})]:
        environment = {**os.environ, "PKICONF_KILL_AT": f"job.finish:{side}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL
        assert done.stdout == ""
        db = open_database(None, path.parent)
        assert things(db) == stays
        db.close()


def test_full_disk_is_told_and_survived(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()
    db.write(STEP, lambda c: queue(c, "a"))
    pages = db.write(STEP, lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    db.write(STEP, lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}"))
    outcomes = Together(db).run(lambda c: queue(c, "b"), lambda c: fill(c, 100_000), lambda c: queue(c, "c"))
    assert isinstance(outcomes[1], Unavailable)
    assert "disk is full" in str(outcomes[1])
    assert "Free some space" in str(outcomes[1])
    kept = {thing for thing, outcome in zip("b-c", outcomes, strict=True) if isinstance(outcome, int)}
    assert things(db) == {"a"} | kept
    db.write(STEP, lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    db.write(STEP, lambda c: fill(c, 100_000))
    db.write(STEP, lambda c: queue(c, "d"))
    assert things(db) == {"a", "d"} | kept


def test_file_that_may_not_grow_is_told_and_survived(path: Path) -> None:
    program = f"""
import pathlib, resource
from pkiconf.errors import Unavailable
from pkiconf.steps import Step
from pkiconf.store import settings
from pkiconf.store.database import open_database
db = open_database(None, pathlib.Path({str(path.parent)!r}))
def fill(name):
    db.write(Step.JOB_CLAIM, lambda c: settings.put_setting(
        c, name, spec="x" * 300_000, spec_digest="", owner="", generation=None))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        fill("lost")
    except Unavailable as error:
        print(error)
    else:
        raise SystemExit("written")
print(len(db.read(settings.list_settings)))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
fill("kept")
print([row.name for row in db.read(settings.list_settings)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    *errors, empty, kept = done.stdout.splitlines()
    assert len(errors) == 3
    assert all("disk" in error for error in errors)
    assert (empty, kept) == ("0", "['kept']")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_small_file_system_fills_up_and_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        ballast = folder / "ballast"
        db = open_database(None, folder)
        db.write(STEP, lambda c: c.exec_driver_sql("CREATE TABLE a (b)"))
        ballast.write_bytes(bytes(shutil.disk_usage(folder).free - 50_000))
        for _ in range(2):
            with pytest.raises(Unavailable, match="disk"):
                db.write(STEP, lambda c: c.exec_driver_sql("INSERT INTO a VALUES (zeroblob(200000))"))
            assert db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM a").scalar()) == 0
        ballast.unlink()
        db.write(STEP, lambda c: c.exec_driver_sql("INSERT INTO a VALUES (zeroblob(200000))"))
        assert db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM a").scalar()) == 1
        db.close()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _without_privileges(program: str) -> str:
    """Run a program whose root, if it is root, must heed permissions like anybody else. Returns what it printed."""
    drop = (
        "import ctypes\n"
        "header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()\n"
        "assert ctypes.CDLL(None).capset(header, nothing) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", drop + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("there", [True, False], ids=["with-database", "empty"])
def test_read_only_folder(path: Path, tmp_path: Path, there: bool) -> None:
    folder = path.parent if there else tmp_path / "empty"
    folder.mkdir(exist_ok=True)
    before = sorted(folder.iterdir())
    folder.chmod(0o500)
    try:
        said = _without_privileges(f"""
import pathlib
from pkiconf.errors import Unavailable
from pkiconf.store.database import open_database
try:
    open_database(None, pathlib.Path({str(folder)!r}))
except Unavailable as error:
    print(error)
""")
    finally:
        folder.chmod(0o700)
    assert "Permission denied" in said
    assert "PKICONF_STATE" in said
    assert sorted(folder.iterdir()) == before


def test_read_only_file(path: Path, open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    open_sqlite().close()  # makes the lock files
    path.chmod(0o400)
    said = _without_privileges(f"""
import pathlib
from pkiconf.errors import Unavailable
from pkiconf.store.database import open_database
try:
    open_database(None, pathlib.Path({str(path.parent)!r}))
except Unavailable as error:
    print(error)
""")
    assert "Permission denied" in said
    assert "PKICONF_STATE" in said


def test_folder_that_has_become_read_only(path: Path) -> None:
    """The database and its lock files may be opened, but no side file may be made: told, and over when it may."""
    said = _without_privileges(f"""
import pathlib
from pkiconf.errors import Unavailable
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import open_database
folder = pathlib.Path({str(path.parent)!r})
open_database(None, folder).close()
folder.chmod(0o500)
try:
    open_database(None, folder)
except Unavailable as error:
    print(error)
folder.chmod(0o700)
db = open_database(None, folder)
db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "test", "a", "{{}}", 0))
print(len(db.read(jobs.list_jobs)))
""")
    error, count = said.splitlines()
    assert "read-only" in error
    assert "PKICONF_STATE" in error
    assert count == "1"


def test_database_locked_by_a_stranger(path: Path, open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite(timeout=0.2)
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"locked by another program.*Close that program"):
        db.write(STEP, lambda c: queue(c, "a"))
    assert things(db) == set()  # reading goes on
    stranger.execute("COMMIT")
    stranger.close()
    db.write(STEP, lambda c: queue(c, "a"))
    assert things(db) == {"a"}


@pytest.mark.parametrize("which", ["turn", "gate"])
def test_gate_held_by_another_process(path: Path, open_sqlite: Callable[..., SQLiteDatabase], which: str) -> None:
    db = open_sqlite(timeout=0.2)
    other = os.open(path.with_name(f"pkiconf.db-{which}"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="busy"):
        db.write(STEP, lambda c: queue(c, "a"))
    assert 0.2 <= time.monotonic() - began < 5
    os.close(other)
    db.write(STEP, lambda c: queue(c, "b"))
    assert things(db) == {"b"}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: b"this is no database at all" * 200, "no SQLite database"),
        (lambda data: data[:100] + os.urandom(len(data) - 100), "damaged"),
        (lambda data: data[:5000], "damaged"),
    ],
    ids=["no-database", "noise", "cut-off"],
)
def test_damaged_file(tmp_path: Path, path: Path, damage: Callable[[bytes], bytes], says: str) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Unavailable, match=rf"{says}.*pkiconf restore"):
        _look(path.parent)


def _look(state: Path) -> None:
    db = open_database(None, state)
    try:
        db.read(lambda c: jobs.list_jobs(c))
    finally:
        db.close()


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_database(None, tmp_path / "state")


def test_close_waits_for_the_group_under_way(open_sqlite: Callable[..., SQLiteDatabase]) -> None:
    db = open_sqlite()
    entered, released = threading.Event(), threading.Event()
    outcomes: list[object] = []

    def block(c: Connection) -> str:
        entered.set()
        released.wait(30)
        queue(c, "a")
        return "done"

    def late() -> None:
        try:
            db.write(STEP, lambda c: queue(c, "late"))
        except RuntimeError as error:
            outcomes.append(error)

    writer = threading.Thread(target=lambda: outcomes.append(db.write(STEP, block)))
    writer.start()
    entered.wait(30)
    follower = threading.Thread(target=late)
    follower.start()
    closer = threading.Thread(target=db.close)
    closer.start()
    time.sleep(0.05)
    assert closer.is_alive()
    released.set()
    for thread in (writer, follower, closer):
        thread.join(30)
    assert "done" in outcomes
    again = open_sqlite()
    assert "a" in things(again)


_COMES_AND_GOES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print([row[0] for row in connection.execute("SELECT dedupe FROM job ORDER BY id")])
connection.close()
"""


def test_opening_it_twice_takes_nothing_from_who_has_it_open(
    path: Path, open_sqlite: Callable[..., SQLiteDatabase]
) -> None:
    """Closing a file ends all the locks that a process has on it (POSIX). Without them, the next process that comes and
    goes would be the last to close the database, and take away the log that is written into here."""
    db = open_sqlite()
    db.write(STEP, lambda c: queue(c, "before"))
    open_sqlite().close()

    def seen_by_others() -> str:
        command = [sys.executable, "-c", _COMES_AND_GOES, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert seen_by_others() == "['before']"
    db.write(STEP, lambda c: queue(c, "after"))
    assert seen_by_others() == "['before', 'after']"


def test_a_new_file_is_made_where_a_link_points(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "pkiconf.db").symlink_to(tmp_path / "disk" / "real.db")
    open_database(None, tmp_path).close()
    assert stat.S_IMODE((tmp_path / "disk" / "real.db").stat().st_mode) == 0o600
