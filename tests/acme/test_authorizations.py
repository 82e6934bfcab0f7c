"""Authorizations and their challenges (RFC 8555 §7.1.4, §7.4.1, §7.5)."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pkiconf.acme.authorizations import VALIDATION_JOB
from pkiconf.model.acme import (
    ACMEProblem,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    OrderStatus,
    ProblemType,
)
from tests.acme.place import PKI, Place, at_once, der_csr, identifiers

HTTP, DNS, TLS = ChallengeType.HTTP_01, ChallengeType.DNS_01, ChallengeType.TLS_ALPN_01
JOBS = f"SELECT dedupe, due_at FROM job WHERE kind = '{VALIDATION_JOB}'"


def one(place: Place, name: str = "a.example", **policy: Any) -> tuple[Any, str]:
    place.policy(**policy)
    account = place.account()
    (authorization,) = place.order(account, name).authorizations
    return account, authorization


@pytest.mark.parametrize(
    ("name", "shown", "wildcard", "offered"),
    [
        ("a.example", "a.example", False, [HTTP, DNS, TLS]),
        ("*.a.example", "a.example", True, [DNS]),
        ("192.0.2.1", "192.0.2.1", False, [HTTP, TLS]),
        ("2001:db8::1", "2001:db8::1", False, [HTTP, TLS]),
    ],
)
def test_what_is_offered(
    sqlite_place: Place, name: str, shown: str, wildcard: bool, offered: list[ChallengeType]
) -> None:
    """The wildcard label stands in the order and not in the authorization (§7.1.4)."""
    account, authorization = one(sqlite_place, name)
    found = sqlite_place.acme.authorizations.get(account, authorization)
    assert (found.identifier.value, found.wildcard) == (shown, wildcard)
    assert [challenge.type for challenge in found.challenges] == offered
    assert {challenge.status for challenge in found.challenges} == {ChallengeStatus.PENDING}
    assert len({challenge.token for challenge in found.challenges}) == 1
    assert found.retry_after is None


def test_tokens_cannot_be_guessed(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    order = sqlite_place.order(account, *(f"h{number}.example" for number in range(50)))
    tokens = {sqlite_place.acme.authorizations.get(account, name).challenges[0].token for name in order.authorizations}
    assert len(tokens) == 50
    for token in tokens:
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_binding_narrows_challenges(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account = sqlite_place.account(binding=sqlite_place.binding(challenges=["dns-01"]))
    (name,) = sqlite_place.order(account, "a.example").authorizations
    assert [one.type for one in sqlite_place.acme.authorizations.get(account, name).challenges] == [DNS]


def test_a_response_queues_one_validation(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    account, name = one(place)
    woken: list[list[Any]] = []
    acme = place.acme.authorizations
    parts = replace(place.world.parts, wake=lambda: woken.append(place.rows(JOBS)))
    monkeypatch.setattr(acme, "_parts", parts)
    found = acme.respond(account, name, DNS)
    number = str(place.rows("SELECT id FROM acme_authorization")[0][0])
    assert woken == [[(number, place.now)]]  # after the commit
    shown = {challenge.type: challenge.status for challenge in found.challenges}
    assert shown == {HTTP: ChallengeStatus.PENDING, DNS: ChallengeStatus.PROCESSING, TLS: ChallengeStatus.PENDING}
    assert found.retry_after
    assert acme.get(account, name) == found
    before = place.state()
    assert acme.respond(account, name, DNS) == found
    assert acme.respond(account, name, HTTP) == found  # one is under way: it decides
    assert place.state() == before
    assert len(woken) == 1
    place.settle(name)
    before = place.state()
    assert acme.respond(account, name, HTTP).status is AuthorizationStatus.VALID
    assert place.state() == before
    (record,) = place.records("acme-authorization.respond")
    assert record["details"] == {"authorization": name, "identifier": "dns:a.example", "challenge": "dns-01"}


def test_many_responses_at_once_are_one_validation(place: Place) -> None:
    account, name = one(place)
    kinds = [HTTP, DNS, TLS] * 3
    found = at_once(*[lambda kind=kind: place.acme.authorizations.respond(account, name, kind) for kind in kinds])
    assert len(set(found)) == 1, found
    assert len(place.rows(JOBS)) == 1
    assert len(place.records("acme-authorization.respond")) == 1


def test_a_challenge_that_was_not_offered(sqlite_place: Place) -> None:
    account, name = one(sqlite_place, "*.a.example")
    for kind in (HTTP, TLS):
        with sqlite_place.refusal(ProblemType.MALFORMED, "no such challenge", status=404):
            sqlite_place.acme.authorizations.respond(account, name, kind)
    sqlite_place.policy(preapproved_domains=["ok.example"])
    (preapproved,) = sqlite_place.order(account, "ok.example").authorizations
    with sqlite_place.refusal(ProblemType.MALFORMED, "no such challenge", status=404):
        sqlite_place.acme.authorizations.respond(account, preapproved, HTTP)


@pytest.mark.parametrize("ended", ["invalid", "deactivated", "revoked", "expired"])
def test_challenges_that_are_over(sqlite_place: Place, ended: str) -> None:
    account, name = one(sqlite_place)
    if ended == "expired":
        sqlite_place.world.pass_time(timedelta(days=30))
    else:
        sqlite_place.sql(f"UPDATE acme_authorization SET status = '{ended}'")
    with sqlite_place.refusal(ProblemType.MALFORMED, f"is {ended}"):
        sqlite_place.acme.authorizations.respond(account, name, HTTP)
    with sqlite_place.refusal(ProblemType.MALFORMED, f"is {ended}"):
        sqlite_place.acme.authorizations.deactivate(account, name)
    assert sqlite_place.acme.authorizations.get(account, name).status == ended


def test_whose_authorization_it_is(place: Place) -> None:
    account, name = one(place)
    other, acme = place.account(), place.acme.authorizations
    acts: list[Any] = [acme.get, acme.deactivate, lambda whose, what: acme.respond(whose, what, HTTP)]
    for act in acts:
        with place.refusal(ProblemType.UNAUTHORIZED, "another account"):
            act(other, name)
        for unknown in ("", "unknown", name.swapcase()):
            with place.refusal(ProblemType.MALFORMED, "no such authorization", status=404):
                act(account, unknown)


def test_deactivation_ends_the_orders_that_lean_on_it(place: Place) -> None:
    place.policy()
    account = place.account()
    proved = place.prove(account, place.order(account, "a.example"))
    waiting, apart = place.order(account, "a.example", "b.example"), place.order(account, "b.example")
    done, _ = place.issued(account, "a.example")
    (name,) = proved.authorizations
    found = place.acme.authorizations.deactivate(account, name)
    assert found.status is AuthorizationStatus.DEACTIVATED
    assert place.acme.authorizations.get(account, name) == found
    for order in (proved, waiting):
        ended = place.acme.orders.get(account, order.name)
        assert ended.status is OrderStatus.INVALID
        assert ended.error is not None
        assert "a.example was deactivated" in ended.error.detail
    assert place.acme.orders.get(account, apart.name).status is OrderStatus.PENDING
    assert place.acme.orders.get(account, done.name).status is OrderStatus.VALID
    assert place.order(account, "a.example").status is OrderStatus.PENDING  # proved anew


def test_deactivated_while_it_is_validated(place: Place) -> None:
    account, name = one(place)
    place.acme.authorizations.respond(account, name, HTTP)
    place.acme.authorizations.deactivate(account, name)
    before = place.state()
    place.settle(name)
    assert place.state() == before


def test_finalizing_and_deactivating_at_once(place: Place) -> None:
    """Either the certificate is issued, or the order is invalid; never an order that says both or neither."""
    place.policy()
    account = place.account()
    csr = der_csr("a.example")
    for _ in range(5):
        order = place.prove(account, place.order(account, "a.example"))
        (name,) = order.authorizations
        acts: list[Any] = [
            lambda order=order: place.acme.orders.finalize(account, order.name, csr),
            lambda name=name: place.acme.authorizations.deactivate(account, name),
        ]
        done, _ = at_once(*acts)
        found = place.acme.orders.get(account, order.name)
        issued = place.rows("SELECT status FROM certificate WHERE origin_id = :name", name=order.name)
        if isinstance(done, ACMEProblem):
            assert (found.status, issued) == (OrderStatus.INVALID, [])
        else:
            assert (found.status, issued) == (OrderStatus.VALID, [("good",)])


def test_pre_authorization(place: Place) -> None:
    place.policy(preapproved_domains=["*.corp.example"])
    account = place.account()
    acme = place.acme.authorizations
    pending, new = acme.create(account, identifiers("a.example")[0])
    assert (pending.status, new) == (AuthorizationStatus.PENDING, True)
    before = place.state()
    assert acme.create(account, identifiers("a.example")[0]) == (pending, False)
    assert place.state() == before
    valid, new = acme.create(account, identifiers("web.corp.example")[0])
    assert (valid.status, new) == (AuthorizationStatus.VALID, True)
    acme.respond(account, pending.name, HTTP)
    place.settle(pending.name)
    order = place.order(account, "a.example", "web.corp.example")
    assert order.status is OrderStatus.READY
    assert set(order.authorizations) == {pending.name, valid.name}


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("*.ok.example", ProblemType.MALFORMED, "order it"),
        ("other.example", ProblemType.REJECTED_IDENTIFIER, "lies outside"),
        ("192.0.2.1", ProblemType.REJECTED_IDENTIFIER, "lies outside"),
    ],
)
def test_what_is_not_authorized_in_advance(sqlite_place: Place, name: str, kind: ProblemType, says: str) -> None:
    sqlite_place.policy()
    account = sqlite_place.account(binding=sqlite_place.binding(domains=["*.ok.example"]))
    with sqlite_place.refusal(kind, says):
        sqlite_place.acme.authorizations.create(account, identifiers(name)[0])


def test_a_retired_policy_authorizes_nothing(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    sqlite_place.policy(state="absent")
    with sqlite_place.refusal(ProblemType.UNAUTHORIZED, "retired"):
        sqlite_place.acme.authorizations.create(account, identifiers("a.example")[0])


def test_a_name_that_one_profile_would_issue_is_authorized(sqlite_place: Place) -> None:
    place = sqlite_place
    place.world.apply(
        PKI + "\ntemplates: [{ name: narrow, authority: issuing, names: { allow: { dns: [a.example] } } }]"
    )
    place.policy(profiles={"narrow": "issuing/narrow", "wide": "issuing/web-server"}, default_profile="narrow")
    account = place.account()
    assert place.acme.authorizations.create(account, identifiers("b.example")[0])[1]
    place.policy(profiles={"narrow": "issuing/narrow", "second": "issuing/gone"}, default_profile="narrow")
    assert place.acme.authorizations.create(account, identifiers("a.example")[0])[1]
    with place.refusal(ProblemType.REJECTED_IDENTIFIER, "not allowed by the template"):
        place.acme.authorizations.create(account, identifiers("c.example")[0])
