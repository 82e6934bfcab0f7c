"""Two applies at once: one waits or is refused, never both, and what is declared is done once."""

from __future__ import annotations

import pytest

from tests.crash.child import Place
from tests.crash.conftest import Copy
from tests.crash.prepared import STANDING
from tests.crash.scenarios import as_declared, changed_as_declared
from tests.processes import ended
from tests.wholeness import check_whole, opened, rows, settle

PLAN = ("apply", "{folder}/changed.yaml", "--allow", "rollover,retire")

pytestmark = pytest.mark.timeout(3600)  # with --soak


def together(place: Place, *commands: tuple[str, ...]) -> list[int]:
    """The exit codes of command lines that ran at the same time."""
    children = [place.begin(*command, output=f"output-{number}.txt") for number, command in enumerate(commands)]
    return sorted(ended(children))


def output(place: Place) -> str:
    return "\n".join(path.read_text() for path in sorted(place.folder.glob("output-*.txt")))


@pytest.fixture
def times(soak: bool) -> int:
    return 20 if soak else 2


def test_the_same_twice_at_once(copies: Copy, times: int) -> None:
    for _ in range(times):
        place = copies("running")
        codes = together(place, PLAN, PLAN)
        # 3: done, one authority waits for a stranger; 4: refused, because the other one was at work.
        assert codes in ([3, 3], [3, 4]), output(place)
        with opened(place.state, place.url) as services:
            settle(services)
            check_whole(services)
            changed_as_declared(services, place, "")


def test_the_first_of_all_by_several_at_once(copies: Copy, times: int) -> None:
    for _ in range(times):
        place = copies("empty")
        first = ("apply", "{folder}/first.yaml")
        codes = together(place, first, first, first)
        assert 3 in codes, output(place)
        assert set(codes) <= {3, 4}, output(place)
        with opened(place.state, place.url) as services:
            settle(services)
            check_whole(services)
            as_declared("first.yaml")(services, place, "")
            assert rows(services, "SELECT name, count(*) FROM sealed_secret GROUP BY 1 ORDER BY 1") == [
                ("audit-checkpoint", 1), ("audit-mac", 1),
            ]  # fmt: skip


def test_two_that_wish_different_things_never_mix(copies: Copy, times: int) -> None:
    for _ in range(times):
        place = copies("running")
        for name, length in (("short", "30d"), ("long", "60d")):
            declared = STANDING.replace("authority: issuing }", f"authority: issuing, validity: {length} }}")
            (place.folder / f"{name}.yaml").write_text(declared)
        codes = together(place, ("apply", "{folder}/short.yaml"), ("apply", "{folder}/long.yaml"))
        assert codes in ([3, 3], [3, 4]), output(place)
        with opened(place.state, place.url) as services:
            specs = rows(services, "SELECT spec FROM template WHERE name IN ('web', 'vpn')")
            found = {length for length in ("30d", "60d") for (spec,) in specs if f'"{length}"' in spec}
            assert len(found) == 1, "half of one declaration and half of the other"
            settle(services)
            check_whole(services)


def test_applies_that_are_killed_while_they_compete(copies: Copy, times: int) -> None:
    """One of two dies after its first change; the other one, or the next, finishes."""
    for _ in range(times):
        place = copies("running")
        victim = place.begin(*PLAN, output="output-victim.txt", kill_at="authority.rollover:after")
        other = place.begin(*PLAN, output="output-other.txt")
        ended([victim, other])
        place.here(*PLAN, codes=(3,))
        with opened(place.state, place.url) as services:
            settle(services)
            check_whole(services)
            changed_as_declared(services, place, "")
