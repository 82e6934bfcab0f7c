"""`pkiconf acme account …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table
from pkiconf.errors import NotFound

if TYPE_CHECKING:
    from pkiconf.model.acme import Account
    from pkiconf.services import Services

_COLUMNS = ("account", "policy", "binding", "state", "contacts", "created")


@click.group("account", cls=SuggestingGroup)
def group() -> None:
    """Accounts that clients registered. ACCOUNT is its name, or its whole URL."""


@group.command("list")
@click.option("--policy", help="Only those of this policy.")
@as_json
def list_(policy: str | None, as_json: bool) -> None:
    """List accounts, the newest first."""
    with services() as s:
        found = s.acme.accounts.list(policy)
        places = _places(s)
    rows = [_summary(account, places) for account in found]
    if as_json:
        print_json(rows)
        return
    print_table(_COLUMNS, [[_shown(row[column]) for column in _COLUMNS] for row in rows], "No accounts yet.")


@group.command()
@click.argument("account")
@as_json
def show(account: str, as_json: bool) -> None:
    """Show an account and its latest orders."""
    with services() as s:
        found = get_account(s, account)
        orders = s.acme.orders.list(found, limit=10)
        fields = _summary(found, _places(s))
    fields["thumbprint"] = found.thumbprint
    if as_json:
        print_json({**fields, "orders": [{"order": order.name, "state": order.status} for order in orders]})
        return
    lines = [f"{order.name} {order.status} {', '.join(one.value for one in order.identifiers)}" for order in orders]
    print_fields({**{key: _shown(value) for key, value in fields.items()}, "latest orders": lines or ["none"]})


@group.command()
@click.argument("account")
def deactivate(account: str) -> None:
    """End an account for good: it orders nothing more. Its certificates stay as they are."""
    with services() as s:
        found = get_account(s, account)
        if found.status != "valid":
            click.echo(f"Account {found.name} has ended already ({found.status}).")
            return
        s.acme.accounts.deactivate(found, operator())
    click.echo(f"Account {found.name} is deactivated; its pending orders and authorizations ended with it.")


def get_account(s: Services, text: str) -> Account:
    """By its name or URL. Raises NotFound."""
    name = text.rstrip("/").rpartition("/")[2]
    found = s.acme.accounts.find(name)
    if found is None:
        raise NotFound(f"there is no ACME account {name!r}", "See `pkiconf acme account list`")
    return found


def _places(s: Services) -> dict[tuple[str, int], str]:
    """Names of policies and bindings by their kind and id."""
    places = {("policy", row.id): row.name for row in s.acme.policies.list()}
    return places | {("binding", view.row.id): view.row.name for view in s.acme.bindings.list(deleted=True)}


def _summary(account: Account, places: dict[tuple[str, int], str]) -> dict[str, Any]:
    from pkiconf.clock import from_epoch

    agreed = account.terms_agreed_at
    return {
        "account": account.name,
        "policy": places[("policy", account.policy_id)],
        "binding": places[("binding", account.binding_id)] if account.binding_id is not None else None,
        "state": str(account.status),
        "contacts": list(account.contacts),
        "terms_agreed": from_epoch(agreed).isoformat() if agreed is not None else None,
        "created": from_epoch(account.created_at).isoformat(),
    }


def _shown(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else value
