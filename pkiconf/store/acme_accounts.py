"""ACME accounts, and the state of everything that decides what one may do."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select, text

from pkiconf.errors import NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import acme_account


class AccountRow(NamedTuple):
    """`contacts` is a JSON array; `created_from` the address of the client that registered."""

    id: int
    name: str
    policy_id: int
    binding_id: int | None
    thumbprint: str
    jwk: str
    status: str
    contacts: str
    terms_agreed_at: int | None
    created_at: int
    created_from: str


class NewAccount(NamedTuple):
    name: str
    policy_id: int
    binding_id: int | None
    thumbprint: str
    jwk: str
    contacts: str
    terms_agreed_at: int | None
    created_at: int
    created_from: str
    status: str = "valid"


class AccountStamp(NamedTuple):
    """What an account's terms are made from: two equal stamps, but for `status`, and they are the same. The policy of
    its binding stands here too, because a binding of another policy grants nothing."""

    status: str
    policy_id: int
    policy_generation: int
    policy_lifecycle: str
    binding_id: int | None
    binding_generation: int | None
    binding_policy_id: int | None


_ADD = Prepared(inserting(acme_account, "id", ending="ON CONFLICT (thumbprint) DO NOTHING RETURNING id"))
_BY_NAME = Prepared(select(acme_account).where(acme_account.c.name == bindparam("called")), AccountRow)
_BY_THUMBPRINT = Prepared(select(acme_account).where(acme_account.c.thumbprint == bindparam("key")), AccountRow)
_LOCK = Prepared(select(acme_account).where(acme_account.c.id == bindparam("this")).with_for_update(), AccountRow)
_LIST = Prepared(select(acme_account).order_by(acme_account.c.id.desc()), AccountRow)
_OF_POLICY = Prepared(
    select(acme_account).where(acme_account.c.policy_id == bindparam("of")).order_by(acme_account.c.id.desc()),
    AccountRow,
)
_UPDATE = Prepared(
    text("UPDATE acme_account SET contacts = :contacts, terms_agreed_at = :terms WHERE id = :id AND status = 'valid'")
)
_END = Prepared(text("UPDATE acme_account SET status = :status WHERE id = :id AND status = 'valid'"))
_SET_KEY = Prepared(
    text(
        "UPDATE acme_account SET thumbprint = :new, jwk = :jwk"
        " WHERE id = :id AND status = 'valid' AND thumbprint = :old"
    )
)
_STAMP = Prepared(
    text(
        "SELECT a.status, p.id, p.generation, p.lifecycle, a.binding_id, b.generation, b.policy_id FROM acme_account a"
        " JOIN acme_policy p ON p.id = a.policy_id LEFT JOIN acme_binding b ON b.id = a.binding_id WHERE a.id = :id"
    ),
    AccountStamp,
)


def add(c: Connection, new: NewAccount) -> int | None:
    """The new row's id; None when the key has an account already."""
    number = _ADD.scalar(c, new._asdict())
    return None if number is None else int(number)


def find(c: Connection, name: str) -> AccountRow | None:
    return _BY_NAME.find(c, {"called": name})


def find_by_thumbprint(c: Connection, thumbprint: str) -> AccountRow | None:
    return _BY_THUMBPRINT.find(c, {"key": thumbprint})


def lock(c: Connection, account_id: int) -> AccountRow:
    """The row, which nobody else changes until this transaction ends. Raises NotFound."""
    row = _LOCK.find(c, {"this": account_id})
    if row is None:
        raise NotFound(f"there is no ACME account {account_id}")
    return row


def list_accounts(c: Connection, policy_id: int | None = None) -> list[AccountRow]:
    """Newest first."""
    return _LIST.all(c) if policy_id is None else _OF_POLICY.all(c, {"of": policy_id})


def update(c: Connection, account_id: int, *, contacts: str, terms_agreed_at: int | None) -> bool:
    """False for one that is not valid any more."""
    return _UPDATE.count(c, {"id": account_id, "contacts": contacts, "terms": terms_agreed_at}) == 1


def end(c: Connection, account_id: int, status: str) -> bool:
    """Make a valid account `deactivated` or `revoked`; False for one that has ended before."""
    return _END.count(c, {"id": account_id, "status": status}) == 1


def set_key(c: Connection, account_id: int, old: str, new: str, jwk: str) -> bool:
    """Another key, from thumbprint `old` to `new`; False when the account has moved on. Raises Conflict (by way of
    the database) when another account has the key."""
    return _SET_KEY.count(c, {"id": account_id, "old": old, "new": new, "jwk": jwk}) == 1


def stamp(c: Connection, account_id: int) -> AccountStamp | None:
    """None for an account or policy that does not exist."""
    return _STAMP.find(c, {"id": account_id})
