"""The declared life of policies: made, changed, renamed, retired, with what hangs on them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from pkiconf.acme.accounts import Registration
from pkiconf.errors import Conflict, NotFound, PkiconfError, Refused
from pkiconf.model.acme import Account, AccountStatus, OrderStatus, OrderWish
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.reconciler.state import Action
from pkiconf.store.audit import list_events
from pkiconf.store.database import Connection
from tests.acme.place import identifiers, make_account_key
from tests.acme.telling import Heard
from tests.world import OPERATOR, World

PKI = "authorities: [{ name: root }, { name: issuing, issuer: root }]\n"
TEMPLATES = """
templates:
  - { name: web-server, authority: issuing }
  - { name: second, authority: issuing }
  - { name: sub, authority: root, starter: certificate-authority }
"""


def spec(**more: Any) -> dict[str, Any]:
    return {"name": "internal", "profiles": {"default": "issuing/web-server"}, **more}


def register(world: World, policy: str = "internal") -> Account:
    """An account of a policy that asks for no binding."""
    wish = Registration(make_account_key(), (), True, "127.0.0.1", policy=policy)
    return world.services.acme.accounts.register(wish)[0]


def acts(world: World) -> list[str]:
    return [json.loads(event.body)["action"] for event in world.parts.db.read(lambda c: list_events(c))]


@pytest.fixture
def pki(world: World) -> World:
    world.apply(PKI + TEMPLATES)
    return world


@pytest.mark.row("F100")
def test_a_policy_is_made_once(pki: World) -> None:
    policies = pki.services.acme.policies
    policies.create("internal", spec(), "console", OPERATOR)
    row = policies.get("internal")
    assert (row.slug, row.lifecycle, row.generation, row.owner) == ("internal", "active", 1, "console")
    assert [one.name for one in policies.list()] == ["internal"]
    with pytest.raises(Conflict, match="exists already"):
        policies.create("internal", spec(), "console", OPERATOR)
    assert policies.get("internal") == row
    assert acts(pki).count("acme-policy.create") == 1


@pytest.mark.parametrize(
    ("reference", "error", "said"),
    [
        ("issuing/nowhere", NotFound, "there is no template 'issuing/nowhere'"),
        ("nowhere/web-server", NotFound, "Known templates: issuing/second, issuing/web-server"),
        ("root/sub", Refused, "makes authorities"),
        ("issuing/second", Refused, "is retired"),
    ],
)
def test_a_policy_offers_what_can_be_issued(pki: World, reference: str, error: type[Exception], said: str) -> None:
    row = pki.services.template_lookup.get("issuing/second").row
    pki.services.templates.retire("issuing", "second", row.generation, OPERATOR)
    before = acts(pki)
    with pytest.raises(error, match=said):
        pki.services.acme.policies.create("internal", spec(profiles={"default": reference}), "console", OPERATOR)
    assert pki.services.acme.policies.list() == []
    assert acts(pki) == before


def test_what_is_no_policy_is_not_written(sqlite_world: World) -> None:
    sqlite_world.apply(PKI)
    for wrong in ({"challenges": ["http-02"]}, {"order_lifetime": "soon"}, {"default_profile": "other"}):
        with pytest.raises(ValidationError):
            sqlite_world.services.acme.policies.create("internal", spec(**wrong), "console", OPERATOR)
    assert sqlite_world.services.acme.policies.list() == []


def test_another_version_than_was_seen_is_not_overwritten(pki: World) -> None:
    policies = pki.services.acme.policies
    policies.create("internal", spec(), "console", OPERATOR)
    policies.update("internal", spec(description="one"), "console", 1, OPERATOR)
    with pytest.raises(Conflict, match="changed meanwhile"):
        policies.update("internal", spec(description="two"), "console", 1, OPERATOR)
    with pytest.raises(Conflict, match="changed meanwhile"):
        policies.retire("internal", 1, OPERATOR)
    row = policies.get("internal")
    assert (json.loads(row.spec)["description"], row.generation, row.lifecycle) == ("one", 2, "active")


def test_a_guard_that_objects_stops_everything(sqlite_world: World) -> None:
    sqlite_world.apply(PKI)
    policies = sqlite_world.services.acme.policies

    def object_(c: Connection) -> None:
        raise Conflict("another apply")

    with pytest.raises(Conflict, match="another apply"):
        policies.create("internal", spec(), "console", OPERATOR, object_)
    policies.create("internal", spec(), "console", OPERATOR)
    with pytest.raises(Conflict, match="another apply"):
        policies.update("internal", spec(caa=True), "console", 1, OPERATOR, object_)
    with pytest.raises(Conflict, match="another apply"):
        policies.retire("internal", 1, OPERATOR, object_)
    assert policies.get("internal").generation == 1


@pytest.mark.parametrize("actor", [Actor("operator", "x", ""), Actor("acme", "a", "jws")])
def test_only_who_may_changes_policies(sqlite_world: World, actor: Actor) -> None:
    sqlite_world.apply(PKI)
    policies = sqlite_world.services.acme.policies
    policies.create("internal", spec(), "console", OPERATOR)
    with pytest.raises(Refused):
        policies.create("other", spec(name="other"), "console", actor)
    with pytest.raises(Refused):
        policies.update("internal", spec(), "console", 1, actor)
    with pytest.raises(Refused):
        policies.retire("internal", 1, actor)
    with pytest.raises(Refused):
        policies.retire("internal", 1, SYSTEM)  # needs a person
    assert [row.generation for row in policies.list()] == [1]


def test_a_renamed_policy_keeps_its_address_on_the_web(pki: World) -> None:
    policies = pki.services.acme.policies
    policies.create("internal", spec(), "console", OPERATOR)
    policies.create("other", spec(name="other"), "console", OPERATOR)
    with pytest.raises(Conflict, match="'other' exists already"):
        policies.update("other", spec(name="other"), "console", 1, OPERATOR, former_name="internal")
    policies.update("inside", spec(name="inside"), "console", 1, OPERATOR, former_name="internal")
    assert policies.get("inside").slug == "internal"
    with pytest.raises(NotFound, match="Known policies: inside, other"):
        policies.get("internal")
    policies.create("internal", spec(), "console", OPERATOR)
    assert policies.get("internal").slug == "internal-2"


@pytest.mark.row("F106")
def test_a_policy_stays_while_accounts_hang_on_it(pki: World) -> None:
    policies = pki.services.acme.policies
    policies.create("internal", spec(external_account_required=False), "console", OPERATOR)
    accounts = [register(pki) for _ in range(2)]
    with pytest.raises(Refused, match="has 2 valid accounts") as refused:
        policies.retire("internal", 1, OPERATOR)
    assert all(account.name in str(refused.value) for account in accounts)
    assert policies.get("internal").lifecycle == "active"
    for account in accounts:
        pki.services.acme.accounts.deactivate(account, OPERATOR)
    policies.retire("internal", 1, OPERATOR)
    assert policies.get("internal").lifecycle == "retired"


@pytest.mark.row("F106")
def test_a_policy_takes_its_accounts_along_when_told(pki: World) -> None:
    services = pki.services
    services.acme.policies.create("internal", spec(external_account_required=False), "console", OPERATOR)
    services.acme.policies.create("other", spec(name="other", external_account_required=False), "console", OPERATOR)
    account, stranger = register(pki), register(pki, "other")
    order = services.acme.orders.create(account, OrderWish(identifiers("web.corp.example")))
    services.acme.policies.retire("internal", 1, OPERATOR, deactivate_accounts=True)
    ended, kept = services.acme.accounts.find(account.name), services.acme.accounts.find(stranger.name)
    assert ended is not None
    assert ended.status is AccountStatus.REVOKED
    assert kept is not None
    assert kept.status is AccountStatus.VALID
    found = services.acme.orders.find(order.name)
    assert found is not None
    assert found[0].status is OrderStatus.INVALID
    assert acts(pki).count("acme-account.deactivate") == 1


def test_a_retired_policy_comes_back(pki: World) -> None:
    policies = pki.services.acme.policies
    policies.create("internal", spec(), "console", OPERATOR)
    policies.retire("internal", 1, OPERATOR)
    policies.update("internal", spec(), "console", 2, OPERATOR)
    assert (policies.get("internal").lifecycle, policies.get("internal").slug) == ("active", "internal")


def test_a_template_stays_while_a_policy_offers_it(pki: World) -> None:
    policies, templates = pki.services.acme.policies, pki.services.templates
    policies.create("internal", spec(), "console", OPERATOR)
    with pytest.raises(Refused, match="offered by acme-policy/internal"):
        templates.retire("issuing", "web-server", 1, OPERATOR)
    policies.update("internal", spec(profiles={"default": "issuing/second"}), "console", 1, OPERATOR)
    templates.retire("issuing", "web-server", 1, OPERATOR)
    policies.retire("internal", 2, OPERATOR)
    templates.retire("issuing", "second", 1, OPERATOR)


def test_policies_follow_when_what_they_offer_is_renamed(pki: World) -> None:
    both = {"default": "issuing/web-server", "second": "issuing/second"}
    pki.services.acme.policies.create("internal", spec(profiles=both), "console", OPERATOR)
    renamed = (
        PKI.replace("name: issuing", "name: servers, moved: issuing")
        + """
