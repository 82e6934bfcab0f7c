"""External account bindings (RFC 8555 §7.3.4): made, told once, rotated, deleted; and opened for who presents one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiconf.acme.credentials import DIRECTORY_PATH, Credentials, Telling
from pkiconf.authority.declared import Guard, canonical, digest, unguarded
from pkiconf.clock import to_epoch
from pkiconf.entropy import Entropy
from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.signing.keyring import Sealed, binding_identity
from pkiconf.spec.acme import HMAC_KEY_OCTETS, BindingSpec, encode_hmac_key
from pkiconf.steps import Step
from pkiconf.store import acme_policies as store
from pkiconf.store.acme_policies import BindingRow, PolicyRow
from pkiconf.store.database import Connection

_KEY_ID_OCTETS: Final = 8


@dataclass(frozen=True, slots=True)
class OpenBinding:
    """A binding that may register an account now. `key` are the octets of the HMAC key."""

    id: int
    policy_id: int
    key_id: str
    key: Secret
    row: BindingRow


@dataclass(frozen=True, slots=True)
class BindingView:
    """A binding for people. `policy` is the name of the policy it hangs on."""

    row: BindingRow
    policy: PolicyRow
    spec: BindingSpec

    @property
    def address(self) -> str:
        return binding_address(self.policy.name, self.row.name)

    @property
    def is_declared(self) -> bool:
        """Whether its key was supplied, by reference, in the declaration."""
        return self.spec.hmac_key is not None

    def state(self, now: datetime) -> str:
        """active, expired, used up, deleted, or `policy retired`: whether an account may register with it, and if not
        why."""
        if self.row.lifecycle != "active":
            return self.row.lifecycle
        if self.policy.lifecycle != "active":
            return "policy retired"
        if _has_expired(self.spec, now):
            return "expired"
        most = self.spec.max_accounts
        return "used up" if most is not None and self.row.accounts >= most else "active"


class Bindings:
    """Methods that write take the actor, and a guard that runs first in their transaction; `generation` is the row
    version the caller saw, and Conflict is raised when it has moved.

    A `spec` is whole and JSON-able; in the place of an `hmac_key` it holds a mark. `key` are the octets of a declared
    HMAC key. Without one a random key is made and told through `telling`, kept before it holds and shown after: Refused
    is raised, and nothing made, where there is nowhere to tell it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def open(self, key_id: str, now: datetime) -> OpenBinding:
        """The binding that a client names, before its MAC is checked with `key`.

        Raises ACMEProblem `unauthorized` for one that is unknown, was deleted, has expired, or whose policy is retired;
        whether places are left is decided when the account is written. What is said of an unknown key identifier tells
        nothing about known ones.
        """
        row = self._parts.db.look(lambda c: store.find_binding_in_use(c, key_id))
        if row is None or row.sealed is None or row.wrapping_key_id is None:
            raise ACMEProblem(
                ProblemType.UNAUTHORIZED,
                "no external account binding has this key identifier (kid); check it, or ask for a new one",
            )
        if _has_expired(BindingSpec.model_validate_json(row.spec), now):
            raise ACMEProblem(ProblemType.UNAUTHORIZED, "the external account binding has expired; ask for a new one")
        key = self._parts.keyring.unseal(binding_identity(row.key_id), row.sealed, row.wrapping_key_id)
        return OpenBinding(row.id, row.policy_id, row.key_id, key, row)

    def create(
        self,
        policy: str,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        key: Secret | None = None,
        telling: Telling | None = None,
    ) -> str:
        """A new binding; its key identifier. Raises NotFound for an unknown policy, Conflict for a name or a key
        identifier that is taken, Refused for a profile that the policy has not or a retired policy."""
        address = binding_address(policy, name)
        check_may(actor, Action.ACME_BINDING_CREATE, address)
        wish = _checked(spec)
        self._parts.db.read(lambda c: _check_free(c, policy, name, wish))  # before anything is told
        fresh = self._fresh(address, wish, key, telling)
        text, now = canonical(dict(spec)), to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            above = _check_free(c, policy, name, wish)
            store.add_binding(
                c, policy_id=above.id, name=name, owner=owner, key_id=fresh.key_id, sealed=fresh.sealed.blob,
                wrapping_key_id=fresh.sealed.wrapping_key_id, spec=text, spec_digest=digest(text), created_at=now,
            )  # fmt: skip
            self._parts.record(c, actor, "eab.create", address, {"key_id": fresh.key_id, "spec": digest(text)})

        self._parts.db.write(Step.ACME_BINDING_WRITE, write)
        fresh.show(telling)
        return fresh.key_id

    def update(
        self,
        policy: str,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        key: Secret | None = None,
        telling: Telling | None = None,
    ) -> None:
        """Write a changed declaration. The key stays, unless another was declared (`key`) or a declared one no longer
        is. Accounts that registered stay too, also when there are more than may now. Raises as `create` does."""
        address = binding_address(policy, name)
        check_may(actor, Action.ACME_BINDING_UPDATE, address)
        wish = _checked(spec)
        before = self._parts.db.read(lambda c: _get(c, policy, name))
        undeclared = wish.hmac_key is None and before.is_declared
        fresh = self._fresh(address, wish, key, telling) if key is not None or undeclared else None
        text = canonical(dict(spec))

        def write(c: Connection) -> None:
            guard(c)
            found = _get(c, policy, name)
            _check_profiles(found.policy, wish)
            _put(c, found.row, generation, fresh, owner=owner, spec=text)
            details = {"spec": digest(text), **({"key_id": fresh.key_id} if fresh else {})}
            self._parts.record(c, actor, "eab.update", address, details)

        self._parts.db.write(Step.ACME_BINDING_WRITE, write)
        if fresh is not None:
            fresh.show(telling)

    def rotate(self, policy: str, name: str, actor: Actor, telling: Telling) -> str:
        """Another random key under another key identifier, which is returned: the old ones register nothing more.

        Accounts that have registered go on, and count. Raises Refused for a binding whose key is declared.
        """
        address = binding_address(policy, name)
        check_may(actor, Action.ACME_BINDING_ROTATE, address)
        before = self._parts.db.read(lambda c: _get(c, policy, name))
        if before.is_declared:
            raise Refused(f"the HMAC key of {address} is declared", "Change key_id and hmac_key in its declaration")
        fresh = self._fresh(address, before.spec, None, telling)

        def write(c: Connection) -> None:
            _put(c, before.row, before.row.generation, fresh)
            details = {"from": before.row.key_id, "key_id": fresh.key_id}
            self._parts.record(c, actor, "eab.rotate", address, details)

        self._parts.db.write(Step.ACME_BINDING_WRITE, write)
        fresh.show(telling)
        return fresh.key_id

    def delete(
        self, policy: str, name: str, actor: Actor, guard: Guard = unguarded, *, generation: int | None = None
    ) -> None:
        """Nobody registers with it any more; accounts that have go on. Its key is forgotten, its key identifier is
        never given again. Without `generation`, whatever its row has become."""
        address = binding_address(policy, name)
        check_may(actor, Action.ACME_BINDING_DELETE, address)

        def write(c: Connection) -> None:
            guard(c)
            row = _get(c, policy, name).row
            store.update_binding(
                c, row, row.generation if generation is None else generation, name=row.name, owner=row.owner,
                lifecycle="deleted", key_id=row.key_id, sealed=None, wrapping_key_id=None, spec=row.spec,
                spec_digest=row.spec_digest,
            )  # fmt: skip
            self._parts.record(c, actor, "eab.delete", address, {"key_id": row.key_id})

        self._parts.db.write(Step.ACME_BINDING_WRITE, write)

    def get(self, policy: str, name: str) -> BindingView:
        """Raises NotFound with the known names."""
        return self._parts.db.read(lambda c: _get(c, policy, name))

    def list(self, policy: str | None = None, *, deleted: bool = False) -> list[BindingView]:
        """By policy and age. Raises NotFound for an unknown policy."""

        def read(c: Connection) -> list[BindingView]:
            policies = {row.id: row for row in store.list_policies(c)}
            if policy is not None:
                policies = {row.id: row for row in (_get_policy(c, policy),)}
            rows = (row for row in store.list_bindings(c) if row.policy_id in policies)
            found = [_view(row, policies[row.policy_id]) for row in rows if deleted or row.lifecycle == "active"]
            return sorted(found, key=lambda view: view.policy.name)

        return self._parts.db.read(read)

    def _fresh(self, address: str, wish: BindingSpec, key: Secret | None, telling: Telling | None) -> _Fresh:
        """A key sealed and, if it is a random one, kept where it is told."""
        if key is not None:
            key_id = str(wish.key_id)
            return _Fresh(key_id, self._parts.keyring.seal(binding_identity(key_id), key.reveal()), None)
        if wish.hmac_key is not None:
            raise Refused(f"the HMAC key of {address} is declared, but was not read", "Apply the YAML files themselves")
        if telling is None:
            raise nowhere_to_tell(address)
        key_id, octets = self._parts.entropy.token(_KEY_ID_OCTETS).hex(), _random_key(self._parts.entropy)
        settings = self._parts.db.read(load_settings)
        told = Credentials(address, settings.enrolment_url + DIRECTORY_PATH, key_id, encode_hmac_key(octets))
        sealed = self._parts.keyring.seal(binding_identity(key_id), octets.reveal())
        telling.keep(told)
        return _Fresh(key_id, sealed, told)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A key about to be stored; `told` is None for one that its owner has already."""

    key_id: str
    sealed: Sealed
    told: Credentials | None

    def show(self, telling: Telling | None) -> None:
        if telling is not None and self.told is not None:
            telling.show(self.told)


def binding_address(policy: str, name: str) -> str:
    return f"eab/{policy}/{name}"


def nowhere_to_tell(*addresses: str) -> Refused:
    return Refused(
        f"the credentials of {', '.join(addresses)} would be told once, and there is nowhere to tell them",
        "Run apply on a terminal or with --secrets-file FILE, or declare write_to: FILE",
    )


def _random_key(entropy: Entropy) -> Secret:
    """Again, if its text would begin with a hyphen: clients would take it for an option of theirs."""
    while True:
        octets = Secret(entropy.token(HMAC_KEY_OCTETS))
        if not encode_hmac_key(octets).reveal().startswith(b"-"):
            return octets


def _checked(spec: Mapping[str, Any]) -> BindingSpec:
    """Raises pydantic's ValidationError for what is no binding."""
    return BindingSpec.model_validate(dict(spec))


