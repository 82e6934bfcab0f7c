"""`eab/<policy>/<name>`: with what accounts may register at a policy (RFC 8555 §7.3.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pkiconf.errors import Malformed, Refused
from pkiconf.model.secret import Secret
from pkiconf.policy.starters import overlay
from pkiconf.reconciler.kinds.acme_policy import BINDINGS
from pkiconf.reconciler.kinds.kind import Act, Declaring, View, problem_of
from pkiconf.reconciler.kinds.plain import PlainKind
from pkiconf.reconciler.state import (
    SETTINGS,
    Action,
    Actual,
    Change,
    Desired,
    Finding,
    Severity,
    Spec,
    binding_address,
    kind_of,
    name_of,
    policy_of,
)
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec, decode_hmac_key
from pkiconf.spec.document import Declaration, Document
from pkiconf.store.acme_policies import list_bindings, list_policies
from pkiconf.store.database import Connection

_SECRET: Final = "hmac_key"  # noqa: S105 - the name of a field
_NOT_STORED: Final = ("write_to",)


class ACMEBindingKind(PlainKind):
    name = "eab"

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        for declaration in document.acme_policies:
            if declaration.spec.state == "present":
                yield from _declared(declaration, declaring)

    def create(self, wish: Desired, view: View) -> Spec:
        return _resolved(wish, _defaults())

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        return _resolved(wish, standing.spec)

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        try:
            spec = BindingSpec.model_validate(after)
        except ValidationError as error:
            return problem_of(error)
        offered = (view.find_spec(policy_of(wish.address)) or {}).get("profiles") or {}
        unknown = [profile for profile in spec.profiles or () if profile not in offered]
        if unknown:
            return f"profiles: the policy has no {', '.join(unknown)}; it has {', '.join(sorted(offered))}"
        return _taken(wish.address, spec.key_id, view)

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        return (SETTINGS, policy_of(address))

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]:
        ends = after.get("expires")
        if ends is not None and datetime.fromisoformat(ends) <= view.now:
            yield Finding(wish.address, Severity.WARNING, f"it expired at {ends}: nobody registers with it", wish.at)

    def observe(self, c: Connection) -> Iterator[Actual]:
        policies = {row.id: row.name for row in list_policies(c)}
        for row in list_bindings(c):
            if row.lifecycle == "active":
                address = binding_address(policies[row.policy_id], row.name)
                facts = {"key_id": row.key_id}
                yield Actual(address, json.loads(row.spec), row.owner, row.lifecycle, row.generation, facts)

    def perform(self, act: Act) -> None:
        bindings, change = act.services.acme.bindings, act.change
        _, policy, name = change.address.split("/")
        if change.action is Action.RETIRE:
            bindings.delete(policy, name, act.actor, act.guard, generation=act.precondition)
            return
        key = _declared_key(act)
        if change.action is Action.CREATE:
            bindings.create(policy, name, act.after, change.owner, act.actor, act.guard, key=key, telling=act.telling)
        else:
            bindings.update(
                policy, name, act.after, change.owner, act.precondition, act.actor, act.guard, key=key,
                telling=act.telling,
            )  # fmt: skip


def makes_credentials(change: Change) -> bool:
    """Whether carrying the change out makes a random key, which has to be told to somebody."""
    if kind_of(change.address) != "eab" or change.after is None or change.after.get(_SECRET) is not None:
        return False
    return change.action is Action.CREATE or (change.before or {}).get(_SECRET) is not None


def _declared(declaration: Declaration[ACMEPolicySpec], declaring: Declaring) -> Iterator[Desired]:
    written: Sequence[dict[str, Any]] = declaration.explicit.get(BINDINGS) or ()
    for number, binding in enumerate(written):
        at = declaration.where(f"{BINDINGS}.{number}")
        explicit = {key: value for key, value in binding.items() if key not in _NOT_STORED}
        secret = declaration.secrets.get(f"{BINDINGS}.{number}.{_SECRET}")
        secrets: dict[str, Secret] = {}
        if secret is not None:
            secrets[_SECRET] = decode_hmac_key(secret)
            explicit[_SECRET] = declaring.mark(secrets[_SECRET])
        write_to = binding.get("write_to")
        yield Desired(
            binding_address(declaration.spec.name, binding["name"]),
            explicit,
            declaring.owner,
            str(at),
            secrets=secrets,
            write_to=Path(at.file).parent / Path(write_to).expanduser() if write_to else None,
        )


@cache
def _defaults() -> dict[str, Any]:
    """Every field of a binding. Never changed after it is made."""
    return BindingSpec.model_validate({"name": "x"}).model_dump(mode="json", by_alias=True)


def _resolved(wish: Desired, below: Spec) -> dict[str, Any]:
    after = overlay(below, wish.explicit)
    kept = {key: value for key, value in after.items() if key not in _NOT_STORED}
    return {**kept, "name": name_of(wish.address)}


def _taken(address: str, key_id: str | None, view: View) -> str:
    for row in view.actual.of_kind("eab"):
        if row.address != address and row.facts.get("key_id") == key_id is not None:
            return f"key_id: {key_id} belongs to {row.address} already; choose another"
    return ""


def _declared_key(act: Act) -> Secret | None:
    """The declared key if it is to be stored: at creation, and when it is another than before.

    Raises Malformed for a saved plan alone, Refused when the key was changed since the plan was made.
    """
    before, after = (act.change.before or {}), act.after
    changed = before.get(_SECRET) != after.get(_SECRET) or before.get("key_id") != after.get("key_id")
    if after.get(_SECRET) is None or not changed:
        return None
    if act.wish is None or _SECRET not in act.wish.secrets:
        raise Malformed(f"{act.change.address} reads {_SECRET}", "Give the YAML files instead of the plan")
    if act.wish.explicit.get(_SECRET) != after[_SECRET]:
        raise Refused(f"the {_SECRET} of {act.change.address} is another than was planned with", "Plan again")
    return act.wish.secrets[_SECRET]