templates:
  - { name: web, authority: servers, moved: web-server }
  - { name: second, authority: servers }
  - { name: sub, authority: root, starter: certificate-authority }
"""
    )
    assert pki.apply(renamed).exit_code == 0
    row = pki.services.acme.policies.get("internal")
    assert json.loads(row.spec)["profiles"] == {"default": "servers/web", "second": "servers/second"}
    assert row.generation == 3, "who has read it before has to see that it changed"
    assert [view.unattended for view in pki.services.template_lookup.list() if view.row.name == "web"] == [
        ("ACME (policy internal)",)
    ]


def test_a_declared_policy_follows_in_the_same_apply(pki: World) -> None:
    policy = "acme_policies: [{ name: internal, template: issuing/web-server, caa: false }]\n"
    assert pki.apply(PKI + TEMPLATES + policy).exit_code == 0
    renamed = """
authorities: [{ name: root }, { name: servers, moved: issuing, issuer: root }]
templates:
  - { name: web, authority: servers, moved: web-server }
  - { name: second, authority: servers }
  - { name: sub, authority: root, starter: certificate-authority }
acme_policies: [{ name: inside, moved: internal, template: servers/web, caa: true }]
"""
    recap = pki.apply(renamed)
    assert recap.exit_code == 0, [result.message for result in recap.results]
    row = pki.services.acme.policies.get("inside")
    assert (json.loads(row.spec)["profiles"], json.loads(row.spec)["caa"]) == ({"default": "servers/web"}, True)
    assert row.slug == "internal"


def test_no_account_appears_while_its_policy_is_retired(pki: World) -> None:
    """Whoever registers holds the policy's row, and sees that it is retired."""
    policies = pki.services.acme.policies
    policies.create("internal", spec(external_account_required=False), "console", OPERATOR)
    policies.retire("internal", 1, OPERATOR)
    before = acts(pki)
    with pytest.raises(Exception, match="retired"):
        register(pki)
    assert pki.services.acme.accounts.list() == []
    assert acts(pki) == before


