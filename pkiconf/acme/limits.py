"""Declared rate limits, counted from the rows."""

from __future__ import annotations

from collections.abc import Iterable

from pkiconf.model.acme import Account, Identifier
from pkiconf.policy.acme.limits import check_rate
from pkiconf.policy.acme.terms import Terms
from pkiconf.store import acme_orders
from pkiconf.store.database import Connection


def check_order_limits(
    c: Connection, terms: Terms, account: Account, identifiers: Iterable[Identifier], now: int
) -> None:
    """Raise ACMEProblem `rateLimited` when one more order would be beyond a limit. Costs nothing where none is
    declared; where one is, those who count under the policy wait for one another."""
    limits = terms.limits
    if limits.orders_per_account is None and limits.orders_per_binding is None and limits.certificates_per_name is None:
        return
    acme_orders.lock_policy(c, account.policy_id)
    if (limit := limits.orders_per_account) is not None:
        check_rate(limit, acme_orders.nth_of_account(c, account.id, limit.count), now, "orders of this account")
    if (limit := limits.orders_per_binding) is not None and account.binding_id is not None:
        marking = acme_orders.nth_of_binding(c, account.binding_id, limit.count)
        check_rate(limit, marking, now, "orders of all accounts of this binding")
    _check_names(c, terms, identifiers, now)


def count_certificate(
    c: Connection, terms: Terms, account: Account, order_id: int, identifiers: Iterable[Identifier], now: int
) -> None:
    """Count a certificate under each of its names. Raises ACMEProblem `rateLimited` as above."""
    if terms.limits.certificates_per_name is None:
        return
    acme_orders.lock_policy(c, account.policy_id)
    names = list(identifiers)
    _check_names(c, terms, names, now)
    acme_orders.add_issued_names(c, order_id, [str(name) for name in names], now)


def _check_names(c: Connection, terms: Terms, identifiers: Iterable[Identifier], now: int) -> None:
    limit = terms.limits.certificates_per_name
    if limit is None:
        return
    for identifier in identifiers:
        marking = acme_orders.nth_of_name(c, str(identifier), limit.count)
        check_rate(limit, marking, now, f"certificates for {identifier.value}")
