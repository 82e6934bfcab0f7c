"""ACME policies and the external account bindings that hang on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import bindparam, literal_column, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import acme_account, acme_binding, acme_policy
from pkiconf.store.wrapping import check_wrapping_key


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """`spec` is the resolved declaration as canonical JSON, its `profiles` spelled out as profile →
    `authority/template`, without its bindings; `generation` counts writes of the row."""

    id: int
    slug: str
    name: str
    owner: str
    lifecycle: str
    spec: str
    spec_digest: str
    generation: int
    created_at: int


@dataclass(frozen=True, slots=True)
class BindingRow:
    """`key_id` is what clients send as kid; `sealed` the HMAC key (None once deleted); `accounts` how many accounts
    have registered with it."""

    id: int
    policy_id: int
    name: str
    owner: str
    lifecycle: str
    key_id: str
    sealed: bytes | None
    wrapping_key_id: str | None
    spec: str
    spec_digest: str
    generation: int
    accounts: int
    created_at: int


_ADD_POLICY = Prepared(inserting(acme_policy, "id", ending="ON CONFLICT (name) DO NOTHING RETURNING id"))
_GET_POLICY = Prepared(select(acme_policy).where(acme_policy.c.id == bindparam("this")), PolicyRow)
# Whoever retires the policy waits for this transaction, and this one for whoever is retiring it.
_HOLD_POLICY = Prepared(
    select(acme_policy).where(acme_policy.c.id == bindparam("this")).with_for_update(read=True), PolicyRow
)
_POLICY_BY_NAME = Prepared(select(acme_policy).where(acme_policy.c.name == bindparam("called")), PolicyRow)
_POLICY_BY_SLUG = Prepared(select(acme_policy).where(acme_policy.c.slug == bindparam("wish")), PolicyRow)
_LIST_POLICIES = Prepared(select(acme_policy).order_by(acme_policy.c.name), PolicyRow)
_UPDATE_POLICY = Prepared(
    text(
        "UPDATE acme_policy SET name = :name, owner = :owner, lifecycle = :lifecycle, spec = :spec,"
        " spec_digest = :spec_digest, generation = generation + 1 WHERE id = :id AND generation = :expected"
    )
)
_ADD_BINDING = Prepared(
    inserting(acme_binding, "id", "accounts", ending="ON CONFLICT (key_id) DO NOTHING RETURNING id")
)
_GET_BINDING = Prepared(select(acme_binding).where(acme_binding.c.id == bindparam("this")), BindingRow)
_BINDING_BY_KEY_ID = Prepared(select(acme_binding).where(acme_binding.c.key_id == bindparam("kid")), BindingRow)
_BINDING_IN_USE = Prepared(
    select(acme_binding)
    .join(acme_policy, acme_policy.c.id == acme_binding.c.policy_id)
    .where(
        acme_binding.c.key_id == bindparam("kid"),
        acme_binding.c.lifecycle == "active",
        acme_policy.c.lifecycle == "active",
    ),
    BindingRow,
)
_ACTIVE_BINDING = Prepared(
    select(acme_binding).where(
        acme_binding.c.policy_id == bindparam("of"),
        acme_binding.c.name == bindparam("called"),
        acme_binding.c.lifecycle == literal_column("'active'"),  # no parameter, so that the partial index serves
    ),
    BindingRow,
)
_LIST_BINDINGS = Prepared(select(acme_binding).order_by(acme_binding.c.policy_id, acme_binding.c.id), BindingRow)
_UPDATE_BINDING = Prepared(
    text(
        "UPDATE acme_binding SET name = :name, owner = :owner, lifecycle = :lifecycle, key_id = :key_id,"
        " sealed = :sealed, wrapping_key_id = :wrapping_key_id, spec = :spec, spec_digest = :spec_digest,"
        " generation = generation + 1 WHERE id = :id AND generation = :expected"
    )
)
_TAKE_USE = Prepared(
    text("UPDATE acme_binding SET accounts = accounts + 1 WHERE id = :id AND lifecycle = 'active' AND accounts < :most")
)
_UNLIMITED = 1 << 62
_VALID_ACCOUNTS = Prepared(
    select(acme_account.c.name)
    .where(acme_account.c.policy_id == bindparam("of"), acme_account.c.status == "valid")
    .order_by(acme_account.c.id)
    .limit(bindparam("limit")),
    lambda name: str(name),
)
_COUNT_ACCOUNTS = Prepared(
    text("SELECT policy_id, count(*) FROM acme_account WHERE status = 'valid' GROUP BY policy_id"),
)


def add_policy(
    c: Connection, *, slug: str, name: str, owner: str, spec: str, spec_digest: str, created_at: int
) -> int:  # fmt: skip
    """The new row's id. Raises Conflict when there is a policy of this name."""
    values = {
        "slug": slug, "name": name, "owner": owner, "lifecycle": "active", "spec": spec, "spec_digest": spec_digest,
        "generation": 1, "created_at": created_at,
    }  # fmt: skip
    number = _ADD_POLICY.scalar(c, values)
    if number is None:
        raise Conflict(f"ACME policy {name!r} exists already", "Plan again")
    return int(number)


def get_policy(c: Connection, policy_id: int) -> PolicyRow:
    row = _GET_POLICY.find(c, {"this": policy_id})
    if row is None:
        raise NotFound(f"there is no ACME policy {policy_id}")
    return row


def hold_policy(c: Connection, policy_id: int) -> PolicyRow:
    """The policy, which stays as it is until this transaction ends: for whoever adds what a retirement looks for."""
    row = _HOLD_POLICY.find(c, {"this": policy_id})
    if row is None:
        raise NotFound(f"there is no ACME policy {policy_id}")
    return row


