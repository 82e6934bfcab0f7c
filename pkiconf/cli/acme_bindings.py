"""`pkiconf acme eab …`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.credentials import telling_once
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, counted, print_json, print_table
from pkiconf.errors import Malformed, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from pkiconf.acme.binding_rows import BindingView

_COLUMNS = ("policy", "name", "state", "accounts", "expires", "key_id", "owner")
_write_to = click.option(
    "--write-to",
    type=click.Path(path_type=Path),
    help="Put the credentials here, 0600; else a terminal shows them.",
)


def _address(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, str]:
    policy, slash, name = text.removeprefix("eab/").partition("/")
    if not slash or not policy or not name or "/" in name:
        raise click.BadParameter(f"{text!r} is no binding: write POLICY/NAME, such as internal/ci-runners")
    return policy, name


_binding = click.argument("binding", callback=_address)


@click.group("eab", cls=SuggestingGroup)
def group() -> None:
    """External account bindings: what lets accounts register with a policy. Credentials are told once.

    BINDING is POLICY/NAME.
    """


@group.command("list")
@click.argument("policy", required=False)
@click.option("--deleted", is_flag=True, help="Also those that were deleted.")
@as_json
def list_(policy: str | None, deleted: bool, as_json: bool) -> None:
    """List bindings, of one POLICY or of all."""
    with services() as s:
        now = s.parts.now()
        rows = [_summary(view, now) for view in s.acme.bindings.list(policy, deleted=deleted)]
    if as_json:
        print_json(rows)
        return
    texts = [[_shown(row, column) for column in _COLUMNS] for row in rows]
    print_table([column.replace("_", " ") for column in _COLUMNS], texts, "No external account bindings yet.")


@group.command()
@_binding
@click.option("--max-accounts", type=click.IntRange(min=1), default=1, show_default=True, help="How many may register.")
@click.option("--unlimited", is_flag=True, help="Any number of accounts may register.")
@click.option("--expires", metavar="MOMENT", help="Nobody registers from then on: 2031-12-31, 2031-12-31T23:59:59Z.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="The only names that its accounts may order.")
@_write_to
def create(
    binding: tuple[str, str],
    max_accounts: int,
    unlimited: bool,
    expires: str | None,
    domains: Sequence[str],
    write_to: Path | None,
) -> None:
    """Make a binding that no declaration speaks of, and tell its credentials once."""
    from pydantic import ValidationError

    from pkiconf.acme.binding_rows import has_expired
    from pkiconf.reconciler.kinds.kind import problem_of
    from pkiconf.spec.acme import BindingSpec

    policy, name = binding
    wish: dict[str, Any] = {"name": name, "max_accounts": None if unlimited else max_accounts}
    if expires is not None:
        wish["expires"] = expires
    if domains:
        wish["domains"] = list(domains)
    try:
        wanted = BindingSpec.model_validate(wish)
    except ValidationError as ex:
        raise Malformed(problem_of(ex)) from None
    spec = wanted.model_dump(mode="json", by_alias=True, exclude={"write_to"})
    with services() as s:
        if has_expired(wanted, s.parts.now()):
            raise Refused(
                f"eab/{policy}/{name} would have expired already, at {wanted.expires}: nobody could register with it",
                "Give --expires a moment that is still to come, or leave it out",
            )
        telling = telling_once(f"the credentials of eab/{policy}/{name}", write_to)
        key_id = s.acme.bindings.create(policy, name, spec, "console", operator(), telling=telling)
    click.echo(f"Binding eab/{policy}/{name} is made; its key identifier is {key_id}.{_kept(write_to)}")


@group.command()
@_binding
@_write_to
def rotate(binding: tuple[str, str], write_to: Path | None) -> None:
    """Give a binding another key and key identifier, told once. Its accounts go on; the old key registers nothing."""
    policy, name = binding
    with services() as s:
        telling = telling_once(f"the credentials of eab/{policy}/{name}", write_to)
        key_id = s.acme.bindings.rotate(policy, name, operator(), telling)
    click.echo(f"Binding eab/{policy}/{name} has key identifier {key_id} now.{_kept(write_to)}")


@group.command()
@_binding
def delete(binding: tuple[str, str]) -> None:
    """Delete a binding: nobody registers with it any more. Accounts that did go on."""
    policy, name = binding
    with services() as s:
        view = s.acme.bindings.get(policy, name)
        s.acme.bindings.delete(policy, name, operator())
    accounts = counted(view.row.accounts, "account")
    click.echo(f"Binding eab/{policy}/{name} is deleted: nobody registers with it any more. {accounts} did, and stay.")
    if view.row.owner.startswith("yaml:"):
        click.echo("It is declared: take it out of the YAML too, or the next apply makes another one.", err=True)


def _kept(write_to: Path | None) -> str:
    return f" Its credentials are in {write_to}." if write_to is not None else ""


def _summary(view: BindingView, now: datetime) -> dict[str, Any]:
    """Never the key."""
    spec = view.spec
    return {
        "policy": view.policy.name,
        "name": view.row.name,
        "state": view.state(now),
        "accounts": view.row.accounts,
        "max_accounts": spec.max_accounts,
        "expires": spec.expires.isoformat() if spec.expires else None,
        "domains": list(spec.domains) if spec.domains is not None else None,
        "profiles": list(spec.profiles) if spec.profiles is not None else None,
        "challenges": [str(kind) for kind in spec.challenges] if spec.challenges is not None else None,
        "key_id": view.row.key_id,
        "key": "declared" if view.is_declared else "random",
        "owner": view.row.owner,
    }


def _shown(row: dict[str, Any], column: str) -> object:
    if column == "accounts":
        return f"{row['accounts']} of {row['max_accounts'] or 'any number'}"
    return row[column] if row[column] is not None else "never"
