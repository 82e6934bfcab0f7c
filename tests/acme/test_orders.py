"""Orders as they are asked for and looked at (RFC 8555 §7.4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkiconf.model.acme import Account, ACMEProblem, OrderStatus, OrderWish, ProblemType
from pkiconf.policy.acme import MOST_IDENTIFIERS
from pkiconf.reconciler.state import Action
from tests.acme.place import PKI, Place, at_once, der_csr, identifiers
from tests.world import OPERATOR

DAY = 86400


@pytest.mark.row("F97")
def test_from_order_to_certificate(place: Place) -> None:
    place.policy()
    account = place.account()
    order = place.order(account, "web.corp.example", "*.corp.example")
    assert order.status is OrderStatus.PENDING
    assert (order.expires_at, order.profile) == (place.now + 7 * DAY, "default")
    assert place.acme.orders.get(account, order.name) == order
    assert place.prove(account, order).status is OrderStatus.READY
    csr = der_csr("*.corp.example", "web.corp.example")
    done = place.acme.orders.finalize(account, order.name, csr)
    assert (done.status, done.has_certificate, done.error) == (OrderStatus.VALID, True, None)
    assert place.acme.orders.get(account, order.name) == done
    assert place.acme.orders.finalize(account, order.name, csr) == done
    assert place.rows("SELECT origin_kind, origin_id FROM certificate WHERE origin_kind = 'acme'") == [
        ("acme", order.name)
    ]
    (record,) = place.records("acme-order.create")
    assert record["details"]["identifiers"] == ["dns:web.corp.example", "dns:*.corp.example"]
    assert record["actor"] == f"acme:{account.name}"


@pytest.mark.row("F101")
def test_preapproved_names_are_ready_at_once(place: Place) -> None:
    place.policy(preapproved_domains=["*.corp.example", "10.0.0.0/8"])
    account = place.account()
    order = place.order(account, "web.corp.example", "*.x.corp.example", "10.1.2.3")
    assert order.status is OrderStatus.READY
    for name in order.authorizations:
        authorization = place.acme.authorizations.get(account, name)
        assert (authorization.status, authorization.challenges) == ("valid", ())
    assert place.rows("SELECT * FROM job WHERE kind = 'acme.validate'") == []


@pytest.mark.row("F101")
def test_one_name_that_is_not_preapproved_keeps_the_order_waiting(sqlite_place: Place) -> None:
    sqlite_place.policy(preapproved_domains=["*.corp.example"])
    account = sqlite_place.account()
    order = sqlite_place.order(account, "a.corp.example", "b.corp.example", "c.example")
    assert order.status is OrderStatus.PENDING
    assert sqlite_place.prove(account, order).status is OrderStatus.READY


def test_what_was_proved_is_not_proved_again(place: Place) -> None:
    place.policy(authorization_lifetime="10d")
    account, other = place.account(), place.account()
    first = place.prove(account, place.order(account, "a.example"))
    again = place.order(account, "a.example")
    assert (again.status, again.authorizations) == (OrderStatus.READY, first.authorizations)
    assert place.order(account, "*.a.example").status is OrderStatus.PENDING  # a wildcard is proved by itself
    assert place.order(other, "a.example").status is OrderStatus.PENDING  # another account proves it itself
    place.world.pass_time(timedelta(days=9))
    later = place.order(account, "a.example")
    assert (later.status, later.expires_at) == (OrderStatus.READY, place.now + DAY)  # no longer than its proof
    place.world.pass_time(timedelta(hours=23, minutes=30))
    assert place.order(account, "a.example").status is OrderStatus.PENDING  # half an hour is not enough to rely on


def test_what_waits_to_be_proved_is_shared(place: Place) -> None:
    place.policy()
    account = place.account()
    first, second = place.order(account, "a.example", "b.example"), place.order(account, "b.example", "a.example")
    assert set(first.authorizations) == set(second.authorizations)
    place.prove(account, first)
    assert place.acme.orders.get(account, second.name).status is OrderStatus.READY


def test_a_proof_that_the_policy_would_not_take_any_more_is_not_used(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy(preapproved_domains=["a.example"])
    account = place.account()
    place.order(account, "a.example")
    place.prove(account, place.order(account, "b.example"))  # by http-01
    waiting = place.order(account, "c.example")
    place.policy(challenges=["dns-01"])
    for name in ("a.example", "b.example", "c.example"):
        order = place.order(account, name)
        assert order.status is OrderStatus.PENDING
        assert order.authorizations != waiting.authorizations


def test_proofs_from_before_caa_was_asked_for_do_not_do(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    account = place.account()
    proved = place.prove(account, place.order(account, "a.example"))
    place.policy(caa=True)
    assert place.order(account, "a.example").status is OrderStatus.PENDING
    with place.refusal(ProblemType.UNAUTHORIZED, "a.example"):
        place.acme.orders.finalize(account, proved.name, der_csr("a.example"))


@pytest.mark.parametrize(
    "names", [("web.corp.example",), ("a.ci.corp.example", "web.corp.example", "b.ci.corp.example")]
)
def test_names_outside_the_binding(place: Place, names: tuple[str, ...]) -> None:
    place.policy(preapproved_domains=["*.corp.example"])
    account = place.account(binding=place.binding(domains=["*.ci.corp.example"]))
    with place.refusal(ProblemType.REJECTED_IDENTIFIER, "web.corp.example lies outside") as caught:
        place.order(account, *names)
    assert caught[0].problem.identifier == identifiers("web.corp.example")[0]


NARROW = (
    PKI
    + """
