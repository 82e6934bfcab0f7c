"""ACME orders, and which authorizations they wait for."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import bindparam, or_, select, text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, adding, inserting
from pkiconf.store.tables import acme_issued_name, acme_order, acme_order_authorization


class OrderRow(NamedTuple):
    """`identifiers` is a JSON array of `type:value`; `error` a JSON problem; `issuer_id` and `serial` name the
    certificate from its reservation on; `authorizations` are names, separated by commas."""

    id: int
    name: str
    account_id: int
    template_id: int
    status: str
    identifiers: str
    profile: str
    not_before: int | None
    not_after: int | None
    replaces: str | None
    error: str | None
    issuer_id: int | None
    serial: bytes | None
    spki_sha256: bytes | None
    created_at: int
    expires_at: int
    authorizations: str


class NewOrder(NamedTuple):
    name: str
    account_id: int
    template_id: int
    status: str
    identifiers: str
    profile: str
    not_before: int | None
    not_after: int | None
    replaces: str | None
    created_at: int
    expires_at: int


_COLUMNS: Final = ", ".join(f"o.{column.name}" for column in acme_order.columns)
_LINKED: Final = (
    " FROM acme_order_authorization l JOIN acme_authorization a ON a.id = l.authorization_id WHERE l.order_id = o.id)"
)
_WITH_AUTHORIZATIONS: Final = f"SELECT {_COLUMNS}, (SELECT string_agg(a.name, ',' ORDER BY a.id){_LINKED}"
_ON_SQLITE: Final = f"SELECT {_COLUMNS}, (SELECT group_concat(a.name, ','){_LINKED}"


def _selecting(rest: str) -> Prepared[OrderRow]:
    """Orders with the names of their authorizations, which the two dialects gather under different names."""
    return Prepared(text(_WITH_AUTHORIZATIONS + rest), OrderRow, sqlite=text(_ON_SQLITE + rest))


_ADD = adding(acme_order, "error", "issuer_id", "serial", "spki_sha256")
_LINK = Prepared(inserting(acme_order_authorization))
_BY_NAME = _selecting(" FROM acme_order o WHERE o.name = :called")
_LIST = _selecting(" FROM acme_order o ORDER BY o.id DESC LIMIT :most")
_OF_ACCOUNT = _selecting(" FROM acme_order o WHERE o.account_id = :of ORDER BY o.id DESC LIMIT :most")
_PAGE: Prepared[tuple[int, str]] = Prepared(
    text(
        "SELECT id, name FROM acme_order WHERE account_id = :of AND id > :after AND status <> 'invalid'"
        " AND (status NOT IN ('pending', 'ready') OR expires_at > :now) ORDER BY id LIMIT :most"
    )
)
_RESERVE = Prepared(
    text(
        "UPDATE acme_order SET status = 'processing', issuer_id = :issuer_id, serial = :serial, spki_sha256 = :spki"
        " WHERE id = :id AND status = 'ready' AND expires_at > :now AND EXISTS"
        " (SELECT 1 FROM acme_account a WHERE a.id = acme_order.account_id AND a.status = 'valid')"
    )
)
_COMPLETE = Prepared(text("UPDATE acme_order SET status = 'valid' WHERE name = :name AND status = 'processing'"))
_GIVE_UP = Prepared(
    text("UPDATE acme_order SET status = 'invalid', error = :error WHERE name = :name AND status = 'processing'")
)
_OPEN: Final = or_(acme_order.c.status == "pending", acme_order.c.status == "ready")
_WAITING_FOR = Prepared(
    select(acme_order.c.id)
    .join(acme_order_authorization, acme_order_authorization.c.order_id == acme_order.c.id)
    .where(
        acme_order_authorization.c.authorization_id == bindparam("on"),
        _OPEN,
    )
    .order_by(acme_order.c.id)
    .with_for_update(of=acme_order)
)
_OPEN_OF = Prepared(
    select(acme_order.c.id)
    .where(acme_order.c.account_id == bindparam("of"), _OPEN)
    .order_by(acme_order.c.id)
    .with_for_update()
)
_MAKE_READY = Prepared(
    text(
        "UPDATE acme_order SET status = 'ready' WHERE id = :id AND status = 'pending' AND NOT EXISTS"
        " (SELECT 1 FROM acme_order_authorization l JOIN acme_authorization a ON a.id = l.authorization_id"
        " WHERE l.order_id = acme_order.id AND a.status <> 'valid')"
    )
)
_INVALIDATE = Prepared(
    text("UPDATE acme_order SET status = 'invalid', error = :error WHERE id = :id AND status IN ('pending', 'ready')")
)
_REPLACEMENT = Prepared(
    text(
        "SELECT name FROM acme_order WHERE replaces = :replaces AND replaces IS NOT NULL AND status <> 'invalid'"
        " AND (status NOT IN ('pending', 'ready') OR expires_at > :now) LIMIT 1"
    )
)
_NTH_OF_ACCOUNT = Prepared(
    text("SELECT created_at FROM acme_order WHERE account_id = :of ORDER BY id DESC LIMIT 1 OFFSET :before")
)
_NTH_OF_BINDING = Prepared(
    text(  # of each account no more than its n newest are looked at
        "SELECT o.created_at FROM acme_account a JOIN acme_order o ON o.account_id = a.id AND o.id >= coalesce((SELECT"
        " x.id FROM acme_order x WHERE x.account_id = a.id ORDER BY x.id DESC LIMIT 1 OFFSET :before), 0)"
        " WHERE a.binding_id = :of ORDER BY o.created_at DESC LIMIT 1 OFFSET :before"
    )
)
_NTH_OF_NAME = Prepared(
    text("SELECT at FROM acme_issued_name WHERE value = :of ORDER BY at DESC LIMIT 1 OFFSET :before")
)
_ADD_NAME = Prepared(inserting(acme_issued_name))
_FORGET_NAME = Prepared(text("DELETE FROM acme_issued_name WHERE value = :value AND order_id = :order_id"))
_LOCK_POLICY = Prepared(text("SELECT id FROM acme_policy WHERE id = :id FOR UPDATE"), sqlite=text("SELECT :id"))
_LOCK_CERTIFICATE = Prepared(
    text("SELECT 1 FROM certificate WHERE issuer_id = :issuer_id AND serial = :serial FOR UPDATE"),
    sqlite=text("SELECT :issuer_id, :serial"),
)


def add(c: Connection, new: NewOrder, authorization_ids: list[int]) -> int:
    """The new row's id."""
    number = _ADD.added(c, new._asdict())
    for authorization_id in authorization_ids:
        _LINK.count(c, {"order_id": number, "authorization_id": authorization_id})
    return number


