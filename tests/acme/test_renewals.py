"""Renewal information, and orders that replace (RFC 9773)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkiconf.model.acme import Account, ACMEProblem, Order, OrderStatus, ProblemType
from pkiconf.model.certificate import CertificateID
from pkiconf.policy.acme.renewals import certificate_id
from pkiconf.reconciler.state import Action
from tests.acme.place import Place, at_once, der_csr
from tests.world import OPERATOR, make_csr

DAY = 86400


def id_of(der: bytes) -> str:
    leaf = x509.load_der_x509_certificate(der)
    aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert aki is not None
    number = leaf.serial_number
    return certificate_id(aki, number.to_bytes((number.bit_length() + 7) // 8))


def ours(place: Place) -> CertificateID:
    ((issuer, serial),) = place.rows("SELECT issuer_id, serial FROM certificate WHERE origin_kind = 'acme'")
    return CertificateID(issuer, int.from_bytes(serial))


def issued(place: Place, *names: str) -> tuple[Account, Order, str]:
    place.policy(preapproved_domains=["*"])
    account = place.account()
    order, leaf = place.issued(account, *(names or ("a.example",)))
    return account, order, id_of(leaf)


def test_the_window_lies_in_the_validity(place: Place) -> None:
    _, _, name = issued(place)
    ((start, end),) = place.rows("SELECT not_before, not_after FROM certificate WHERE origin_kind = 'acme'")
    window = place.acme.renewals.window(name)
    assert start < window.start < start + (end - start) * 2 // 3 < window.end < end
    assert window.retry_after > 0
    place.world.pass_time(timedelta(days=3))
    assert place.acme.renewals.window(name) == window


@pytest.mark.parametrize("act", ["revoke", "hold"])
def test_it_moves_into_the_past_when_the_certificate_ends(place: Place, act: str) -> None:
    account, _, name = issued(place)
    before = place.acme.renewals.window(name)
    revocations = place.world.services.revocations
    if act == "hold":
        revocations.hold(ours(place), OPERATOR)
    else:
        leaf = place.acme.orders.certificate(account, place.acme.orders.list()[0].name).certificates[0]
        place.acme.revocations.by_account(account, leaf, None)
    window = place.acme.renewals.window(name)
    assert window.start < window.end < place.now
    if act == "hold":
        revocations.release(ours(place), OPERATOR)
        assert place.acme.renewals.window(name) == before


def test_it_moves_to_the_present_when_the_authority_rolls_over(place: Place) -> None:
    _, _, name = issued(place)
    place.world.pass_time(timedelta(days=2))
    place.world.apply(
        "authorities: [{ name: root }, { name: issuing, issuer: root, key: { generation: 2 } }]",
        allow=(Action.ROLLOVER,),
    )
    window = place.acme.renewals.window(name)
    assert (window.start, window.end) == (place.now, place.now + DAY)
    place.world.pass_time(timedelta(days=2))
    assert place.acme.renewals.window(name) == window  # due by now, and still


def test_certificates_that_came_another_way_have_one_too(sqlite_place: Place) -> None:
    leaf = sqlite_place.world.issued("issuing/web-server", make_csr()).der
    window = sqlite_place.acme.renewals.window(id_of(leaf))
    assert window.start > sqlite_place.now


def test_what_has_none(sqlite_place: Place) -> None:
    _, _, name = issued(sqlite_place)
    key, _, serial = name.partition(".")
    for text in ("", "nonsense", f"{key}=.{serial}", f"{key}.{serial}.", f"{key}.", f".{serial}"):
        with sqlite_place.refusal(ProblemType.MALFORMED, "no certificate identifier") as caught:
            sqlite_place.acme.renewals.window(text)
        assert caught[0].status is None
    for text in (f"{key}.QQ", f"QQ.{serial}"):
        with sqlite_place.refusal(ProblemType.MALFORMED, "there is no certificate", status=404):
            sqlite_place.acme.renewals.window(text)


def test_a_certificate_that_is_not_signed_yet_has_none(sqlite_place: Place) -> None:
    _, _, name = issued(sqlite_place)
    for status in ("reserved", "abandoned"):
        sqlite_place.sql(f"UPDATE certificate SET status = '{status}' WHERE origin_kind = 'acme'")
        with sqlite_place.refusal(ProblemType.MALFORMED, status=404):
            sqlite_place.acme.renewals.window(name)


def test_an_order_replaces_a_certificate_once(place: Place) -> None:
    account, _, name = issued(place, "a.example", "b.example")
    order = place.order(account, "b.example", "c.example", replaces=name)
    assert order.replaces == name
    assert place.acme.orders.get(account, order.name).replaces == name
    with place.refusal(ProblemType.ALREADY_REPLACED, order.name, status=409):
        place.order(account, "a.example", replaces=name)
    place.acme.orders.finalize(account, order.name, der_csr("b.example", "c.example"))
    with place.refusal(ProblemType.ALREADY_REPLACED, status=409):
        place.order(account, "a.example", replaces=name)


@pytest.mark.parametrize("how", ["invalid", "expired"])
def test_after_an_order_that_came_to_nothing_another_may_replace(sqlite_place: Place, how: str) -> None:
    account, _, name = issued(sqlite_place)
    order = sqlite_place.order(account, "a.example", replaces=name)
    if how == "expired":
        sqlite_place.world.pass_time(timedelta(days=8))
    else:
        sqlite_place.acme.authorizations.deactivate(account, order.authorizations[0])
    assert sqlite_place.order(account, "a.example", replaces=name).status is OrderStatus.READY


def test_what_cannot_be_replaced(place: Place) -> None:
    account, _, name = issued(place)
    other = place.account()
    with place.refusal(ProblemType.UNAUTHORIZED, "not ordered by this account"):
        place.order(other, "a.example", replaces=name)
    with place.refusal(ProblemType.MALFORMED, "shares no name"):
        place.order(account, "other.example", replaces=name)
    with place.refusal(ProblemType.MALFORMED, "no certificate identifier"):
        place.order(account, "a.example", replaces="nonsense")
    with place.refusal(ProblemType.MALFORMED, "there is no certificate", status=404):
        place.order(account, "a.example", replaces=f"{name.partition('.')[0]}.QQ")
    by_request = place.world.issued("issuing/web-server", make_csr("a.example", ("a.example",))).der
    with place.refusal(ProblemType.UNAUTHORIZED, "not ordered by this account"):
        place.order(account, "a.example", replaces=id_of(by_request))


def test_replaced_by_several_at_once(place: Place) -> None:
    account, _, name = issued(place)
    acts: list[Any] = [lambda: place.order(account, "a.example", replaces=name)] * 6
    found = at_once(*acts)
    assert len([one for one in found if isinstance(one, Order)]) == 1, found
    refused = [one for one in found if isinstance(one, ACMEProblem)]
    assert {(one.problem.type, one.status) for one in refused} == {(ProblemType.ALREADY_REPLACED, 409)}
    assert len(refused) == 5
