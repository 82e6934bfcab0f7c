"""A clock that is not right makes no timestamps: one that goes back, and one with which time servers do not agree."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pkiconf.errors import Unavailable
from pkiconf.model.time_source import TimeAnswer, TimeSample
from pkiconf.model.timestamps import FailureInfo
from pkiconf.services import make_services
from pkiconf.spec.timestamp import ClockSettings
from pkiconf.store import timestamps
from pkiconf.timestamps.clock_watch import ClockUnsure, ClockWatch, Vouched
from pkiconf.timestamps.ledger import BLOCK
from tests.ntp_server import NTPServer
from tests.timestamps.stamping import authenticode_request, declare, granted, query, refused, tst_info
from tests.world import World

SECOND = 1_000_000
HOUR = 3600 * SECOND
LATE = FailureInfo.TIME_NOT_AVAILABLE


def restarted(world: World) -> None:
    """Another process on the same database."""
    world.services = make_services(world.parts, lambda message: b"", world.network)


def recorded(world: World) -> int:
    authority = world.services.lookup.get("issuing").row.id
    return sum(world.parts.db.read(lambda c: timestamps.count(c, authority)))


class TestAlone:
    """No servers are declared."""

    @pytest.mark.row("F141")
    def test_a_clock_that_goes_back_is_believed_again_when_it_is_right(
        self, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        declare(world)
        request = query(tmp_path)
        granted(world, request)
        before = recorded(world)
        world.timepiece.moved = -HOUR
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                assert refused(world, request)[0] is LATE
        assert caplog.text.count("gone back by 3600.000 s") == 1, "it is said once"
        with pytest.raises(Unavailable):
            world.services.timestamps.countersign("issuing", authenticode_request(b"signature"))
        assert recorded(world) == before
        world.pass_time(timedelta(hours=2))
        assert refused(world, request)[0] is LATE, "time goes by, and it is still an hour late"
        world.timepiece.moved = 0
        granted(world, request)

    def test_a_client_is_not_told_why(self, sqlite_world: World, tmp_path: Path) -> None:
        declare(sqlite_world)
        granted(sqlite_world, query(tmp_path))
        sqlite_world.timepiece.moved = -HOUR
        assert refused(sqlite_world, query(tmp_path))[1] == "no timestamp can be made now; try again later"

    @pytest.mark.parametrize("record", ["all", "count"])
    def test_after_a_restart_it_is_not_earlier_than_what_was_stamped(
        self, world: World, tmp_path: Path, record: str
    ) -> None:
        declare(world, f"enabled: true, record: {record}")
        request = query(tmp_path)
        granted(world, request)
        world.timepiece.moved = -HOUR
        restarted(world)
        assert refused(world, request)[0] is LATE
        world.pass_time(timedelta(minutes=59, seconds=58))
        assert refused(world, request)[0] is LATE
        world.pass_time(timedelta(seconds=2))
        granted(world, request)

    @pytest.mark.parametrize("used", [2, BLOCK])
    def test_after_a_restart_it_is_not_earlier_than_the_last_of_those_that_were_counted(
        self, world: World, tmp_path: Path, used: int
    ) -> None:
        """Not only than the one for which numbers were taken; also when none of them is left to be given back."""
        declare(world, "enabled: true, record: count")
        request = query(tmp_path)
        granted(world, request)
        world.pass_time(timedelta(seconds=59))
        for _ in range(used - 1):
            granted(world, request)
        world.services.timestamps.close()
        assert recorded(world) == used
        world.timepiece.moved = -30 * SECOND
        restarted(world)
        assert refused(world, request)[0] is LATE
        world.pass_time(timedelta(seconds=29))
        granted(world, request)  # within the tolerance of a second

    def test_a_killed_process_has_recorded_when_it_stamped_but_for_a_minute(self, world: World, tmp_path: Path) -> None:
        declare(world, "enabled: true, record: count")
        request = query(tmp_path)
        for hours in (0, 3):
            world.pass_time(timedelta(hours=hours))
            granted(world, request)
        world.pass_time(timedelta(seconds=59))
        granted(world, request)
        world.timepiece.moved = -62 * SECOND
        restarted(world)
        assert refused(world, request)[0] is LATE

    def test_what_another_authority_stamped_counts_too(self, sqlite_world: World, tmp_path: Path) -> None:
        request = query(tmp_path)
        sqlite_world.apply(
            "authorities: [ { name: a, timestamp: { enabled: true } }, { name: b, timestamp: { enabled: true } } ]"
        )
        granted(sqlite_world, request, "a")
        sqlite_world.timepiece.moved = -HOUR
        restarted(sqlite_world)
        assert refused(sqlite_world, request, "b")[0] is LATE

    def test_a_step_while_nobody_asked_is_noticed(self, sqlite_world: World, tmp_path: Path) -> None:
        declare(sqlite_world)
        request = query(tmp_path)
        granted(sqlite_world, request)
        sqlite_world.pass_time(timedelta(hours=10))
        sqlite_world.timepiece.moved = -HOUR  # still later than the last token
        assert refused(sqlite_world, request)[0] is LATE

    def test_what_lies_within_the_tolerance_is_no_step(self, sqlite_world: World, tmp_path: Path) -> None:
        declare(sqlite_world)
        request = query(tmp_path)
        granted(sqlite_world, request)
        sqlite_world.timepiece.moved = -SECOND // 2
        granted(sqlite_world, request)
        declare(sqlite_world, "enabled: true, accuracy: 100ms")
        sqlite_world.timepiece.moved = -SECOND
        assert refused(sqlite_world, request)[0] is LATE, "an accuracy that is finer wins"

    def test_a_step_ahead_cannot_be_told_from_sleep(self, sqlite_world: World, tmp_path: Path) -> None:
        declare(sqlite_world)
        granted(sqlite_world, query(tmp_path))
        sqlite_world.timepiece.moved = HOUR
        granted(sqlite_world, query(tmp_path))


@pytest.mark.row("F141")
@pytest.mark.parametrize("record", ["all", "count"])
def test_ordered_tokens_are_not_of_the_future_after_a_clock_was_ahead(
    world: World, tmp_path: Path, record: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It jumped while nobody vouched for it; servers say that it is right now, and the order would have it later."""
    stamping = f"enabled: true, ordering: true, accuracy: 1s, record: {record}"
    declare(world, stamping)
    world.timepiece.moved = HOUR
    request = query(tmp_path)
    ahead = tst_info(granted(world, request))["gen_time"].native
    world.timepiece.moved = 0
    restarted(world)
    before = recorded(world)
    with NTPServer(world.timepiece.steady) as server:
        declare(world, stamping, settings=f'clock: {{ ntp: ["{server.name}"] }}')
        for _ in range(3):
            assert refused(world, request)[0] is LATE
        assert caplog.text.count("times are ordered, and one was given that is 3600.000 s ahead") == 1
        with pytest.raises(Unavailable):
            world.services.timestamps.countersign("issuing", authenticode_request(b"signature"))
        assert recorded(world) == before, "the write is taken back"
        world.pass_time(timedelta(minutes=59, seconds=58))
        assert refused(world, request)[0] is LATE
        world.pass_time(timedelta(seconds=2))
        assert tst_info(granted(world, request))["gen_time"].native > ahead


