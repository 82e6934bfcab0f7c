"""Tokens that are recorded together: one transaction for all, and one that cannot be takes no other with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from pkiconf.errors import Conflict, PkiconfError, Unavailable
from pkiconf.store import timestamps
from pkiconf.store.database import Database
from pkiconf.store.group import Entry
from pkiconf.timestamps.clock_watch import ClockUnsure, Vouched
from pkiconf.timestamps.recording import Recorded, Recording, Stamped, Wanted
from tests.serving.running import eventually
from tests.world import World

NOW = 1_893_456_000_000_000
STAMPED = Stamped("rfc3161", "sha256", bytes(32))


class Still:
    """Time does not pass."""

    def wall(self) -> int:
        return NOW

    def steady(self) -> int:
        return 0


class Watched:
    """A database whose writes are counted; `before` is called ahead of each."""

    def __init__(self, database: Database, before: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._before = before
        self.writes = 0

    def write(self, *words: Any, **more: Any) -> Any:
        self.writes += 1
        self._before()
        return self._database.write(*words, **more)


def wanted(number: int, moment: int = NOW, *, of: int = 1, ordering: bool = False, leeway: int = 1_000) -> Wanted:
    now = Vouched(moment, 0, leeway, Still())
    return Wanted(of, ordering, STAMPED, now, number.to_bytes(12, "big"))


def record(database: Watched, *group: Wanted) -> list[Recorded | BaseException]:
    entries = [Entry(one) for one in group]
    Recording(cast(Database, database))._run(entries)
    return [entry.error or entry.result for entry in entries]


def moments(found: list[Recorded | BaseException]) -> list[int]:
    assert all(isinstance(one, Recorded) for one in found), found
    return [one.moment for one in found if isinstance(one, Recorded)]


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)


def serials(world: World, of: int = 1) -> list[bytes]:
    return [row.serial for row in world.parts.db.read(lambda c: timestamps.page(c, of))]


def test_a_group_is_one_transaction(world: World) -> None:
    database = Watched(world.parts.db)
    found = record(database, *(wanted(number, NOW + number) for number in range(5)))
    assert moments(found) == [NOW + number for number in range(5)]
    assert database.writes == 1
    assert serials(world) == [one.serial for one in found if isinstance(one, Recorded)]


def test_what_waits_while_others_become_durable_follows_in_one_transaction(sqlite_world: World) -> None:
    go_on = threading.Event()
    database = Watched(sqlite_world.parts.db, lambda: assert_set(go_on))
    recording = Recording(cast(Database, database))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(recording.enter, wanted(0))
        eventually(lambda: database.writes == 1)
        rest = [pool.submit(recording.enter, wanted(number)) for number in range(1, 8)]
        eventually(lambda: len(recording._group._waiting) == 7)
        go_on.set()
        found = [one.result(60).serial for one in (first, *rest)]
    assert database.writes == 2
    assert serials(sqlite_world) == sorted(found)


def test_ordered_ones_have_times_of_their_own_and_none_before_its_request(world: World) -> None:
    database = Watched(world.parts.db)
    group = [wanted(number, moment, ordering=True) for number, moment in enumerate((NOW + 7, NOW, NOW + 3))]
    assert moments(record(database, *group)) == [NOW + 7, NOW + 8, NOW + 9]
    mixed = [wanted(3, of=2, ordering=True), wanted(4, ordering=True), wanted(5), wanted(6, ordering=True)]
    assert moments(record(database, *mixed)) == [NOW, NOW + 10, NOW, NOW + 11]
    assert moments(record(database, wanted(7, NOW + 500, ordering=True))) == [NOW + 500]
    assert database.writes == 3
    assert len(serials(world)) == 7
    assert len(serials(world, of=2)) == 1


def test_one_whose_time_has_not_come_is_refused_alone_and_moves_no_clock(world: World) -> None:
    database = Watched(world.parts.db)
    late = wanted(1, NOW - 2_000, ordering=True)
    first, refused, last = record(database, wanted(0, ordering=True), late, wanted(2, ordering=True))
    assert isinstance(refused, ClockUnsure)
    assert moments([first, last]) == [NOW, NOW + 1]
    assert len(serials(world)) == 2
    assert moments(record(database, wanted(3, ordering=True))) == [NOW + 2]


def test_a_number_that_is_there_already_is_refused_alone(world: World) -> None:
    database = Watched(world.parts.db)
    moments(record(database, wanted(1)))
    first, refused, last = record(database, wanted(0), wanted(1), wanted(2))
    assert isinstance(refused, Conflict)
    moments([first, last])
    assert len(serials(world)) == 3


@pytest.mark.parametrize("error", [Unavailable("the disk is full", "Free some space"), ZeroDivisionError("a bug")])
def test_when_nothing_can_be_written_all_hear_it_and_nobody_tries_one_by_one(
    sqlite_world: World, error: Exception
) -> None:
    def fail() -> None:
        raise error

    database = Watched(sqlite_world.parts.db, fail)
    assert record(database, wanted(0), wanted(1)) == [error, error]
    assert database.writes == 1
    assert serials(sqlite_world) == []


def test_one_that_is_alone_is_tried_once(sqlite_world: World) -> None:
    database = Watched(sqlite_world.parts.db)
    moments(record(database, wanted(1)))
    (refused,) = record(database, wanted(1))
    assert isinstance(refused, PkiconfError)
    assert database.writes == 2


def test_what_is_only_counted_has_a_time_and_no_row(world: World) -> None:
    one = wanted(0, ordering=True)._replace(stamped=None)
    assert moments(record(Watched(world.parts.db), one, one)) == [NOW, NOW + 1]
    assert serials(world) == []
    assert world.parts.db.read(lambda c: timestamps.latest(c, 1)) == NOW + 1
