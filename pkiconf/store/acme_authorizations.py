"""Authorizations, each with all its challenges in one row: at most one of them is ever accepted.

Rows are locked in one order everywhere: account, authorizations by id, orders by id.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, adding
from pkiconf.store.tables import acme_authorization, acme_order_authorization


class AuthorizationRow(NamedTuple):
    """`kind` and `value` name the identifier, without `*.`; `offered` are challenge types separated by commas, empty
    for a pre-approved one; `accepted` the type that the client chose; `error` a JSON problem."""

    id: int
    name: str
    account_id: int
    kind: str
    value: str
    wildcard: int
    status: str
    token: str
    offered: str
    accepted: str | None
    accepted_at: int | None
    validated_at: int | None
    attempts: int
    error: str | None
    created_at: int
    expires_at: int


class NewAuthorization(NamedTuple):
    name: str
    account_id: int
    kind: str
    value: str
    wildcard: int
    status: str
    token: str
    offered: str
    validated_at: int | None
    created_at: int
    expires_at: int


_ADD = adding(acme_authorization, "accepted", "accepted_at", "attempts", "error")
_GET = Prepared(select(acme_authorization).where(acme_authorization.c.id == bindparam("this")), AuthorizationRow)
_BY_NAME = Prepared(
    select(acme_authorization).where(acme_authorization.c.name == bindparam("called")), AuthorizationRow
)
_REUSABLE = Prepared(
    select(acme_authorization)
    .where(
        acme_authorization.c.account_id == bindparam("of"),
        acme_authorization.c.value == bindparam("called"),
        acme_authorization.c.kind == bindparam("type"),
        acme_authorization.c.wildcard == bindparam("star"),
        or_(acme_authorization.c.status == "pending", acme_authorization.c.status == "valid"),
        acme_authorization.c.expires_at > bindparam("after"),
    )
    .order_by(acme_authorization.c.id)
    .with_for_update(read=True),  # what it says must still hold when the order that leans on it is written
    AuthorizationRow,
)
_VALID = Prepared(
    select(acme_authorization).where(
        acme_authorization.c.account_id == bindparam("of"),
        acme_authorization.c.value == bindparam("called"),
        acme_authorization.c.kind == bindparam("type"),
        acme_authorization.c.wildcard == bindparam("star"),
        acme_authorization.c.status == "valid",
        acme_authorization.c.expires_at > bindparam("after"),
    ),
    AuthorizationRow,
)
_OF_ORDER = Prepared(
    select(acme_authorization)
    .join(acme_order_authorization, acme_order_authorization.c.authorization_id == acme_authorization.c.id)
    .where(acme_order_authorization.c.order_id == bindparam("of"))
    .order_by(acme_authorization.c.id),
    AuthorizationRow,
)
_ACCEPT = Prepared(
    text(
        "UPDATE acme_authorization SET accepted = :challenge, accepted_at = :now"
        " WHERE id = :id AND status = 'pending' AND accepted IS NULL AND expires_at > :now"
    )
)
_SETTLE = Prepared(
    text(
        "UPDATE acme_authorization SET status = :status, validated_at = :validated_at, error = :error,"
        " attempts = attempts + 1 WHERE id = :id AND status = 'pending'"
    )
)
_ATTEMPT = Prepared(
    text("UPDATE acme_authorization SET attempts = attempts + 1, error = :error WHERE id = :id AND status = 'pending'")
)
_DEACTIVATE = Prepared(
    text("UPDATE acme_authorization SET status = :status WHERE id = :id AND status IN ('pending', 'valid')")
)
_PENDING_OF = Prepared(
    select(acme_authorization.c.id)
    .where(acme_authorization.c.account_id == bindparam("of"), acme_authorization.c.status == "pending")
    .order_by(acme_authorization.c.id)
    .with_for_update()
)


def add(c: Connection, new: NewAuthorization) -> AuthorizationRow:
    """The new row."""
    values = new._asdict()
    number = _ADD.added(c, values)
    return AuthorizationRow(id=number, accepted=None, accepted_at=None, attempts=0, error=None, **values)


def find(c: Connection, authorization_id: int) -> AuthorizationRow | None:
    return _GET.find(c, {"this": authorization_id})


def find_by_name(c: Connection, name: str) -> AuthorizationRow | None:
    return _BY_NAME.find(c, {"called": name})


def list_reusable(
    c: Connection, account_id: int, kind: str, value: str, *, wildcard: bool, after: int
) -> list[AuthorizationRow]:
    """Pending and valid ones that expire later than `after`, by id. They stay so until the transaction ends."""
    return _REUSABLE.all(c, {"of": account_id, "type": kind, "called": value, "star": int(wildcard), "after": after})


def list_valid(
    c: Connection, account_id: int, kind: str, value: str, *, wildcard: bool, now: int
) -> list[AuthorizationRow]:
    return _VALID.all(c, {"of": account_id, "type": kind, "called": value, "star": int(wildcard), "after": now})


def list_of_order(c: Connection, order_id: int) -> list[AuthorizationRow]:
    """By id."""
    return _OF_ORDER.all(c, {"of": order_id})


def accept(c: Connection, authorization_id: int, challenge: str, now: int) -> bool:
    """Choose its challenge; False when one was chosen before, or it is not pending any more."""
    return _ACCEPT.count(c, {"id": authorization_id, "challenge": challenge, "now": now}) == 1


def settle(c: Connection, authorization_id: int, status: str, *, validated_at: int | None, error: str | None) -> bool:
    """From pending to `valid` or `invalid`; False when it was not pending any more."""
    values = {"id": authorization_id, "status": status, "validated_at": validated_at, "error": error}
    return _SETTLE.count(c, values) == 1


def note_attempt(c: Connection, authorization_id: int, error: str) -> None:
    _ATTEMPT.count(c, {"id": authorization_id, "error": error})


def end(c: Connection, authorization_id: int, status: str) -> bool:
    """From pending or valid to `deactivated` or `revoked`; False when it has ended before."""
    return _DEACTIVATE.count(c, {"id": authorization_id, "status": status}) == 1


def lock_pending(c: Connection, account_id: int) -> list[int]:
    """Ids of an account's pending ones, locked in their order."""
    return [number for (number,) in _PENDING_OF.all(c, {"of": account_id})]
