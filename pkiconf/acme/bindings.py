"""External account bindings (RFC 8555 §7.3.4): made, told once, rotated, deleted; and opened for who presents one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pkiconf.acme.binding_keys import FreshKey, fresh_key
from pkiconf.acme.binding_rows import (
    BindingView,
    binding_address,
    binding_view,
    check_free,
    check_profiles,
    get_binding,
    get_policy,
    has_expired,
)
from pkiconf.authority.declared import Guard, canonical, digest, unguarded
from pkiconf.authority.telling import Telling
from pkiconf.clock import to_epoch
from pkiconf.errors import Refused
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.signing.keyring import binding_identity
from pkiconf.spec.acme import BindingSpec
from pkiconf.steps import Step
from pkiconf.store import acme_policies as store
from pkiconf.store.acme_policies import BindingRow
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class OpenBinding:
    """A binding that may register an account now. `key` are the octets of the HMAC key."""

    id: int
    policy_id: int
    key_id: str
    key: Secret
    row: BindingRow


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
        if has_expired(BindingSpec.model_validate_json(row.spec), now):
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
        self._parts.db.read(lambda c: check_free(c, policy, name, wish))  # before anything is told
        fresh = fresh_key(self._parts, address, wish, key, telling)
        text, now = canonical(dict(spec)), to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            above = check_free(c, policy, name, wish)
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
        before = self._parts.db.read(lambda c: get_binding(c, policy, name))
        undeclared = wish.hmac_key is None and before.is_declared
        fresh = fresh_key(self._parts, address, wish, key, telling) if key is not None or undeclared else None
        text = canonical(dict(spec))

        def write(c: Connection) -> None:
            guard(c)
            found = get_binding(c, policy, name)
            check_profiles(found.policy, wish)
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
        before = self._parts.db.read(lambda c: get_binding(c, policy, name))
        if before.is_declared:
            raise Refused(f"the HMAC key of {address} is declared", "Change key_id and hmac_key in its declaration")
        fresh = fresh_key(self._parts, address, before.spec, None, telling)

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
            row = get_binding(c, policy, name).row
            store.update_binding(
                c, row, row.generation if generation is None else generation, name=row.name, owner=row.owner,
                lifecycle="deleted", key_id=row.key_id, sealed=None, wrapping_key_id=None, spec=row.spec,
                spec_digest=row.spec_digest,
            )  # fmt: skip
            self._parts.record(c, actor, "eab.delete", address, {"key_id": row.key_id})

        self._parts.db.write(Step.ACME_BINDING_WRITE, write)

    def get(self, policy: str, name: str) -> BindingView:
        """Raises NotFound with the known names."""
        return self._parts.db.read(lambda c: get_binding(c, policy, name))

    def list(self, policy: str | None = None, *, deleted: bool = False) -> list[BindingView]:
        """By policy and age. Raises NotFound for an unknown policy."""

        def read(c: Connection) -> list[BindingView]:
            policies = {row.id: row for row in store.list_policies(c)}
            if policy is not None:
                policies = {row.id: row for row in (get_policy(c, policy),)}
            rows = (row for row in store.list_bindings(c) if row.policy_id in policies)
            found = [binding_view(row, policies[row.policy_id]) for row in rows if deleted or row.lifecycle == "active"]
            return sorted(found, key=lambda view: view.policy.name)

        return self._parts.db.read(read)


def _checked(spec: Mapping[str, Any]) -> BindingSpec:
    """Raises pydantic's ValidationError for what is no binding."""
    return BindingSpec.model_validate(dict(spec))


def _put(c: Connection, row: BindingRow, generation: int, fresh: FreshKey | None, **columns: str) -> None:
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
