"""The declared life of ACME policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pkiconf.acme.binding_rows import get_policy
from pkiconf.acme.settle import end_account
from pkiconf.authority.declared import Guard, canonical, digest, unguarded
from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import find_template
from pkiconf.model.acme import AccountStatus, AuthorizationStatus, Problem, ProblemType
from pkiconf.model.actor import Actor
from pkiconf.policy.authorization import Action, check_may
from pkiconf.spec.acme import ACMEPolicySpec
from pkiconf.spec.template import TemplateSpec
from pkiconf.steps import Step
from pkiconf.store import acme_accounts, slugs
from pkiconf.store import acme_policies as store
from pkiconf.store.acme_policies import PolicyRow
from pkiconf.store.database import Connection

_SLUGS: Final = "acme-policy"
_SHOWN: Final = 10


class Policies:
    """Every method that writes takes the actor, and a guard that runs first in its transaction; `generation` is the
    row version the caller saw, and Conflict is raised when it has moved.

    A `spec` is whole and JSON-able: the declaration with its defaults, `profiles` spelled out as profile →
    `authority/template`, without its bindings.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(self, name: str, spec: Mapping[str, Any], owner: str, actor: Actor, guard: Guard = unguarded) -> None:
        """A new policy. Raises Conflict when the name is taken or was destroyed, NotFound for a template that does not
        exist, Refused for one that makes authorities or is retired."""
        address = policy_address(name)
        check_may(actor, Action.ACME_POLICY_CREATE, address)
        text = _checked(spec)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            _check_templates(c, spec)
            if store.find_policy(c, name) is not None:
                raise Conflict(f"ACME policy {name!r} exists already", "Plan again")
            store.add_policy(
                c, slug=slugs.claim_slug(c, _SLUGS, name, address), name=name, owner=owner, spec=text,
                spec_digest=digest(text), created_at=now,
            )  # fmt: skip
            self._parts.record(c, actor, "acme-policy.create", address, {"spec": digest(text)})

        self._parts.db.write(Step.ACME_POLICY_WRITE, write)

    def update(
        self,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        former_name: str | None = None,
    ) -> None:
        """Write a changed declaration, under another name if `former_name` is given; a retired policy comes back.

        The slug, and so its directory URL, stays. Raises NotFound, Conflict, and Refused as `create` does.
        """
        address = policy_address(name)
        check_may(actor, Action.ACME_POLICY_UPDATE, address)
        text = _checked(spec)

        def write(c: Connection) -> None:
            guard(c)
            _check_templates(c, spec)
            row = get_policy(c, former_name or name)
            if former_name is not None:
                self._rename(c, row, name, actor)
            store.update_policy(
                c, row, generation, name=name, owner=owner, lifecycle="active", spec=text, spec_digest=digest(text)
            )
            self._parts.record(c, actor, "acme-policy.update", address, {"spec": digest(text)})

        self._parts.db.write(Step.ACME_POLICY_WRITE, write)

    def retire(
        self,
        name: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        deactivate_accounts: bool = False,
    ) -> None:
        """No account registers or orders with it from now on. Raises Refused, with a list, while valid accounts hang
        on it, unless these are to be deactivated too."""
        address = policy_address(name)
        check_may(actor, Action.ACME_POLICY_RETIRE, address)

        def write(c: Connection) -> None:
            guard(c)
            row = get_policy(c, name)
            # Written first: whoever registers an account holds the row, so that none appears after the look.
            store.update_policy(
                c, row, generation, name=row.name, owner=row.owner, lifecycle="retired", spec=row.spec,
                spec_digest=row.spec_digest,
            )  # fmt: skip
            ended = self._end_accounts(c, row, actor) if deactivate_accounts else 0
            _check_no_accounts(c, row, address)
            self._parts.record(c, actor, "acme-policy.retire", address, {"accounts": ended} if ended else {})

        self._parts.db.write(Step.ACME_POLICY_WRITE, write)

    def list(self) -> list[PolicyRow]:
        """By name; retired ones too."""
        return self._parts.db.look(store.list_policies)

    def get(self, name: str) -> PolicyRow:
        """Raises NotFound with the known names."""
        return self._parts.db.read(lambda c: get_policy(c, name))

    def _end_accounts(self, c: Connection, row: PolicyRow, actor: Actor) -> int:
        why = Problem(ProblemType.UNAUTHORIZED, "the account was revoked with its policy")
        valid = [account for account in acme_accounts.list_accounts(c, row.id) if account.status == AccountStatus.VALID]
        for account in sorted(valid, key=lambda account: account.id):
            if acme_accounts.end(c, account.id, AccountStatus.REVOKED):
                end_account(c, account.id, AuthorizationStatus.REVOKED, why)
                details = {"status": AccountStatus.REVOKED}
                self._parts.record(c, actor, Action.ACME_ACCOUNT_DEACTIVATE, f"acme-account/{account.name}", details)
        return len(valid)

    def _rename(self, c: Connection, row: PolicyRow, name: str, actor: Actor) -> None:
        if store.find_policy(c, name) is not None:
            raise Conflict(f"ACME policy {name!r} exists already", "Plan again")
        old, new = policy_address(row.name), policy_address(name)
        slugs.rename_slug(c, old, new)
        self._parts.record(c, actor, "acme-policy.rename", new, {"from": old})


def policy_address(name: str) -> str:
    return f"acme-policy/{name}"


def _checked(spec: Mapping[str, Any]) -> str:
    """Raises pydantic's ValidationError for what is no policy."""
    ACMEPolicySpec.model_validate(dict(spec))
    return canonical(dict(spec))


def _check_templates(c: Connection, spec: Mapping[str, Any]) -> None:
    for reference in spec["profiles"].values():
        row = find_template(c, reference)
        if row.lifecycle != "active":
            raise Refused(f"template {reference} is retired", "Declare it again, or name another")
        if TemplateSpec.model_validate(json.loads(row.spec)).basic_constraints.ca:
            raise Refused(f"template {reference} makes authorities", "Name one for servers or clients")


def _check_no_accounts(c: Connection, row: PolicyRow, address: str) -> None:
    count, shown = store.valid_accounts(c, row.id, _SHOWN)
    if count:
        more = f" and {count - len(shown)} more" if count > len(shown) else ""
        raise Refused(
            f"{address} has {count} valid account{'s' if count > 1 else ''}: {', '.join(shown)}{more}",
            "Deactivate them, or declare it with state: absent and deactivate_accounts: true",
        )
