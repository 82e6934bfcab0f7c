"""Who leads, who waits, and that nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pkiconf.errors import Unavailable
from pkiconf.store import group as group_module
from pkiconf.store.group import Entry, GroupCommit
from tests.garbage import is_freed_after

Work = Callable[[Any], Any]


def serve(group: Sequence[Entry[Work]]) -> None:
    for entry in group:
        try:
            entry.result = entry.work(None)
        except Exception as error:
            entry.error = error


def failing(n: int) -> Callable[[Any], Any]:
    return lambda _: fail(str(n))


class Blocked:
    """Serves groups, but stops in the first one until it is released; remembers who led which group."""

    def __init__(self, leave: Callable[[], None] = lambda: None) -> None:
        self.groups: list[int] = []
        self.leaders: list[int] = []
        self.entered = threading.Event()
        self.released = threading.Event()
        self._leave = leave

    def __call__(self, group: Sequence[Entry[Work]]) -> None:
        self.groups.append(len(group))
        self.leaders.append(threading.get_ident())
        if len(self.groups) == 1:
            self.entered.set()
            assert self.released.wait(30)
            self._leave()
        serve(group)


class Caller(threading.Thread):
    """One thread that submits one closure."""

    def __init__(self, commit: GroupCommit[Work], fn: Callable[[Any], Any]) -> None:
        super().__init__(daemon=True)
        self.outcome: Any = None
        self._commit = commit
        self._fn = fn
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._commit.submit(self._fn)
        except BaseException as error:
            self.outcome = error

    def ended(self) -> Any:
        self.join(30)
        assert not self.is_alive(), "a thread waits for ever"
        return self.outcome


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def give(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def fail(word: str) -> Any:
    raise ValueError(word)


def test_single_thread_gets_its_result_and_its_error() -> None:
    commit = GroupCommit(serve, 10)
    assert commit.submit(lambda _: 7) == 7
    with pytest.raises(ValueError, match="mine"):
        commit.submit(lambda _: fail("mine"))
    assert commit.submit(lambda _: 8) == 8


def test_a_refused_write_leaves_nothing_in_memory() -> None:
    commit = GroupCommit(serve, 10)
    assert is_freed_after(ValueError, lambda: commit.submit(failing(1)))


def test_those_who_wait_are_served_together_each_with_its_own() -> None:
    run = Blocked()
    commit = GroupCommit(run, 10)
    first = Caller(commit, lambda _: "first")
    run.entered.wait(10)
    others = [Caller(commit, give(n) if n % 2 else failing(n)) for n in range(10)]
    wait_until(lambda: len(commit._waiting) == 10)
    run.released.set()
    assert first.ended() == "first"
    for n, caller in enumerate(others):
        outcome = caller.ended()
        assert outcome == n if n % 2 else str(outcome) == str(n) and isinstance(outcome, ValueError)
    assert run.groups == [1, 10]


def test_nobody_leads_twice_for_one_write() -> None:
    slow = threading.Semaphore(0)
    leaders: list[threading.Thread] = []

    def run(group: Sequence[Entry[Work]]) -> None:
        leaders.append(threading.current_thread())
        slow.acquire(timeout=0.002)
        serve(group)

    commit = GroupCommit(run, 30)
    callers = [Caller(commit, give(n)) for n in range(300)]
    assert [caller.ended() for caller in callers] == list(range(300))
    assert len(leaders) == len(set(leaders))
    assert not commit._led
    assert not commit._waiting


def test_large_crowd_is_served_in_groups_of_limited_size() -> None:
    run = Blocked()
    commit = GroupCommit(run, 30)
    callers = [Caller(commit, give(n)) for n in range(150)]
    wait_until(lambda: len(commit._waiting) == 149)
    run.released.set()
    assert [caller.ended() for caller in callers] == list(range(150))
    assert run.groups == [1, 64, 64, 21]


def test_waiting_too_long_is_an_error_and_the_closure_never_runs() -> None:
    run = Blocked()
    commit = GroupCommit(run, 0.05)
    ran: list[int] = []
    first = Caller(commit, lambda _: "first")
    run.entered.wait(10)
    late = Caller(commit, lambda _: ran.append(1))
    outcome = late.ended()
    assert isinstance(outcome, Unavailable)
    assert "busy" in outcome.detail
    run.released.set()
    assert first.ended() == "first"
    assert commit.submit(lambda _: "next") == "next"
    assert ran == []


def test_group_that_never_ends_lets_those_it_took_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "_PATIENCE", 0.05)
    forever = threading.Event()
    second = threading.Event()

    def run(group: Sequence[Entry[Work]]) -> None:
        if len(group) > 1:
            second.set()
            forever.wait(30)
        serve(group)

    blocked = Blocked()
    turns = iter((blocked.__call__,))
    commit = GroupCommit[Work](lambda group: next(turns, run)(group), 2)
    first = Caller(commit, lambda _: 1)
    blocked.entered.wait(10)
    stuck = [Caller(commit, lambda _: 2) for _ in range(2)]
    wait_until(lambda: len(commit._waiting) == 2)
    blocked.released.set()
    assert first.ended() == 1
    second.wait(10)
    wait_until(lambda: any(isinstance(caller.outcome, Unavailable) for caller in stuck))
    outcomes = [caller.outcome for caller in stuck if isinstance(caller.outcome, Unavailable)]
    assert "not known" in outcomes[0].hint
    forever.set()
    assert {type(caller.ended()) for caller in stuck} == {int, Unavailable}


def test_interrupted_leader_passes_the_lead_on() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    run = Blocked(interrupt)
    commit = GroupCommit(run, 10)
    first = Caller(commit, lambda _: "first")
    run.entered.wait(10)
    others = [Caller(commit, give(n)) for n in range(3)]
    wait_until(lambda: len(commit._waiting) == 3)
    run.released.set()
    assert isinstance(first.ended(), KeyboardInterrupt)
    assert [caller.ended() for caller in others] == [0, 1, 2]


def test_followers_of_an_interrupted_leader_are_told() -> None:
    blocked = Blocked()

    def interrupted(group: Sequence[Entry[Work]]) -> None:
        raise KeyboardInterrupt

    turns = iter((blocked.__call__, interrupted))
    commit = GroupCommit[Work](lambda group: next(turns, serve)(group), 10)
    first = Caller(commit, lambda _: "first")
    blocked.entered.wait(10)
    others = [Caller(commit, give(n)) for n in range(3)]
    wait_until(lambda: len(commit._waiting) == 3)
    blocked.released.set()
    assert first.ended() == "first"
    kinds = sorted(type(caller.ended()).__name__ for caller in others)
    assert kinds == ["KeyboardInterrupt", "Unavailable", "Unavailable"]
    assert commit.submit(lambda _: "next") == "next"


def test_interrupt_while_waiting_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Blocked()
    commit = GroupCommit(run, 10)
    first = Caller(commit, lambda _: "first")
    run.entered.wait(10)
    ran: list[int] = []

    def interrupted(self: GroupCommit[Work], entry: Entry[Work]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GroupCommit, "_await", interrupted)
        with pytest.raises(KeyboardInterrupt):
            commit.submit(lambda _: ran.append(1))
    run.released.set()
    assert first.ended() == "first"
    assert commit.submit(lambda _: "next") == "next"
    assert ran == []


def test_interrupt_of_a_promoted_waiter_passes_the_lead_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Blocked()
    commit = GroupCommit(run, 10)
    first = Caller(commit, lambda _: "first")
    run.entered.wait(10)
    wait = GroupCommit._await
    chosen: list[Entry[Work]] = []

    def interrupted(self: GroupCommit[Work], entry: Entry[Work]) -> None:
        mine = not chosen
        chosen.append(entry)
        wait(self, entry)
        if mine:
            raise KeyboardInterrupt

    monkeypatch.setattr(GroupCommit, "_await", interrupted)
    second = Caller(commit, lambda _: "second")
    wait_until(lambda: len(commit._waiting) == 1)
    third = Caller(commit, lambda _: "third")
    wait_until(lambda: len(commit._waiting) == 2)
    run.released.set()
    assert first.ended() == "first"
    assert isinstance(second.ended(), KeyboardInterrupt)
    assert third.ended() == "third"
    assert commit.submit(lambda _: "next") == "next"
