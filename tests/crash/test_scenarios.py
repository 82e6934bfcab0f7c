"""Killed at every step, on both sides of it, and brought to its end: nothing is lost, and nothing happens twice.

With `--soak` every command is a fresh `python -m pkiconf`, and every further time that one comes by its step is
walked too.
"""

from __future__ import annotations

import signal

import pytest

from tests.crash.acme_scenarios import SCENARIOS
from tests.crash.child import Place
from tests.crash.conftest import Copy
from tests.crash.scenarios import SIDES, Scenario
from tests.wholeness import check_whole, opened, settle

MOST_TIMES = 40
"""No command comes by one step more often than this; more would be a loop."""


def _id(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=_id)
def test_killed_and_finished(scenario: Scenario, side: str, copy: Copy, soak: bool) -> None:
    place = _begin(scenario, copy)
    place.killed(*scenario.command, at=f"{scenario.step}:{side}", fresh=soak)
    _finish(scenario, side, place, fresh=soak)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario.shared], ids=_id)
def test_killed_and_finished_on_postgresql(scenario: Scenario, side: str, copy_on_postgresql: Copy, soak: bool) -> None:
    place = _begin(scenario, copy_on_postgresql)
    place.killed(*scenario.command, at=f"{scenario.step}:{side}", fresh=soak)
    _finish(scenario, side, place, fresh=soak)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=_id)
def test_killed_later_and_finished(scenario: Scenario, side: str, copy: Copy) -> None:
    """At the second, third, … time that the command comes by its step."""
    for time in range(2, MOST_TIMES):
        place = _begin(scenario, copy)
        done = place.run(*scenario.command, kill_at=f"{scenario.step}:{side}:{time}")
        if done.code != -signal.SIGKILL:
            return
        _finish(scenario, side, place, later=True)
    pytest.fail(f"it came by {scenario.step} {MOST_TIMES} times")


def _begin(scenario: Scenario, copy: Copy) -> Place:
    place = copy(scenario.start)
    for command in scenario.prepare:
        place.here(*command, codes=(0, 3))
    return place


def _finish(scenario: Scenario, side: str, place: Place, *, fresh: bool = False, later: bool = False) -> None:
    accepted = scenario.again["before"] + scenario.again["after"] if later else scenario.again[side]
    for command in (scenario.command,) if scenario.finish is None else scenario.finish:
        if fresh:
            done = place.run(*command, fresh=True)
            assert done.code in accepted, done.output
        else:
            place.here(*command, codes=accepted)
    with opened(place.state, place.url) as services:
        settle(services)
        check_whole(services)
        scenario.check(services, place, side)
