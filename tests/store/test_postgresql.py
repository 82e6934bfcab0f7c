"""PostgreSQL alone: what the server asks for, refuses, or takes away."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from pkiconf.errors import Conflict, Unavailable
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import Connection, Database, open_database
from pkiconf.store.postgresql import PostgreSQLDatabase

STEP = Step.JOB_CLAIM


def queue(c: Connection, thing: str) -> int:
    return jobs.queue(c, "test", thing, "{}", 0)


def things(db: Database) -> set[str]:
    return {row.dedupe for row in db.read(lambda c: jobs.list_jobs(c, 10_000))}


def pid(c: Connection) -> int:
    return int(c.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


@pytest.fixture
def terminate(postgres_server: str) -> Callable[[int], None]:
    """Ends a connection as an administrator, or a server that fails, would."""
    import psycopg

    def terminating(process: int) -> None:
        with psycopg.connect(postgres_server, autocommit=True) as c:
            c.execute("SELECT pg_terminate_backend(%s, 10000)", [process])

    return terminating


@pytest.fixture
def impatient(postgres_url: str) -> Iterator[Database]:
    db = open_database(postgres_url, Path(), timeout=0.3)
    yield db
    db.close()


def test_of_several_hosts_only_one_that_takes_writes_is_used(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    import psycopg

    passed: list[Any] = []
    connect = psycopg.connect

    def connecting(*words: Any, **more: Any) -> Any:
        passed.append(more.get("target_session_attrs"))
        return connect(*words, **more)

    monkeypatch.setattr(psycopg, "connect", connecting)
    for url in (postgres_url, f"{postgres_url}{'&' if '?' in postgres_url else '?'}target_session_attrs=any"):
        open_database(url, Path(), timeout=5).close()
    assert passed
    assert set(passed) == {"read-write"}


def test_a_server_that_takes_no_writes_is_not_used(postgres_url: str) -> None:
    """As a hot standby says of itself."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as c:
        (name,) = c.execute("SELECT current_database()").fetchone() or ("",)
        c.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with pytest.raises(Unavailable):
        open_database(postgres_url, Path(), timeout=5)


def test_isolation_and_limits(postgres_database: Database) -> None:
    def show(c: Connection) -> dict[str, Any]:
        names = ("transaction_isolation", "transaction_read_only", "synchronous_commit", "statement_timeout")
        return {name: c.exec_driver_sql(f"SHOW {name}").scalar() for name in names}

    common = {"synchronous_commit": "on", "statement_timeout": "1min"}
    writing = {"transaction_isolation": "read committed", "transaction_read_only": "off", **common}
    reading = {"transaction_isolation": "repeatable read", "transaction_read_only": "on", **common}
    assert postgres_database.write(STEP, show) == writing
    assert postgres_database.read(show) == reading
    assert postgres_database.write(STEP, show) == writing


