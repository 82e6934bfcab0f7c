"""The record of tokens: durable before they leave, without a number twice, countable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from pkiconf.errors import Unavailable
from pkiconf.model.timestamps import FailureInfo
from pkiconf.services import make_services
from pkiconf.steps import Step
from pkiconf.store import timestamps
from pkiconf.store.database import Connection, Database
from pkiconf.timestamps.ledger import BLOCK
from tests.timestamps.stamping import authenticode_request, declare, granted, query, refused, tst_info, verify
from tests.world import World


def issuing(world: World) -> int:
    return world.services.lookup.get("issuing").row.id


def counted(world: World, since: int = 0, until: int = 1 << 55) -> tuple[int, int]:
    authority = issuing(world)
    return world.parts.db.read(lambda c: timestamps.count(c, authority, since, until))


@pytest.mark.row("F141")
def test_each_token_is_recorded(world: World, tmp_path: Path) -> None:
    declare(world)
    request = query(tmp_path)
    infos = []
    for _ in range(3):
        world.pass_time(timedelta(seconds=1))
        infos.append(tst_info(granted(world, request)))
    authority = issuing(world)
    rows = world.parts.db.read(lambda c: timestamps.page(c, authority))
    assert [int.from_bytes(row.serial) for row in rows] == [info["serial_number"].native for info in infos]
    assert [row.hash for row in rows] == [info["message_imprint"]["hashed_message"].native for info in infos]
    assert [row.at for row in rows] == [int(info["gen_time"].native.timestamp()) * 1_000_000 for info in infos]
    assert {(row.protocol, row.digest) for row in rows} == {("rfc3161", "sha256")}
    assert counted(world) == (3, 0)
    assert counted(world, since=rows[1].at, until=rows[2].at) == (1, 0)
    later = world.parts.db.read(lambda c: timestamps.page(c, authority, after=rows[0].serial, most=1))
    assert later == rows[1:2]


@pytest.mark.row("F141")
def test_numbers_do_not_repeat_whatever_the_clock_says(sqlite_world: World, tmp_path: Path) -> None:
    """Nor across processes: another one has other random octets, the same time and the same database."""
    declare(sqlite_world)
    request = query(tmp_path)
    other = make_services(sqlite_world.parts, lambda message: b"", sqlite_world.network)
    found = []
    for services in (sqlite_world.services, other, sqlite_world.services):
        for _ in range(20):
            response, failure = services.timestamps.answer("issuing", request)
            assert failure is None
            found.append(tst_info(response)["serial_number"].native)
    assert len(set(found)) == 60


def test_threads_are_recorded_together(world: World, tmp_path: Path) -> None:
    declare(world)
    request = query(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tst_info(granted(world, request))["serial_number"].native, range(64)))
    assert len(set(found)) == 64
    assert counted(world) == (64, 0)


def fill_the_disk(world: World) -> None:
    """SQLite may not let its file grow any more, and says what it says of a full disk. It ends with the connection."""
    write = partial(world.parts.db.write, Step.SETTINGS_WRITE)
    pages = write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar())


@pytest.mark.row("F141")
def test_when_the_disk_is_full_no_token_leaves(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    request = query(tmp_path)
    fill_the_disk(sqlite_world)
    given = 0
    while (answered := sqlite_world.services.timestamps.answer("issuing", request))[1] is None:
        given += 1
        assert given < 1000
    assert answered[1] is FailureInfo.SYSTEM_FAILURE
    assert b"disk" not in answered[0], "that is no business of a client"
    assert counted(sqlite_world) == (given, 0)
    granted(sqlite_world, request)
    fill_the_disk(sqlite_world)
    given += 1
    with pytest.raises(Unavailable, match="the disk is full"):  # noqa: PT012 - the last of many
        while given < 1000:
            sqlite_world.services.timestamps.countersign("issuing", authenticode_request(b"signature"))
            given += 1
    assert counted(sqlite_world) == (given, 0)


class Refusing:
    """A database that takes no more writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refuses = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write(self, *words: Any, **more: Any) -> Any:
        if self.refuses:
            raise Unavailable("the disk is full", "Free some space")
        return self._database.write(*words, **more)


