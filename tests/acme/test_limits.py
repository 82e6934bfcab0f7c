"""Declared rate limits."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from pkiconf.errors import NotSigned
from pkiconf.model.acme import ACMEProblem, Order, OrderStatus, ProblemType
from pkiconf.store import acme_orders
from tests.acme.place import Place, at_once, der_csr

HOUR = timedelta(hours=1)


def limited(**limits: Any) -> dict[str, Any]:
    return {"preapproved_domains": ["*"], "rate_limits": limits}


def test_orders_of_an_account(place: Place) -> None:
    place.policy(**limited(orders_per_account={"count": 2, "per": "1h"}))
    account, other = place.account(), place.account()
    place.order(account, "a.example")
    place.world.pass_time(timedelta(minutes=20))
    place.order(account, "a.example")
    with place.refusal(ProblemType.RATE_LIMITED, "orders of this account: 2 within 1h") as caught:
        place.order(account, "a.example")
    assert caught[0].retry_after == 40 * 60
    place.order(other, "a.example")
    place.world.pass_time(timedelta(minutes=40))
    place.order(account, "a.example")
    with place.refusal(ProblemType.RATE_LIMITED) as caught:
        place.order(account, "a.example")
    assert caught[0].retry_after == 20 * 60


def test_orders_of_a_binding(place: Place) -> None:
    place.policy(**limited(orders_per_binding={"count": 2, "per": "1h"}))
    binding, apart = place.binding("ci", max_accounts=None), place.binding("apart")
    first, second, third = (place.account(binding=one) for one in (binding, binding, apart))
    unbound = place.account()
    place.order(first, "a.example")
    place.order(second, "a.example")
    for account in (first, second):
        with place.refusal(ProblemType.RATE_LIMITED, "all accounts of this binding"):
            place.order(account, "a.example")
    place.order(third, "a.example")
    for _ in range(3):
        place.order(unbound, "a.example")
    place.world.pass_time(HOUR)
    place.order(first, "a.example")


def test_certificates_of_a_name(place: Place) -> None:
    """Counted when they are issued; exactly this name, of whichever account."""
    place.policy(**limited(certificates_per_name={"count": 2, "per": "1h"}))
    account, other = place.account(), place.account()
    early = place.order(other, "b.example", "a.example")
    place.issued(account, "a.example")
    place.issued(other, "a.example", "c.example")
    with place.refusal(ProblemType.RATE_LIMITED, "certificates for a.example: 2 within 1h") as caught:
        place.order(account, "x.example", "a.example")
    assert caught[0].retry_after == 3600
    csr = der_csr("b.example", "a.example")
    with place.refusal(ProblemType.RATE_LIMITED, "a.example"):  # ordered before, and one too many all the same
        place.acme.orders.finalize(other, early.name, csr)
    assert place.acme.orders.get(other, early.name).status is OrderStatus.READY
    place.issued(account, "*.a.example", "c.example")
    place.world.pass_time(HOUR)
    assert place.acme.orders.finalize(other, early.name, csr).status is OrderStatus.VALID


def test_nothing_is_counted_without_a_limit(sqlite_place: Place) -> None:
    sqlite_place.policy(preapproved_domains=["*"])
    account = sqlite_place.account()
    sqlite_place.issued(account, "a.example")
    assert sqlite_place.rows("SELECT count(*) FROM acme_issued_name") == [(0,)]


def test_at_once_as_one_after_the_other(place: Place) -> None:
    place.policy(
        **limited(orders_per_account={"count": 3, "per": "1h"}, certificates_per_name={"count": 2, "per": "1h"})
    )
    account = place.account()
    found = at_once(*[lambda: place.order(account, "a.example")] * 8)
    orders = [one for one in found if isinstance(one, Order)]
    assert len(orders) == 3, found
    assert {one.problem.type for one in found if isinstance(one, ACMEProblem)} == {ProblemType.RATE_LIMITED}
    csr = der_csr("a.example")
    done = at_once(*[lambda order=order: place.acme.orders.finalize(account, order.name, csr) for order in orders])
    assert [type(one).__name__ for one in done].count("Order") == 2, done
    assert place.rows("SELECT count(*) FROM certificate WHERE origin_kind = 'acme'") == [(2,)]


def test_a_certificate_that_was_given_up_does_not_count(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.policy(**limited(certificates_per_name={"count": 2, "per": "1h"}))
    account = place.account()
    place.issued(account, "a.example", "b.example")
    order = place.order(account, "a.example", "b.example")
    intents = place.world.services.intents

    class Refusing:
        def sign(self, order: Any) -> bytes:
            raise NotSigned("refused")

    monkeypatch.setattr(type(intents), "signer", lambda self, key: Refusing())
    ended = place.acme.orders.finalize(account, order.name, der_csr("a.example", "b.example"))
    assert ended.status is OrderStatus.INVALID
    monkeypatch.undo()
    assert place.rows("SELECT value FROM acme_issued_name ORDER BY value") == [("dns:a.example",), ("dns:b.example",)]
    place.issued(account, "a.example", "b.example")


def test_the_newest_of_a_binding_are_counted(sqlite_place: Place) -> None:
    """Many orders of one account, few of another, in turns: it is the last ones that count."""
    place = sqlite_place
    place.policy(**limited(orders_per_binding={"count": 4, "per": "1h"}))
    binding = place.binding(max_accounts=None)
    accounts = [place.account(binding=binding) for _ in range(3)]
    made = []
    for number in range(40):
        place.world.pass_time(timedelta(minutes=20))
        place.order(accounts[0 if number % 5 else number % 3], "a.example")
        made.append(place.now)
    for n in range(1, 42):
        found = place.world.parts.db.read(partial(acme_orders.nth_of_binding, binding_id=binding.id, n=n))
        assert found == (made[-n] if n <= len(made) else None)
