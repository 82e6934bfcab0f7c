"""What is made of the answers of time servers, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from pkiconf.clock import SystemTimepiece
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.ntp import ask_servers
from pkiconf.entropy import SystemEntropy
from pkiconf.model.time_source import TimeAnswer, TimeSample, TimeSilence
from tests.egress.conftest import SilentResolver
from tests.ntp_server import NTPServer, timestamp

SECOND = 1_000_000
WALL = SystemTimepiece().wall


def ask(
    *servers: NTPServer | str,
    seconds: float = 30.0,
    enough: Callable[[Sequence[TimeAnswer]], bool] = lambda answers: False,
) -> list[TimeAnswer]:
    """Until all have answered. Who is silent is given a time-out of its own."""
    names = [server if isinstance(server, str) else server.name for server in servers]
    return ask_servers(names, SystemTimepiece(), SystemEntropy(), Deadline.within(seconds), enough)


@pytest.mark.parametrize("ahead", [0, 3 * SECOND, -3 * SECOND, 86_400 * SECOND])
def test_the_offset_of_a_server(ahead: int) -> None:
    with NTPServer(WALL, ahead) as server:
        (found,) = ask(server)
    assert isinstance(found, TimeSample)
    assert found.server == server.name
    assert abs(found.offset - ahead) <= found.error + 2
    assert 0 <= found.error < 30 * SECOND


def test_what_a_server_says_of_its_own_error_counts() -> None:
    with NTPServer(WALL, root_delay=2.0, root_dispersion=3.0) as server:
        (found,) = ask(server)
    assert isinstance(found, TimeSample)
    assert found.error >= 4 * SECOND
    assert found.furthest >= found.error


def test_times_after_2036_lie_in_the_next_era() -> None:
    later = 2_100_000_000 * SECOND  # 2036-07-18
    assert timestamp(later)[0] < 0x80

    class Later:
        def wall(self) -> int:
            return later

        def steady(self) -> int:
            return 0

    with NTPServer(lambda: later + 5 * SECOND) as server:
        (found,) = ask_servers([server.name], Later(), SystemEntropy(), Deadline.within(30), lambda answers: False)
    assert isinstance(found, TimeSample)
    assert abs(found.offset - 5 * SECOND) <= 2


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"stratum": 0, "reference": b"RATE"}, "does not want to be asked (RATE)"),
        ({"stratum": 0, "reference": b"\xff\0\0\0"}, "does not want to be asked"),
        ({"stratum": 16}, "does not know the time itself"),
        ({"first": 0xE4}, "does not know the time itself"),
        ({"first": 0x23}, "does not know the time itself"),
        ({"change": lambda answer: answer[:40] + bytes(8)}, "does not know the time itself"),
        ({"change": lambda answer: answer[:32] + bytes(8) + answer[40:]}, "does not know the time itself"),
        ({"change": lambda answer: answer[:40] + timestamp(WALL() - 9 * SECOND)}, "contradict each other"),
        ({"change": lambda answer: answer[:40] + timestamp(WALL() + 900 * SECOND)}, "contradict each other"),
    ],
)  # fmt: skip
def test_answers_that_are_worth_nothing(fields: dict[str, object], why: str) -> None:
    with NTPServer(WALL, **fields) as server:  # type: ignore[arg-type]
        (found,) = ask(server)
    assert isinstance(found, TimeSilence)
    assert why in found.why


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: b"",
        lambda answer: answer[:47],
        lambda answer: answer[:24] + bytes(8) + answer[32:],
        lambda answer: b"\0" * 48,
    ],
    ids=["empty", "short", "another question's", "zeros"],
)
def test_what_answers_no_question_of_ours_is_passed_over(change: Callable[[bytes], bytes]) -> None:
    with NTPServer(WALL, change=change) as server:
        (found,) = ask(server, seconds=0.2)
    assert found == TimeSilence(server.name, "no answer in time")


def test_all_are_asked_at_once_and_the_silent_ones_not_waited_for() -> None:
    with ExitStack() as stack:
        right = [stack.enter_context(NTPServer(WALL)) for _ in range(2)]
        silent = stack.enter_context(NTPServer(WALL, silent=True))
        found = ask(*right, silent, enough=lambda answers: len(answers) >= 2)
        assert {answer.server for answer in found} == {server.name for server in right}
        found = ask(*right, silent, seconds=0.2)
        assert TimeSilence(silent.name, "no answer in time") in found
        assert len(found) == 3


def test_a_resolver_that_is_silent_is_waited_for_until_the_deadline(silence: SilentResolver) -> None:
    for _ in range(3):
        found = ask("silent.example", seconds=0.2)
        assert found == [TimeSilence("silent.example", "its name was not found in time")]
    assert silence.asked == ["silent.example"], "one thread waits for it"
    assert silence.ended == [], "and nobody else does"


def test_a_resolver_that_is_silent_keeps_no_server_from_answering(silence: SilentResolver) -> None:
    with NTPServer(WALL) as server:
        found = ask("silent-too.example", server, enough=lambda answers: len(answers) == 1)
    assert [type(answer) for answer in found] == [TimeSample]
    assert silence.ended == []


def test_a_name_that_is_found_late_is_still_asked(silence: SilentResolver) -> None:
    with NTPServer(WALL) as server:
        name = server.name.replace("127.0.0.1", "late.example")
        assert name != server.name
        threading.Timer(0.2, silence.heard.set).start()
        (found,) = ask(name)
    assert isinstance(found, TimeSample)
    assert found.server == name


def test_a_name_that_cannot_be_written_in_the_dns() -> None:
    (found,) = ask(f"{'a' * 70}.example")
    assert isinstance(found, TimeSilence)
    assert found.why


def test_no_thread_can_be_had_for_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        (found,) = ask("threadless.example")
        assert isinstance(found, TimeSilence)
        assert "can't start new thread" in found.why


def test_a_server_that_is_not_there() -> None:
    found = ask("127.0.0.1:1", "does-not-exist.invalid", seconds=5)
    assert [type(answer) for answer in found] == [TimeSilence, TimeSilence]