class TestVouched:
    def test_a_time_may_be_ahead_by_what_the_clock_has_left_of_its_accuracy(self, sqlite_world: World) -> None:
        timepiece = sqlite_world.timepiece
        now = Vouched(timepiece.wall(), timepiece.steady(), 100, timepiece)
        now.check(now.moment + 100)
        with pytest.raises(ClockUnsure):
            now.check(now.moment + 101)
        timepiece.passed = 50  # while others wrote
        now.check(now.moment + 150)
        with pytest.raises(ClockUnsure):
            now.check(now.moment + 151)

    def test_what_the_clock_is_off_is_not_left(self, sqlite_world: World) -> None:
        def ask(servers: Sequence[str], limit: int) -> list[TimeAnswer]:
            return [TimeSample("ntp.example", 300_000, 100_000)]

        watch = ClockWatch(sqlite_world.timepiece, lambda: ClockSettings(ntp=("ntp.example",)), lambda: 0, ask)
        assert watch.moment(999_000).leeway == 599_000
        sqlite_world.timepiece.moved = -50_000
        assert watch.moment(999_000).leeway == 549_000


class TestWithServers:
    """Real ones, on UDP sockets."""

    @pytest.fixture
    def servers(self, sqlite_world: World) -> Iterator[list[NTPServer]]:
        """Three that are right; the true time is what the world's clock shows when nobody has moved it."""
        true = sqlite_world.timepiece.steady
        with ExitStack() as stack:
            made = [stack.enter_context(NTPServer(true)) for _ in range(3)]
            names = ", ".join(f'"{server.name}"' for server in made)
            declare(sqlite_world, settings=f"clock: {{ ntp: [{names}], every: 60s }}")
            yield made

    @pytest.mark.row("F141")
    def test_they_agree(self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path) -> None:
        request = query(tmp_path)
        granted(sqlite_world, request)
        asked = sum(server.asked for server in servers)
        assert 2 <= asked <= 3
        for _ in range(20):
            sqlite_world.pass_time(timedelta(seconds=2))
            granted(sqlite_world, request)
        assert sum(server.asked for server in servers) <= 3, "they are not asked for each token"
        sqlite_world.pass_time(timedelta(seconds=30))
        granted(sqlite_world, request)
        assert 4 <= sum(server.asked for server in servers) <= 6

    @pytest.mark.row("F141")
    def test_one_lies(self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path) -> None:
        servers[1].ahead = HOUR
        granted(sqlite_world, query(tmp_path))

    @pytest.mark.row("F141")
    @pytest.mark.parametrize("ahead", [HOUR, -HOUR])
    def test_most_disagree(self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path, ahead: int) -> None:
        servers[0].ahead = servers[2].ahead = ahead
        request = query(tmp_path)
        assert refused(sqlite_world, request)[0] is LATE
        assert recorded(sqlite_world) == 0
        with pytest.raises(Unavailable):
            sqlite_world.services.timestamps.countersign("issuing", authenticode_request(b"signature"))
        servers[0].ahead = 0
        assert refused(sqlite_world, request)[0] is LATE, "they are left alone for a second"
        sqlite_world.pass_time(timedelta(seconds=1))
        granted(sqlite_world, request)

    @pytest.mark.row("F141")
    def test_most_fall_silent(self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path) -> None:
        request = query(tmp_path)
        granted(sqlite_world, request)
        servers[0].silent = servers[1].silent = True
        sqlite_world.pass_time(timedelta(seconds=59))
        granted(sqlite_world, request)
        sqlite_world.pass_time(timedelta(seconds=1))
        sqlite_world.network.patience = 0.1
        assert refused(sqlite_world, request)[0] is LATE
        sqlite_world.network.patience = 60.0
        servers[1].silent = False
        sqlite_world.pass_time(timedelta(seconds=1))
        granted(sqlite_world, request)

    @pytest.mark.row("F141")
    def test_the_clock_is_moved(
        self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Either way, and at once: not only when the servers are asked the next time."""
        request = query(tmp_path)
        for moved in (-HOUR, HOUR):
            granted(sqlite_world, request)
            sqlite_world.timepiece.moved = moved
            assert refused(sqlite_world, request)[0] is LATE
            assert f"{servers[0].name}: {'+' if moved < 0 else '-'}3600.000 s" in caplog.text
            sqlite_world.timepiece.moved = 0
            sqlite_world.pass_time(timedelta(seconds=1))
            granted(sqlite_world, request)

    def test_a_wrong_clock_that_is_set_right_need_not_wait(
        self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path
    ) -> None:
        """An hour was stamped ahead before servers were declared; they say that it is right to be earlier now."""
        text = (sqlite_world.folder / "pki.yaml").read_text()
        declare(sqlite_world, settings="clock: { ntp: [] }")
        sqlite_world.timepiece.moved = HOUR
        ahead = tst_info(granted(sqlite_world, query(tmp_path)))["gen_time"].native
        sqlite_world.timepiece.moved = 0
        assert refused(sqlite_world, query(tmp_path))[0] is LATE
        sqlite_world.apply(text)
        sqlite_world.pass_time(timedelta(seconds=6))
        assert tst_info(granted(sqlite_world, query(tmp_path)))["gen_time"].native < ahead

    def test_an_accuracy_finer_than_what_they_can_vouch_for(
        self, sqlite_world: World, servers: list[NTPServer], tmp_path: Path
    ) -> None:
        for server in servers:
            server.root_dispersion = 0.2
        request = query(tmp_path)
        granted(sqlite_world, request)
        text = (sqlite_world.folder / "pki.yaml").read_text()
        sqlite_world.apply(text.replace("enabled: true", "enabled: true, accuracy: 100ms"))
        assert refused(sqlite_world, request)[0] is LATE
        for server in servers:
            server.root_dispersion = 0.0
        sqlite_world.pass_time(timedelta(seconds=1))
        granted(sqlite_world, request)

    @pytest.mark.row("F141")
    @pytest.mark.parametrize(
        ("accuracy", "late"), [("1s", 998_500), ("1s", 999_500), ("1500ms", 999_990), ("10ms", 9_998)]
    )
    def test_a_token_is_never_off_by_more_than_it_says(
        self, sqlite_world: World, tmp_path: Path, accuracy: str, late: int
    ) -> None:
        """The clock is late, and genTime is cut: both together are within the accuracy, or there is no token."""
        true = sqlite_world.timepiece.steady
        sqlite_world.timepiece.moved, sqlite_world.timepiece.passed = -late, late + 999_999
        request = query(tmp_path)
        with NTPServer(true) as server:
            declare(
                sqlite_world, f"enabled: true, accuracy: {accuracy}", settings=f'clock: {{ ntp: ["{server.name}"] }}'
            )
            response, failure = sqlite_world.services.timestamps.answer("issuing", request)
        assert (failure is LATE) == (late == 999_500)
        if failure is None:
            info = tst_info(response)
            said = {"seconds": 0, "millis": 0, "micros": 0} | {k: v for k, v in info["accuracy"].native.items() if v}
            allowed = timedelta(seconds=said["seconds"], milliseconds=said["millis"], microseconds=said["micros"])
            moment = info["gen_time"].native
            assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=true()) - moment <= allowed

    def test_what_they_vouched_for_holds_when_they_are_no_longer_declared(
        self, sqlite_world: World, tmp_path: Path
    ) -> None:
        declare(sqlite_world)
        sqlite_world.timepiece.moved = HOUR
        granted(sqlite_world, query(tmp_path))
        sqlite_world.timepiece.moved = 0
        with NTPServer(sqlite_world.timepiece.steady) as server:
            for servers in (f'"{server.name}"', ""):
                declare(sqlite_world, settings=f"clock: {{ ntp: [{servers}] }}")
                sqlite_world.pass_time(timedelta(seconds=5))
                granted(sqlite_world, query(tmp_path))

    def test_servers_that_are_declared_later_are_asked(self, sqlite_world: World, tmp_path: Path) -> None:
        declare(sqlite_world)
        request = query(tmp_path)
        granted(sqlite_world, request)
        with NTPServer(sqlite_world.timepiece.steady, ahead=HOUR) as server:
            declare(sqlite_world, settings=f'clock: {{ ntp: ["{server.name}"] }}')
            sqlite_world.pass_time(timedelta(seconds=5))
            assert refused(sqlite_world, request)[0] is LATE
