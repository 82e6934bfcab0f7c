"""Accounts (RFC 8555 §7.3): registered, changed, ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkiconf.acme.accounts import Registration, account_actor, check_valid
from pkiconf.acme.bindings import OpenBinding
from pkiconf.errors import NotFound, Refused
from pkiconf.model.acme import (
    Account,
    AccountKey,
    AccountStatus,
    ACMEProblem,
    AuthorizationStatus,
    ChallengeType,
    OrderStatus,
    ProblemType,
)
from pkiconf.model.actor import SYSTEM, Actor
from tests.acme.place import Place, at_once, der_csr, make_account_key
from tests.world import OPERATOR

KEY, OTHER = make_account_key(), make_account_key()


def wish(key: AccountKey = KEY, binding: OpenBinding | None = None, **changes: Any) -> Registration:
    policy = None if binding else "internal"
    return replace(Registration(key, ("mailto:a@corp.example",), True, "192.0.2.1", binding, policy), **changes)


@pytest.mark.row("F108")
def test_a_key_registers_once(place: Place) -> None:
    place.policy()
    account, new = place.acme.accounts.register(wish())
    assert new
    assert (account.status, account.contacts) == (AccountStatus.VALID, ("mailto:a@corp.example",))
    assert account.terms_agreed_at == place.now
    before = place.state()
    assert place.acme.accounts.register(wish(contacts=("tel:1",), terms_agreed=False)) == (account, False)
    assert place.state() == before
    assert place.acme.accounts.find(account.name) == account
    assert place.acme.accounts.find_by_key(KEY.thumbprint) == account
    (record,) = place.records("acme-account.create")
    assert record["actor"] == f"acme:{account.name}"
    assert record["details"] == {"client": "192.0.2.1", "policy": "internal", "thumbprint": KEY.thumbprint}


@pytest.mark.row("F104")
def test_a_binding_gives_out_its_places(place: Place) -> None:
    place.policy(external_account_required=True)
    binding = place.binding(max_accounts=2)
    first = place.account(binding=binding, key=KEY)
    assert first.binding_id == binding.id
    assert place.account(binding=binding, key=KEY) == first  # takes no place
    place.account(binding=binding)
    with place.refusal(ProblemType.UNAUTHORIZED, "used up"):
        place.account(binding=binding)
    assert place.rows("SELECT accounts FROM acme_binding") == [(2,)]
    place.binding(max_accounts=None)
    place.account(binding=binding)


@pytest.mark.row("F107")
def test_a_deleted_binding_lets_nobody_in_and_its_accounts_go_on(place: Place) -> None:
    place.policy(external_account_required=True, preapproved_domains=["*.corp.example"])
    binding = place.binding(max_accounts=None, domains=["*.ci.corp.example"])
    account = place.account(binding=binding)
    place.delete_binding(binding)
    with place.refusal(ProblemType.UNAUTHORIZED, "deleted"):
        place.account(binding=binding)
    assert place.order(account, "a.ci.corp.example").status is OrderStatus.READY
    with place.refusal(ProblemType.REJECTED_IDENTIFIER):  # what it narrowed stays narrowed
        place.order(account, "web.corp.example")


@pytest.mark.row("F99")
def test_without_a_binding(sqlite_place: Place) -> None:
    sqlite_place.policy(external_account_required=True)
    for policy in (None, "internal", "unknown"):
        with sqlite_place.refusal(ProblemType.EXTERNAL_ACCOUNT_REQUIRED, "external account binding"):
            sqlite_place.acme.accounts.register(wish(policy=policy))
    sqlite_place.policy(external_account_required=False)
    with sqlite_place.refusal(ProblemType.EXTERNAL_ACCOUNT_REQUIRED):  # the common directory belongs to no policy
        sqlite_place.acme.accounts.register(wish(policy=None))
    assert sqlite_place.acme.accounts.register(wish())[1]


def test_a_retired_policy_takes_nobody(sqlite_place: Place) -> None:
    sqlite_place.policy(external_account_required=False)
    binding = sqlite_place.binding()
    sqlite_place.policy(state="absent")
    for binding_or_none in (None, binding):
        with sqlite_place.refusal(ProblemType.UNAUTHORIZED, "retired"):
            sqlite_place.acme.accounts.register(wish(binding=binding_or_none))


@pytest.mark.row("F106")
def test_an_account_stays_with_its_policy(place: Place) -> None:
    place.policy("internal")
    place.policy("other")
    here, there = place.binding(policy="internal"), place.binding(policy="other")
    account = place.account(binding=here, key=KEY)
    with place.refusal(ProblemType.UNAUTHORIZED, "belongs to another policy than the binding"):
        place.account(binding=there, key=KEY)
    assert place.account(binding=here, key=KEY) == account
    with place.refusal(ProblemType.UNAUTHORIZED, "another policy than this directory"):
        place.acme.accounts.register(wish(key=OTHER, binding=there, policy="internal"))


@pytest.mark.row("F114")
def test_terms_have_to_be_agreed_to(sqlite_place: Place) -> None:
    sqlite_place.world.apply(
        'settings: { acme: { terms_of_service: "https://corp.example/terms" } }\n'
        "authorities: [{ name: root }, { name: issuing, issuer: root }]"
    )
    sqlite_place.policy()
    with sqlite_place.refusal(ProblemType.USER_ACTION_REQUIRED, "https://corp.example/terms") as caught:
        sqlite_place.acme.accounts.register(wish(terms_agreed=False))
    assert caught[0].links == (("terms-of-service", "https://corp.example/terms"),)
    account, _ = sqlite_place.acme.accounts.register(wish())
    with sqlite_place.refusal(ProblemType.USER_ACTION_REQUIRED):
        sqlite_place.acme.accounts.update(account, contacts=None, terms_agreed=False)


@pytest.mark.parametrize(
    ("contact", "kind"),
    [("tel:1", ProblemType.UNSUPPORTED_CONTACT), ("mailto:nobody", ProblemType.INVALID_CONTACT)],
)
def test_contacts_that_are_refused(sqlite_place: Place, contact: str, kind: ProblemType) -> None:
    sqlite_place.policy()
    with sqlite_place.refusal(kind):
        sqlite_place.acme.accounts.register(wish(contacts=("mailto:ok@corp.example", contact)))
    account, _ = sqlite_place.acme.accounts.register(wish())
    with sqlite_place.refusal(kind):
        sqlite_place.acme.accounts.update(account, contacts=[contact], terms_agreed=None)


def test_update(place: Place) -> None:
    place.policy()
    account, _ = place.acme.accounts.register(wish(terms_agreed=False))
    assert account.terms_agreed_at is None
    changed = place.acme.accounts.update(account, contacts=["mailto:b@corp.example"], terms_agreed=None)
    assert (changed.contacts, changed.terms_agreed_at) == (("mailto:b@corp.example",), None)
    agreed = place.acme.accounts.update(account, contacts=None, terms_agreed=True)
    assert (agreed.contacts, agreed.terms_agreed_at) == (("mailto:b@corp.example",), place.now)
    assert place.acme.accounts.update(account, contacts=[], terms_agreed=None).contacts == ()
    changes = [record["details"]["changed"] for record in place.records("acme-account.update")]
    assert changes == [["contacts"], ["terms"], ["contacts"]]


@pytest.mark.parametrize("by_operator", [False, True])
def test_what_is_pending_ends_with_the_account(place: Place, by_operator: bool) -> None:
    place.policy(preapproved_domains=["*.corp.example"])
    account, other = place.account(), place.account()
    pending = place.order(account, "a.example")
    ready = place.order(account, "web.corp.example")
    done, _ = place.issued(account, "done.corp.example")
    others = place.order(other, "a.example")
    actor = OPERATOR if by_operator else account_actor(account)
    ended = place.acme.accounts.deactivate(account, actor)
    assert ended.status is (AccountStatus.REVOKED if by_operator else AccountStatus.DEACTIVATED)
    statuses = dict(place.rows("SELECT name, status FROM acme_order"))
    assert statuses == {pending.name: "invalid", ready.name: "invalid", done.name: "valid", others.name: "pending"}
    ended_as = AuthorizationStatus.REVOKED if by_operator else AuthorizationStatus.DEACTIVATED
    found = dict(place.rows("SELECT name, status FROM acme_authorization"))
    assert found[pending.authorizations[0]] == ended_as
    assert found[others.authorizations[0]] == "pending"
    with pytest.raises(ACMEProblem, match="final") as caught:
        check_valid(ended)
    assert (caught.value.problem.type, caught.value.status) == (ProblemType.UNAUTHORIZED, 401)
    before = place.state()
    assert place.acme.accounts.deactivate(ended, OPERATOR) == ended  # what has ended stays as it is
    assert place.state() == before


def _acts(place: Place, account: Account, order: str, ready: str, authorization: str) -> list[Any]:
    acme = place.acme
    return [
        lambda: place.order(account, "b.example"),
        lambda: acme.orders.finalize(account, ready, der_csr("web.corp.example")),
        lambda: acme.authorizations.create(account, place_identifier("c.example")),
        lambda: acme.authorizations.respond(account, authorization, ChallengeType.HTTP_01),
        lambda: acme.authorizations.deactivate(account, authorization),
        lambda: acme.accounts.update(account, contacts=[], terms_agreed=None),
        lambda: acme.accounts.change_key(account, OTHER),
        lambda: acme.accounts.register(wish()),
    ]


def place_identifier(value: str) -> Any:
    from tests.acme.place import identifiers

    return identifiers(value)[0]


def test_an_account_that_has_ended_does_nothing_more(place: Place) -> None:
    """Also where the caller looked before it ended."""
    place.policy(preapproved_domains=["*.corp.example"])
    account = place.account(key=KEY)
    pending, ready = place.order(account, "a.example"), place.order(account, "web.corp.example")
    place.acme.accounts.deactivate(account, OPERATOR)
    for act in _acts(place, account, pending.name, ready.name, pending.authorizations[0]):
        before = place.state()
        with pytest.raises(ACMEProblem):
            act()
        assert place.state() == before


def test_only_its_holder_or_an_operator_ends_an_account(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account, other = sqlite_place.account(), sqlite_place.account()
    before = sqlite_place.state()
    for actor in (account_actor(other), Actor("acme", account.name, "nothing"), Actor("acme", account.name, ""),
                  Actor("stranger", "x", "jws")):  # fmt: skip
        with pytest.raises(Refused):
            sqlite_place.acme.accounts.deactivate(account, actor)
    assert sqlite_place.state() == before
    assert SYSTEM.kind == "system"


def test_key_change(place: Place) -> None:
    place.policy()
    account, other = place.account(key=KEY), place.account(key=OTHER)
    with place.refusal(ProblemType.MALFORMED, "exists already", status=409) as caught:
        place.acme.accounts.change_key(account, OTHER)
    assert caught[0].location == other.name
    with place.refusal(ProblemType.MALFORMED, status=409) as caught:
        place.acme.accounts.change_key(account, KEY)
    assert caught[0].location == account.name
    new = make_account_key()
    changed = place.acme.accounts.change_key(account, new)
    assert (changed.name, changed.thumbprint, changed.jwk) == (account.name, new.thumbprint, new.jwk)
    assert place.acme.accounts.find_by_key(KEY.thumbprint) is None
    with place.refusal(ProblemType.UNAUTHORIZED, "another key by now"):  # the caller saw the old one
        place.acme.accounts.change_key(account, make_account_key())
    (record,) = place.records("acme-account.update")
    assert record["details"] == {"changed": ["key"], "from": KEY.thumbprint, "to": new.thumbprint}


def test_list(sqlite_place: Place) -> None:
    sqlite_place.policy("internal")
    sqlite_place.policy("other")
    first, second, third = (sqlite_place.account(name) for name in ("internal", "other", "internal"))
    assert sqlite_place.acme.accounts.list() == [third, second, first]
    assert sqlite_place.acme.accounts.list("internal") == [third, first]
    with pytest.raises(NotFound, match="Known policies: internal, other"):
        sqlite_place.acme.accounts.list("unknown")


def test_one_key_registering_at_once_is_one_account(place: Place) -> None:
    place.policy()
    binding = place.binding(max_accounts=5)
    found = at_once(*[lambda: place.acme.accounts.register(wish(binding=binding))] * 8)
    accounts, created = zip(*found, strict=True)
    assert len(set(accounts)) == 1
    assert sum(created) == 1
    assert place.rows("SELECT accounts FROM acme_binding") == [(1,)]
    assert len(place.records("acme-account.create")) == 1


@pytest.mark.row("F104")
def test_the_last_places_are_given_out_once(place: Place) -> None:
    place.policy()
    binding = place.binding(max_accounts=3)
    keys = [make_account_key() for _ in range(10)]
    found = at_once(*[lambda key=key: place.acme.accounts.register(wish(key=key, binding=binding)) for key in keys])
    refused = [one for one in found if isinstance(one, ACMEProblem)]
    assert len(refused) == 7
    assert {one.problem.type for one in refused} == {ProblemType.UNAUTHORIZED}
    assert place.rows("SELECT accounts FROM acme_binding") == [(3,)]
    assert place.rows("SELECT count(*) FROM acme_account") == [(3,)]


def test_two_accounts_taking_one_key_at_once(place: Place) -> None:
    place.policy()
    accounts = [place.account() for _ in range(4)]
    new = make_account_key()
    found = at_once(*[lambda one=one: place.acme.accounts.change_key(one, new) for one in accounts])
    refused = [one for one in found if isinstance(one, ACMEProblem)]
    (winner,) = [one for one in found if isinstance(one, Account)]
    assert [(one.status, one.location) for one in refused] == [(409, winner.name)] * 3