def find(c: Connection, name: str) -> OrderRow | None:
    """One statement, so that `look` will do."""
    return _BY_NAME.find(c, {"called": name})


def list_orders(c: Connection, account_id: int | None = None, limit: int = 100) -> list[OrderRow]:
    """Newest first."""
    if account_id is None:
        return _LIST.all(c, {"most": limit})
    return _OF_ACCOUNT.all(c, {"of": account_id, "most": limit})


def page(c: Connection, account_id: int, after: int, size: int, now: int) -> list[tuple[int, str]]:
    """Ids above `after` and names of orders that are not invalid at `now`, at most `size`."""
    return _PAGE.all(c, {"of": account_id, "after": after, "now": now, "most": size})


def reserve(c: Connection, order_id: int, issuer_id: int, serial: bytes, spki_sha256: bytes, now: int) -> bool:
    """From ready to processing, with its certificate; False when it is not ready, or its account not valid, now."""
    values = {"id": order_id, "issuer_id": issuer_id, "serial": serial, "spki": spki_sha256, "now": now}
    return _RESERVE.count(c, values) == 1


def complete(c: Connection, name: str) -> bool:
    """From processing to valid."""
    return _COMPLETE.count(c, {"name": name}) == 1


def give_up(c: Connection, name: str, error: str) -> bool:
    """From processing to invalid."""
    return _GIVE_UP.count(c, {"name": name, "error": error}) == 1


def lock_waiting_for(c: Connection, authorization_id: int) -> list[int]:
    """Ids of pending and ready orders that lean on an authorization, locked in their order."""
    return [number for (number,) in _WAITING_FOR.all(c, {"on": authorization_id})]


def lock_open(c: Connection, account_id: int) -> list[int]:
    """Ids of an account's pending and ready orders, locked in their order."""
    return [number for (number,) in _OPEN_OF.all(c, {"of": account_id})]


def make_ready(c: Connection, order_id: int) -> bool:
    """From pending to ready, if every one of its authorizations is valid."""
    return _MAKE_READY.count(c, {"id": order_id}) == 1


def invalidate(c: Connection, order_id: int, error: str) -> bool:
    """From pending or ready to invalid."""
    return _INVALIDATE.count(c, {"id": order_id, "error": error}) == 1


def find_replacement(c: Connection, replaces: str, now: int) -> str | None:
    """The name of an order, not invalid at `now`, that replaces a certificate."""
    found = _REPLACEMENT.scalar(c, {"replaces": replaces, "now": now})
    return None if found is None else str(found)


def nth_of_account(c: Connection, account_id: int, n: int) -> int | None:
    """When its `n`-th newest order came; None if there were fewer."""
    return _moment(_NTH_OF_ACCOUNT.scalar(c, {"of": account_id, "before": n - 1}))


def nth_of_binding(c: Connection, binding_id: int, n: int) -> int | None:
    """The same for all accounts of a binding."""
    return _moment(_NTH_OF_BINDING.scalar(c, {"of": binding_id, "before": n - 1}))


def nth_of_name(c: Connection, value: str, n: int) -> int | None:
    """The same for certificates of one identifier (`type:value`)."""
    return _moment(_NTH_OF_NAME.scalar(c, {"of": value, "before": n - 1}))


def _moment(found: object) -> int | None:
    return None if found is None else int(str(found))


def add_issued_names(c: Connection, order_id: int, values: list[str], at: int) -> None:
    _ADD_NAME.many(c, [{"value": value, "at": at, "order_id": order_id} for value in values])


def forget_issued_names(c: Connection, order_id: int, values: list[str]) -> None:
    """For an order whose certificate was given up."""
    _FORGET_NAME.many(c, [{"value": value, "order_id": order_id} for value in values])


def lock_policy(c: Connection, policy_id: int) -> None:
    """Until the transaction ends nobody else counts under this policy."""
    _LOCK_POLICY.find(c, {"id": policy_id})


def lock_certificate(c: Connection, issuer_id: int, serial: bytes) -> None:
    """Until the transaction ends nobody else replaces this certificate."""
    _LOCK_CERTIFICATE.find(c, {"issuer_id": issuer_id, "serial": serial})
