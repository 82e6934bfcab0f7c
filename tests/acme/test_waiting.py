"""An answer that waits a moment for what a client would otherwise ask for again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pkiconf.acme.authorizations import Authorizations
from pkiconf.acme.waiting import LONGEST, Waiting
from pkiconf.errors import Unavailable
from pkiconf.model.acme import (
    Account,
    Authorization,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    ProblemType,
)
from tests.acme.place import Place
from tests.network import NOT_THERE

HTTP = ChallengeType.HTTP_01


class Time:
    """Passes only while somebody sleeps; `then` is what happens meanwhile."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self.asked: list[str] = []
        self.open = 0
        self._then = then

    def ticks(self) -> float:
        return self.now

    def ask(self, thing: str) -> None:
        self.asked.append(thing)
        self.open += 1

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.naps.append(seconds)
        self._then()
        return False

    def close(self) -> None:
        self.open -= 1


def waiting(time: Time, places: int = 1) -> Waiting:
    return Waiting(places, lambda: time, time.ticks)


def test_it_ends_as_soon_as_there_is_something() -> None:
    time, found = Time(), iter([None, None, "news", "more"])
    assert waiting(time).until(lambda: next(found), "1") == "news"
    assert len(time.naps) == 3
    assert time.naps == sorted(time.naps), "ever more patient"


def test_it_ends_after_a_second() -> None:
    time = Time()
    assert waiting(time).until(lambda: None, "1") is None
    assert LONGEST <= time.now < LONGEST + 0.1
    assert len(time.naps) < 40


def test_where_nobody_may_wait_it_begins_and_nothing_is_looked_at() -> None:
    def look() -> str:
        raise AssertionError

    time, begun = Time(), list[str]()
    assert waiting(time, places=0).until(look, "1", lambda: begun.append("begun")) is None
    assert (time.naps, time.asked, begun) == ([], [], ["begun"])


def test_it_is_asked_for_before_it_begins() -> None:
    """Else it might be over before anybody knows who wants to be told."""
    time, asked = Time(), list[list[str]]()
    assert waiting(time).until(lambda: "news", "7", lambda: asked.append(list(time.asked))) == "news"
    assert asked == [["7"]]


def test_of_three_the_third_is_answered_at_once() -> None:
    """Who waits may not keep others from being served."""
    time, inner = Time(), list[str | None]()
    room = waiting(time, places=2)

    def third() -> str:
        inner.append(room.until(lambda: "third", "3"))
        return "second"

    assert room.until(lambda: room.until(third, "2"), "1") == "second"
    assert inner == [None]
    assert room.until(lambda: "free again", "4") == "free again"


def test_a_place_is_free_again_after_an_error() -> None:
    def broken() -> str:
        raise Unavailable("the database is away")

    time = Time()
    room = waiting(time)
    for _ in range(3):
        with pytest.raises(Unavailable):
            room.until(broken, "1")
    assert room.until(lambda: "served", "2") == "served"
    assert time.open == 0, "no line is left open"


# --- what is waited for --------------------------------------------------------------------------------------------


class Case:
    """An order for one name, and authorizations whose waiting lets `then` happen."""

    def __init__(self, place: Place, then: Callable[[], object]) -> None:
        place.policy()
        self.time = Time(then)
        self.account: Account = place.account()
        (self.name,) = place.order(self.account, "a.corp.example").authorizations
        acme = place.acme
        self.authorizations = Authorizations(place.world.parts, acme.authorizations._terms, waiting(self.time))

    def respond(self) -> Authorization:
        return self.authorizations.respond(self.account, self.name, HTTP)

    def get(self) -> Authorization:
        return self.authorizations.get(self.account, self.name)


def validate(place: Place) -> Callable[[], object]:
    def run() -> None:
        for task in place.acme.validations.claim("w1", 16):
            place.acme.validations.attempt(task)

    return run


def test_the_answer_to_a_challenge_tells_what_came_of_it(place: Place) -> None:
    place.world.network.proofs.add("a.corp.example")
    case = Case(place, validate(place))
    answered = case.respond()
    assert answered.status is AuthorizationStatus.VALID
    assert [challenge.status for challenge in answered.challenges] == [ChallengeStatus.VALID]
    assert answered.retry_after is None
    assert len(case.time.naps) == 1
    assert case.get() == answered
    assert len(case.time.naps) == 1, "nothing is waited for any more"


def test_one_that_takes_longer_is_processing(sqlite_place: Place) -> None:
    case = Case(sqlite_place, lambda: None)
    answered = case.respond()
    assert answered.status is AuthorizationStatus.PENDING
    assert answered.challenges[0].status is ChallengeStatus.PROCESSING
    assert answered.retry_after == 1
    assert case.time.now >= LONGEST


def test_who_asks_later_is_told_in_the_same_way(sqlite_place: Place) -> None:
    sqlite_place.world.network.proofs.add("a.corp.example")
    happens: list[Callable[[], object]] = []
    case = Case(sqlite_place, lambda: [act() for act in happens])
    assert case.respond().status is AuthorizationStatus.PENDING
    happens.append(validate(sqlite_place))
    assert case.get().status is AuthorizationStatus.VALID


def test_a_first_attempt_that_fails_is_told_and_not_waited_for_again(sqlite_place: Place) -> None:
    """The next attempt comes after a pause that is longer than anybody should wait."""
    case = Case(sqlite_place, validate(sqlite_place))
    answered = case.respond()
    assert (answered.status, answered.retry_after) == (AuthorizationStatus.PENDING, 1)
    assert answered.challenges[0].error is not None
    assert answered.challenges[0].error.detail == NOT_THERE.detail
    assert answered.challenges[0].error.type is ProblemType.CONNECTION
    naps = len(case.time.naps)
    assert case.get() == answered
    assert len(case.time.naps) == naps


def test_what_nobody_has_answered_is_not_waited_for(sqlite_place: Place) -> None:
    case = Case(sqlite_place, lambda: None)
    assert case.get().status is AuthorizationStatus.PENDING
    assert case.time.naps == []


def test_one_that_is_deactivated_meanwhile(sqlite_place: Place) -> None:
    case = Case(sqlite_place, lambda: sqlite_place.acme.authorizations.deactivate(case.account, case.name))
    assert case.respond().status is AuthorizationStatus.DEACTIVATED
    assert len(case.time.naps) == 1


def test_one_that_expires_meanwhile(sqlite_place: Place) -> None:
    case = Case(sqlite_place, lambda: sqlite_place.world.pass_time(timedelta(days=100)))
    assert case.respond().status is AuthorizationStatus.EXPIRED