def _has_expired(spec: BindingSpec, now: datetime) -> bool:
    return spec.expires is not None and spec.expires <= now


def _put(c: Connection, row: BindingRow, generation: int, fresh: _Fresh | None, **columns: str) -> None:
    """Write a row with another key, or the one it has."""
    text = columns.get("spec", row.spec)
    store.update_binding(
        c,
        row,
        generation,
        name=row.name,
        owner=columns.get("owner", row.owner),
        lifecycle=row.lifecycle,
        key_id=fresh.key_id if fresh else row.key_id,
        sealed=fresh.sealed.blob if fresh else row.sealed,
        wrapping_key_id=fresh.sealed.wrapping_key_id if fresh else row.wrapping_key_id,
        spec=text,
        spec_digest=digest(text),
    )


def _view(row: BindingRow, policy: PolicyRow) -> BindingView:
    return BindingView(row, policy, BindingSpec.model_validate_json(row.spec))


def _get_policy(c: Connection, name: str) -> PolicyRow:
    row = store.find_policy(c, name)
    if row is None:
        known = ", ".join(policy.name for policy in store.list_policies(c))
        raise NotFound(f"there is no ACME policy {name!r}", f"Known policies: {known or 'none yet'}")
    return row


def _get(c: Connection, policy: str, name: str) -> BindingView:
    above = _get_policy(c, policy)
    row = store.find_active_binding(c, above.id, name)
    if row is None:
        named = (row for row in store.list_bindings(c) if row.policy_id == above.id and row.lifecycle == "active")
        known = ", ".join(row.name for row in named)
        raise NotFound(f"ACME policy {policy!r} has no binding {name!r}", f"It has: {known or 'none'}")
    return _view(row, above)


def _check_free(c: Connection, policy: str, name: str, wish: BindingSpec) -> PolicyRow:
    """The policy that a new binding of this name may hang on."""
    above = _get_policy(c, policy)
    if above.lifecycle != "active":
        raise Refused(f"acme-policy/{policy} is retired", "Declare it again first")
    if store.find_active_binding(c, above.id, name) is not None:
        raise Conflict(f"{binding_address(policy, name)} exists already", "Plan again, or choose another name")
    _check_profiles(above, wish)
    return above


def _check_profiles(policy: PolicyRow, wish: BindingSpec) -> None:
    offered = json.loads(policy.spec)["profiles"]
    unknown = [profile for profile in wish.profiles or () if profile not in offered]
    if unknown:
        raise Refused(
            f"acme-policy/{policy.name} has no profile {', '.join(unknown)}", f"It has: {', '.join(sorted(offered))}"
        )