def find_policy(c: Connection, name: str) -> PolicyRow | None:
    return _POLICY_BY_NAME.find(c, {"called": name})


def find_policy_by_slug(c: Connection, slug: str) -> PolicyRow | None:
    return _POLICY_BY_SLUG.find(c, {"wish": slug})


def offers(c: Connection) -> list[tuple[PolicyRow, dict[str, str]]]:
    """The policies in use with their profiles: name → `authority/template`."""
    return [(row, json.loads(row.spec)["profiles"] or {}) for row in list_policies(c) if row.lifecycle == "active"]


def respell_templates(c: Connection, respell: Callable[[str], str]) -> None:
    """Let every policy, also a retired one, name its templates as `respell` does: one of them has another name now."""
    for row in list_policies(c):
        spec = json.loads(row.spec)
        profiles = {profile: respell(reference) for profile, reference in (spec["profiles"] or {}).items()}
        if profiles != (spec["profiles"] or {}):
            written = json.dumps(
                {**spec, "profiles": profiles}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            update_policy(
                c, row, row.generation, name=row.name, owner=row.owner, lifecycle=row.lifecycle, spec=written,
                spec_digest=hashlib.sha256(written.encode()).hexdigest(),
            )  # fmt: skip


def list_policies(c: Connection) -> list[PolicyRow]:
    """By name; retired ones too."""
    return _LIST_POLICIES.all(c)


def update_policy(
    c: Connection, row: PolicyRow, expected: int, *, name: str, owner: str, lifecycle: str, spec: str, spec_digest: str
) -> None:
    """Raises Conflict when the row is not at generation `expected`."""
    values = {
        "id": row.id, "expected": expected, "name": name, "owner": owner, "lifecycle": lifecycle, "spec": spec,
        "spec_digest": spec_digest,
    }  # fmt: skip
    if _UPDATE_POLICY.count(c, values) == 0:
        raise Conflict(f"acme-policy/{row.name} has changed meanwhile", "Plan again")


def add_binding(
    c: Connection,
    *,
    policy_id: int,
    name: str,
    owner: str,
    key_id: str,
    sealed: bytes,
    wrapping_key_id: str,
    spec: str,
    spec_digest: str,
    created_at: int,
) -> int:
    """The new row's id. Raises Conflict when the key identifier was ever given, or the master key was retired."""
    values = {
        "policy_id": policy_id, "name": name, "owner": owner, "lifecycle": "active", "key_id": key_id,
        "sealed": sealed, "wrapping_key_id": wrapping_key_id, "spec": spec, "spec_digest": spec_digest,
        "generation": 1, "created_at": created_at,
    }  # fmt: skip
    number = _ADD_BINDING.scalar(c, values)
    if number is None:
        raise _taken(key_id)
    check_wrapping_key(c, wrapping_key_id)
    return int(number)


def _taken(key_id: str) -> Conflict:
    return Conflict(
        f"the key identifier {key_id!r} belongs to another external account binding, or to one that was deleted",
        "Choose another: none is ever given twice",
    )


def get_binding(c: Connection, binding_id: int) -> BindingRow:
    row = _GET_BINDING.find(c, {"this": binding_id})
    if row is None:
        raise NotFound(f"there is no external account binding {binding_id}")
    return row


def find_binding_by_key_id(c: Connection, key_id: str) -> BindingRow | None:
    """Deleted ones too."""
    return _BINDING_BY_KEY_ID.find(c, {"kid": key_id})


def find_binding_in_use(c: Connection, key_id: str) -> BindingRow | None:
    """One that was not deleted, of a policy that is not retired."""
    return _BINDING_IN_USE.find(c, {"kid": key_id})


def find_active_binding(c: Connection, policy_id: int, name: str) -> BindingRow | None:
    return _ACTIVE_BINDING.find(c, {"of": policy_id, "called": name})


def list_bindings(c: Connection) -> list[BindingRow]:
    """Of all policies, deleted ones too."""
    return _LIST_BINDINGS.all(c)


def update_binding(
    c: Connection,
    row: BindingRow,
    expected: int,
    *,
    name: str,
    owner: str,
    lifecycle: str,
    key_id: str,
    sealed: bytes | None,
    wrapping_key_id: str | None,
    spec: str,
    spec_digest: str,
) -> None:
    """Raises Conflict when the row is not at generation `expected`, as `add_binding` does."""
    other = find_binding_by_key_id(c, key_id)
    if other is not None and other.id != row.id:
        raise _taken(key_id)
    values = {
        "id": row.id, "expected": expected, "name": name, "owner": owner, "lifecycle": lifecycle, "key_id": key_id,
        "sealed": sealed, "wrapping_key_id": wrapping_key_id, "spec": spec, "spec_digest": spec_digest,
    }  # fmt: skip
    if _UPDATE_BINDING.count(c, values) == 0:
        raise Conflict(f"external account binding {row.name!r} has changed meanwhile", "Plan again")
    check_wrapping_key(c, wrapping_key_id)


def take_use(c: Connection, binding_id: int, most: int | None) -> bool:
    """Count one more account, unless there are `most` already or it was deleted: one statement, so that of two
    concurrent registrations for the last place one is refused."""
    return _TAKE_USE.count(c, {"id": binding_id, "most": _UNLIMITED if most is None else most}) == 1


def count_accounts(c: Connection) -> dict[int, int]:
    """Policy id → how many valid accounts hang on it; policies without any are left out."""
    return {int(policy_id): int(count) for policy_id, count in _COUNT_ACCOUNTS.all(c)}


def valid_accounts(c: Connection, policy_id: int, limit: int) -> tuple[int, list[str]]:
    """How many valid accounts hang on a policy, and the names of the first."""
    return count_accounts(c).get(policy_id, 0), _VALID_ACCOUNTS.all(c, {"of": policy_id, "limit": limit})
