"""What a person changes of a request when signing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pkiconf.cli.moments import moment
from pkiconf.cli.naming import parse_values

if TYPE_CHECKING:
    from pkiconf.model.request import Overrides

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--set", "subject", multiple=True, metavar="subject.TYPE=VALUE", help="Replace a subject attribute."),
    click.option(
        "--add-san", multiple=True, metavar="TYPE:VALUE", help="Such as dns:www.corp.example or ip:192.0.2.1."
    ),
    click.option("--remove-san", multiple=True, metavar="TYPE:VALUE", help="One that the CSR asks for."),
    click.option("--days", type=click.IntRange(1, 36600), help="Validity from now on."),
    click.option("--not-before", metavar="TIME", help="Start, such as 2027-01-31T08:00 (UTC)."),
    click.option("--not-after", metavar="TIME", help="End."),
)


def changes(command: F) -> F:
    """The options that change what is asked for."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_overrides(
    subject: Iterable[str],
    add_san: Iterable[str],
    remove_san: Iterable[str],
    days: int | None,
    not_before: str | None,
    not_after: str | None,
) -> Overrides:
    """What the options of `changes` mean; one that means nothing is a usage error that names it."""
    from pkiconf.der.names import parse_general_name_text
    from pkiconf.model.request import Overrides
    from pkiconf.policy.overrides import parse_subject_override

    if days is not None and not_after is not None:
        raise click.UsageError("give --days or --not-after, not both")
    start = moment(not_before, "--not-before")
    end = moment(not_after, "--not-after")
    return Overrides(
        set_subject=parse_values("--set", subject, parse_subject_override),
        add_sans=parse_values("--add-san", add_san, parse_general_name_text),
        remove_sans=parse_values("--remove-san", remove_san, parse_general_name_text),
        days=days,
        not_before=start,
        not_after=end,
    )


def changes_text(record: Mapping[str, Any]) -> list[str]:
    """What was changed when a request was signed, one thing a line, in the words of the options."""
    from pkiconf.model.attributes import BY_OID

    lines = []
    for attribute in record.get("set_subject", ()):
        known = BY_OID.get(attribute["oid"])
        lines.append(f"subject.{known.short if known else attribute['oid']}={attribute['value'] or '(removed)'}")
    lines += [f"add SAN {name}" for name in record.get("add_sans", ())]
    lines += [f"remove SAN {name}" for name in record.get("remove_sans", ())]
    if "days" in record:
        lines.append(f"valid for {record['days']} days")
    for field, words in (("not_before", "valid from"), ("not_after", "valid until")):
        if field in record:
            lines.append(f"{words} {record[field]}")
    return lines
