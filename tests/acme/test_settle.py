"""What an ended validation moves: each order just once, also when several end at the same time."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkiconf.acme.settle import note_attempt, settle
from pkiconf.model.acme import (
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    OrderStatus,
    Problem,
    ProblemType,
)
from pkiconf.steps import Step
from pkiconf.store import acme_authorizations, acme_orders
from pkiconf.store.database import Connection
from tests.acme.place import Place, at_once, identifiers

FAILED = Problem(ProblemType.INCORRECT_RESPONSE, "the answer was another one")
HOLD = 0.4
"""Seconds that a transaction is kept open, so that others come into it."""


def id_of(place: Place, name: str) -> int:
    return int(place.rows("SELECT id FROM acme_authorization WHERE name = :name", name=name)[0][0])


def test_an_order_is_ready_with_its_last_authorization(place: Place) -> None:
    place.policy()
    account = place.account()
    order = place.order(account, "a.example", "b.example", "c.example")
    other = place.order(account, "c.example", "d.example")
    for number, name in enumerate(order.authorizations):
        assert place.acme.orders.get(account, order.name).status is OrderStatus.PENDING
        place.acme.authorizations.respond(account, name, ChallengeType.DNS_01)
        place.settle(name)
        assert place.acme.authorizations.get(account, name).status is AuthorizationStatus.VALID, number
    assert place.acme.orders.get(account, order.name).status is OrderStatus.READY
    assert place.acme.orders.get(account, other.name).status is OrderStatus.PENDING


def test_a_failure_ends_every_order_that_waits_for_it(place: Place) -> None:
    place.policy(preapproved_domains=["ok.example"])
    account = place.account()
    first, second = place.order(account, "a.example", "ok.example"), place.order(account, "b.example", "a.example")
    apart, ready = place.order(account, "c.example"), place.order(account, "ok.example")
    (shared,) = set(first.authorizations) & set(second.authorizations)
    place.acme.authorizations.respond(account, shared, ChallengeType.HTTP_01)
    place.settle(shared, FAILED)
    for order in (first, second):
        found = place.acme.orders.get(account, order.name)
        assert found.status is OrderStatus.INVALID
        assert found.error == Problem(FAILED.type, FAILED.detail, identifiers("a.example")[0])
    assert place.acme.orders.get(account, apart.name).status is OrderStatus.PENDING
    assert place.acme.orders.get(account, ready.name).status is OrderStatus.READY
    authorization = place.acme.authorizations.get(account, shared)
    assert authorization.status is AuthorizationStatus.INVALID
    (challenge,) = authorization.challenges
    assert (challenge.type, challenge.status) == (ChallengeType.HTTP_01, ChallengeStatus.INVALID)
    assert challenge.error is not None
    assert challenge.error.detail == FAILED.detail


@pytest.mark.parametrize("status", ["valid", "invalid", "deactivated", "revoked"])
@pytest.mark.parametrize("problem", [None, FAILED])
def test_what_has_ended_stays_as_it_is(sqlite_place: Place, status: str, problem: Problem | None) -> None:
    place = sqlite_place
    place.policy()
    order = place.order(place.account(), "a.example")
    place.sql(f"UPDATE acme_authorization SET status = '{status}'")
    before = place.state()
    place.settle(order.authorizations[0], problem)
    assert place.state() == before


@pytest.mark.parametrize("problem", [None, FAILED])
def test_what_is_not_there(sqlite_place: Place, problem: Problem | None) -> None:
    before = sqlite_place.state()
    sqlite_place.write(Step.ACME_VALIDATED, lambda c: settle(c, 4711, problem, 1))
    sqlite_place.write(Step.ACME_VALIDATED, lambda c: note_attempt(c, 4711, FAILED))
    assert sqlite_place.state() == before


def test_an_attempt_is_seen_while_others_follow(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    account = place.account()
    order = place.order(account, "a.example")
    (name,) = order.authorizations
    place.acme.authorizations.respond(account, name, ChallengeType.HTTP_01)
    place.write(Step.ACME_VALIDATED, lambda c: note_attempt(c, id_of_in(c, name), FAILED))
    authorization = place.acme.authorizations.get(account, name)
    assert authorization.status is AuthorizationStatus.PENDING
    shown = {one.type: (one.status, one.error) for one in authorization.challenges}
    assert shown[ChallengeType.HTTP_01] == (ChallengeStatus.PROCESSING, FAILED)
    assert shown[ChallengeType.DNS_01] == (ChallengeStatus.PENDING, None)
    assert place.rows("SELECT attempts FROM acme_authorization") == [(1,)]
    place.settle(name)
    (challenge,) = place.acme.authorizations.get(account, name).challenges
    assert (challenge.status, challenge.error, challenge.validated_at) == (ChallengeStatus.VALID, None, place.now)


def id_of_in(c: Connection, name: str) -> int:
    row = acme_authorizations.find_by_name(c, name)
    assert row is not None
    return row.id


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(st.booleans(), min_size=1, max_size=5), data=st.data())
def test_an_order_is_ready_only_when_all_hold(sqlite_place: Place, outcomes: list[bool], data: st.DataObject) -> None:
    """In whatever order they end."""
    place = sqlite_place
    place.policy()
    account = place.account()
    order = place.order(account, *(f"h{number}.example" for number in range(len(outcomes))))
    sequence = data.draw(st.permutations(range(len(outcomes))))
    for number in sequence:
        place.settle(order.authorizations[number], None if outcomes[number] else FAILED)
    found = place.acme.orders.get(account, order.name).status
    assert found is (OrderStatus.READY if all(outcomes) else OrderStatus.INVALID)


def test_two_that_end_at_once_both_count(place: Place) -> None:
    """Each transaction stays open until the other has begun: neither sees what the other has not committed."""
    place.policy()
    account = place.account()
    order = place.order(account, "a.example", "b.example")
    numbers = [id_of(place, name) for name in order.authorizations]

    def end(number: int) -> Any:
        def write(c: Connection) -> None:
            settle(c, number, None, place.now)
            time.sleep(HOLD)

        return lambda: place.write(Step.ACME_VALIDATED, write)

    assert at_once(*map(end, numbers)) == [None, None]
    assert place.acme.orders.get(account, order.name).status is OrderStatus.READY


def test_many_that_end_at_once(place: Place) -> None:
    place.policy()
    account = place.account()
    names = [f"h{number}.example" for number in range(6)]
    orders = [place.order(account, *names[number:], *names[:number]) for number in range(len(names))]
    at_once(*[lambda one=one: place.settle(one) for one in orders[0].authorizations])
    for order in orders:
        assert place.acme.orders.get(account, order.name).status is OrderStatus.READY


def test_parallel_validations_of_one_authorization(place: Place) -> None:
    """The first that ends decides; the order says the same as its authorization."""
    place.policy()
    account = place.account()
    for _ in range(5):
        order = place.order(account, "a.example")
        (name,) = order.authorizations
        outcomes = [None, FAILED, None, FAILED]
        at_once(*[lambda one=one, name=name: place.settle(name, one) for one in outcomes])
        found = place.acme.authorizations.get(account, name).status
        expected = OrderStatus.READY if found is AuthorizationStatus.VALID else OrderStatus.INVALID
        assert place.acme.orders.get(account, order.name).status is expected
        assert place.rows("SELECT attempts FROM acme_authorization WHERE name = :name", name=name) == [(1,)]
        place.sql("UPDATE acme_authorization SET status = 'revoked'")


@pytest.mark.parametrize("problem", [None, FAILED])
def test_an_order_made_while_its_proof_ends(place: Place, problem: Problem | None) -> None:
    """It leans on an authorization that is just being settled, and must not wait for what has happened already."""
    place.policy()
    account = place.account()
    first = place.order(account, "a.example")
    place.acme.authorizations.respond(account, first.authorizations[0], ChallengeType.HTTP_01)
    number = id_of(place, first.authorizations[0])
    settling = threading.Event()

    def slow(c: Connection) -> None:
        settle(c, number, problem, place.now)
        settling.set()
        time.sleep(HOLD)

    def order_meanwhile() -> Any:
        settling.wait(10)
        return place.order(account, "a.example")

    _, second = at_once(lambda: place.write(Step.ACME_VALIDATED, slow), order_meanwhile)
    place.policy()
    found = place.acme.orders.get(account, second.name)
    if problem is None:
        assert found.status is OrderStatus.READY
    else:  # a failed one is not leant on: there is a new one to be proved
        assert found.status is OrderStatus.PENDING
        assert second.authorizations != first.authorizations


@pytest.mark.parametrize("problem", [None, FAILED])
def test_a_proof_that_ends_while_an_order_is_made(
    place: Place, problem: Problem | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order has found a pending authorization and is not committed: whoever settles it has to find the order."""
    place.policy()
    account = place.account()
    place.order(account, "a.example")
    made, add = threading.Event(), acme_orders.add

    def slow(*arguments: Any) -> int:
        number = add(*arguments)
        made.set()
        time.sleep(HOLD)
        return number

    monkeypatch.setattr(acme_orders, "add", slow)

    def end_meanwhile() -> None:
        made.wait(10)
        ((name,),) = place.rows("SELECT name FROM acme_authorization")
        place.settle(name, problem)

    second, ended = at_once(lambda: place.order(account, "a.example"), end_meanwhile)
    assert ended is None
    expected = OrderStatus.READY if problem is None else OrderStatus.INVALID
    assert place.acme.orders.get(account, second.name).status is expected
