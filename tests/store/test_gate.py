"""The door of writing processes: who waits tries seldom, is served soon, and does not wait for ever."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiconf.errors import Unavailable
from pkiconf.store import gate
from pkiconf.store.gate import Gate


class Time:
    """Passes only while somebody sleeps; at `free_at` the other process gives the lock back."""

    def __init__(self, other: int) -> None:
        self.now = 1000.0
        self.naps: list[float] = []
        self.free_at = float("inf")
        self._other = other

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        if self.now >= self.free_at:
            fcntl.flock(self._other, fcntl.LOCK_UN)


@pytest.fixture(params=["turn", "gate"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """One of the two files, opened by somebody else who has locked it."""
    (tmp_path / "pkiconf.db").touch()
    file = os.open(tmp_path / f"pkiconf.db-{request.param}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    yield file
    os.close(file)


@pytest.fixture
def door(tmp_path: Path, other: int) -> Iterator[Gate]:
    opened = Gate(tmp_path / "pkiconf.db")
    yield opened
    opened.close()


@pytest.fixture
def clock(other: int, monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time(other)
    monkeypatch.setattr(gate, "time", made)
    return made


def _wait(door: Gate, clock: Time, other: int, seconds: float) -> list[float]:
    """The naps of one who finds it closed for so long."""
    fcntl.flock(other, fcntl.LOCK_EX)
    clock.naps.clear()
    clock.free_at = clock.now + seconds
    with door.held(10):
        pass
    return list(clock.naps)


def test_who_waits_learns_how_long_it_mostly_takes(door: Gate, clock: Time, other: int) -> None:
    first = _wait(door, clock, other, 0.003)
    for _ in range(50):
        last = _wait(door, clock, other, 0.003)
    assert len(last) < len(first)
    assert len(last) <= 4
    # What is free at once is not slept away.
    assert max(last) <= 0.002
    assert sum(last) < 0.005


def test_one_long_wait_makes_nobody_sleep_long_after_it(door: Gate, clock: Time, other: int) -> None:
    assert max(_wait(door, clock, other, 9)) <= 0.002
    assert sum(_wait(door, clock, other, 0.0001)) <= 0.002


def test_it_is_not_waited_for_longer_than_said(door: Gate, clock: Time) -> None:
    begun = clock.now
    with pytest.raises(Unavailable, match="writing for 10 seconds"), door.held(10):
        raise AssertionError
    assert 10 <= clock.now - begun < 10.01


def test_without_patience_it_is_tried_once(door: Gate, clock: Time) -> None:
    with pytest.raises(Unavailable), door.held(0):
        raise AssertionError
    assert clock.naps == []


def test_whoever_gave_up_holds_nothing(door: Gate, clock: Time, other: int, tmp_path: Path) -> None:
    with pytest.raises(Unavailable), door.held(0):
        raise AssertionError
    fcntl.flock(other, fcntl.LOCK_UN)
    third = Gate(tmp_path / "pkiconf.db")
    with third.held(0):
        pass
    third.close()