def test_deadlock_is_run_again(postgres_database: Database) -> None:
    for thing in ("a", "b"):
        postgres_database.write(STEP, lambda c, thing=thing: queue(c, thing))  # type: ignore[misc]
    meeting = threading.Barrier(2, timeout=30)
    runs: list[str] = []

    def update(first: str, second: str) -> Callable[[Connection], None]:
        met = False

        def write(c: Connection) -> None:
            nonlocal met
            runs.append(first)
            for thing in (first, second):
                c.execute(text("UPDATE job SET attempts = attempts + 1 WHERE dedupe = :thing"), {"thing": thing})
                if not met:
                    met = True
                    meeting.wait()

        return write

    threads = [threading.Thread(target=postgres_database.write, args=(STEP, update(*pair))) for pair in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    rows = postgres_database.read(lambda c: jobs.list_jobs(c))
    assert [row.attempts for row in rows] == [2, 2]
    assert len(runs) > 2


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_transaction_that_the_server_wants_again(postgres_database: Database, state: str) -> None:
    runs: list[int] = []

    def write(c: Connection) -> None:
        queue(c, str(len(runs)))
        runs.append(1)
        if len(runs) < 4:
            c.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{state}'; END $$")

    postgres_database.write(STEP, write)
    assert things(postgres_database) == {"3"}


def test_transaction_that_is_never_accepted_ends(postgres_database: Database) -> None:
    runs: list[int] = []

    def write(c: Connection) -> None:
        runs.append(1)
        c.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")

    with pytest.raises(Unavailable, match="in conflict with others too many times"):
        postgres_database.write(STEP, write)
    assert len(runs) == 10


def test_connection_lost_before_the_commit_is_replaced(
    postgres_database: Database, terminate: Callable[[int], None]
) -> None:
    runs: list[int] = []

    def write(c: Connection) -> None:
        queue(c, f"run {len(runs)}")
        runs.append(pid(c))
        if len(runs) == 1:
            terminate(runs[0])
        queue(c, "both")

    postgres_database.write(STEP, write)
    assert things(postgres_database) == {"run 1", "both"}
    assert len(set(runs)) == 2


def test_connection_lost_while_idle_is_replaced(postgres_database: Database, terminate: Callable[[int], None]) -> None:
    terminate(postgres_database.read(pid))
    assert things(postgres_database) == set()
    terminate(postgres_database.write(STEP, pid))
    postgres_database.write(STEP, lambda c: queue(c, "a"))
    assert things(postgres_database) == {"a"}


def test_looking_finds_a_restarted_server_again(postgres_database: Database, terminate: Callable[[int], None]) -> None:
    meeting = threading.Barrier(6, timeout=30)
    pids: list[int] = []

    def look(c: Connection) -> None:
        pids.append(pid(c))
        meeting.wait()

    threads = [threading.Thread(target=postgres_database.look, args=(look,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert postgres_database.look(pid) in pids  # kept
    for process in pids:
        terminate(process)
    assert postgres_database.look(pid) not in pids


def test_a_refusal_of_what_was_looked_up_drops_no_connection(postgres_database: Database) -> None:
    """As of a passphrase that was replaced: what a client sends must not cost all others their connections."""

    def refuse(c: Connection) -> None:
        seen.append(pid(c))
        raise Conflict("it was replaced meanwhile")

    seen = [postgres_database.look(pid)]
    reading, writing = postgres_database.read(pid), postgres_database.write(STEP, pid)
    for _ in range(3):
        with pytest.raises(Conflict):
            postgres_database.look(refuse)
    assert {*seen, postgres_database.look(pid)} == {seen[0]}
    assert (postgres_database.read(pid), postgres_database.write(STEP, pid)) == (reading, writing)


def test_only_a_few_connections_are_kept(postgres_database: PostgreSQLDatabase) -> None:
    """Else as many as were ever busy together would be gone for everything else."""
    db = postgres_database
    for act in (db.look, db.jot, db.read, lambda fn: db.write(STEP, fn)):
        meeting = threading.Barrier(8, timeout=60)
        threads = [threading.Thread(target=act, args=(lambda _: meeting.wait(),)) for _ in range(8)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    pool = cast(QueuePool, db._engine.pool)
    assert pool.checkedout() == 16
    assert db.read(pid) != db.write(STEP, pid)
    db.write(STEP, lambda c: queue(c, "by one that was returned"))
    assert pool.checkedout() == 16


def test_a_closure_that_raises_leaves_a_sound_connection(postgres_database: Database) -> None:
    def fail(c: Connection) -> None:
        queue(c, "lost")
        raise KeyError

    process = postgres_database.write(STEP, pid)
    with pytest.raises(KeyError):
        postgres_database.write(STEP, fail)
    assert postgres_database.write(STEP, pid) == process
    assert things(postgres_database) == set()


def test_restarted_server_is_found_again_at_once(postgres_database: Database, terminate: Callable[[int], None]) -> None:
    """All idle connections are dead, and there are more of them than attempts."""
    meeting = threading.Barrier(6, timeout=30)
    pids: list[int] = []

    def read(c: Connection) -> None:
        pids.append(pid(c))
        meeting.wait()

    threads = [threading.Thread(target=postgres_database.read, args=(read,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(pids)) == 6
    for process in pids:
        terminate(process)
    assert things(postgres_database) == set()
    postgres_database.write(STEP, lambda c: queue(c, "a"))


def test_connection_lost_at_the_commit_says_that_the_outcome_is_not_known(
    postgres_database: Database, terminate: Callable[[int], None]
) -> None:
    def write(c: Connection) -> None:
        queue(c, "a")
        terminate(pid(c))

    with pytest.raises(Unavailable, match=r"while a write was being committed.*not known"):
        postgres_database.write(STEP, write)
    assert things(postgres_database) == set()


def test_connection_that_is_always_lost_is_given_up(
    postgres_database: Database, terminate: Callable[[int], None]
) -> None:
    runs: list[int] = []

    def read(c: Connection) -> None:
        runs.append(pid(c))
        terminate(runs[-1])
        pid(c)

    with pytest.raises(Unavailable, match="shutting down"):
        postgres_database.read(read)
    assert len(runs) == 3


def test_statement_that_takes_too_long(postgres_database: Database) -> None:
    def write(c: Connection) -> None:
        queue(c, "a")
        c.exec_driver_sql("SET LOCAL statement_timeout = '50ms'")
        c.exec_driver_sql("SELECT pg_sleep(5)")

    with pytest.raises(Unavailable, match="took too long"):
        postgres_database.write(STEP, write)
    assert things(postgres_database) == set()


def test_row_that_stays_locked(postgres_database: Database, impatient: Database) -> None:
    postgres_database.write(STEP, lambda c: queue(c, "a"))
    outcomes: list[BaseException] = []

    def other() -> None:
        try:
            impatient.write(STEP, lambda c: queue(c, "a"))
        except Unavailable as error:
            outcomes.append(error)

    def write(c: Connection) -> None:
        queue(c, "a")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)

    postgres_database.write(STEP, write)
    assert "stayed locked" in str(outcomes)


def test_pool_that_is_used_up(impatient: PostgreSQLDatabase) -> None:
    held = [impatient._engine.connect() for _ in range(31)]  # one more is kept for reading since it was opened
    with pytest.raises(Unavailable, match="all connections to the database are in use"):
        impatient.write(STEP, lambda c: queue(c, "a"))
    for connection in held:
        connection.close()
    impatient.write(STEP, lambda c: queue(c, "a"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://user:sesame@127.0.0.1:1/pki", "Connection refused"),
        ("postgresql://user:sesame@/pki?host=/nowhere", "No such file"),
    ],
)
def test_server_that_is_not_there(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"no connection: .*{says}.*PKICONF_DATABASE_URL") as caught:
        open_database(url, tmp_path, timeout=2)
    assert "sesame" not in f"{caught.value!r} {caught.value}"


def test_database_that_does_not_exist(postgres_server: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        open_database(postgres_server.replace("/postgres?", "/nowhere?", 1), tmp_path)


def test_full_server_and_missing_rights_have_remedies(postgres_database: Database) -> None:
    for state, says in [
        ("53100", "disk is full.*Free some space"),
        ("42501", "lacks a right.*Grant"),
        ("25006", "takes no writes.*primary"),
        ("XX001", "damaged.*restore"),
        ("53300", "short of something"),
        ("42P01", "lacks a table.*db upgrade"),
    ]:
        statement = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
        with pytest.raises(Unavailable, match=says):
            postgres_database.write(STEP, lambda c, sql=statement: c.exec_driver_sql(sql))  # type: ignore[misc]


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    really = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r"pip install 'pkiconf\[postgres\]'"):
        open_database("postgresql://localhost/pki", tmp_path)


def test_sqlite_needs_no_postgresql_driver() -> None:
    program = (
        "import sys; from pkiconf.store.database import open_database; import pathlib, tempfile;"
        "open_database(None, pathlib.Path(tempfile.mkdtemp())).close();"
        "assert not {'psycopg', 'alembic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)
