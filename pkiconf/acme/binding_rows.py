"""External account bindings as their rows say, for people and for whoever changes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.spec.acme import BindingSpec
from pkiconf.store import acme_policies as store
from pkiconf.store.acme_policies import BindingRow, PolicyRow
from pkiconf.store.database import Connection


def binding_address(policy: str, name: str) -> str:
    return f"eab/{policy}/{name}"


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
        if has_expired(self.spec, now):
            return "expired"
        most = self.spec.max_accounts
        return "used up" if most is not None and self.row.accounts >= most else "active"


def has_expired(spec: BindingSpec, now: datetime) -> bool:
    return spec.expires is not None and spec.expires <= now


def binding_view(row: BindingRow, policy: PolicyRow) -> BindingView:
    return BindingView(row, policy, BindingSpec.model_validate_json(row.spec))


def get_policy(c: Connection, name: str) -> PolicyRow:
    row = store.find_policy(c, name)
    if row is None:
        known = ", ".join(policy.name for policy in store.list_policies(c))
        raise NotFound(f"there is no ACME policy {name!r}", f"Known policies: {known or 'none yet'}")
    return row


def get_binding(c: Connection, policy: str, name: str) -> BindingView:
    above = get_policy(c, policy)
    row = store.find_active_binding(c, above.id, name)
    if row is None:
        named = (row for row in store.list_bindings(c) if row.policy_id == above.id and row.lifecycle == "active")
        known = ", ".join(row.name for row in named)
        raise NotFound(f"ACME policy {policy!r} has no binding {name!r}", f"It has: {known or 'none'}")
    return binding_view(row, above)


def check_free(c: Connection, policy: str, name: str, wish: BindingSpec) -> PolicyRow:
    """The policy that a new binding of this name may hang on."""
    above = get_policy(c, policy)
    if above.lifecycle != "active":
        raise Refused(f"acme-policy/{policy} is retired", "Declare it again first")
    if store.find_active_binding(c, above.id, name) is not None:
        raise Conflict(
            f"{binding_address(policy, name)} exists already",
            f"`pkiconf acme eab rotate {policy}/{name}` gives it another key, and `pkiconf acme eab delete` takes it "
            "away; or choose another name",
        )
    check_profiles(above, wish)
    return above


def check_profiles(policy: PolicyRow, wish: BindingSpec) -> None:
    offered = json.loads(policy.spec)["profiles"]
    unknown = [profile for profile in wish.profiles or () if profile not in offered]
    if unknown:
        raise Refused(
            f"acme-policy/{policy.name} has no profile {', '.join(unknown)}", f"It has: {', '.join(sorted(offered))}"
        )
