"""An order's row as its client sees it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from pkiconf.acme.context import unauthorized
from pkiconf.acme.settle import read_problem
from pkiconf.model.acme import Account, ACMEProblem, Identifier, Order, OrderStatus, Problem, ProblemType
from pkiconf.store.acme_orders import OrderRow

POLL: Final = 2
"""Seconds after which a client asks again for an order that is being processed."""


def identifiers_of(row: OrderRow) -> tuple[Identifier, ...]:
    return _identifiers(row.identifiers)


@lru_cache(maxsize=256)
def _identifiers(text: str) -> tuple[Identifier, ...]:
    """Kept, because an order on its way to a certificate is looked at again and again."""
    return tuple(Identifier.parse(one) for one in json.loads(text))


def view(row: OrderRow, now: int) -> Order:
    """At `now`: nothing is written when an order expires, it just is not pending or ready any more."""
    status, error = OrderStatus(row.status), read_problem(row.error)
    if status in (OrderStatus.PENDING, OrderStatus.READY) and row.expires_at <= now:
        what = "its names were not proved" if status is OrderStatus.PENDING else "it was not finalized"
        status, error = OrderStatus.INVALID, Problem(ProblemType.MALFORMED, f"the order expired before {what}")
    return Order(
        name=row.name,
        account_id=row.account_id,
        status=status,
        identifiers=identifiers_of(row),
        authorizations=tuple(row.authorizations.split(",")),
        profile=row.profile,
        expires_at=row.expires_at,
        not_before=row.not_before,
        not_after=row.not_after,
        replaces=row.replaces,
        error=error,
        has_certificate=status is OrderStatus.VALID,
        retry_after=POLL if status is OrderStatus.PROCESSING else None,
    )


def get_own(row: OrderRow | None, account: Account) -> OrderRow:
    """Raises ACMEProblem: 404 `malformed` for no order, 403 `unauthorized` for one of another account."""
    if row is None:
        raise ACMEProblem(ProblemType.MALFORMED, "there is no such order", status=404)
    if row.account_id != account.id:
        raise unauthorized("the order belongs to another account")
    return row
