"""Leases: one holder at a time, and a late one is noticed."""

from __future__ import annotations

import threading

import pytest

from pkiconf.errors import Conflict
from pkiconf.steps import Step
from pkiconf.store import jobs, leases
from pkiconf.store.database import Connection, Database

STEP = Step.APPLY_LEASE


def acquire(db: Database, holder: str, now: int, until: int) -> int | None:
    return db.write(STEP, lambda c: leases.acquire(c, "apply", holder, now, until))


def check(db: Database, fencing: int) -> None:
    db.write(STEP, lambda c: leases.check_fencing(c, "apply", fencing))


def test_one_holder_until_its_time_is_over(database: Database) -> None:
    assert acquire(database, "a", 100, 200) == 1
    assert acquire(database, "b", 199, 300) is None
    assert acquire(database, "a", 199, 300) is None  # not even the same holder: it may be another thread of it
    check(database, 1)
    assert acquire(database, "b", 200, 300) == 2
    with pytest.raises(Conflict, match=r"lease 'apply' was lost: b has it now"):
        check(database, 1)
    check(database, 2)


def test_released_lease_is_free_at_once_and_its_number_is_spent(database: Database) -> None:
    assert acquire(database, "a", 100, 200) == 1
    database.write(STEP, lambda c: leases.release(c, "apply", 1))
    assert acquire(database, "b", 100, 200) == 2
    database.write(STEP, lambda c: leases.release(c, "apply", 1))  # a late release takes nothing from b
    assert acquire(database, "c", 150, 250) is None
    with pytest.raises(Conflict):
        check(database, 1)


def test_whoever_is_killed_in_one_is_followed_when_its_time_is_over(database: Database) -> None:
    killed = leases.held(database, "work", "a", 100, 60)
    assert killed.__enter__()  # and it never leaves
    with leases.held(database, "work", "b", 159, 60) as free:
        assert not free
    with leases.held(database, "work", "b", 160, 60) as free:
        assert free


def test_expired_lease_that_nobody_took_is_still_good(database: Database) -> None:
    assert acquire(database, "a", 100, 200) == 1
    check(database, 1)
    database.write(STEP, lambda c: leases.renew(c, "apply", 1, 900))
    assert acquire(database, "b", 800, 999) is None


def test_renewal_after_somebody_else_took_it_is_a_conflict(database: Database) -> None:
    acquire(database, "a", 100, 200)
    acquire(database, "b", 200, 300)
    with pytest.raises(Conflict, match="b has it now"):
        database.write(STEP, lambda c: leases.renew(c, "apply", 1, 900))
    found = database.read(lambda c: leases.find_lease(c, "apply"))
    assert found == leases.LeaseRow("apply", "b", 2, 300)


@pytest.mark.parametrize("fencing", [0, 1, -1])
def test_lease_that_was_never_taken(database: Database, fencing: int) -> None:
    with pytest.raises(Conflict, match="never taken"):
        check(database, fencing)


def test_leases_of_other_names_are_others(database: Database) -> None:
    acquire(database, "a", 100, 200)
    assert database.write(STEP, lambda c: leases.acquire(c, "seal", "b", 100, 200)) == 1
    assert acquire(database, "b", 200, 300) == 2
    check(database, 2)


def test_late_holder_changes_nothing(database: Database) -> None:
    acquire(database, "a", 100, 200)
    acquire(database, "b", 300, 400)

    def change(c: Connection) -> None:
        jobs.queue(c, "test", "late", "{}", 0)
        leases.check_fencing(c, "apply", 1)

    with pytest.raises(Conflict):
        database.write(STEP, change)
    assert database.read(jobs.list_jobs) == []


def test_check_holds_until_its_transaction_ends(database: Database) -> None:
    """A takeover between the check and the commit would let both holders write."""
    acquire(database, "a", 100, 200)
    checked, order = threading.Event(), []

    def change(c: Connection) -> None:
        leases.check_fencing(c, "apply", 1)
        checked.set()
        taker.join(0.3)
        order.append("changed")

    def take() -> None:
        checked.wait(10)
        acquire(database, "b", 300, 400)
        order.append("taken")

    taker = threading.Thread(target=take)
    taker.start()
    database.write(STEP, change)
    taker.join(30)
    assert order == ["changed", "taken"]


def test_race_has_one_winner(database: Database) -> None:
    got: list[int | None] = []
    barrier = threading.Barrier(8)

    def run(n: int) -> None:
        barrier.wait(30)
        got.append(acquire(database, str(n), 100, 200))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(got, key=str) == [1, *[None] * 7]
