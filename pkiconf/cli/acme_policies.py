"""`pkiconf acme policy …`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table

if TYPE_CHECKING:
    from pkiconf.services import Services
    from pkiconf.store.acme_policies import PolicyRow

_COLUMNS = ("policy", "state", "templates", "bindings", "accounts", "owner")


@click.group("policy", cls=SuggestingGroup)
def group() -> None:
    """ACME policies: declared in YAML; looked at here."""


@group.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List policies."""
    with services() as s:
        rows = [_summary(s, row) for row in s.acme.policies.list()]
    if as_json:
        print_json(rows)
        return
    print_table(_COLUMNS, [[_shown(row[column]) for column in _COLUMNS] for row in rows], "No ACME policies yet.")


@group.command()
@click.argument("policy")
@as_json
def show(policy: str, as_json: bool) -> None:
    """Show a policy with every value, defaults included, and its directory."""
    from pkiconf.reconciler.fields import flatten
    from pkiconf.reconciler.fields import show as show_value

    with services() as s:
        row = s.acme.policies.get(policy)
        fields = {**_summary(s, row), **_directories(s, row)}
    spec = {key: value for key, value in json.loads(row.spec).items() if key != "name"}
    if as_json:
        print_json({**fields, "spec": spec})
        return
    print_fields({key: _shown(value) for key, value in fields.items()})
    click.echo("")
    print_fields({path: show_value(value) for path, value in flatten(spec)})


def _summary(s: Services, row: PolicyRow) -> dict[str, Any]:
    spec = json.loads(row.spec)
    return {
        "policy": row.name,
        "state": row.lifecycle,
        "templates": spec["profiles"],
        "bindings": [view.row.name for view in s.acme.bindings.list(row.name)],
        "accounts": sum(account.status == "valid" for account in s.acme.accounts.list(row.name)),
        "owner": row.owner,
    }


def _directories(s: Services, row: PolicyRow) -> dict[str, str]:
    from pkiconf.model.acme_urls import URLs

    urls = URLs(s.settings.read().enrolment_url)
    return {"directory": urls.directory(), "own_directory": urls.directory(row.slug)}


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value
