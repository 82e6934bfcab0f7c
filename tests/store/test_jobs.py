"""Jobs: at most one for one thing, claimed by one, tried again later, never lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from pkiconf.errors import Conflict
from pkiconf.steps import Step
from pkiconf.store import jobs
from pkiconf.store.database import Connection, Database
from pkiconf.store.jobs import JobRow

T = TypeVar("T")


class Queue:
    """The functions of `jobs`, each in a transaction of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def do(self, fn: Callable[[Connection], T]) -> T:
        return self._db.write(Step.JOB_CLAIM, fn)

    def add(self, thing: str, due_at: int = 0, payload: str = "{}", kind: str = "crl") -> int:
        return self.do(lambda c: jobs.queue(c, kind, thing, payload, due_at))

    def claim(self, now: int, holder: str = "w1", limit: int = 1, kinds: tuple[str, ...] = ()) -> list[JobRow]:
        return self.do(lambda c: jobs.claim(c, holder, now, now + 60, kinds=kinds, limit=limit))

    def one(self, now: int, holder: str = "w1") -> JobRow:
        (row,) = self.claim(now, holder)
        return row

    def finish(self, row: JobRow) -> None:
        self.do(lambda c: jobs.finish(c, row))

    def fail(self, row: JobRow, now: int) -> int:
        return self.do(lambda c: jobs.fail(c, row, "no luck", now))

    def all(self) -> list[JobRow]:
        return self._db.read(jobs.list_jobs)

    def next_due(self) -> int | None:
        return self._db.read(jobs.next_due)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


def test_claimed_when_due_and_gone_when_finished(queue: Queue) -> None:
    number = queue.add("7", due_at=100, payload='{"a":1}')
    assert queue.claim(99) == []
    row = queue.one(100)
    assert (row.id, row.kind, row.dedupe, row.payload) == (number, "crl", "7", '{"a":1}')
    assert (row.claimed_by, row.claimed_until, row.attempts) == ("w1", 160, 1)
    queue.finish(row)
    assert queue.all() == []
    assert queue.next_due() is None


def test_one_job_for_one_thing(queue: Queue) -> None:
    first = queue.add("7", due_at=100, payload="old")
    assert queue.add("7", due_at=50, payload="new") == first
    assert queue.add("7", due_at=500, payload="newest") == first
    assert queue.add("8") != first
    assert queue.add("7", kind="mail") != first
    rows = {row.dedupe + row.kind: row for row in queue.all()}
    assert len(rows) == 3
    assert (rows["7crl"].payload, rows["7crl"].due_at) == ("newest", 50)


def test_oldest_first_and_only_the_wished_kinds(queue: Queue) -> None:
    for thing, due_at in [("c", 3), ("a", 1), ("b", 2)]:
        queue.add(thing, due_at)
    queue.add("m", 0, kind="mail")
    assert [row.dedupe for row in queue.claim(10, limit=2, kinds=("crl",))] == ["a", "b"]
    assert [row.dedupe for row in queue.claim(10, limit=9)] == ["m", "c"]
    assert queue.claim(10, limit=9) == []


def test_claimed_job_is_not_claimed_again_until_its_time_runs_out(queue: Queue) -> None:
    queue.add("7")
    slow = queue.one(100)
    assert queue.claim(159, "w2") == []
    quick = queue.one(160, "w2")
    assert (quick.claimed_by, quick.attempts) == ("w2", 2)
    with pytest.raises(Conflict, match="no longer claimed by w1"):
        queue.finish(slow)
    with pytest.raises(Conflict, match="no longer claimed by w1"):
        queue.fail(slow, 170)
    with pytest.raises(Conflict, match="no longer claimed by w1"):
        queue.do(lambda c: jobs.renew(c, slow, 900))
    queue.finish(quick)
    assert queue.all() == []


def test_same_holder_twice_does_not_pass_for_its_earlier_claim(queue: Queue) -> None:
    queue.add("7")
    first, second = queue.one(100), queue.one(200)
    with pytest.raises(Conflict):
        queue.finish(first)
    queue.finish(second)


def test_finishing_twice_is_a_conflict(queue: Queue) -> None:
    queue.add("7")
    row = queue.one(0)
    queue.finish(row)
    with pytest.raises(Conflict):
        queue.finish(row)


def test_queued_again_while_under_way_stays_and_is_due(queue: Queue) -> None:
    queue.add("7", payload="old")
    row = queue.one(100)
    queue.add("7", due_at=120, payload="new")
    assert queue.claim(110, "w2") == []  # nobody else meanwhile
    queue.finish(row)
    again = queue.one(120, "w2")
    assert (again.payload, again.attempts) == ("new", 1)
    queue.finish(again)
    assert queue.all() == []


def test_failure_waits_longer_each_time(queue: Queue) -> None:
    queue.add("7")
    now, pauses = 1000, []
    for attempt in range(1, 13):
        row = queue.one(now)
        assert row.attempts == attempt
        due = queue.fail(row, now)
        pauses.append(due - now)
        assert queue.claim(due - 1) == []
        (stored,) = queue.all()
        assert (stored.last_error, stored.claimed_by) == ("no luck", None)
        now = due
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_success_of_a_requeued_job_forgets_its_failures(queue: Queue) -> None:
    queue.add("7")
    now = queue.fail(queue.one(0), 0)
    row = queue.one(now)
    queue.add("7", due_at=now)
    queue.finish(row)
    (stored,) = queue.all()
    assert (stored.attempts, stored.last_error) == (0, None)


