"""`pkiconf acme order …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.acme_accounts import get_account
from pkiconf.cli.context import services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table
from pkiconf.errors import NotFound

if TYPE_CHECKING:
    from pkiconf.model.acme import Authorization, Order, Problem

_COLUMNS = ("order", "state", "account", "identifiers", "profile", "expires")


@click.group("order", cls=SuggestingGroup)
def group() -> None:
    """Orders of ACME clients, and why they failed. ORDER is its name, or its whole URL."""


@group.command("list")
@click.option("--account", help="Only those of this account.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@as_json
def list_(account: str | None, limit: int, as_json: bool) -> None:
    """List orders, the newest first."""
    with services() as s:
        holder = get_account(s, account) if account is not None else None
        orders = s.acme.orders.list(holder, limit=limit)
        names = {holder.id: holder.name} if holder else {one.id: one.name for one in s.acme.accounts.list()}
    rows = [_summary(order, names) for order in orders]
    if as_json:
        print_json(rows)
        return
    texts = [[", ".join(row[c]) if isinstance(row[c], list) else row[c] for c in _COLUMNS] for row in rows]
    print_table(_COLUMNS, texts, "No orders yet.")


@group.command()
@click.argument("order")
@as_json
def show(order: str, as_json: bool) -> None:
    """Show an order: what it waits for, or why it failed and what to do."""
    from pkiconf.policy.acme.remedies import explain_authorization

    name = order.rstrip("/").rpartition("/")[2]
    with services() as s:
        found = s.acme.orders.find(name)
        names = {one.id: one.name for one in s.acme.accounts.list()} if found else {}
    if found is None:
        raise NotFound(f"there is no ACME order {name!r}", "See `pkiconf acme order list`")
    it, authorizations = found
    if as_json:
        print_json({**_summary(it, names), "authorizations": [_authorization(one) for one in authorizations]})
        return
    told = {key: value for key, value in _summary(it, names).items() if key != "error" and value is not None}
    print_fields({key: ", ".join(value) if isinstance(value, list) else value for key, value in told.items()})
    for line in _why(it):
        click.echo(line)
    for one in authorizations:
        wildcard = "*." if one.wildcard else ""
        click.echo(f"\n{wildcard}{one.identifier.value}: {one.status}")
        for line in explain_authorization(one):
            click.echo(f"  {line}")


def _why(order: Order) -> list[str]:
    """What the order says of itself, in words."""
    from pkiconf.policy.acme.remedies import remedy

    if order.error is None:
        waits = {
            "pending": "It waits for its names to be proved.",
            "ready": "Everything is proved; it waits for the client's CSR.",
            "processing": "Its certificate is being made.",
        }
        return [f"\n{waits[order.status]}"] if order.status in waits else []
    lines = []
    for problem in order.error.subproblems or (order.error,):
        about = f"{problem.identifier.value}: " if problem.identifier else ""
        lines += [f"\nIt failed: {about}{problem.detail} ({problem.type})", *filter(None, (remedy(problem),))]
    return lines


def _summary(order: Order, names: dict[int, str]) -> dict[str, Any]:
    from pkiconf.clock import from_epoch

    return {
        "order": order.name,
        "state": str(order.status),
        "account": names.get(order.account_id, ""),
        "identifiers": [one.value for one in order.identifiers],
        "profile": order.profile,
        "replaces": order.replaces,
        "expires": from_epoch(order.expires_at).isoformat(),
        "error": order.error.record if order.error else None,
    }


def _authorization(one: Authorization) -> dict[str, Any]:
    return {
        "identifier": one.identifier.record,
        "wildcard": one.wildcard,
        "state": str(one.status),
        "challenges": [
            {"type": str(it.type), "state": str(it.status), "error": _record(it.error)} for it in one.challenges
        ],
    }


def _record(problem: Problem | None) -> dict[str, Any] | None:
    return problem.record if problem else None
