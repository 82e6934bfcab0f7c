"""Validations side by side, driven by events: what starts at once, what waits for a place, and how all of it ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from pkiconf.acme.validation_pool import SHARE, SIZE, ValidationPool
from pkiconf.egress.network import Proof
from pkiconf.errors import Unavailable
from pkiconf.model.acme import AuthorizationStatus, OrderStatus, Problem
from pkiconf.wake import Alarm, Call
from pkiconf.worker import Worker
from tests.acme.place import Place
from tests.acme.test_validation import Case
from tests.network import NOT_THERE
from tests.serving.running import eventually

WAIT = 30.0


class Held:
    """A network in which every proof waits until it is let go."""

    def __init__(self, case: Case, problem: Problem | None = None) -> None:
        self._problem = problem
        self._open = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()
        case.network.script = self._find

    def _find(self, proof: Proof) -> Problem | None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self._open.acquire(timeout=WAIT)
        with self._lock:
            self.running -= 1
        return self._problem

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=WAIT)

    def let_go(self, count: int = 1000) -> None:
        self._open.release(count)


def names(count: int) -> list[str]:
    return [f"w{number}.corp.example" for number in range(count)]


class Bell:
    def __init__(self) -> None:
        self._rung = threading.Semaphore(0)

    def ring(self) -> None:
        self._rung.release()

    def wait(self) -> None:
        assert self._rung.acquire(timeout=WAIT)

    @property
    def is_silent(self) -> bool:
        return not self._rung.acquire(blocking=False)


def test_as_many_as_there_are_places_and_then_the_next(sqlite_place: Place) -> None:
    case = Case(sqlite_place, *names(5))
    held, bell = Held(case), Bell()
    pool = ValidationPool(case.validations, "w", bell.ring, size=3)
    assert pool.start_due() == 3
    held.wait_for(3)
    assert pool.start_due() == 0
    assert pool.seconds_to_next(case.place.now, 15) == 15  # no place is free: whoever ends rings
    assert bell.is_silent
    held.let_go(1)
    bell.wait()
    assert pool.start_due() == 1
    held.let_go()
    bell.wait()
    while case.order_status() is OrderStatus.PENDING:
        pool.start_due()
        assert pool.wait_for_all(WAIT)
    assert held.most == 3
    assert case.order_status() is OrderStatus.READY


def test_nobody_is_woken_when_nothing_waits(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    case.network.proofs.add("*")
    bell = Bell()
    pool = ValidationPool(case.validations, "w", bell.ring, size=3)
    assert pool.start_due() == 1
    assert pool.wait_for_all(WAIT)
    assert bell.is_silent
    assert pool.start_due() == 0


def test_how_long_there_is_nothing_to_start(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    pool = ValidationPool(case.validations, "w", lambda: None)
    assert pool.seconds_to_next(case.place.now, 15) < 0.1
    pool.start_due()
    assert pool.wait_for_all(WAIT)
    assert pool.seconds_to_next(case.place.now, 15) == 1  # the first pause
    case.network.proofs.add("*")
    case.place.world.pass_time(timedelta(seconds=1))
    assert pool.start_due() == 1
    assert pool.wait_for_all(WAIT)
    assert pool.seconds_to_next(case.place.now, 15) == 15


def test_attempts_that_run_may_end_when_it_stops(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    held = Held(case)
    pool = ValidationPool(case.validations, "w", lambda: None)
    pool.start_due()
    held.wait_for(1)
    threading.Timer(0.1, held.let_go).start()
    pool.stop(WAIT)
    assert case.order_status() is OrderStatus.READY


def test_what_has_not_ended_is_given_back(sqlite_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    case = Case(sqlite_place)
    held = Held(case, NOT_THERE)
    pool = ValidationPool(case.validations, "w", lambda: None)
    pool.start_due()
    held.wait_for(1)
    pool.stop(0.05)
    (job,) = case.jobs()
    assert (job.claimed_by, job.attempts, job.due_at) == (None, 0, case.place.now)
    held.let_go()
    assert pool.wait_for_all(WAIT)
    (job,) = case.jobs()  # the attempt that came too late has changed nothing
    assert (job.attempts, job.last_error) == (0, None)
    case.network.script = None
    case.network.proofs.add("*")
    assert ValidationPool(case.validations, "next", lambda: None).start_due() == 1


def test_an_attempt_that_cannot_be_recorded_holds_no_place(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(sqlite_place)

    def fail(*_: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(case.validations), "attempt", fail)
        pool = ValidationPool(case.validations, "w", lambda: None, size=1)
        assert pool.start_due() == 1
        assert pool.wait_for_all(WAIT)
    assert "the disk is full" in caplog.text
    case.network.proofs.add("*")
    case.place.world.pass_time(timedelta(seconds=31))
    assert pool.start_due() == 1
    assert pool.wait_for_all(WAIT)
    assert case.order_status() is OrderStatus.READY


# --- the worker -----------------------------------------------------------------------------------------------------


class Running:
    """A worker in a thread, with the alarm that the services' acts ring."""

    def __init__(self, case: Case, chores: list[tuple[str, object]] | None = None) -> None:
        self.alarm = Alarm(case.place.world.folder)
        self._stop = threading.Event()
        worker = Worker(case.place.world.services, "w", chores=chores or [])  # type: ignore[arg-type]
        self._thread = threading.Thread(target=worker.run, args=(self.alarm, self._stop.is_set))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.alarm.ring()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()
        self.alarm.close()


@pytest.fixture
def case(sqlite_place: Place) -> Case:
    return Case(sqlite_place)


