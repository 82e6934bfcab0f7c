"""What a check-up says of authorities that make timestamps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pkiconf.diagnosis.finding import Severity
from pkiconf.diagnosis.timestamps import check_timestamps
from tests.timestamps.stamping import declare, granted, query
from tests.world import World

NTP = 'clock: { ntp: ["ntp.example"] }'


def look(world: World) -> list[tuple[Severity, str]]:
    now = world.clock.now()
    return [(found.severity, found.text) for found in world.parts.db.read(lambda c: list(check_timestamps(c, now)))]


def test_all_is_well(world: World) -> None:
    declare(world, settings=NTP)
    assert look(world) == [(Severity.OK, "issuing")]


def test_no_timestamps_are_no_fault(sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: false")
    assert look(sqlite_world) == []


@pytest.mark.row("F141")
def test_a_clock_that_nobody_checks(sqlite_world: World) -> None:
    declare(sqlite_world)
    (first, second) = look(sqlite_world)
    assert first == (Severity.WARNING, "no time servers are declared, so a clock that is ahead is not noticed")
    assert second[0] is Severity.OK


def test_a_certificate_that_has_ended(sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: true, validity: 30d", settings=NTP)
    sqlite_world.pass_time(timedelta(days=31))
    assert (Severity.WARNING, "issuing has no certificate for them now") in look(sqlite_world)


@pytest.mark.row("F141")
def test_a_time_that_has_not_come_was_attested(world: World, tmp_path: Path) -> None:
    declare(world, settings=NTP.replace('"ntp.example"', ""))
    world.timepiece.moved = 3_600_000_000
    granted(world, query(tmp_path))
    world.timepiece.moved = 0
    assert (Severity.ERROR, "issuing has attested a time that is 3599 s ahead of this clock") in look(world)