def test_claim_can_be_kept_for_longer(queue: Queue) -> None:
    queue.add("7")
    row = queue.one(100)
    queue.do(lambda c: jobs.renew(c, row, 500))
    assert queue.claim(400, "w2") == []
    queue.finish(row)


def test_next_due_knows_claims(queue: Queue) -> None:
    queue.add("a", due_at=100)
    assert queue.next_due() == 100
    queue.one(200)
    assert queue.next_due() == 260
    queue.add("b", due_at=230)
    assert queue.next_due() == 230


def test_cancel_and_expedite(queue: Queue) -> None:
    queue.add("a", due_at=900)
    queue.add("b", due_at=900)
    queue.add("m", due_at=900, kind="mail")
    assert queue.do(lambda c: jobs.cancel(c, "crl", "a"))
    assert not queue.do(lambda c: jobs.cancel(c, "crl", "a"))
    assert queue.do(lambda c: jobs.expedite(c, "crl", 10)) == 1
    assert [row.dedupe for row in queue.claim(10, limit=9)] == ["b"]


def test_job_queued_in_a_failed_transaction_does_not_exist(queue: Queue) -> None:
    def write(c: Connection) -> None:
        jobs.queue(c, "crl", "7", "{}", 0)
        raise ValueError

    with pytest.raises(ValueError):
        queue.do(write)
    assert queue.all() == []


def test_of_one_kind_many_at_once_oldest_first(queue: Queue) -> None:
    for thing, due_at in [("c", 3), ("a", 1), ("b", 2), ("late", 99)]:
        queue.add(thing, due_at)
    queue.add("other", 0, kind="mail")

    def claim(limit: int, now: int = 10) -> list[str]:
        rows = queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w1", now, now + 60, limit))
        assert all((row.claimed_by, row.claimed_until, row.attempts) == ("w1", now + 60, 1) for row in rows)
        return sorted(row.dedupe for row in rows)

    assert claim(2) == ["a", "b"]
    assert claim(5) == ["c"]
    assert claim(5) == []
    assert [row.dedupe for row in queue.all() if row.claimed_by is None] == ["other", "late"]


def test_a_claim_of_one_kind_runs_out(queue: Queue) -> None:
    queue.add("7")
    queue.do(lambda c: jobs.claim_of_kind(c, "crl", "dead", 0, 60, 5))
    assert queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w2", 59, 119, 5)) == []
    (row,) = queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w2", 60, 120, 5))
    assert (row.claimed_by, row.attempts) == ("w2", 2)


def test_of_one_kind_but_not_for_these(queue: Queue) -> None:
    """Payloads say for whom a job is; who has enough is passed over, in turn and in what comes next."""
    with_payload = [("a", "one", 1), ("b", "two", 2), ("c", "one", 0), ("d", "three", 5)]
    for thing, payload, due_at in with_payload:
        queue.do(partial(jobs.queue, kind="crl", dedupe=thing, payload=payload, due_at=due_at))
    assert queue.do(lambda c: jobs.next_due(c, "crl", leaving=["one"])) == 2
    rows = queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w1", 10, 70, 5, leaving=["one", "three"]))
    assert [(row.dedupe, row.claimed_by, row.claimed_until, row.attempts) for row in rows] == [("b", "w1", 70, 1)]
    assert queue.do(lambda c: jobs.next_due(c, "crl", leaving=["one", "two", "three"])) is None
    rows = queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w1", 10, 70, 5))
    assert sorted(row.dedupe for row in rows) == ["a", "c", "d"]


def test_other_kinds_than_these(queue: Queue) -> None:
    queue.add("7")
    queue.add("8", kind="mail")
    (row,) = queue.do(lambda c: jobs.claim(c, "w1", 1, 61, other_than=("crl",), limit=5))
    assert row.kind == "mail"


def test_a_pause_of_its_own(queue: Queue) -> None:
    queue.add("7")
    row = queue.one(100)
    assert queue.do(lambda c: jobs.fail(c, row, "no luck", 100, 1)) == 101
    assert queue.claim(100) == []
    assert queue.one(101).attempts == 2


def test_given_back(queue: Queue) -> None:
    queue.add("7")
    row = queue.one(100)
    queue.do(lambda c: jobs.give_back(c, row))
    with pytest.raises(Conflict):
        queue.do(lambda c: jobs.give_back(c, row))
    again = queue.one(100, "w2")
    assert (again.attempts, again.last_error) == (1, None)
    with pytest.raises(Conflict):
        queue.finish(row)
    queue.finish(again)


def test_when_one_of_a_kind_is_due(queue: Queue) -> None:
    def due(kind: str) -> int | None:
        return queue.do(lambda c: jobs.next_due(c, kind))

    assert due("crl") is None
    queue.add("7", due_at=50)
    queue.add("8", due_at=10, kind="mail")
    assert (due("crl"), due("mail"), queue.next_due()) == (50, 10, 10)
    queue.do(lambda c: jobs.claim_of_kind(c, "crl", "w1", 50, 110, 1))
    assert due("crl") == 110