def test_whoever_waits_is_told_when_the_outcome_stands(case: Case) -> None:
    case.network.proofs.add("*")
    seen: list[tuple[str, AuthorizationStatus]] = []

    def tell(thing: str) -> None:
        found = case.authorization()
        seen.append((thing, found.status))

    pool = ValidationPool(case.validations, "w", lambda: None, tell=tell)
    assert pool.start_due() == 1
    assert pool.wait_for_all(WAIT)
    assert seen == [(str(case.authorization().id), AuthorizationStatus.VALID)]


def test_the_worker_tells_who_asks_that_an_attempt_has_ended(case: Case) -> None:
    held, call = Held(case), Call(case.place.world.folder)
    running = Running(case)
    try:
        held.wait_for(1)
        call.ask(str(case.authorization().id))
        eventually(lambda: running.alarm._asked)
        held.let_go()
        assert call.wait(WAIT)
        assert case.authorization().status is AuthorizationStatus.VALID
    finally:
        held.let_go()
        running.stop()
        call.close()


def test_a_validation_starts_while_a_chore_takes_its_time(case: Case) -> None:
    """The chore ends only when the validation has: it would wait for ever if that waited for it."""
    proved = threading.Event()
    chore_begun = threading.Event()

    def chore() -> int:
        chore_begun.set()
        assert proved.wait(WAIT)
        return 0

    def find(proof: Proof) -> Problem | None:
        proved.set()
        return None

    case.run()  # the first attempt fails
    case.network.script = find
    running = Running(case, [("waiting for a proof", chore)])
    try:
        assert chore_begun.wait(WAIT)
        case.place.world.pass_time(timedelta(seconds=1))
        running.alarm.ring()
        assert proved.wait(WAIT)
    finally:
        proved.set()
        running.stop()
    assert case.order_status() is OrderStatus.READY


def test_a_chore_is_not_done_as_often_as_the_worker_is_woken(case: Case) -> None:
    times: list[float] = []
    running = Running(case, [("counting", lambda: times.append(time.monotonic()) or 0)])  # type: ignore[func-returns-value]
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 1.5:
            running.alarm.ring()
            time.sleep(0.01)
    finally:
        running.stop()
    assert 1 <= len(times) <= 3
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


def test_a_retry_needs_nobody_to_wake_it(case: Case) -> None:
    failed = threading.Event()
    case.run()
    case.network.script = lambda proof: failed.set() or None  # type: ignore[func-returns-value]
    running = Running(case)
    try:
        case.place.world.pass_time(timedelta(seconds=1))
        assert failed.wait(WAIT)
    finally:
        running.stop()
    assert case.order_status() is OrderStatus.READY


def test_two_workers_share_the_jobs(place: Place) -> None:
    case = Case(place, *names(8))
    held = Held(case)
    pools = [ValidationPool(case.validations, f"w{number}", lambda: None, size=4) for number in range(2)]
    assert [pool.start_due() for pool in pools] == [4, 4]
    held.wait_for(8)
    held.let_go()
    assert all(pool.wait_for_all(WAIT) for pool in pools)
    assert case.order_status() is OrderStatus.READY
    assert len(case.network.asked) == 8


def test_once_runs_what_is_due_to_the_end_of_its_attempts(case: Case) -> None:
    for attempts in (1, 2, 3, 4):
        assert Worker(case.place.world.services).run_once() >= 1
        assert len(case.network.asked) == attempts
        case.place.world.pass_time(timedelta(seconds=60))
    assert case.authorization().status is AuthorizationStatus.INVALID
    assert case.jobs() == []


def test_chores_leave_validations_alone(case: Case) -> None:
    Worker(case.place.world.services).run_chores()
    assert case.network.asked == []
    assert len(case.jobs()) == 1


def test_one_account_does_not_take_all_places(place: Place) -> None:
    """Servers that never answer: whoever names twenty of them waits alone, and the next account's turn comes at once;
    what was left is done once there is room."""
    slow = Case(place, *names(20))
    held, bell = Held(slow), Bell()
    pool = ValidationPool(slow.validations, "w", bell.ring)
    assert pool.start_due() == SHARE
    held.wait_for(SHARE)
    assert pool.seconds_to_next(place.now, 15) == 15  # the others are not looked for until one of these ends
    honest = Case(place, "honest.example")
    assert pool.seconds_to_next(place.now, 15) < 0.1
    assert pool.start_due() == 1
    held.wait_for(1)
    assert pool.start_due() == 0
    waiting = [job for job in slow.jobs() if job.claimed_by is None]
    assert [(job.attempts, job.due_at) for job in waiting] == [(0, place.now)] * 16
    held.let_go()
    bell.wait()
    while slow.order_status() is OrderStatus.PENDING:
        pool.start_due()
        assert pool.wait_for_all(WAIT)
    assert held.most == SHARE + 1
    assert {slow.order_status(), honest.order_status()} == {OrderStatus.READY}


def test_accounts_share_what_there_is(sqlite_place: Place) -> None:
    cases = [Case(sqlite_place, *(f"{letter}{number}.example" for number in range(6))) for letter in "abcdef"]
    held = Held(cases[0])
    pool = ValidationPool(cases[0].validations, "w", lambda: None)
    assert pool.start_due() == SIZE
    held.wait_for(SIZE)
    running = Counter(job.payload for job in cases[0].jobs() if job.claimed_by is not None)
    assert sorted(running.values()) == [SHARE] * (SIZE // SHARE)
    held.let_go()
    assert pool.wait_for_all(WAIT)
