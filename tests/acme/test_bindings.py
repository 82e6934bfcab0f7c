"""Bindings: what is told once, what is stored, who may register with one, and what its end means."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from pkiconf.acme.accounts import Registration
from pkiconf.acme.bindings import Bindings
from pkiconf.errors import Conflict, NotFound, Refused, Unavailable
from pkiconf.model.acme import Account, ACMEProblem, ProblemType
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.secret import Secret
from pkiconf.spec.acme import BindingSpec
from pkiconf.steps import Step
from pkiconf.store import acme_policies
from pkiconf.store.audit import list_events
from pkiconf.store.database import Connection
from pkiconf.store.tables import metadata
from tests.acme.place import make_account_key
from tests.acme.telling import Heard, octets_of
from tests.world import OPERATOR, World

PKI = """
authorities: [{ name: root }, { name: issuing, issuer: root }]
acme_policies: [{ name: internal, template: issuing/web-server }, { name: other, template: issuing/web-server }]
"""
KEY = Secret(bytes(range(32)))


def spec(name: str = "ci", **more: Any) -> dict[str, Any]:
    return BindingSpec.model_validate({"name": name, **more}).model_dump(mode="json")


def register(world: World, key_id: str) -> Account:
    opened = world.services.acme.bindings.open(key_id, world.clock.now())
    wish = Registration(make_account_key(), (), True, "127.0.0.1", binding=opened)
    return world.services.acme.accounts.register(wish)[0]


def everything_stored(world: World) -> bytes:
    """Every value of every row, and every file beside the database."""
    stored = b""

    def read(c: Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for table in metadata.sorted_tables for row in c.execute(table.select())]

    for row in world.parts.db.read(read):
        stored += repr(row).encode()
        stored += b"".join(bytes(value) for value in row if isinstance(value, bytes | memoryview))
    for path in world.folder.rglob("*"):
        stored += path.read_bytes() if path.is_file() else b""
    return stored


@pytest.fixture
def pki(world: World) -> World:
    world.apply(PKI)
    return world


@pytest.fixture
def bindings(pki: World) -> Bindings:
    return pki.services.acme.bindings


@pytest.mark.row("F104")
@pytest.mark.row("F105")
def test_what_is_told_once_opens_the_binding(pki: World, bindings: Bindings) -> None:
    heard = Heard()
    key_id = bindings.create("internal", "ci", spec(max_accounts=5), "console", OPERATOR, telling=heard)
    assert heard.kept == heard.shown
    told = heard.last
    assert (told.address, told.key_id) == ("eab/internal/ci", key_id)
    assert told.directory == "http://127.0.0.1:8000/acme/directory"
    assert len(told.hmac_key.reveal()) == 43
    opened = bindings.open(key_id, pki.clock.now())
    assert opened.key.reveal() == octets_of(told.hmac_key.reveal())
    assert len(opened.key.reveal()) == 32
    assert opened.row.name == "ci"


@pytest.mark.row("F105")
def test_the_key_is_nowhere_in_plain(pki: World, bindings: Bindings) -> None:
    heard = Heard()
    bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=heard)
    bindings.rotate("internal", "ci", OPERATOR, heard)
    bindings.create(
        "internal", "own", spec("own", key_id="k-1", hmac_key="hmac:0"), "console", OPERATOR, key=KEY
    )  # fmt: skip
    stored = everything_stored(pki)
    for secret in (*(told.hmac_key.reveal() for told in heard.shown), base64.urlsafe_b64encode(KEY.reveal())[:43]):
        assert secret not in stored
        assert octets_of(secret) not in stored
    assert heard.last.hmac_key.reveal().decode() not in repr(heard.last)
    events = [json.loads(event.body) for event in pki.parts.db.read(lambda c: list_events(c))]
    assert [event["action"] for event in events if event["address"].startswith("eab/")] == [
        "eab.create", "eab.rotate", "eab.create",
    ]  # fmt: skip


@pytest.mark.row("F105")
def test_without_a_place_to_tell_it_nothing_is_made(pki: World, bindings: Bindings) -> None:
    before = everything_stored(pki)
    with pytest.raises(Refused, match="eab/internal/ci would be told once, and there is nowhere to tell them"):
        bindings.create("internal", "ci", spec(), "console", OPERATOR)
    assert everything_stored(pki) == before


def test_what_cannot_be_kept_is_not_made(pki: World, bindings: Bindings) -> None:
    class Full(Heard):
        def keep(self, told: Any) -> None:
            raise Unavailable("the disk is full")

    with pytest.raises(Unavailable, match="the disk is full"):
        bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=Full())
    assert bindings.list() == []


@pytest.mark.parametrize(
    ("policy", "name", "more", "error", "said"),
    [
        ("nowhere", "ci", {}, NotFound, "Known policies: internal, other"),
        ("internal", "taken", {}, Conflict, "eab/internal/taken exists already"),
        ("internal", "ci", {"profiles": ["default", "fast"]}, Refused, "has no profile fast. It has: default"),
    ],
)
def test_what_cannot_be_made_is_told_to_nobody(
    bindings: Bindings, policy: str, name: str, more: dict[str, Any], error: type[Exception], said: str
) -> None:
    bindings.create("internal", "taken", spec("taken"), "console", OPERATOR, telling=Heard())
    heard = Heard()
    with pytest.raises(error, match=said):
        bindings.create(policy, name, spec(name, **more), "console", OPERATOR, telling=heard)
    assert heard.kept == heard.shown == []
    assert [view.row.name for view in bindings.list()] == ["taken"]


def test_a_key_identifier_is_given_once(bindings: Bindings) -> None:
    own = {"key_id": "k-1", "hmac_key": "hmac:0"}
    bindings.create("internal", "a", spec("a", **own), "console", OPERATOR, key=KEY)
    with pytest.raises(Conflict, match="'k-1' belongs to another"):
        bindings.create("other", "b", spec("b", **own), "console", OPERATOR, key=KEY)
    bindings.delete("internal", "a", OPERATOR)
    with pytest.raises(Conflict, match="or to one that was deleted"):
        bindings.create("internal", "a", spec("a", **own), "console", OPERATOR, key=KEY)
    bindings.create("internal", "c", spec("c", **{**own, "key_id": "k-2"}), "console", OPERATOR, key=KEY)
    with pytest.raises(Conflict, match="'k-1' belongs to another"):
        bindings.update("internal", "c", spec("c", **own), "console", 1, OPERATOR, key=KEY)
    assert [(view.row.name, view.row.key_id) for view in bindings.list()] == [("c", "k-2")]


@pytest.mark.row("F113")
def test_a_key_of_ones_own(pki: World, bindings: Bindings) -> None:
    declared = spec(key_id="k-1", hmac_key="hmac:0")
    bindings.create("internal", "ci", declared, "console", OPERATOR, key=KEY, telling=(heard := Heard()))
    assert heard.kept == heard.shown == [], "its owner has it already"
    assert bindings.open("k-1", pki.clock.now()).key.matches(KEY.reveal())
    with pytest.raises(Refused, match="is declared"):
        bindings.rotate("internal", "ci", OPERATOR, heard)
    with pytest.raises(Refused, match="was not read"):
        bindings.create("internal", "no", {**declared, "name": "no", "key_id": "k-2"}, "console", OPERATOR)
    changed = Secret(secrets.token_bytes(48))
    bindings.update("internal", "ci", spec(key_id="k-2", hmac_key="hmac:1"), "console", 1, OPERATOR, key=changed)
    assert bindings.open("k-2", pki.clock.now()).key.matches(changed.reveal())
    with pytest.raises(ACMEProblem):
        bindings.open("k-1", pki.clock.now())


def test_a_declared_key_that_is_declared_no_more_becomes_a_random_one(pki: World, bindings: Bindings) -> None:
    bindings.create("internal", "ci", spec(key_id="k-1", hmac_key="hmac:0"), "console", OPERATOR, key=KEY)
    with pytest.raises(Refused, match="nowhere to tell"):
        bindings.update("internal", "ci", spec(), "console", 1, OPERATOR)
    assert bindings.open("k-1", pki.clock.now()).key.matches(KEY.reveal())
    bindings.update("internal", "ci", spec(), "console", 1, OPERATOR, telling=(heard := Heard()))
    opened = bindings.open(heard.last.key_id, pki.clock.now())
    assert opened.key.matches(octets_of(heard.last.hmac_key.reveal()))


def test_an_update_leaves_the_key_alone(pki: World, bindings: Bindings) -> None:
    heard = Heard()
    key_id = bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=heard)
    bindings.update("internal", "ci", spec(max_accounts=9), "console", 1, OPERATOR)
    assert bindings.open(key_id, pki.clock.now()).key.matches(octets_of(heard.last.hmac_key.reveal()))
    with pytest.raises(Conflict, match="changed meanwhile"):
        bindings.update("internal", "ci", spec(max_accounts=3), "console", 1, OPERATOR)
    assert bindings.get("internal", "ci").spec.max_accounts == 9


@pytest.mark.row("F108")
def test_what_opens_no_binding_says_so_in_words(pki: World, bindings: Bindings) -> None:
    soon = pki.clock.now() + timedelta(hours=1)
    made = {
        name: bindings.create("internal", name, spec(name, expires=soon), "console", OPERATOR, telling=Heard())
        for name in ("expires", "deleted", "rotated")
    }
    retired = bindings.create("other", "ci", spec(), "console", OPERATOR, telling=Heard())
    bindings.delete("internal", "deleted", OPERATOR)
    bindings.rotate("internal", "rotated", OPERATOR, Heard())
    pki.services.acme.policies.retire("other", 1, OPERATOR)
    assert bindings.open(made["expires"], soon - timedelta(seconds=1)).key_id == made["expires"]
    said = set()
    for unknown in (made["deleted"], made["rotated"], retired, "nobody's", "", "x" * 5000, "'; --", "\u2028"):
        with pytest.raises(ACMEProblem) as refused:
            bindings.open(unknown, pki.clock.now())
        assert refused.value.problem.type is ProblemType.UNAUTHORIZED
        said.add(refused.value.detail)
    assert len(said) == 1, "one that never was is answered as one that is no more"
    with pytest.raises(ACMEProblem, match="has expired") as expired:
        bindings.open(made["expires"], soon)
    assert expired.value.problem.type is ProblemType.UNAUTHORIZED


def test_a_sealed_key_of_another_row_does_not_open(pki: World, bindings: Bindings) -> None:
    one, other = (
        bindings.create("internal", name, spec(name), "console", OPERATOR, telling=Heard()) for name in ("a", "b")
    )

    def swap(c: Connection) -> None:
        c.execute(
            text(
                "UPDATE acme_binding SET sealed = (SELECT sealed FROM acme_binding WHERE key_id = :o) WHERE key_id = :k"
            ),
            {"k": one, "o": other},
        )

    pki.parts.db.write(Step.ACME_BINDING_WRITE, swap)
    with pytest.raises(Unavailable, match="does not open"):
        bindings.open(one, pki.clock.now())
    assert bindings.open(other, pki.clock.now()).key_id == other


@pytest.mark.row("F105")
def test_rotation_gives_another_key_and_keeps_the_accounts(pki: World, bindings: Bindings) -> None:
    heard = Heard()
    old = bindings.create("internal", "ci", spec(max_accounts=2), "console", OPERATOR, telling=heard)
    account = register(pki, old)
    new = bindings.rotate("internal", "ci", OPERATOR, heard)
    assert new != old
    assert heard.shown[0].hmac_key.reveal() != heard.shown[1].hmac_key.reveal()
    with pytest.raises(ACMEProblem, match="no external account binding"):
        bindings.open(old, pki.clock.now())
    assert register(pki, new).binding_id == account.binding_id
    assert bindings.get("internal", "ci").row.accounts == 2
    found = pki.services.acme.accounts.find(account.name)
    assert found is not None
    assert found.status == "valid"


@pytest.mark.row("F107")
def test_deleting_a_binding_leaves_its_accounts_alone(pki: World, bindings: Bindings) -> None:
    key_id = bindings.create("internal", "ci", spec(max_accounts=None), "console", OPERATOR, telling=Heard())
    opened = bindings.open(key_id, pki.clock.now())
    account = register(pki, key_id)
    bindings.delete("internal", "ci", OPERATOR)
    assert pki.services.acme.accounts.find(account.name) == account
    (view,) = bindings.list(deleted=True)
    assert (view.row.lifecycle, view.row.sealed, view.row.wrapping_key_id, view.row.accounts) == (
        "deleted",
        None,
        None,
        1,
    )
    assert bindings.list() == []
    with pytest.raises(NotFound, match=r"has no binding 'ci'\. It has: none"):
        bindings.delete("internal", "ci", OPERATOR)
    wish = Registration(make_account_key(), (), True, "127.0.0.1", binding=opened)
    with pytest.raises(ACMEProblem, match="used up, or was deleted"):  # who had it open when it was deleted
        pki.services.acme.accounts.register(wish)
    assert len(pki.services.acme.accounts.list()) == 1
    bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=Heard())


@pytest.mark.row("F104")
def test_the_last_place_is_taken_once(pki: World, bindings: Bindings) -> None:
    key_id = bindings.create("internal", "ci", spec(max_accounts=3), "console", OPERATOR, telling=Heard())
    outcomes: list[str] = []
    ready = threading.Barrier(8)

    def try_it() -> None:
        ready.wait()
        try:
            register(pki, key_id)
            outcomes.append("in")
        except ACMEProblem as problem:
            outcomes.append(problem.detail)

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("in") == 3
    assert {said[:36] for said in outcomes if said != "in"} == {"the external account binding is used"}
    assert bindings.get("internal", "ci").row.accounts == len(pki.services.acme.accounts.list()) == 3
    assert bindings.get("internal", "ci").state(pki.clock.now()) == "used up"


def test_a_place_is_counted_in_one_statement(pki: World, bindings: Bindings) -> None:
    key_id = bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=Heard())
    number = bindings.open(key_id, pki.clock.now()).id
    taken = [
        pki.parts.db.write(Step.ACME_ACCOUNT_WRITE, lambda c: acme_policies.take_use(c, number, 2)) for _ in range(3)
    ]
    assert taken == [True, True, False]
    assert pki.parts.db.write(Step.ACME_ACCOUNT_WRITE, lambda c: acme_policies.take_use(c, number, None))


def test_states(pki: World, bindings: Bindings) -> None:
    now = pki.clock.now()
    bindings.create("internal", "a", spec("a", expires=now), "console", OPERATOR, telling=Heard())
    bindings.create("internal", "b", spec("b"), "console", OPERATOR, telling=Heard())
    bindings.create("other", "c", spec("c"), "console", OPERATOR, telling=Heard())
    bindings.delete("internal", "b", OPERATOR)
    pki.services.acme.policies.retire("other", 1, OPERATOR)
    states = {view.address: view.state(now) for view in bindings.list(deleted=True)}
    assert states == {"eab/internal/a": "expired", "eab/internal/b": "deleted", "eab/other/c": "policy retired"}
    assert [view.row.name for view in bindings.list("other")] == ["c"]
    with pytest.raises(NotFound, match="there is no ACME policy 'nobody'"):
        bindings.list("nobody")
    with pytest.raises(Refused, match="acme-policy/other is retired"):
        bindings.create("other", "d", spec("d"), "console", OPERATOR, telling=Heard())


@pytest.mark.parametrize("actor", [Actor("operator", "x", ""), Actor("acme", "a", "jws"), Actor("scep", "d", "x")])
def test_only_who_may_changes_bindings(sqlite_world: World, actor: Actor) -> None:
    sqlite_world.apply(PKI)
    bindings = sqlite_world.services.acme.bindings
    bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=Heard())
    for act in (
        lambda: bindings.create("internal", "x", spec("x"), "console", actor, telling=Heard()),
        lambda: bindings.update("internal", "ci", spec(), "console", 1, actor),
        lambda: bindings.rotate("internal", "ci", actor, Heard()),
        lambda: bindings.delete("internal", "ci", actor),
    ):
        with pytest.raises(Refused):
            act()
    with pytest.raises(Refused):
        bindings.delete("internal", "ci", SYSTEM)
    assert [view.row.generation for view in bindings.list()] == [1]


def test_a_key_never_looks_like_an_option(sqlite_world: World) -> None:
    """`--eab-hmac-key -x…` would be read as an option by most clients."""
    sqlite_world.apply(PKI)

    class Hyphens:
        given = 0

        def token(self, size: int) -> bytes:
            self.given += 1
            return bytes([0xF8]) * size if self.given < 4 else secrets.token_bytes(size)

    entropy = Hyphens()
    object.__setattr__(sqlite_world.parts, "entropy", entropy)
    heard = Heard()
    sqlite_world.services.acme.bindings.create("internal", "ci", spec(), "console", OPERATOR, telling=heard)
    assert entropy.given >= 4
    assert not heard.last.hmac_key.reveal().startswith(b"-")
