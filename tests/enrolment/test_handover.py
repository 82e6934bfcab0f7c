"""A profile that goes to a file: whatever goes wrong, no request stays approved that nobody was told of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pkiconf.enrolment.grants import LIFETIME
from pkiconf.enrolment.profiles import Profile
from pkiconf.errors import NotSigned, PkiconfError, Unavailable
from pkiconf.model.durations import Duration
from pkiconf.scep.challenges import CacheFull
from tests.enrolment.office import Office, wish
from tests.world import OPERATOR

Put = Callable[[Callable[[], bytes]], object]


def hand_over(office: Office, put: Put, lifetime: Duration = LIFETIME) -> Profile:
    asked = wish(template="issuing/device", apple=True)
    return office.world.services.enrolment.handover.preapprove(asked, OPERATOR, put, lifetime)


def unused(office: Office) -> int:
    now = int(office.world.clock.now().timestamp())
    return len(office.rows(f"SELECT id FROM scep_challenge WHERE consumed_at IS NULL AND expires_at > {now}"))


def states(office: Office) -> list[tuple[str, str]]:
    return [(row[0], row[1] or "") for row in office.rows("SELECT state, reason FROM request ORDER BY id")]


@pytest.mark.row("F126")
def test_a_request_and_its_profile(both: Office) -> None:
    made: list[bytes] = []
    profile = hand_over(both, lambda make: made.append(make()))
    assert made == [profile.der]
    assert b"PayloadContent" in profile.der
    assert (profile.number, both.state(1), unused(both)) == (1, "awaiting_claim", 1)


def test_a_profile_is_good_for_as_long_as_a_challenge_may_be(office: Office) -> None:
    """Links may last longer, and so may another profile be made of the same request later."""
    profiles, now = office.world.services.enrolment.profiles, office.world.clock.now
    handed = hand_over(office, lambda make: make(), Duration.parse("60d"))
    assert handed.expires_at == now() + timedelta(days=30)
    office.world.pass_time(timedelta(days=29))
    assert profiles.make(1, OPERATOR).expires_at == now() + timedelta(days=30)
    office.world.pass_time(timedelta(days=21))
    assert profiles.make(1, OPERATOR).expires_at == now() + timedelta(days=10)


def test_a_place_that_cannot_be_opened(office: Office) -> None:
    def put(make: Callable[[], bytes]) -> None:
        raise Unavailable("the disk is gone")

    with pytest.raises(Unavailable, match="the disk is gone"):
        hand_over(office, put)
    assert (states(office), unused(office)) == ([], 0)


@pytest.mark.parametrize("ends", [Unavailable("the disk is full"), KeyboardInterrupt(), OSError("the disk is full")])
def test_a_place_that_fails_at_the_end(both: Office, ends: BaseException) -> None:
    def put(make: Callable[[], bytes]) -> None:
        make()
        raise ends

    with pytest.raises(type(ends)):
        hand_over(both, put)
    assert states(both) == [("declined", "its profile could not be handed over")]
    assert unused(both) == 0
    assert [one["actor"] for one in both.told("request.decline")] == [str(OPERATOR)]


@pytest.mark.parametrize("ends", [Unavailable("the disk is full"), KeyboardInterrupt()])
def test_another_profile_that_could_not_be_written_takes_no_room(both: Office, ends: BaseException) -> None:
    def put(make: Callable[[], bytes]) -> None:
        make()
        assert unused(both) == 2
        raise ends

    hand_over(both, lambda make: make())
    with pytest.raises(type(ends)):
        both.world.services.enrolment.handover.make(1, OPERATOR, put)
    assert (both.state(1), unused(both)) == ("awaiting_claim", 1)
    assert both.rows("SELECT id FROM scep_challenge ORDER BY expires_at DESC LIMIT 1") == [(1,)]
    (withdrawn,) = both.told("template.scep-challenge-withdraw")
    assert (withdrawn["actor"], withdrawn["details"]) == (str(OPERATOR), {"challenge": 2})


def test_a_profile_that_cannot_be_signed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise NotSigned("the key does not answer")

    monkeypatch.setattr(office.world.services.enrolment.profiles, "_signed", fail)
    with pytest.raises(NotSigned):
        hand_over(office, lambda make: make())
    assert (states(office)[0][0], unused(office)) == ("declined", 0)


def test_room_that_is_taken_meanwhile(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.change("challenges: true }", "challenges: true, ndes: { max_outstanding: 1 } }")
    hand_over(office, lambda make: make())
    with pytest.raises(CacheFull):
        hand_over(office, lambda make: make())
    assert [state for state, _ in states(office)] == ["awaiting_claim"]
    monkeypatch.setattr(office.world.services.enrolment.profiles, "check_room", lambda template: None)
    with pytest.raises(CacheFull):
        hand_over(office, lambda make: make())
    assert [state for state, _ in states(office)] == ["awaiting_claim", "declined"]


def test_what_cannot_be_declined_either_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the database is away")

    def put(make: Callable[[], bytes]) -> None:
        make()
        monkeypatch.setattr(office.world.parts.db, "write", fail)
        raise Unavailable("the disk is full")

    with pytest.raises(PkiconfError) as caught:
        hand_over(office, put)
    assert "the disk is full" in caught.value.detail
    assert "request 1 is approved all the same" in caught.value.detail
    assert "the database is away" in caught.value.detail
    assert "pkiconf request decline 1" in caught.value.hint
