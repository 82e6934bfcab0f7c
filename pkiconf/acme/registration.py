"""Who may register an account, and under which policy (RFC 8555 §7.3, §7.3.4)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pkiconf.acme.bindings import OpenBinding
from pkiconf.acme.context import unauthorized
from pkiconf.model.acme import AccountKey, ACMEProblem, ProblemType
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec
from pkiconf.store import acme_policies
from pkiconf.store.acme_policies import PolicyRow
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class Registration:
    """What newAccount wishes. `binding` was opened and its MAC checked; `policy` is the slug of the directory that was
    used, None at the common one. `client` is the address it came from."""

    key: AccountKey
    contacts: tuple[str, ...]
    terms_agreed: bool
    client: str
    binding: OpenBinding | None = None
    policy: str | None = None


def policy_for(c: Connection, wish: Registration) -> PolicyRow:
    """The policy that a new account is tied to for ever. Raises ACMEProblem `externalAccountRequired`,
    `unauthorized`."""
    if wish.binding is not None:
        row = acme_policies.get_policy(c, wish.binding.policy_id)
        if wish.policy is not None and wish.policy != row.slug:
            raise unauthorized("the external account binding belongs to another policy than this directory")
        return row
    found = None if wish.policy is None else acme_policies.find_policy_by_slug(c, wish.policy)
    if found is None or ACMEPolicySpec.model_validate(json.loads(found.spec)).external_account_required:
        raise ACMEProblem(
            ProblemType.EXTERNAL_ACCOUNT_REQUIRED,
            "an account registers here with an external account binding: give your client the key identifier and the "
            "HMAC key that the operator handed out",
        )
    return found


def check_open(c: Connection, policy_id: int) -> None:
    """Raise ACMEProblem `unauthorized` for a retired policy; it is not retired before this transaction ends."""
    row = acme_policies.hold_policy(c, policy_id)
    if row.lifecycle != "active":
        raise unauthorized(f"ACME policy {row.name!r} is retired: no account registers with it any more")


def take_place(c: Connection, binding_id: int) -> None:
    """Count one more account under a binding. Raises ACMEProblem `unauthorized` when there is no place left."""
    spec = BindingSpec.model_validate(json.loads(acme_policies.get_binding(c, binding_id).spec))
    if not acme_policies.take_use(c, binding_id, spec.max_accounts):
        raise unauthorized(
            "the external account binding is used up, or was deleted: as many accounts as it allows have registered; "
            "ask the operator for another one"
        )
