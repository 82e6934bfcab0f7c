"""Logs side by side: who is asked how often, what is waited for, and what keeps whom waiting."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from pkiconf.egress.https import HTTPSAnswer, Unreached
from pkiconf.egress.transparency import LARGEST_ANSWER, WORKERS, Gathered, HTTPSLogs
from pkiconf.errors import Unavailable, Unverified
from pkiconf.spec.transparency import LogSpec

SCT_TEXT = {
    "sct_version": 0,
    "id": base64.b64encode(bytes(32)).decode(),
    "timestamp": 1893499200000,
    "extensions": "",
    "signature": base64.b64encode(b"\4\3\0\1x").decode(),
}
Reply = HTTPSAnswer | Exception | Callable[[], HTTPSAnswer]


def good() -> HTTPSAnswer:
    return HTTPSAnswer(200, {}, json.dumps(SCT_TEXT).encode())


def busy(retry_after: str = "", status: int = 429) -> HTTPSAnswer:
    return HTTPSAnswer(status, {"retry-after": retry_after} if retry_after else {}, b"slow down\x1b[0m")


@dataclass
class Scripted:
    """Answers by host, one after the other; the last one again and again."""

    replies: dict[str, list[Reply]]
    asked: list[tuple[str, bytes, Mapping[str, str], int]] = field(default_factory=list)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = 0,
        seconds: float = 0,
    ) -> HTTPSAnswer:
        assert method == "POST"
        assert 0 < seconds <= 30
        self.asked.append((url, body or b"", headers or {}, limit))
        replies = self.replies[url.split("/")[2]]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, HTTPSAnswer) else reply()

    def close(self) -> None:
        pass


def spec(name: str) -> LogSpec:
    return LogSpec.model_validate({"url": f"https://{name}/2030/", "key": "AAAA"})


def gather(scripted: Scripted, *names: str, enough: int = 1, seconds: float = 30) -> tuple[Gathered, list[float]]:
    slept: list[float] = []
    logs = HTTPSLogs(scripted, slept.append)
    return logs.gather([spec(name) for name in names], [b"pre", b"root"], lambda log, sct: None, enough, seconds), slept


def test_a_chain_is_posted_as_rfc_6962_asks() -> None:
    scripted = Scripted({"a": [good()]})
    found, slept = gather(scripted, "a")
    assert (len(found.scts), found.failures, slept) == (1, {}, [])
    ((url, body, headers, limit),) = scripted.asked
    assert url == "https://a/2030/ct/v1/add-pre-chain"
    assert json.loads(body) == {"chain": [base64.b64encode(der).decode() for der in (b"pre", b"root")]}
    assert headers["Content-Type"] == "application/json"
    assert limit == LARGEST_ANSWER


@pytest.mark.parametrize(
    ("replies", "waits"),
    [
        ([busy(), good()], [0.2]),
        ([busy("3"), good()], [3.0]),
        ([busy("3"), busy(status=503), good()], [3.0, 0.8]),
        ([busy("Fri, 31 Dec 2030 23:59:59 GMT"), good()], [0.2]),
        ([busy("-1"), good()], [0.2]),
        ([busy("١"), good()], [0.2]),  # a digit, but none of HTTP's
        ([Unreached("gone"), Unavailable("late"), good()], [0.2, 0.8]),
    ],
)
def test_a_busy_log_is_asked_again_after_a_pause(replies: list[Reply], waits: list[float]) -> None:
    found, slept = gather(Scripted({"a": replies}), "a")
    assert len(found.scts) == 1
    assert slept == pytest.approx(waits)


@pytest.mark.parametrize(
    ("replies", "times", "said", "silent"),
    [
        ([busy()], 3, "it answered 429: slow down [0m", True),
        ([busy("31")], 1, "it answered 429", True),  # longer than anybody waits
        ([busy("99999")], 1, "it answered 429", True),
        ([Unreached("https://a cannot be reached")], 3, "cannot be reached", True),
        ([HTTPSAnswer(400, {}, b"unknown root")], 1, "it answered 400: unknown root", False),
        ([HTTPSAnswer(201, {}, b"")], 1, "it answered 201", False),
        ([HTTPSAnswer(200, {}, b"[" * 100_000)], 1, "not JSON", False),
        ([HTTPSAnswer(200, {}, b"\xff\xfe{}")], 1, "not JSON", False),
        ([ValueError("a fault of ours")], 1, "asking it failed: ValueError", True),
    ],
)
def test_what_a_log_gave_instead(replies: list[Reply], times: int, said: str, silent: bool) -> None:
    scripted = Scripted({"a": replies})
    found, _ = gather(scripted, "a")
    assert found.scts == ()
    assert said in found.failures["https://a/2030/"]
    assert len(scripted.asked) == times
    assert found.silent == ({"https://a/2030/"} if silent else set())


def test_what_does_not_count_is_not_asked_for_again() -> None:
    scripted = Scripted({"a": [good()]})

    def refuse(log: LogSpec, sct: object) -> None:
        raise Unverified(f"{log.url} lies")

    found = HTTPSLogs(scripted).gather([spec("a")], [b"pre"], refuse, 1, 30)
    assert (found.scts, found.failures) == ((), {"https://a/2030/": "https://a/2030/ lies"})
    assert len(scripted.asked) == 1


def test_others_are_not_waited_for_once_there_are_enough() -> None:
    held = threading.Event()

    def hangs() -> HTTPSAnswer:
        assert held.wait(60)
        return good()

    scripted = Scripted({"a": [hangs], "b": [good()], "c": [good()]})
    try:
        found, _ = gather(scripted, "a", "b", "c", enough=2)
        assert (len(found.scts), found.failures) == (2, {})
    finally:
        held.set()


def test_those_that_gave_nothing_in_time_are_named() -> None:
    held = threading.Event()

    def hangs() -> HTTPSAnswer:
        assert held.wait(60)
        return good()

    try:
        found, _ = gather(Scripted({"a": [hangs], "b": [good()]}), "a", "b", enough=2, seconds=2)
        assert len(found.scts) == 1
        assert found.failures == {"https://a/2030/": "it gave no answer in time"}
        assert found.silent == {"https://a/2030/"}
    finally:
        held.set()


def test_a_log_that_hangs_holds_so_many_threads_and_no_more() -> None:
    held = threading.Event()
    inside: list[None] = []

    def hangs() -> HTTPSAnswer:
        inside.append(None)
        assert held.wait(60)
        return good()

    scripted = Scripted({"a": [hangs], "b": [good()]})
    logs = HTTPSLogs(scripted)
    try:
        further, until = 2 * WORKERS, time.monotonic() + 50
        while further:
            assert time.monotonic() < until
            # A thread that comes to a question when it has its answer from elsewhere does not ask.
            further -= len(inside) >= WORKERS
            found = logs.gather([spec("a"), spec("b")], [b"pre"], lambda log, sct: None, 1, 30)
            assert len(found.scts) == 1
        assert sum(url.startswith("https://a/") for url, *_ in scripted.asked) == WORKERS
    finally:
        held.set()
    found = logs.gather([spec("a")], [b"pre"], lambda log, sct: None, 1, 30)
    assert len(found.scts) == 1, "it is asked again once it answers; nobody waits for the others any more"


def test_nobody_to_ask() -> None:
    found, _ = gather(Scripted({}), enough=1)
    assert found == Gathered((), {}, frozenset())
