"""What `read` and `write` promise on both dialects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from pkiconf.errors import Conflict, Malformed, Refused, Unavailable
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import Connection, Database, open_database
from tests.garbage import is_freed_after

STEP = Step.JOB_CLAIM


def queue(c: Connection, thing: str) -> int:
    return jobs.queue(c, "test", thing, "{}", 0)


def things(db: Database) -> set[str]:
    return {row.dedupe for row in db.read(lambda c: jobs.list_jobs(c, 10_000))}


def test_written_is_read(database: Database) -> None:
    number = database.write(STEP, lambda c: queue(c, "a"))
    found = database.read(lambda c: jobs.find_job(c, "test", "a"))
    assert found is not None
    assert found.id == number


def test_what_a_closure_raises_is_raised_and_nothing_of_it_stays(database: Database) -> None:
    def write(c: Connection) -> None:
        queue(c, "a")
        raise Refused("not today")

    with pytest.raises(Refused, match="not today"):
        database.write(STEP, write)
    assert things(database) == set()


def refuse(c: Connection) -> None:
    raise Refused("not today")


@pytest.mark.parametrize(
    ("error", "fn"),
    [
        (Refused, refuse),
        (Conflict, lambda c: [c.execute(text("INSERT INTO lease VALUES ('a', 'b', 1, 0)")) for _ in range(2)]),
        (Unavailable, lambda c: c.exec_driver_sql("SELECT 1 FROM nowhere")),
        (ZeroDivisionError, lambda c: 1 / 0),
    ],
)
def test_what_is_raised_leaves_nothing_in_memory(
    database: Database, error: type[Exception], fn: Callable[[Connection], object]
) -> None:
    assert is_freed_after(error, lambda: database.write(STEP, fn))
    if error is not Conflict:
        assert is_freed_after(error, lambda: database.read(fn))


def test_what_is_refused_among_others_leaves_nothing_in_memory(database: Database) -> None:
    def request() -> None:
        (refused,) = database.write_all(STEP, [refuse])
        assert isinstance(refused, Refused)
        raise ZeroDivisionError

    assert is_freed_after(ZeroDivisionError, request)


def test_interrupt_in_a_closure_leaves_nothing_and_the_database_usable(database: Database) -> None:
    def write(c: Connection) -> None:
        queue(c, "a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.write(STEP, write)
    database.write(STEP, lambda c: queue(c, "b"))
    assert things(database) == {"b"}


def test_interrupt_in_a_read_leaves_the_database_usable(database: Database) -> None:
    def read(c: Connection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.read(read)
    assert things(database) == set()


def test_statement_that_is_wrong_is_an_internal_error(database: Database) -> None:
    with pytest.raises(Exception, match="syntax") as caught:
        database.write(STEP, lambda c: c.exec_driver_sql("SELEC 1"))
    assert not isinstance(caught.value, (Unavailable, Conflict))
    database.write(STEP, lambda c: queue(c, "b"))


@pytest.mark.parametrize("inner", ["read", "write"])
@pytest.mark.parametrize("outer", ["read", "write"])
def test_closure_inside_a_closure_is_an_error(database: Database, outer: str, inner: str) -> None:
    def call(kind: str, fn: object) -> object:
        return database.read(fn) if kind == "read" else database.write(STEP, fn)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="inside a closure"):
        call(outer, lambda c: call(inner, lambda c: None))
    assert call(outer, lambda c: 1) == 1


def test_unique_value_taken_is_a_conflict(database: Database) -> None:
    statement = text("INSERT INTO lease (name, holder, fencing, until_at) VALUES ('a', 'b', 1, 0)")
    database.write(STEP, lambda c: c.execute(statement))
    with pytest.raises(Conflict, match="already has this name"):
        database.write(STEP, lambda c: c.execute(statement))


def test_foreign_keys_are_checked(database: Database) -> None:
    statement = text("INSERT INTO issuer_hash VALUES ('sha1', :a, :a, 4711)")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        database.write(STEP, lambda c: c.execute(statement, {"a": b"x"}))


def test_serial_is_at_most_twenty_octets(database: Database) -> None:
    with pytest.raises(Exception, match=r"ck_certificate_serial_length"):
        database.write(
            STEP,
            lambda c: c.execute(
                text(
                    "INSERT INTO certificate (issuer_id, serial, bucket, status, not_before, not_after, origin_kind,"
                    " origin_id, reserved_at, lease_until) VALUES (1, :serial, 0, 'good', 0, 0, 'x', 'y', 0, 0)"
                ),
                {"serial": bytes(21)},
            ),
        )


def test_read_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable):
        database.read(lambda c: queue(c, "a"))
    assert things(database) == set()


def test_look_is_a_read_of_one_statement(database: Database) -> None:
    count = lambda c: len(jobs.list_jobs(c))  # noqa: E731
    assert database.look(count) == 0
    database.write(STEP, lambda c: queue(c, "a"))
    assert database.look(count) == 1
    with pytest.raises(Unavailable):
        database.look(lambda c: queue(c, "b"))
    with pytest.raises(RuntimeError, match="inside a closure"):
        database.look(lambda c: database.look(count))
    with pytest.raises(KeyError):
        database.look(lambda c: dict[str, int]()["a bug"])

    def interrupted(c: Connection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.look(interrupted)
    assert database.look(count) == 1
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        database.look(count)


def test_look_by_many_threads_at_once(database: Database) -> None:
    seen: list[int] = []

    def look() -> None:
        for _ in range(20):
            seen.append(database.look(lambda c: len(jobs.list_jobs(c))))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [0] * 160


def test_read_sees_one_unchanging_view(database: Database) -> None:
    looked, written = threading.Event(), threading.Event()

    def read(c: Connection) -> tuple[int, int]:
        before = len(jobs.list_jobs(c))
        looked.set()
        assert written.wait(10)
        return before, len(jobs.list_jobs(c))

    def write() -> None:
        looked.wait(10)
        database.write(STEP, lambda c: queue(c, "a"))
        written.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert database.read(read) == (0, 0)
    thread.join()
    assert things(database) == {"a"}


def test_own_writes_are_seen_inside_the_closure(database: Database) -> None:
    def write(c: Connection) -> int:
        queue(c, "a")
        return len(jobs.list_jobs(c))

    assert database.write(STEP, write) == 1


def test_many_threads_each_get_their_own(database: Database) -> None:
    outcomes: dict[int, object] = {}

    def run(n: int) -> None:
        def write(c: Connection) -> int:
            queue(c, str(n))
            if n % 3 == 0:
                raise ValueError(n)
            return n

        try:
            outcomes[n] = database.write(STEP, write)
        except ValueError as error:
            outcomes[n] = error.args[0] * 1000

    threads = [threading.Thread(target=run, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {n: n * 1000 if n % 3 == 0 else n for n in range(60)}
    assert things(database) == {str(n) for n in range(60) if n % 3}


def test_closed_database_refuses_and_closing_again_is_harmless(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        database.read(lambda c: None)
    with pytest.raises(RuntimeError, match="closed"):
        database.write(STEP, lambda c: None)


def test_forked_process_is_refused(database: Database) -> None:
    child = os.fork()
    if child == 0:
        try:
            database.write(STEP, lambda c: queue(c, "child"))
        except RuntimeError as error:
            os._exit(0 if "forked" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    database.write(STEP, lambda c: queue(c, "parent"))
    assert things(database) == {"parent"}


_WRITER = """
import pathlib, sys
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import open_database
db = open_database(sys.argv[1], pathlib.Path())
db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, "test", "a", "{}", 0))
print("acknowledged", flush=True)
"""


@pytest.mark.parametrize(("side", "stays"), [("before", set()), ("after", {"a"})])
def test_killed_around_the_commit(database_url: str, database: Database, side: str, stays: set[str]) -> None:
    environment = {**os.environ, "PKICONF_KILL_AT": f"job.claim:{side}", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, database_url], env=environment, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""
    assert things(database) == stays


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root:sesame@host/db", "'mysql' is not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("no url at all, sesame", "cannot be read"),
        ("postgresql://u:sesame@host:port/db", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_url_that_names_no_database(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=says) as caught:
        open_database(url, tmp_path)
    assert "sesame" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_does_not_wait_for_the_disk_is_seen_at_once(database_url: str) -> None:
    writer, reader = open_database(database_url, Path()), open_database(database_url, Path())
    writer.write(STEP, lambda c: queue(c, "a"), durable=False)
    assert things(reader) == {"a"}
    writer.write(STEP, lambda c: queue(c, "b"))
    writer.write(STEP, lambda c: queue(c, "c"), durable=False)
    assert things(reader) == {"a", "b", "c"}
    writer.close()
    reader.close()


def test_what_such_a_write_raises_takes_it_back(database: Database) -> None:
    def write(c: Connection) -> None:
        queue(c, "a")
        raise Refused("not today")

    with pytest.raises(Refused, match="not today"):
        database.write(STEP, write, durable=False)
    assert things(database) == set()
    database.write(STEP, lambda c: queue(c, "b"))
    assert things(database) == {"b"}


def test_only_such_a_write_does_without_the_disk(database: Database) -> None:
    """What the connection says of itself inside the transaction; and afterwards everything is durable again."""
    asked, durable = ("PRAGMA synchronous", "2") if database.dialect == "sqlite" else ("SHOW synchronous_commit", "on")

    def ask(c: Connection) -> str:
        return str(c.exec_driver_sql(asked).scalar())

    said = [database.write(STEP, ask, durable=flag) for flag in (True, False, False, True, False, True)]
    assert [one == durable for one in said] == [True, False, False, True, False, True]
