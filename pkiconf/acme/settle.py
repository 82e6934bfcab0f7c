"""What an ended validation means for its authorization and for every order that waits for it: one transaction."""

from __future__ import annotations

import json
from dataclasses import replace

from pkiconf.model.acme import AuthorizationStatus, Identifier, IdentifierType, Problem
from pkiconf.store import acme_authorizations, acme_orders
from pkiconf.store.acme_authorizations import AuthorizationRow
from pkiconf.store.database import Connection


def problem_text(problem: Problem) -> str:
    """As rows store it."""
    return json.dumps(problem.record, separators=(",", ":"), ensure_ascii=False)


def read_problem(text: str | None) -> Problem | None:
    """What `problem_text` gave."""
    return None if text is None else Problem.parse(json.loads(text))


def identifier_of(row: AuthorizationRow) -> Identifier:
    """What was ordered: with its wildcard label."""
    return Identifier(IdentifierType(row.kind), f"*.{row.value}" if row.wildcard else row.value)


def settle(c: Connection, authorization_id: int, problem: Problem | None, now: int) -> None:
    """The challenge held (None), or has failed for good: move the authorization, and its pending orders to `ready`
    when it was their last one, to `invalid` when it failed.

    The authorization is written first, then its orders are locked, by id, and only then are their other authorizations
    looked at: of two that end at once, the second sees both, and an order that is being made either waits for this or
    is seen here. An authorization that is not pending any more is left as it is.
    """
    if problem is None:
        moved = acme_authorizations.settle(c, authorization_id, "valid", validated_at=now, error=None)
        for order_id in acme_orders.lock_waiting_for(c, authorization_id) if moved else ():
            acme_orders.make_ready(c, order_id)
        return
    row = acme_authorizations.find(c, authorization_id)
    if row is None:
        return
    told = problem if problem.identifier else replace(problem, identifier=identifier_of(row).base)
    text = problem_text(told)
    if acme_authorizations.settle(c, authorization_id, "invalid", validated_at=None, error=text):
        end_orders_of(c, authorization_id, told)


def note_attempt(c: Connection, authorization_id: int, problem: Problem) -> None:
    """One attempt failed and another will follow: count it, and let the client see why."""
    acme_authorizations.note_attempt(c, authorization_id, problem_text(problem))


def end_authorization(c: Connection, authorization_id: int, status: AuthorizationStatus, why: Problem) -> bool:
    """Deactivate or revoke it, and end the pending and ready orders that lean on it; False when it had ended before."""
    if not acme_authorizations.end(c, authorization_id, status):
        return False
    end_orders_of(c, authorization_id, why)
    return True


def end_orders_of(c: Connection, authorization_id: int, why: Problem) -> None:
    text = problem_text(why)
    for order_id in acme_orders.lock_waiting_for(c, authorization_id):
        acme_orders.invalidate(c, order_id, text)


def end_account(c: Connection, account_id: int, status: AuthorizationStatus, why: Problem) -> None:
    """End what an account has pending: its authorizations, then its pending and ready orders."""
    for authorization_id in acme_authorizations.lock_pending(c, account_id):
        acme_authorizations.end(c, authorization_id, status)
    text = problem_text(why)
    for order_id in acme_orders.lock_open(c, account_id):
        acme_orders.invalidate(c, order_id, text)