def test_when_nothing_can_be_counted_no_token_leaves(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, record: count")
    request = query(tmp_path)
    database = Refusing(sqlite_world.parts.db)
    parts = replace(sqlite_world.parts, db=cast(Database, database))
    sqlite_world.services = make_services(parts, lambda message: b"", sqlite_world.network)
    for _ in range(BLOCK):
        granted(sqlite_world, request)
    database.refuses = True
    assert refused(sqlite_world, request)[0] is FailureInfo.SYSTEM_FAILURE
    database.refuses = False
    granted(sqlite_world, request)
    assert counted(sqlite_world) == (0, 2 * BLOCK)


@pytest.mark.row("F141")
def test_counting_only_is_never_too_low_and_exact_in_the_end(world: World, tmp_path: Path) -> None:
    declare(world, "enabled: true, record: count")
    request = query(tmp_path)
    for number in range(1, 4):
        granted(world, request)
        assert counted(world)[1] >= number
    world.services.timestamps.close()
    assert counted(world) == (0, 3)
    granted(world, request)
    world.pass_time(timedelta(days=1))
    granted(world, request)
    world.services.timestamps.close()
    world.services.timestamps.close()
    assert counted(world) == (0, 5)
    noon = int(world.clock.now().timestamp()) * 1_000_000
    assert counted(world, since=noon) == (0, 1), "each day has its own count"


def test_a_server_that_is_killed_has_counted_at_most_a_block_too_many(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, record: count")
    granted(sqlite_world, query(tmp_path))
    sqlite_world.services = make_services(sqlite_world.parts, lambda message: b"", sqlite_world.network)
    granted(sqlite_world, query(tmp_path))
    sqlite_world.services.timestamps.close()
    assert counted(sqlite_world) == (0, BLOCK + 1)


def test_what_cannot_be_given_back_stays_counted(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, record: count")
    database = Refusing(sqlite_world.parts.db)
    parts = replace(sqlite_world.parts, db=cast(Database, database))
    services = make_services(parts, lambda message: b"", sqlite_world.network)
    services.timestamps.answer("issuing", query(tmp_path))
    database.refuses = True
    services.timestamps.close()
    assert counted(sqlite_world) == (0, BLOCK)


class Told:
    """A statement that is told of when it has run."""

    def __init__(self, statement: Any, tell: Callable[[str], None]) -> None:
        self._statement = statement
        self._tell = tell

    def count(self, c: Connection, parameters: dict[str, int]) -> int:
        changed: int = self._statement.count(c, parameters)
        self._tell(f"day {parameters['day']}" if "day" in parameters else "clock")
        return changed


def tell_of_statements(monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]) -> None:
    for name in ("_COUNT_MORE", "_PASS"):
        monkeypatch.setattr(timestamps, name, Told(getattr(timestamps, name), tell))


@pytest.mark.parametrize("pause", [1, 2])
def test_processes_do_not_lock_each_other_out_at_midnight(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: int
) -> None:
    """While one that has numbers of the day before is in the middle of taking new ones, another takes some too."""
    declare(world, "enabled: true, record: count")
    request = query(tmp_path)
    world.pass_time(timedelta(hours=11, minutes=59, seconds=59))
    granted(world, request)
    world.pass_time(timedelta(seconds=1))
    today = timestamps.day_of(int(world.clock.now().timestamp()) * 1_000_000)
    other = make_services(world.parts, lambda message: b"", world.network)
    second = threading.Thread(target=other.timestamps.answer, args=("issuing", request))
    told: dict[threading.Thread, list[str]] = {threading.current_thread(): [], second: []}

    def tell(what: str) -> None:
        here = threading.current_thread()
        told[here].append(what)
        if here is not second and len(told[here]) == pause:
            second.start()
            second.join(0.5)  # as far as it comes

    tell_of_statements(monkeypatch, tell)
    granted(world, request)
    second.join(60)
    # Nothing was run again: the database found no deadlock.
    assert list(told.values()) == [[f"day {today - 1}", f"day {today}", "clock"], [f"day {today}", "clock"]]
    assert counted(world) == (0, 1 + 2 * BLOCK)
    world.services.timestamps.close()
    other.timestamps.close()
    assert counted(world) == (0, 3)


def test_a_block_after_another_of_the_same_day_is_one_number(
    sqlite_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(sqlite_world, "enabled: true, record: count")
    granted(sqlite_world, query(tmp_path))
    sqlite_world.pass_time(timedelta(minutes=1))
    told: list[str] = []
    tell_of_statements(monkeypatch, told.append)
    granted(sqlite_world, query(tmp_path))
    assert [what.partition(" ")[0] for what in told] == ["day", "clock"]
    assert counted(sqlite_world) == (0, 1 + BLOCK)


@pytest.mark.row("F141")
@pytest.mark.parametrize("record", ["all", "count"])
def test_ordered_tokens_have_times_of_their_own(world: World, tmp_path: Path, record: str) -> None:
    """Within one microsecond of the clock, by two processes at once."""
    declare(world, f"enabled: true, ordering: true, accuracy: 1s, record: {record}")
    request = query(tmp_path)
    other = make_services(world.parts, lambda message: b"", world.network)

    def stamp(number: int) -> Any:
        response, failure = (world.services if number % 2 else other).timestamps.answer("issuing", request)
        assert failure is None
        return tst_info(response)

    with ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(stamp, range(16)))
    assert all(info["ordering"].native for info in infos)
    assert len({info["gen_time"].contents for info in infos}) == 16
    assert max(info["gen_time"].native for info in infos) - min(info["gen_time"].native for info in infos) < timedelta(
        milliseconds=1
    )
    verify(world, tmp_path, granted(world, request))