def test_accounts_that_register_at_the_very_moment(pki: World) -> None:
    """Either they are seen and the policy stays, or it is retired and they are not let in: never both."""
    policies = pki.services.acme.policies
    policies.create("internal", spec(external_account_required=False), "console", OPERATOR)
    ready = threading.Barrier(4)
    refused: list[str] = []

    def act(run: Callable[[], object]) -> None:
        ready.wait()
        try:
            run()
        except PkiconfError as error:
            refused.append(error.detail)

    runs: list[Callable[[], object]] = [lambda: policies.retire("internal", 1, OPERATOR)]
    runs += [lambda: register(pki)] * 3
    threads = [threading.Thread(target=act, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    retired = policies.get("internal").lifecycle == "retired"
    accounts = pki.services.acme.accounts.list()
    assert (retired, len(accounts)) in [(True, 0), *((False, number) for number in (1, 2, 3))]
    assert len(refused) == (3 if retired else 4 - len(accounts))


@pytest.mark.row("F107")
def test_bindings_of_a_retired_policy_wait_with_it(pki: World) -> None:
    declared = (
        PKI
        + TEMPLATES
        + """
acme_policies:
  - { name: internal, template: issuing/web-server, external_account_bindings: [{ name: ci }] }
"""
    )
    heard = Heard()
    assert pki.apply(declared, telling=heard).exit_code == 0
    bindings = pki.services.acme.bindings
    gone = PKI + TEMPLATES + "acme_policies: [{ name: internal, state: absent }]"
    assert pki.apply(gone, allow=(Action.RETIRE,)).exit_code == 0
    with pytest.raises(Exception, match="no external account binding"):
        bindings.open(heard.last.key_id, pki.clock.now())
    assert pki.apply(declared).exit_code == 0, "nothing is told a second time"
    assert bindings.open(heard.last.key_id, pki.clock.now()).row.lifecycle == "active"