templates:
  - name: narrow
    authority: issuing
    names: { allow: { dns: ["*.corp.example"] }, deny: { dns: [secret.corp.example] }, wildcards: false }
"""
)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("web.example", "not allowed by the template"),
        ("secret.corp.example", "denied by the template"),
        ("*.corp.example", "wildcard"),
        ("10.0.0.1", "of a type that the template does not allow"),
    ],
)
def test_what_the_template_would_not_issue_is_not_even_proved(sqlite_place: Place, name: str, says: str) -> None:
    sqlite_place.world.apply(NARROW)
    sqlite_place.policy(template="issuing/narrow")
    account = sqlite_place.account()
    with sqlite_place.refusal(ProblemType.REJECTED_IDENTIFIER, says) as caught:
        sqlite_place.order(account, "ok.corp.example", name)
    assert caught[0].problem.identifier == identifiers(name)[0]


def test_several_names_that_are_refused_are_each_named(sqlite_place: Place) -> None:
    sqlite_place.world.apply(NARROW)
    sqlite_place.policy(template="issuing/narrow")
    account = sqlite_place.account()
    with sqlite_place.refusal(ProblemType.REJECTED_IDENTIFIER, "3 identifiers") as caught:
        sqlite_place.order(account, "a.example", "ok.corp.example", "b.example", "*.corp.example")
    named = [sub.identifier.value for sub in caught[0].problem.subproblems if sub.identifier]
    assert named == ["a.example", "b.example", "*.corp.example"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(["a.corp.example", "b.corp.example", "c.example", "d.example"]), min_size=1,
                      max_size=4, unique=True))  # fmt: skip
def test_an_order_is_ready_only_if_every_name_is(sqlite_place: Place, names: list[str]) -> None:
    sqlite_place.policy(preapproved_domains=["*.corp.example"])
    order = sqlite_place.order(sqlite_place.account(), *names)
    ready = all(name.endswith("corp.example") for name in names)
    assert order.status is (OrderStatus.READY if ready else OrderStatus.PENDING)
    assert len(order.authorizations) == len(names)


def test_names_that_cannot_be_proved(sqlite_place: Place) -> None:
    sqlite_place.policy(challenges=["http-01"])
    account = sqlite_place.account()
    with sqlite_place.refusal(ProblemType.REJECTED_IDENTIFIER, "a wildcard needs dns-01"):
        sqlite_place.order(account, "ok.example", "*.example")
    sqlite_place.policy(challenges=["dns-01"])
    with sqlite_place.refusal(ProblemType.REJECTED_IDENTIFIER, "an IP address needs http-01"):
        sqlite_place.order(account, "ok.example", "192.0.2.1")


def test_the_size_of_an_order(sqlite_place: Place) -> None:
    sqlite_place.policy(preapproved_domains=["*"])
    account = sqlite_place.account()
    most = identifiers(*(f"h{number}.example" for number in range(MOST_IDENTIFIERS)))
    assert sqlite_place.acme.orders.create(account, OrderWish(most)).status is OrderStatus.READY
    for wish in (OrderWish(()), OrderWish((*most, *identifiers("one.more.example")))):
        with sqlite_place.refusal(ProblemType.MALFORMED, "1 to 100"):
            sqlite_place.acme.orders.create(account, wish)


PROFILES = PKI + "\ntemplates: [{ name: short, authority: issuing, validity: 7d, max_validity: 10d }]"


def test_profiles(place: Place) -> None:
    place.world.apply(PROFILES)
    place.policy(profiles={"long": "issuing/web-server", "short": "issuing/short"})
    account = place.account()
    assert place.order(account, "a.example").profile == "long"
    assert place.order(account, "a.example", profile="short").profile == "short"
    with place.refusal(ProblemType.INVALID_PROFILE, "offered: long, short"):
        place.order(account, "a.example", profile="other")
    narrowed = place.account(binding=place.binding(profiles=["short"]))
    assert place.order(narrowed, "a.example").profile == "short"
    with place.refusal(ProblemType.INVALID_PROFILE, "offered: short"):
        place.order(narrowed, "a.example", profile="long")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"not_after": 11 * DAY}, "max_validity"),
        ({"not_before": -2 * DAY}, "lies in the past"),
        ({"not_before": 5 * DAY, "not_after": 4 * DAY}, "does not lie after the start"),
        ({"not_after": -1}, "already have ended"),
        ({"not_before": DAY, "not_after": 12 * DAY}, "max_validity"),
        ({"not_before": 100 * 365 * DAY}, "ends on"),
    ],
)
def test_times_that_would_not_be_honoured(sqlite_place: Place, wish: dict[str, int], says: str) -> None:
    sqlite_place.world.apply(PROFILES)
    sqlite_place.policy(template="issuing/short")
    account = sqlite_place.account()
    moments = {field: sqlite_place.now + offset for field, offset in wish.items()}
    with sqlite_place.refusal(ProblemType.MALFORMED, says):
        sqlite_place.order(account, "a.example", **moments)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"state": "absent"}, ProblemType.UNAUTHORIZED, "'internal', which this account belongs to, is retired"),
        ({"template": "issuing/gone"}, ProblemType.UNAUTHORIZED, "issues nothing now"),
    ],
)
def test_a_policy_that_issues_nothing(
    sqlite_place: Place, change: dict[str, Any], kind: ProblemType, says: str
) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    sqlite_place.policy(**change)
    with sqlite_place.refusal(kind, says):
        sqlite_place.order(account, "a.example")


def test_a_template_or_authority_that_issues_nothing(sqlite_place: Place) -> None:
    place = sqlite_place
    place.world.apply(PROFILES)
    place.policy(template="issuing/short")
    account = place.account()
    place.world.apply(PROFILES.replace("max_validity", "enabled: false, max_validity"))
    with place.refusal(ProblemType.UNAUTHORIZED, "issuing/short is disabled"):
        place.order(account, "a.example")
    place.sql("UPDATE template SET lifecycle = 'retired' WHERE name = 'short'")
    with place.refusal(ProblemType.UNAUTHORIZED, "issuing/short is retired"):
        place.order(account, "a.example")
    place.sql("UPDATE template SET lifecycle = 'active'")
    for lifecycle in ("retired", "creating"):
        place.sql(f"UPDATE authority SET lifecycle = '{lifecycle}' WHERE name = 'issuing'")
        with place.refusal(ProblemType.UNAUTHORIZED, "authority 'issuing' is"):
            place.order(account, "a.example")


def test_orders_expire_by_time_alone(place: Place) -> None:
    place.policy(preapproved_domains=["*.corp.example"], order_lifetime="1d")
    account = place.account()
    pending, ready = place.order(account, "a.example"), place.order(account, "web.corp.example")
    before = place.state()
    place.world.pass_time(timedelta(days=1))
    for order, says in ((pending, "names were not proved"), (ready, "not finalized")):
        found = place.acme.orders.get(account, order.name)
        assert found.status is OrderStatus.INVALID
        assert found.error is not None
        assert says in found.error.detail
        with place.refusal(ProblemType.ORDER_NOT_READY, "expired", status=403):
            place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert place.acme.orders.page(account, 0, 10) == ((), None)
    assert place.state() == before


def test_pages(place: Place) -> None:
    place.policy()
    account, other = place.account(), place.account()
    place.order(other, "other.example")
    names = [place.order(account, f"h{number}.example").name for number in range(5)]
    first, cursor = place.acme.orders.page(account, 0, 2)
    assert (list(first), cursor is not None) == (names[:2], True)
    second, cursor = place.acme.orders.page(account, cursor, 2)
    assert list(second) == names[2:4]
    third, end = place.acme.orders.page(account, cursor, 2)
    assert (list(third), end) == (names[4:], None)
    assert place.acme.orders.page(account, 0, 5) == (tuple(names), None)
    authorization = place.acme.orders.get(account, names[1]).authorizations[0]
    place.acme.authorizations.deactivate(account, authorization)
    assert place.acme.orders.page(account, 0, 5)[0] == (names[0], *names[2:])


def test_whose_order_it_is(place: Place) -> None:
    place.policy(preapproved_domains=["*.corp.example"])
    account, other = place.account(), place.account()
    order, _ = place.issued(account, "web.corp.example")
    orders, csr = place.acme.orders, der_csr("web.corp.example")
    acts: list[Any] = [orders.get, orders.certificate, lambda one, name: orders.finalize(one, name, csr)]
    for act in acts:
        with place.refusal(ProblemType.UNAUTHORIZED, "another account"):
            act(other, order.name)
        for unknown in ("unknown", "", "'", order.name.swapcase()):
            with place.refusal(ProblemType.MALFORMED, "no such order", status=404):
                act(account, unknown)
    assert orders.page(other, 0, 10) == ((), None)


def test_who_hangs_on_nothing_may_do_nothing(place: Place) -> None:
    """An account value that the rows do not bear out is refused, whatever it lacks or claims."""
    from dataclasses import replace

    place.policy("internal", preapproved_domains=["*"])
    place.policy("other", preapproved_domains=["*"])
    binding = place.binding(policy="other")
    account = place.account()
    claims: list[Account] = [
        replace(account, policy_id=place.policies["other"]),
        replace(account, policy_id=0),
        replace(account, binding_id=binding.id),
        replace(account, id=0),
        replace(account, id=account.id + 1),
    ]
    for claim in claims:
        with place.refusal(ProblemType.UNAUTHORIZED):
            place.order(claim, "web.corp.example")
    # A row that should not exist: its binding is another policy's.
    place.sql(f"UPDATE acme_account SET binding_id = {binding.id}")
    with place.refusal(ProblemType.UNAUTHORIZED, "not one of its policy"):
        place.order(replace(account, binding_id=binding.id), "web.corp.example")


def test_operators_see_every_order(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    account, other = place.account(), place.account()
    first, second = place.order(account, "a.example"), place.order(other, "b.example")
    assert place.acme.orders.list() == [second, first]
    assert place.acme.orders.list(account) == [first]
    assert place.acme.orders.list(limit=1) == [second]
    order, authorizations = place.acme.orders.find(first.name)
    assert (order, [one.name for one in authorizations]) == (first, list(first.authorizations))
    assert place.acme.orders.find("unknown") is None


def test_many_orders_at_once(place: Place) -> None:
    """They share what is pending, or have their own; none is lost, and each can be finished."""
    place.policy()
    account = place.account()
    found = at_once(*[lambda: place.order(account, "a.example", "b.example")] * 8)
    assert not [one for one in found if isinstance(one, Exception)], found
    for order in found:
        assert place.prove(account, order).status is OrderStatus.READY
    with pytest.raises(ACMEProblem):
        place.order(account, "*." * 2 + "example")


def test_orders_go_with_the_authority_that_is_destroyed(place: Place) -> None:
    two = PKI.replace("]", ", { name: second, issuer: root }]")
    place.world.apply(two)
    place.policy(
        "internal", preapproved_domains=["*"], rate_limits={"certificates_per_name": {"count": 9, "per": "1h"}}
    )
    place.policy("other", preapproved_domains=["*"], template="second/web-server")
    account, other = place.account("internal"), place.account("other")
    kept, _ = place.issued(account, "a.example")
    gone, _ = place.issued(other, "a.example")
    place.order(other, "b.example")
    place.policy("other", state="absent", template="second/web-server")
    place.sql("UPDATE certificate SET not_after = 0 WHERE origin_kind = 'acme'")
    place.world.apply(two.replace("issuer: root }]", "issuer: root, state: absent }]"), allow=(Action.RETIRE,))
    place.world.services.destruction.destroy("second", OPERATOR)
    assert place.acme.orders.get(account, kept.name).status is OrderStatus.VALID
    with place.refusal(ProblemType.MALFORMED, "no such order", status=404):
        place.acme.orders.get(other, gone.name)
    assert place.rows("SELECT name FROM acme_order") == [(kept.name,)]
    assert place.acme.accounts.list("other") == [other]
