"""Several processes with several threads each, on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from pkiconf.steps import Step
from pkiconf.store import jobs, leases
from pkiconf.store.database import Connection, Database

ROOT = Path(__file__).parents[2]

_HEAD = """
import os, pathlib, sys, threading
from sqlalchemy import text
from pkiconf.errors import Conflict
from pkiconf.steps import Step
from pkiconf.store import jobs, leases
from pkiconf.store.database import open_database
db = open_database(sys.argv[1], pathlib.Path(), timeout=60)
def say(line):
    os.write(1, f"{line}\\n".encode())  # one call, so that lines of several threads do not mix
def in_threads(count, target):
    threads = [threading.Thread(target=target, args=(n,)) for n in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""

_COUNT = (
    _HEAD
    + """
def work(n):
    for i in range(25):
        def write(c):
            c.execute(text("UPDATE job SET attempts = attempts + 1 WHERE kind = 'counter'"))
            jobs.queue(c, "test", f"{os.getpid()} {n} {i}", "{}", 0)
            if i % 5 == 4:
                raise KeyError("taken back")
        try:
            db.write(Step.JOB_CLAIM, write)
        except KeyError:
            pass
in_threads(4, work)
"""
)

_CLAIM = (
    _HEAD
    + """
def work(n):
    while rows := db.write(Step.JOB_CLAIM, lambda c: jobs.claim(c, f"{os.getpid()} {n}", 100, 200, limit=3)):
        for row in rows:
            say(row.dedupe)
            db.write(Step.JOB_FINISH, lambda c: jobs.finish(c, row))
in_threads(3, work)
"""
)

_LEASE = (
    _HEAD
    + """
def work(n):
    got = 0
    while got < 5:
        number = db.write(Step.APPLY_LEASE, lambda c: leases.acquire(c, "only", f"{os.getpid()} {n}", 100, 200))
        if number is not None:
            got += 1
            say(number)
            db.write(Step.APPLY_LEASE, lambda c: leases.check_fencing(c, "only", number))
            db.write(Step.APPLY_LEASE, lambda c: leases.release(c, "only", number))
in_threads(2, work)
"""
)

_ENDLESS = (
    _HEAD
    + """
def work(n):
    i = 0
    while True:
        thing = f"{os.getpid()} {n} {i}"
        db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "test", thing, "{}", 0))
        say(thing)
        i += 1
in_threads(4, work)
"""
)


def start(program: str, url: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", program, url],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    """The lines that all of them printed."""
    lines: list[str] = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        lines += out.splitlines()
    return lines


def test_no_update_is_lost(database: Database, database_url: str) -> None:
    database.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "counter", "", "{}", 0))
    ended(*(start(_COUNT, database_url) for _ in range(3)))
    counted = database.read(lambda c: c.execute(text("SELECT attempts FROM job WHERE kind = 'counter'")).scalar())
    queued = database.read(lambda c: c.execute(text("SELECT count(*) FROM job WHERE kind = 'test'")).scalar())
    assert counted == queued == 3 * 4 * 20


def test_new_database_is_made_by_many_at_once(tmp_path: Path) -> None:
    program = _HEAD.replace("db = open", "from pkiconf.store import migrate\nsys.stdin.readline()\ndb = open")
    program += "say(migrate.upgrade(db))"
    processes = [start(program, f"sqlite:///{tmp_path / 'pkiconf.db'}") for _ in range(5)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(ended(*processes)) == ["False"] * 4 + ["True"]


def test_every_job_is_claimed_once(database: Database, database_url: str) -> None:
    def write(c: Connection) -> None:
        for n in range(60):
            jobs.queue(c, "test", str(n), "{}", 0)

    database.write(Step.JOB_CLAIM, write)
    lines = ended(*(start(_CLAIM, database_url) for _ in range(3)))
    assert sorted(map(int, lines)) == list(range(60))
    assert database.read(jobs.list_jobs) == []


def test_fencing_numbers_never_repeat(database: Database, database_url: str) -> None:
    lines = ended(*(start(_LEASE, database_url) for _ in range(3)))
    assert sorted(map(int, lines)) == list(range(1, 31))
    found = database.read(lambda c: leases.find_lease(c, "only"))
    assert found is not None
    assert (found.fencing, found.until_at) == (30, 0)


def test_killed_writer_loses_nothing_acknowledged_and_blocks_nobody(database: Database, database_url: str) -> None:
    victims = [start(_ENDLESS, database_url) for _ in range(2)]
    while database.read(lambda c: c.execute(text("SELECT count(*) FROM job")).scalar_one()) < 200:
        time.sleep(0.05)
    acknowledged: list[str] = []
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
        out, _ = victim.communicate(timeout=60)
        acknowledged += out[: out.rfind("\n") + 1].splitlines()
    assert acknowledged
    began = time.monotonic()
    stored = set(database.read(lambda c: c.execute(text("SELECT dedupe FROM job")).scalars().all()))
    assert stored.issuperset(acknowledged)
    # At most what each thread had under way was stored without having been acknowledged.
    assert len(stored) - len(acknowledged) <= 8
    ended(start(_HEAD + 'db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "test", "after", "{}", 0))', database_url))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_starves_at_the_gate(database: Database, database_url: str) -> None:
    """A lone writer gets its turn while two processes write without a pause."""
    busy = [start(_ENDLESS, database_url) for _ in range(2)]
    for process in busy:
        assert process.stdout is not None
        process.stdout.readline()
    waits = []
    for n in range(20):
        began = time.monotonic()
        database.write(Step.JOB_CLAIM, lambda c, n=n: jobs.queue(c, "lone", str(n), "{}", 0))  # type: ignore[misc]
        waits.append(time.monotonic() - began)
    for process in busy:
        process.kill()
        process.communicate()
    assert max(waits) < 5
