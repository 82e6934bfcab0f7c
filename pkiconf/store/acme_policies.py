"""ACME policies and the external account bindings that hang on them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, literal_column, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import acme_binding, acme_policy


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """`spec` is the resolved declaration, JSON; `generation` counts writes of the row."""

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


_ADD_POLICY = Prepared(inserting(acme_policy, "id", ending="RETURNING id"))
_GET_POLICY = Prepared(select(acme_policy).where(acme_policy.c.id == bindparam("this")), PolicyRow)
_POLICY_BY_NAME = Prepared(select(acme_policy).where(acme_policy.c.name == bindparam("called")), PolicyRow)
_POLICY_BY_SLUG = Prepared(select(acme_policy).where(acme_policy.c.slug == bindparam("wish")), PolicyRow)
_LIST_POLICIES = Prepared(select(acme_policy).order_by(acme_policy.c.name), PolicyRow)
_UPDATE_POLICY = Prepared(
    text(
        "UPDATE acme_policy SET name = :name, owner = :owner, lifecycle = :lifecycle, spec = :spec,"
        " spec_digest = :spec_digest, generation = generation + 1 WHERE id = :id AND generation = :expected"
    )
)
_ADD_BINDING = Prepared(inserting(acme_binding, "id", "accounts", ending="RETURNING id"))
_GET_BINDING = Prepared(select(acme_binding).where(acme_binding.c.id == bindparam("this")), BindingRow)
_BINDING_BY_KEY_ID = Prepared(select(acme_binding).where(acme_binding.c.key_id == bindparam("kid")), BindingRow)
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


def add_policy(
    c: Connection, *, slug: str, name: str, owner: str, spec: str, spec_digest: str, created_at: int
) -> int:  # fmt: skip
    """The new row's id."""
    values = {
        "slug": slug, "name": name, "owner": owner, "lifecycle": "active", "spec": spec, "spec_digest": spec_digest,
        "generation": 1, "created_at": created_at,
    }  # fmt: skip
    return int(_ADD_POLICY.scalar(c, values))


def get_policy(c: Connection, policy_id: int) -> PolicyRow:
    row = _GET_POLICY.find(c, {"this": policy_id})
    if row is None:
        raise NotFound(f"there is no ACME policy {policy_id}")
    return row


def find_policy(c: Connection, name: str) -> PolicyRow | None:
    return _POLICY_BY_NAME.find(c, {"called": name})


def find_policy_by_slug(c: Connection, slug: str) -> PolicyRow | None:
    return _POLICY_BY_SLUG.find(c, {"wish": slug})


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
    """The new row's id."""
    values = {
        "policy_id": policy_id, "name": name, "owner": owner, "lifecycle": "active", "key_id": key_id,
        "sealed": sealed, "wrapping_key_id": wrapping_key_id, "spec": spec, "spec_digest": spec_digest,
        "generation": 1, "created_at": created_at,
    }  # fmt: skip
    return int(_ADD_BINDING.scalar(c, values))


def get_binding(c: Connection, binding_id: int) -> BindingRow:
    row = _GET_BINDING.find(c, {"this": binding_id})
    if row is None:
        raise NotFound(f"there is no external account binding {binding_id}")
    return row


def find_binding_by_key_id(c: Connection, key_id: str) -> BindingRow | None:
    """Deleted ones too."""
    return _BINDING_BY_KEY_ID.find(c, {"kid": key_id})


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
    """Raises Conflict when the row is not at generation `expected`."""
    values = {
        "id": row.id, "expected": expected, "name": name, "owner": owner, "lifecycle": lifecycle, "key_id": key_id,
        "sealed": sealed, "wrapping_key_id": wrapping_key_id, "spec": spec, "spec_digest": spec_digest,
    }  # fmt: skip
    if _UPDATE_BINDING.count(c, values) == 0:
        raise Conflict(f"external account binding {row.name!r} has changed meanwhile", "Plan again")


def take_use(c: Connection, binding_id: int, most: int | None) -> bool:
    """Count one more account, unless there are `most` already or it was deleted: one statement, so that of two
    concurrent registrations for the last place one is refused."""
    return _TAKE_USE.count(c, {"id": binding_id, "most": _UNLIMITED if most is None else most}) == 1
