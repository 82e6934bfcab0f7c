"""`pkiconf scep …`: one-time challenges and passphrases of templates that devices enrol with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli import scep_intune
from pkiconf.cli.context import operator, services
from pkiconf.cli.credentials import telling_once
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.naming import parse_sans, parse_subject
from pkiconf.cli.output import as_json, print_json, print_table

if TYPE_CHECKING:
    from pkiconf.model.durations import Duration
    from pkiconf.model.scep import BoundNames
    from pkiconf.scep.challenges import Challenge


@click.group(cls=SuggestingGroup)
def group() -> None:
    """SCEP: what lets devices enrol. It is declared with templates, under `scep:`.

    TEMPLATE is authority/name, or a name that only one has.
    """


def _length(context: click.Context, parameter: click.Parameter, text: str | None) -> Duration | None:
    from pkiconf.model.durations import Duration

    try:
        return Duration.parse(text) if text is not None else None
    except ValueError as ex:
        raise click.BadParameter(str(ex)) from None


@group.command()
@click.argument("template")
@click.option("--subject", metavar="NAME", help="Good for this subject alone: 'CN=router-7,O=Example Corp' (RFC 4514).")
@click.option("--san", "sans", multiple=True, metavar="TYPE:VALUE", help="Good for these alternative names alone.")
@click.option(
    "--ttl", metavar="LENGTH", callback=_length, help="How long it is good for: 30m, 2d. Default: the template's."
)
@as_json
def challenge(
    template: str, subject: str | None, sans: Sequence[str], ttl: Duration | None, as_json: bool
) -> None:  # fmt: skip
    """Make a one-time challenge and print it: it is good for one certificate.

    Given a subject or names, it is good for a request with exactly these.
    """
    bound = _bound(subject, sans)
    with services() as s:
        view = s.template_lookup.get(template)
        made = s.scep.challenges.create(view.row.id, operator(), _timedelta(ttl), bound).reveal().decode()
    if as_json:
        print_json({"template": view.address, "challenge": made})
    else:
        click.echo(made)


@group.command()
@click.argument("template")
@as_json
def challenges(template: str, as_json: bool) -> None:
    """List challenges that wait to be used. The challenges themselves are known to those alone who were told them."""
    with services() as s:
        view = s.template_lookup.get(template)
        rows = [_summary(one) for one in s.scep.challenges.list(view.row.id)]
    if as_json:
        print_json(rows)
        return
    columns = ("id", "expires", "made_by", "tries", "good_for")
    print_table(
        [column.replace("_", " ") for column in columns],
        [[row[column] for column in columns] for row in rows],
        "No challenges wait to be used.",
    )


group.add_command(scep_intune.group)


@group.command("rotate-passphrase")
@click.argument("template")
@click.option("--overlap", metavar="LENGTH", callback=_length, help="How long the one before is still accepted: 2d.")
@click.option(
    "--write-to",
    type=click.Path(path_type=Path),
    help="Put the passphrase here, 0600; else a terminal shows it.",
)
def rotate_passphrase(template: str, overlap: Duration | None, write_to: Path | None) -> None:
    """Give a template another random passphrase, told once. One that is declared changes where it is declared."""
    with services() as s:
        view = s.template_lookup.get(template)
        telling = telling_once(f"the passphrase of template/{view.address}", write_to)
        s.scep.passphrases.rotate(view.row.id, operator(), telling, _timedelta(overlap) or timedelta(0))
    kept = f" It is in {write_to}." if write_to is not None else ""
    after = f"The one before is good for another {overlap}." if overlap else "The one before is good no longer."
    click.echo(f"Template {view.address} has another passphrase.{kept} {after}")


def _timedelta(length: Duration | None) -> timedelta | None:
    return timedelta(seconds=length.seconds) if length is not None else None


def _bound(subject: str | None, sans: Sequence[str]) -> BoundNames | None:
    from pkiconf.model.scep import BoundNames

    if subject is None and not sans:
        return None
    return BoundNames(parse_subject(subject) if subject is not None else None, parse_sans(sans))


def _summary(one: Challenge) -> dict[str, Any]:
    from pkiconf.clock import from_epoch
    from pkiconf.der.names import general_name_text, name_text

    bound = one.bound
    names: list[str] = []
    if bound is not None:
        names = [name_text(bound.subject)] if bound.subject is not None else []
        names += [general_name_text(name) for name in bound.sans or ()]
    return {
        "id": one.row.id,
        "expires": from_epoch(one.row.expires_at).isoformat(),
        "made_by": one.row.created_by,
        "tries": one.row.tries,
        "good_for": ", ".join(names) or "any name",
    }
